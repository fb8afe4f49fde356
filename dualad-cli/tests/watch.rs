//! `dualad inspect`, `dualad calibrate` and `dualad watch` as processes.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

mod support {
    pub(crate) mod config;
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod recipe;
    pub(crate) mod signal;
    pub(crate) mod watched;
}

use support::program::program;
use support::signal::signal;
use support::watched::Watched;

impl Watched {
    fn detect(&self, options: &[&str], images: &[&Path]) -> Output {
        // The old name of `inspect`.
        let mut command = program("detect");
        command.arg("--model").arg(self.path("model")).args(options).args(images);
        command.output().unwrap()
    }

    /// Returns the line of `detect` for an image, without the image's name.
    fn expected(&self, image: &Path) -> Value {
        let output = self.detect(&["--json", "-"], &[image]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        bare(serde_json::from_slice(&output.stdout).unwrap())
    }
}

fn bare(mut line: Value) -> Value {
    let object = line.as_object_mut().unwrap();
    object.remove("image");
    object.remove("heatmap");
    line
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn detect_answers_in_order_and_goes_on_after_a_bad_image() {
    let place = Watched::new();
    let bad = place.path("bad.png");
    fs::write(&bad, "no picture").unwrap();
    let missing = place.path("missing.png");
    let images: Vec<&Path> = [&place.images[0], &bad, &place.images[1], &missing].map(PathBuf::as_path).into();
    let output = place.detect(&["--json", "-"], &images);
    assert_eq!(output.status.code(), Some(1));
    let found = lines(&output);
    assert_eq!(found.len(), 4);
    for (line, image) in found.iter().zip(&images) {
        assert_eq!(line["image"], image.display().to_string());
    }
    for index in [1, 3] {
        let error = found[index]["error"].as_str().unwrap();
        assert!(error.contains(&images[index].display().to_string()), "{error}");
    }
    for index in [0, 2] {
        assert!(found[index]["image_score"].as_f64().unwrap() > 0.0);
        assert_eq!(found[index]["verdict"]["source"]["kind"], "pooled");
        assert_eq!(found[index]["precision"], "f32");
        assert!(found[index].get("error").is_none());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.starts_with("error: 2 of 4 images") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn detect_writes_heat_maps_and_a_file_and_takes_a_category() {
    let place = Watched::new();
    let (maps, file) = (place.path("maps"), place.path("lines.json"));
    // Two images with the same file name.
    let twin = place.path("twin");
    fs::create_dir(&twin).unwrap();
    let twin = twin.join(place.images[0].file_name().unwrap());
    fs::copy(&place.images[1], &twin).unwrap();
    let (maps_text, file_text) = (maps.display().to_string(), file.display().to_string());
    let options = ["--category", "gear", "--heatmaps", &maps_text, "--json", &file_text];
    let output = place.detect(&options, &[&place.images[0], &twin]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&file).unwrap();
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 2);
    let drawn: Vec<&str> = found.iter().map(|line| line["heatmap"].as_str().unwrap()).collect();
    assert_ne!(drawn[0], drawn[1]);
    for (line, path) in found.iter().zip(drawn) {
        assert_eq!(image::open(path).unwrap().width(), 64);
        assert_eq!(line["category"], "gear");
        assert_eq!(line["verdict"]["source"]["kind"], "category");
    }
    // A heat map does not replace an image.
    let folder = twin.parent().unwrap().display().to_string();
    let before = fs::read(&twin).unwrap();
    let output = place.detect(&["--heatmaps", &folder], &[&twin]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("would replace an image"));
    assert_eq!(fs::read(&twin).unwrap(), before);

    // Nor any other file, until that is gone. An earlier heat map is replaced.
    let own = maps.join("mine.png");
    fs::copy(&place.images[1], place.path("mine.png")).unwrap();
    fs::copy(&place.images[1], &own).unwrap();
    let before = fs::read(&own).unwrap();
    let draw = || place.detect(&["--heatmaps", &maps_text], &[&place.path("mine.png")]);
    let output = draw();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("mine.png exists and is no heat map"), "{output:?}");
    assert_eq!(fs::read(&own).unwrap(), before);
    fs::remove_file(&own).unwrap();
    assert!(draw().status.success() && draw().status.success());
    assert_eq!(image::open(&own).unwrap().width(), 64);

    // Text.
    let hostile = place.path("a\x1b[2J\n.png");
    fs::copy(&place.images[0], &hostile).unwrap();
    let output = place.detect(&[], &[&hostile]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().count() == 1 && text.contains(r"a\u{1b}[2J\n.png: "), "{text}");
    let output = place.detect(&[], &[&place.images[0]]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().count() == 1 && text.contains("rejects from"), "{text}");

    for (options, code, word) in [
        (vec!["--category", "bolt"], 1, "bolt"),
        (vec!["--calibration", "/no/such.json"], 1, "/no/such.json"),
        (vec!["--threads", "0"], 2, "--threads"),
        (vec!["--weights"], 2, "weights"),
    ] {
        let output = place.detect(&options, &[&place.images[0]]);
        assert_eq!(output.status.code(), Some(code), "{options:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{options:?}");
    }
    let output = program("inspect").args(["--model", "/no/such/model", "x.png"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/model"));
    assert_eq!(program("inspect").args(["--model", "x"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn files_that_are_read_are_not_replaced() {
    let place = Watched::new();
    let (image, model) = (place.path("image.png"), place.path("model"));
    fs::copy(&place.images[0], &image).unwrap();
    let before = [image.clone(), model.join("config.json"), model.join("model.safetensors")];
    let before = before.map(|path| (fs::read(&path).unwrap(), path));
    let fail = |output: Output| {
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && error.contains("would replace a file that is read"), "{error}");
    };
    for (_, path) in &before {
        fail(place.detect(&["--json", path.to_str().unwrap()], &[&image]));
    }
    for flag in ["--out", "--json"] {
        let mut command = program("calibrate");
        command.arg("--model").arg(&model).arg("--data").arg(place.path("data"));
        fail(command.arg(flag).arg(&before[1].1).output().unwrap());
    }
    for (bytes, path) in &before {
        assert_eq!(fs::read(path).unwrap(), *bytes, "{}", path.display());
    }
    // Nor are a model's files under another name, a run's log, and images, by thresholds or a result.
    let (link, log) = (place.path("link.json"), place.path("train.jsonl"));
    std::os::unix::fs::symlink(model.join("calibration.json"), &link).unwrap();
    fs::write(&log, "{}").unwrap();
    for path in [&link, &log, &place.images[1]] {
        let before = fs::read(path).unwrap();
        let output = place.detect(&["--json", path.to_str().unwrap()], &[&image]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("is no result of this program"), "{output:?}");
        assert_eq!(fs::read(path).unwrap(), before);
    }
    let mut command = program("calibrate");
    command.arg("--model").arg(&model).arg("--data").arg(place.path("data")).arg("--out").arg(&log);
    assert!(String::from_utf8_lossy(&command.output().unwrap().stderr).contains("is no result of this program"));
    let error = place.detect(&["--json", place.path("no/where.json").to_str().unwrap()], &[&image]);
    assert!(String::from_utf8(error.stderr).unwrap().contains("there is no folder"));
}

/// Images of products that a model was not trained on set no thresholds, and do not count in the pooled ones.
#[test]
fn calibrate_leaves_out_unknown_products() {
    let place = Watched::new();
    let calibrate = |data: &Path, options: &[&str]| {
        let mut command = program("calibrate");
        command.arg("--model").arg(place.path("model")).arg("--data").arg(data);
        let output = command.args(options).output().unwrap();
        let thresholds = fs::read_to_string(place.path("model/calibration.json")).unwrap();
        (String::from_utf8(output.stderr).unwrap(), serde_json::from_str::<Value>(&thresholds).unwrap())
    };
    let (_, expected) = calibrate(&place.path("data"), &[]);
    let other = place.path("data/other/test/good");
    fs::create_dir_all(place.path("data/other/train/good")).unwrap();
    fs::create_dir_all(&other).unwrap();
    fs::copy(&place.images[0], other.join("0.png")).unwrap();
    fs::copy(&place.images[0], place.path("data/other/train/good/0.png")).unwrap();
    let (said, found) = calibrate(&place.path("data"), &[]);
    assert!(said.contains("left out") && said.contains("other"), "{said}");
    assert_eq!(found, expected);
    let (said, found) = calibrate(&place.path("data/gear/test/good"), &[]);
    assert!(said.contains("--category") && said.contains("--pooled"), "{said}");
    assert_eq!(found, expected);
    let (said, found) = calibrate(&place.path("data/gear/test/good"), &["--pooled"]);
    assert!(said.contains("only the pooled thresholds"), "{said}");
    assert_eq!((&found["pooled"]["normal_images"], &found["categories"]), (&2.into(), &expected["categories"]));
}

/// Thresholds are set with good images alone and with defective ones, and `detect` decides by them.
#[test]
fn calibrate_changes_the_decisions_of_detect() {
    let place = Watched::new();
    let calibrate = |options: &[&str]| {
        let mut command = program("calibrate");
        command.arg("--model").arg(place.path("model")).arg("--data").arg(place.path("data")).args(options);
        command.output().unwrap()
    };
    let decision = || {
        let output = place.detect(&["--json", "-", "--category", "gear"], &[&place.images[0]]);
        lines(&output)[0]["verdict"].clone()
    };
    let output = calibrate(&["--recall", "1", "--review-quantile", "0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("(pooled)"));
    let first = decision();
    let written = fs::read_to_string(place.path("model/calibration.json")).unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    let gear = &written["categories"]["gear"];
    assert_eq!(
        (gear["normal_images"].as_u64(), gear["reject_method"]["rule"]["kind"].as_str()),
        (Some(2), Some("recall"))
    );
    assert_eq!(first["reject"], gear["reject"]);

    let output = calibrate(&["--training-images", "--trained", "use", "--quantile", "1", "--json", "-"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["categories"]["gear"]["normal_images"], 8);
    assert_ne!(decision()["reject"], first["reject"]);

    // Thresholds written by hand.
    fs::write(place.path("model/calibration.json"), r#"{"pooled": {"reject": 1e-6}}"#).unwrap();
    assert_eq!(decision()["decision"], "reject");
    fs::write(place.path("model/calibration.json"), r#"{"pooled": {"reject": 1e9}}"#).unwrap();
    assert_eq!(decision()["decision"], "accept");
    fs::write(place.path("model/calibration.json"), r#"{"pooled": {"reject": -"#).unwrap();
    let output = place.detect(&[], &[&place.images[0]]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("calibration.json"));
    // New thresholds replace a damaged file.
    assert!(calibrate(&["--quantile", "1"]).status.success());
    assert_eq!(place.detect(&[], &[&place.images[0]]).status.code(), Some(0));
    for options in [
        ["--quantile", "2"],
        ["--quantile", "nan"],
        ["--review-quantile", "-1"],
        ["--recall", "0"],
        ["--false-alarm-rate", "0"],
        ["--false-alarm-rate", "1"],
        ["--confidence", "1"],
        ["--confidence", "nan"],
        ["--threads", "0"],
    ] {
        let output = calibrate(&options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(options[0]), "{options:?}");
    }
    let output = calibrate(&["--false-alarm-rate", "1e-300"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("takes more than 1"), "{output:?}");
    assert_eq!(calibrate(&["--quantile", "0.9", "--recall", "0.9"]).status.code(), Some(2));
}

/// A `watch` process, killed when it is dropped.
struct Watch {
    child: Child,
    lines: Receiver<Value>,
}

impl Watch {
    fn start(place: &Watched, options: &[&str]) -> Self {
        Self::start_every(50, place, options)
    }

    /// Starts a process that looks at the folder every so many milliseconds.
    fn start_every(interval: u32, place: &Watched, options: &[&str]) -> Self {
        let mut command = program("watch");
        command.arg("--model").arg(place.path("model")).arg("--out").arg(place.path("out"));
        command.args(["--interval-ms", &interval.to_string()]).args(options).arg(place.path("incoming"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let _ = sender.send(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        // The line comes after the first listing of the folder.
        let mut ready = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.starts_with("watching"), "{ready}");
        Self { child, lines }
    }

    fn line(&self) -> Value {
        self.lines.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn quiet(&self) -> bool {
        self.lines.recv_timeout(Duration::from_millis(600)).is_err()
    }

    fn stop(mut self) -> Option<i32> {
        signal(&self.child, "TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_inspects_new_images_and_waits_for_half_written_ones() {
    let place = Watched::new();
    let incoming = place.path("incoming");
    fs::copy(&place.images[3], incoming.join("old.png")).unwrap();
    let watch = Watch::start(&place, &["--retry-for", "2"]);
    assert!(watch.quiet(), "what was there is not new");

    let whole = incoming.join("a.png");
    fs::copy(&place.images[0], &whole).unwrap();
    let line = watch.line();
    assert_eq!(line["image"], whole.display().to_string());
    assert_eq!(bare(line.clone()), place.expected(&place.images[0]));
    let written = fs::read_to_string(place.path("out/a.png.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), line);
    assert_eq!(line["heatmap"], place.path("out/a.png.png").display().to_string());
    assert_eq!(image::open(place.path("out/a.png.png")).unwrap().width(), 64);

    // Half of an image, a pause, and the rest.
    let bytes = fs::read(&place.images[1]).unwrap();
    let half = incoming.join("b.png");
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    assert!(watch.quiet(), "half an image is no answer yet");
    fs::write(&half, &bytes).unwrap();
    let line = watch.line();
    assert_eq!((line["image"].as_str(), bare(line.clone())), (half.to_str(), place.expected(&place.images[1])));

    // An image that is never completed is reported once. Other files and folders are ignored.
    let torn = incoming.join("c.png");
    fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(incoming.join("notes.txt"), "text").unwrap();
    fs::write(incoming.join(".d.png"), &bytes).unwrap();
    fs::create_dir(incoming.join("e.png")).unwrap();
    let line = watch.line();
    assert_eq!(line["image"], torn.display().to_string());
    assert!(line["error"].as_str().unwrap().contains("c.png"), "{line}");
    assert!(place.path("out/c.png.json").exists() && !place.path("out/c.png.png").exists());
    assert!(watch.quiet());

    // Another image under the name of an earlier one.
    fs::write(&whole, &bytes).unwrap();
    assert_eq!(bare(watch.line()), place.expected(&place.images[1]));

    // Many images at once.
    for (index, image) in place.images.iter().cycle().take(20).enumerate() {
        let temporary = incoming.join(format!(".{index}"));
        fs::copy(image, &temporary).unwrap();
        fs::rename(&temporary, incoming.join(format!("many-{index:02}.png"))).unwrap();
    }
    let mut names: Vec<String> = (0..20).map(|_| watch.line()["image"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);

    // The folder is moved away and created again.
    let away = place.path("away");
    fs::rename(&incoming, &away).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::create_dir(&incoming).unwrap();
    fs::copy(&place.images[2], incoming.join("z.png")).unwrap();
    assert_eq!(bare(watch.line()), place.expected(&place.images[2]));
    assert_eq!(watch.stop(), Some(0));
    let left: Vec<_> = fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("tmp")), "{left:?}");
}

/// The processor time of a process in seconds.
#[cfg(target_os = "linux")]
fn processor_time(child: &Child) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    // Fields 14 and 15 in hundredths of a second; the second field, in parentheses, may have spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

#[cfg(target_os = "linux")]
#[test]
fn watch_on_a_hundred_thousand_files_needs_little_when_nothing_happens() {
    let place = Watched::new();
    let incoming = place.path("incoming");
    let one = incoming.join("0.png");
    fs::copy(&place.images[0], &one).unwrap();
    for index in 1..100_000 {
        // A file has at most 65,000 names on ext4.
        let source = if index < 50_000 { &one } else { &incoming.join("50000.png") };
        let name = incoming.join(format!("{index}.png"));
        if index == 50_000 { fs::copy(&one, name).map(|_| ()).unwrap() } else { fs::hard_link(source, name).unwrap() }
    }
    // As often as by default.
    let watch = Watch::start_every(250, &place, &[]);
    // The folder is listed again until the time of its last change is old enough.
    std::thread::sleep(Duration::from_secs(6));
    let share = || {
        let (before, started) = (processor_time(&watch.child), std::time::Instant::now());
        std::thread::sleep(Duration::from_secs(5));
        (processor_time(&watch.child) - before) / started.elapsed().as_secs_f64()
    };
    // Other work on the same core makes each instruction take longer, so the least of a few measurements counts.
    let shares: Vec<f64> = (0..4).map(|_| share()).take_while(|&share| share >= 0.02).collect();
    assert!(shares.len() < 4, "{shares:?} of a core");
    fs::copy(&place.images[1], incoming.join("new.png")).unwrap();
    assert_eq!(watch.line()["image"], incoming.join("new.png").display().to_string());
}

/// An image of a long name and an empty one are reported, and later images are inspected.
#[test]
fn watch_continues_after_failed_images() {
    let place = Watched::new();
    let watch = Watch::start(&place, &["--retry-for", "0"]);
    let long = format!("{}.png", "a".repeat(250));
    fs::copy(&place.images[0], place.path("incoming").join(&long)).unwrap();
    let line = watch.line();
    let heat_map = Path::new(line["heatmap"].as_str().unwrap());
    assert!(line["image"].as_str().unwrap().contains(&long) && heat_map.exists(), "{line}");
    assert!(heat_map.with_extension("json").exists(), "{line}");
    fs::write(place.path("incoming/empty.png"), "").unwrap();
    let line = watch.line();
    assert!(line["error"].is_string() && line["image"].as_str().unwrap().contains("empty"), "{line}");
    fs::copy(&place.images[0], place.path("incoming/next.png")).unwrap();
    let line = watch.line();
    assert!(line["image_score"].is_number() && line["image"].as_str().unwrap().contains("next"), "{line}");
    // Files of the user stay.
    let (map, result) = (place.path("out/a.png.png"), place.path("out/b.png.json"));
    fs::copy(&place.images[0], &map).unwrap();
    fs::write(&result, "notes").unwrap();
    for name in ["a.png", "b.png"] {
        fs::copy(&place.images[0], place.path("incoming").join(name)).unwrap();
        assert_eq!(watch.line()["heatmap"], place.path("out").join(format!("{name}.2.png")).display().to_string());
    }
    assert!(place.path("out/a.png.2.json").exists() && place.path("out/b.png.2.json").exists());
    assert_eq!(fs::read(&map).unwrap(), fs::read(&place.images[0]).unwrap());
    assert_eq!(fs::read_to_string(&result).unwrap(), "notes");
    assert_eq!(watch.stop(), Some(0));
}

/// Two names that are not UTF-8, and one that they look like.
#[test]
fn watch_tells_names_apart_that_are_not_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let place = Watched::new();
    let names = [&b"a\xff.png"[..], b"a\xfe.png", "a\u{fffd}.png".as_bytes()];
    for name in names {
        let made = fs::copy(&place.images[0], place.path("incoming").join(OsStr::from_bytes(name)));
        if made.is_err() {
            println!("skipped: the file system has no such names");
            return;
        }
    }
    let watch = Watch::start(&place, &["--existing"]);
    let lines: Vec<Value> = names.iter().map(|_| watch.line()).collect();
    for key in ["image", "heatmap"] {
        let mut found: Vec<&str> = lines.iter().map(|line| line[key].as_str().unwrap()).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), names.len(), "{lines:?}");
    }
    for line in &lines {
        let written = fs::read(Path::new(line["heatmap"].as_str().unwrap()).with_extension("json")).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), *line);
    }
    assert_eq!(watch.stop(), Some(0));
    let watch = Watch::start(&place, &["--existing"]);
    assert!(watch.quiet());
}

#[test]
fn watch_inspects_existing_images_on_request_and_refuses_bad_folders() {
    let place = Watched::new();
    fs::copy(&place.images[0], place.path("incoming/old.png")).unwrap();
    let watch = Watch::start(&place, &["--existing", "--category", "gear"]);
    let line = watch.line();
    assert_eq!(line["verdict"]["source"]["kind"], "category");
    assert_eq!(watch.stop(), Some(0));

    let refused = |out: PathBuf, folder: PathBuf, word: &str| {
        let mut command = program("watch");
        let output = command.arg("--model").arg(place.path("model")).arg("--out").arg(out).arg(folder).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{word}");
    };
    refused(place.path("incoming/../incoming"), place.path("incoming"), "--out is the watched folder");
    refused(place.path("out"), place.path("nowhere"), "nowhere");

    // The pooled thresholds would decide in place of the category's.
    let mut command = program("watch");
    let command = command.arg("--model").arg(place.path("model")).args(["--category", "gaer"]);
    let output = command.arg(place.path("incoming")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("was not trained on \"gaer\""));
}
