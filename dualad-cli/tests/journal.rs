//! `dualad watch` that ends and starts again.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

mod support {
    pub(crate) mod config;
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod recipe;
    pub(crate) mod signal;
    pub(crate) mod wait;
    pub(crate) mod watched;
}

use support::program::program;
use support::signal::signal;
use support::wait::wait_for;
use support::watched::Watched;

impl Watched {
    fn put(&self, image: usize, name: &str) {
        fs::copy(&self.images[image], self.path("incoming").join(name)).unwrap();
    }

    fn start(&self, options: &[&str]) -> Watch {
        self.start_in("incoming", options)
    }

    fn start_in(&self, folder: &str, options: &[&str]) -> Watch {
        let mut command = program("watch");
        command.arg("--model").arg(self.path("model")).args(["--interval-ms", "20"]).args(options);
        command.arg(self.path(folder)).stdout(Stdio::null()).stderr(Stdio::null());
        Watch(command.spawn().unwrap())
    }

    fn start_with_records(&self, options: &[&str]) -> Watch {
        let out = self.path("out").display().to_string();
        self.start(&[options, &["--out", &out]].concat())
    }

    fn wait_for(&self, name: &str) {
        let path = self.path("out").join(name);
        wait_for(name, || path.exists());
    }

    /// Returns the names of the records, sorted.
    fn records(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("out")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
        names.sort();
        names
    }
}

struct Watch(Child);

impl Watch {
    fn end(mut self, name: &str) {
        // What was found is answered within this time.
        std::thread::sleep(Duration::from_millis(600));
        signal(&self.0, name);
        self.0.wait().unwrap();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_arrives_while_it_is_down_is_inspected_once_and_nothing_twice() {
    let place = Watched::new();
    place.put(0, "old.png");
    let watch = place.start_with_records(&[]);
    // After the first listing, which the journal shows.
    let journal = || fs::read_dir(place.path("out")).into_iter().flatten().flatten().map(|entry| entry.path());
    let has_line = |path: PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("old.png"));
    wait_for("the first listing", || {
        journal().any(|path| path.extension().is_some_and(|e| e == "jsonl") && has_line(path))
    });
    place.put(1, "a.png");
    place.wait_for("a.png.json");
    watch.end("TERM");
    let first = fs::read(place.path("out/a.png.json")).unwrap();
    place.put(2, "down.png");
    for signal in ["TERM", "KILL", "KILL"] {
        let watch = place.start_with_records(&[]);
        place.wait_for("down.png.json");
        watch.end(signal);
        assert_eq!(place.records(), ["a.png.json", "down.png.json"]);
    }
    // Another file of the same name, while it is down.
    place.put(3, "a.png");
    let watch = place.start_with_records(&[]);
    place.wait_for("a.png.2.json");
    assert!(place.path("out/a.png.png").exists() && place.path("out/a.png.2.png").exists());
    // And while it runs.
    place.put(0, "a.png");
    place.wait_for("a.png.3.json");
    watch.end("TERM");
    assert_eq!(fs::read(place.path("out/a.png.json")).unwrap(), first);
    // Those that were there at the first start are inspected on request, and no others again.
    let watch = place.start_with_records(&["--existing"]);
    place.wait_for("old.png.json");
    watch.end("TERM");
    let all = ["a.png.2.json", "a.png.3.json", "a.png.json", "down.png.json", "old.png.json"];
    assert_eq!(place.records(), all);
}

#[test]
fn a_journal_is_used_by_one_program_and_without_one_nothing_is_kept() {
    let place = Watched::new();
    let file = place.path("journal").display().to_string();
    let watch = place.start(&["--journal", &file]);
    wait_for("the journal", || Path::new(&file).exists());
    let mut second = program("watch");
    second.arg("--model").arg(place.path("model")).args(["--journal", &file]).arg(place.path("incoming"));
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another program uses it"));
    watch.end("TERM");
    for content in ["no journal\n", "no journal"] {
        fs::write(&file, content).unwrap();
        let mut damaged = program("watch");
        damaged.arg("--model").arg(place.path("model")).args(["--journal", &file]).arg(place.path("incoming"));
        let output = damaged.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains("line 1 is no entry"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
}

/// Several cameras write files of the same names at the same time, each into a folder of its own.
#[test]
fn programs_with_the_same_out_lose_no_record() {
    let place = Watched::new();
    let out = place.path("out").display().to_string();
    let folders = ["incoming", "second"];
    fs::create_dir(place.path(folders[1])).unwrap();
    let watches = folders.map(|folder| place.start_in(folder, &["--existing", "--out", &out]));
    const IMAGES: usize = 24;
    for number in 0..IMAGES {
        for folder in folders {
            fs::copy(&place.images[0], place.path(folder).join(format!("{number:02}.png"))).unwrap();
        }
    }
    wait_for("all records", || place.path("out").exists() && place.records().len() == 2 * IMAGES);
    watches.into_iter().for_each(|watch| watch.end("TERM"));
    let mut images: Vec<String> = Vec::new();
    for name in place.records() {
        let record = fs::read(place.path("out").join(name)).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert!(Path::new(record["heatmap"].as_str().unwrap()).exists(), "{record}");
        images.push(record["image"].as_str().unwrap().to_owned());
    }
    images.sort();
    images.dedup();
    assert_eq!(images.len(), 2 * IMAGES);
}

#[test]
fn records_can_be_moved_away_and_those_that_cannot_be_written_follow() {
    let place = Watched::new();
    let (out, away) = (place.path("out"), place.path("away"));
    let watch = place.start_with_records(&["--existing"]);
    place.put(0, "a.png");
    place.wait_for("a.png.json");
    std::thread::sleep(Duration::from_millis(200));
    fs::rename(&out, &away).unwrap();
    place.put(1, "b.png");
    place.wait_for("b.png.json");
    // A later file of the same name does not begin again with the first number.
    place.put(1, "a.png");
    place.wait_for("a.png.2.json");
    assert!(away.join("a.png.json").exists());
    std::thread::sleep(Duration::from_millis(200));
    // The disk is gone, and comes back.
    fs::rename(&out, place.path("later")).unwrap();
    fs::write(&out, "").unwrap();
    place.put(2, "c.png");
    watch.end("TERM");
    fs::remove_file(&out).unwrap();
    fs::rename(place.path("later"), &out).unwrap();
    let watch = place.start_with_records(&[]);
    place.wait_for("c.png.json");
    watch.end("TERM");
    assert_eq!(place.records(), ["a.png.2.json", "b.png.json", "c.png.json"]);
}
