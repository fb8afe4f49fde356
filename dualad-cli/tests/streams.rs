//! Standard output whose reader goes away, progress on standard error, and commands that leave nothing behind.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dualad::Detector;
use dualad::data::{Dataset, Split};

mod support {
    pub(crate) mod config;
    pub(crate) mod output;
    pub(crate) mod parts;
    pub(crate) mod place;
    pub(crate) mod program;
    pub(crate) mod recipe;
}

use support::output::{succeed, text};
use support::place::Place;
use support::program::program;
use support::recipe::recipe;

/// Returns a training run that writes to the folder `out`.
fn train(place: &Place) -> Command {
    let mut command = place.training("out");
    command.args(["--no-cache", "--preset", "fast", "--heatmaps", "0"]);
    command
}

/// Runs a command, reads its first line and closes its standard output. Returns the exit status and standard error.
fn head(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stderr))
}

/// Runs a command whose standard output is closed from the start.
fn unread(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let place = Place::new(6);
    Detector::fit(place.path("data")).recipe(recipe()).run().unwrap().detector.save(place.path("model")).unwrap();
    let dataset = Dataset::open(place.path("data")).unwrap();
    let images: Vec<PathBuf> = dataset.samples(Split::Test).map(|sample| sample.path.clone()).collect();
    let images: Vec<PathBuf> = images.iter().cycle().take(400).cloned().collect();
    let model = place.path("model");
    for json in [&[][..], &["--json", "-"]] {
        let mut inspect = program("inspect");
        inspect.arg("--model").arg(&model).args(json).args(&images);
        assert_eq!(head(&mut inspect), (Some(0), String::new()));
    }
    assert_eq!(unread(program("info").arg("--model").arg(&model)), (Some(0), String::new()));
    assert_eq!(unread(&mut program("man")), (Some(0), String::new()));
    assert_eq!(unread(program("completions").arg("bash")), (Some(0), String::new()));
    assert_eq!(unread(program("check").arg("--data").arg(place.path("data"))), (Some(0), String::new()));
    // The status still says what a check has found.
    fs::write(place.path("data/gear/train/good/000.png"), "").unwrap();
    assert_eq!(unread(program("check").arg("--data").arg(place.path("data"))).0, Some(1));
    // A watch ends with its reader, at the next image.
    let incoming = place.path("incoming");
    fs::create_dir(&incoming).unwrap();
    fs::copy(&images[0], incoming.join("a.png")).unwrap();
    fs::copy(&images[1], incoming.join("b.png")).unwrap();
    let mut watch = program("watch");
    watch.arg("--model").arg(&model).args(["--existing", "--interval-ms", "20"]).arg(&incoming);
    assert_eq!(unread(&mut watch).0, Some(0));
}

#[test]
fn a_run_whose_output_nobody_reads_is_completed() {
    let place = Place::new(6);
    let (status, _) = unread(&mut train(&place));
    assert_eq!(status, Some(0));
    let card = fs::read_to_string(place.path("out/README.md")).unwrap();
    assert!(card.contains("gear") && !card.contains("Not measured"), "{card}");
}

#[test]
fn progress_is_said_in_lines_on_request_only() {
    let place = Place::new(6);
    let lines = |form: &str| text(&succeed(train(&place).args(["--progress", form])).stderr);
    let plain = lines("plain");
    for line in ["reading images: 12 of 12 in ", "features for training: ", "training: "] {
        assert_eq!(plain.lines().filter(|found| found.starts_with(line)).count(), 1, "{line}: {plain}");
    }
    assert!(!plain.contains("0 of 0"), "{plain}");
    for form in ["auto", "none"] {
        let said = lines(form);
        assert!(!said.contains(" of 12 in "), "{said}");
    }
    let check = |form: &str| {
        let mut command = program("check");
        text(&succeed(command.arg("--data").arg(place.path("data")).args(["--progress", form])).stderr)
    };
    assert!(check("plain").starts_with("checking the dataset: "));
    assert_eq!(check("auto"), "");
}

#[test]
fn a_command_that_cannot_begin_leaves_nothing_behind() {
    let place = Place::new(6);
    Detector::fit(place.path("data")).recipe(recipe()).run().unwrap().detector.save(place.path("model")).unwrap();
    let left = |command: &mut Command| {
        let output = command.arg("--out").arg(place.path("new/out")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(!place.path("new").exists(), "{command:?}");
    };
    let train = |data: &str| {
        let mut command = program("train");
        command.arg("--data").arg(place.path(data)).args(["--preset", "fast", "--no-cache"]);
        command
    };
    let evaluate = |data: &str| {
        let mut command = program("evaluate");
        command.arg("--model").arg(place.path("model")).arg("--data").arg(place.path(data)).arg("--no-cache");
        command
    };
    left(train("nowhere").args(["--backbone", "filter-bank"]));
    left(&mut evaluate("nowhere"));
    left(train("data").args(["--backbone", "filter-bank", "--categories", "nut"]));
    left(train("data").arg("--weights").arg(place.path("nowhere.safetensors")).args(["--backbone", "resnet18"]));
    // A dataset with a fatal fault.
    fs::write(place.path("data/gear/train/good/000.png"), "").unwrap();
    left(train("data").args(["--backbone", "filter-bank"]));
    fs::write(place.path("data/gear/test/good/000.png"), "").unwrap();
    left(&mut evaluate("data"));
    // A folder that was there stays, without a lock.
    fs::create_dir_all(place.path("new/out")).unwrap();
    let output =
        train("data").args(["--backbone", "filter-bank"]).arg("--out").arg(place.path("new/out")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_dir(place.path("new/out")).unwrap().count(), 0);
}
