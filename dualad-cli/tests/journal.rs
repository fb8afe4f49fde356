//! `dualad watch` that ends and starts again.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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

    /// Starts a program whose output is read at its end.
    fn start_with_pipes(&self, options: &[&str]) -> Watch {
        let mut command = program("watch");
        command.arg("--model").arg(self.path("model")).args(["--interval-ms", "20"]).args(options);
        command.arg("--out").arg(self.path("out")).arg(self.path("incoming"));
        Watch(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn journal(&self) -> PathBuf {
        let names = fs::read_dir(self.path("out")).unwrap().map(|entry| entry.unwrap().path());
        names.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "jsonl")).unwrap()
    }

    /// Returns the line of a record.
    fn record(&self, name: &str) -> String {
        fs::read_to_string(self.path("out").join(name)).unwrap().trim().to_owned()
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
    /// Ends the program, and returns the lines and the notes that it printed. Its streams are pipes.
    fn output(mut self) -> (Vec<String>, String) {
        std::thread::sleep(Duration::from_millis(600));
        signal(&self.0, "TERM");
        let (mut out, mut notes) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
        (out.lines().map(str::to_owned).collect(), notes)
    }

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
        assert!(output.status.code() == Some(1) && error.contains("it is no journal"), "{error}");
        assert!(error.contains("--journal") && error.contains("--existing inspects all images"), "{error}");
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

/// A line that was not printed, because the program was killed or its reader had gone, is printed at the next start.
#[test]
fn every_line_is_printed_at_least_once() {
    let place = Watched::new();
    // Killed between the record and its line: the journal has the images as begun.
    place.put(0, "a.png");
    place.put(1, "b.png");
    let watch = place.start_with_pipes(&["--existing"]);
    place.wait_for("a.png.json");
    place.wait_for("b.png.json");
    assert_eq!(watch.output().0, [place.record("a.png.json"), place.record("b.png.json")]);
    let text = fs::read_to_string(place.journal()).unwrap();
    assert!(text.contains(r#""state":"done""#), "{text}");
    let begun: String = text.split_inclusive('\n').filter(|line| !line.contains("done")).collect();
    fs::write(place.journal(), begun).unwrap();
    let (lines, _) = place.start_with_pipes(&[]).output();
    assert_eq!(lines, [place.record("a.png.json"), place.record("b.png.json")]);
    assert_eq!(place.start_with_pipes(&[]).output().0, [""; 0]);

    // Nobody reads: the program ends, and the next one prints the line.
    place.put(2, "c.png");
    for _ in 0..2 {
        let mut watch = place.start_with_pipes(&[]);
        drop(watch.0.stdout.take());
        assert!(watch.0.wait().unwrap().success());
    }
    assert_eq!(place.start_with_pipes(&[]).output().0, [place.record("c.png.json")]);
    assert_eq!(place.start_with_pipes(&[]).output().0, [""; 0]);
    assert_eq!(place.records(), ["a.png.json", "b.png.json", "c.png.json"]);
}

/// Frames of one size, whose time is kept in whole seconds, are different files.
#[test]
fn another_file_of_the_same_name_length_and_time_is_inspected() {
    let place = Watched::new();
    let incoming = place.path("incoming");
    let frame = |image: usize| image::open(&place.images[image]).unwrap().into_rgb8();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    // Written as a whole under another name, or into the file itself.
    let put = |image: usize, name: &str, in_place: bool| {
        let temporary = place.path("incoming/.frame.bmp");
        frame(image).save(&temporary).unwrap();
        let path = incoming.join(name);
        if in_place {
            fs::write(&path, fs::read(&temporary).unwrap()).unwrap();
        }
        let file = if in_place { &path } else { &temporary };
        fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
        if !in_place {
            fs::rename(&temporary, &path).unwrap();
        }
    };
    put(0, "a.bmp", false);
    let watch = place.start_with_records(&["--existing"]);
    place.wait_for("a.bmp.json");
    std::thread::sleep(Duration::from_millis(300));
    put(1, "a.bmp", false);
    place.wait_for("a.bmp.2.json");
    std::thread::sleep(Duration::from_millis(300));
    put(2, "a.bmp", true);
    place.wait_for("a.bmp.3.json");
    watch.end("TERM");
    // While it is down.
    put(3, "a.bmp", false);
    let watch = place.start_with_records(&[]);
    place.wait_for("a.bmp.4.json");
    // The same content with other properties is the same file.
    let path = incoming.join("a.bmp");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    watch.end("TERM");
    put(3, "a.bmp", false);
    place.start_with_records(&[]).end("TERM");
    assert_eq!(place.records(), ["a.bmp.2.json", "a.bmp.3.json", "a.bmp.4.json", "a.bmp.json"]);
    // A journal of an earlier version has neither the inode nor the other time.
    let text = fs::read_to_string(place.journal()).unwrap();
    let mut earlier = String::new();
    for line in text.lines() {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        ["changed", "inode", "content"].iter().for_each(|key| _ = line.as_object_mut().unwrap().remove(*key));
        earlier += &format!("{line}\n");
    }
    assert!(earlier.len() < text.len());
    fs::write(place.journal(), earlier).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    place.start_with_records(&[]).end("TERM");
    assert_eq!(place.records().len(), 4);
}

/// A program that rotates logs, or a power failure, has damaged the journal.
#[test]
fn a_damaged_journal_is_used_as_far_as_it_can_be_read() {
    let place = Watched::new();
    place.put(0, "a.png");
    let watch = place.start_with_pipes(&["--existing"]);
    place.wait_for("a.png.json");
    watch.output();
    for said in ["the beginning of the journal", "skipped 1 damaged line of the journal"] {
        let text = fs::read_to_string(place.journal()).unwrap();
        let (head, entries) = text.split_once('\n').unwrap();
        let damaged = match said.starts_with("the") {
            true => entries.to_owned(),
            false => format!("{head}\n{{\"image\": \n{entries}"),
        };
        fs::write(place.journal(), damaged).unwrap();
        place.put(1, &format!("{}.png", said.len()));
        let watch = place.start_with_pipes(&[]);
        place.wait_for(&format!("{}.png.json", said.len()));
        let (lines, notes) = watch.output();
        assert!(notes.contains(said) && lines.len() == 1, "{notes}: {lines:?}");
    }
    let (lines, notes) = place.start_with_pipes(&[]).output();
    assert!(lines.is_empty() && notes.lines().count() == 1, "{notes}");
    // Emptied, or lost beside the records: nothing is passed over.
    let path = place.journal();
    // A pipe is named.
    assert!(Command::new("mkfifo").arg(place.path("incoming/pipe.png")).status().unwrap().success());
    for (number, emptied) in [(2, true), (3, false)] {
        match emptied {
            true => fs::write(&path, "").unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        let watch = place.start_with_pipes(&[]);
        place.wait_for(&format!("a.png.{number}.json"));
        let (lines, notes) = watch.output();
        let said = if emptied { "is empty" } else { "there is no journal at " };
        assert!(lines.len() == 3 && notes.contains(said) && notes.contains("are inspected again"), "{notes}");
        assert!(notes.contains("pipe.png is a pipe, and is not inspected"), "{notes}");
        let (lines, notes) = place.start_with_pipes(&[]).output();
        assert!(lines.is_empty() && !notes.contains("inspected again"), "{notes}");
    }
    // Without either, the images that are there are counted.
    fs::rename(place.path("out"), place.path("away")).unwrap();
    let (lines, notes) = place.start_with_pipes(&[]).output();
    let said =
        format!("there is no journal at {}, so it is not known which images were inspected: 3 images", path.display());
    assert!(lines.is_empty() && notes.contains(&said) && notes.contains("--existing"), "{notes}");
}

/// Records and the journal follow once there is room again, and each line is printed once.
#[test]
fn records_that_cannot_be_written_are_tried_again() {
    let place = Watched::new();
    let (out, away) = (place.path("out"), place.path("away"));
    let watch = place.start_with_pipes(&["--existing"]);
    place.put(0, "a.png");
    place.wait_for("a.png.json");
    std::thread::sleep(Duration::from_millis(300));
    for name in ["b.png", "c.png", "d.png"] {
        fs::rename(&out, &away).unwrap();
        fs::write(&out, "").unwrap();
        place.put(1, name);
        std::thread::sleep(Duration::from_millis(700));
        if name == "c.png" {
            // The image is gone when its record can be written.
            fs::remove_file(place.path("incoming/c.png")).unwrap();
        }
        fs::remove_file(&out).unwrap();
        fs::rename(&away, &out).unwrap();
        place.wait_for(&format!("{name}.json"));
    }
    let (lines, notes) = watch.output();
    let image = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["image"].clone();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, name) in lines.iter().zip(["a", "b", "c", "d"]) {
        let record = place.record(&format!("{name}.png.json"));
        assert_eq!(image(line), image(&record));
        assert_eq!(place.path(&format!("out/{name}.png.png")).exists(), record.contains("heatmap"), "{record}");
        assert!(name == "c" || record.contains("heatmap"), "{record}");
        let (object, _) = record.split_once(r#","heatmap""#).unwrap_or((record.trim_end_matches('}'), ""));
        assert!(line.starts_with(object), "{line}: {record}");
    }
    for words in ["trying again", "records are written again"] {
        assert!((1..=6).contains(&notes.matches(words).count()), "{notes}");
    }
    assert!(!notes.contains("next start"), "{notes}");
    assert_eq!(place.start_with_pipes(&[]).output().0, [""; 0]);
    assert_eq!(place.records(), ["a.png.json", "b.png.json", "c.png.json", "d.png.json"]);
}

#[test]
fn a_change_of_the_thresholds_is_told_once() {
    let place = Watched::new();
    let path = place.path("model/calibration.json");
    for options in [&[][..], &["--scores-only"]] {
        let mut watch = place.start_with_pipes(options);
        let mut notes = BufReader::new(watch.0.stderr.take().unwrap());
        let mut line = String::new();
        notes.read_line(&mut line).unwrap();
        for threshold in [1, 2] {
            fs::write(&path, format!(r#"{{"pooled": {{"reject": {threshold}}}}}"#)).unwrap();
            std::thread::sleep(Duration::from_millis(2500));
        }
        watch.end("TERM");
        let mut rest = String::new();
        notes.read_to_string(&mut rest).unwrap();
        let told = rest.matches("calibration.json has changed").count();
        assert_eq!(told, usize::from(options.is_empty()), "{rest}");
    }
}

/// No line lacks its decision, unless the program was told to print scores only.
#[test]
fn a_model_without_thresholds_needs_a_flag() {
    let place = Watched::new();
    place.put(0, "a.png");
    let thresholds = place.path("model/calibration.json");
    let refused = |options: &[&str], words: &[&str]| {
        let mut command = program("watch");
        command.arg("--model").arg(place.path("model")).args(options).arg("--out").arg(place.path("out"));
        let output = command.arg(place.path("incoming")).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && error.lines().count() == 1, "{error}");
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
        assert!(!place.path("out").exists());
    };
    fs::write(&thresholds, r#"{"categories": {"gear": {"reject": 1}}}"#).unwrap();
    refused(&[], &["single categories only: gear", "--category", "--scores-only"]);
    fs::remove_file(&thresholds).unwrap();
    refused(&[], &["the model has no thresholds", "dualad calibrate", "--scores-only"]);
    refused(&["--category", "gear"], &["the model has no thresholds"]);
    let watch = place.start_with_pipes(&["--scores-only", "--existing"]);
    place.wait_for("a.png.json");
    let (lines, notes) = watch.output();
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert!(line["verdict"].is_null() && line["image_score"].is_number(), "{line}");
    assert!(notes.contains("scores only"), "{notes}");
    // The flag counts where there are thresholds, too.
    fs::write(&thresholds, r#"{"pooled": {"reject": 1}}"#).unwrap();
    place.put(1, "b.png");
    let watch = place.start_with_pipes(&["--scores-only"]);
    place.wait_for("b.png.json");
    assert!(watch.output().0[0].contains(r#""verdict":null"#));
}
