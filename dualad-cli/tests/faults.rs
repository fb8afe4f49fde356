//! Faults of real processes: kills at any moment, a full disk, a read-only disk, files that change while they are read, and
//! clocks that jump.
//!
//! `DUALAD_KILLS=50` sets the number of kills to that in `docs/reliability.md`. Default: 4.

#![cfg(unix)]
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dualad::candle_core::Device;
use dualad::detector::Request;
use dualad::{Detector, Model};
use serde_json::Value;

mod support {
    pub(crate) mod config;
    pub(crate) mod disk;
    pub(crate) mod output;
    pub(crate) mod parts;
    pub(crate) mod place;
    pub(crate) mod program;
    pub(crate) mod recipe;
    pub(crate) mod wait;
}

use support::disk::Disk;
use support::output::{succeed, text};
use support::place::Place;
use support::program::program;
use support::recipe::recipe;
use support::wait::wait_for;

fn kills() -> u64 {
    std::env::var("DUALAD_KILLS").map_or(4, |kills| kills.parse().unwrap())
}

/// Random moments from a fixed seed.
struct Moments(u64);

impl Moments {
    fn below(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((self.0 >> 33) as f64 / (1u64 << 31) as f64)
    }
}

impl Place {
    /// Returns a training run into the folder `out` with the cache `cache`.
    fn training_with(&self, out: &str, cache: &str) -> Command {
        let mut command = self.training(out);
        command.args(["--preset", "fast"]).arg("--cache").arg(self.path(cache));
        command
    }

    fn fast_training(&self, out: &str) -> Command {
        self.training_with(out, "cache")
    }

    fn parameters(&self, out: &str) -> Vec<u8> {
        fs::read(self.path(out).join("model.safetensors")).unwrap()
    }

    /// Returns the report without the times, which differ from run to run.
    fn report(&self, out: &str) -> Value {
        let mut report: Value = serde_json::from_slice(&fs::read(self.path(out).join("report.json")).unwrap()).unwrap();
        report.as_object_mut().unwrap().remove("seconds");
        report
    }
}

/// A folder with two models, `calibrated` with thresholds and `plain` without, and with the images they were trained on.
fn models() -> &'static Place {
    static MODELS: OnceLock<Place> = OnceLock::new();
    MODELS.get_or_init(|| {
        let place = Place::new(8);
        let fitted = Detector::fit(place.path("data")).recipe(recipe()).run().unwrap().detector;
        fitted.save(place.path("calibrated")).unwrap();
        let other = Detector::fit(place.path("data")).recipe(recipe()).epochs(1).run().unwrap().detector;
        other.with_calibration(None).save(place.path("plain")).unwrap();
        place
    })
}

/// Runs a command that must fail with one line on stderr, and returns the line.
fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{command:?}\n{}{stderr}", text(&output.stdout));
    assert!(stderr.lines().count() == 1 && stderr.starts_with("error: "), "{stderr}");
    stderr
}

fn quiet(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Kills a process with SIGKILL after some time. Returns false if it has ended before, which must be with success.
fn kill_after(mut process: Child, moment: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        if process.try_wait().unwrap().is_some() {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    true
}

/// Returns the content of every file in a folder and below it.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn training_killed_again_and_again_ends_with_the_same_bits() {
    let place = Place::new(3);
    let epochs = (80 * kills()).to_string();
    let flags = ["--epochs", epochs.as_str(), "--checkpoint-every", "0"];
    succeed(place.fast_training("whole").args(flags));
    let mut moments = Moments(12_345);
    let (mut killed, mut patience) = (0, Duration::ZERO);
    loop {
        let mut command = place.fast_training("killed");
        // The same command works where it was killed before its first checkpoint.
        let process = quiet(command.arg("--resume").args(flags));
        if killed < kills() {
            // Each run gets more time than the last one, so that a slow machine makes progress, too.
            patience += Duration::from_millis(5);
            killed += u64::from(kill_after(process, moments.below(Duration::from_millis(250)) + patience));
        } else {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        if place.path("killed/report.json").exists() {
            break;
        }
    }
    println!("killed {killed} times");
    assert!(killed >= 1, "it was never killed");
    assert!(place.parameters("killed") == place.parameters("whole"), "another model after {killed} kills");
    assert_eq!(place.report("killed"), place.report("whole"));
    assert!(!names(&place.path("killed")).iter().any(|name| name.contains("unfinished")));
}

#[test]
fn caching_killed_again_and_again_leaves_whole_entries() {
    let place = Place::new(24);
    let begun = Instant::now();
    succeed(place.training_with("whole", "whole-cache").args(["--epochs", "1"]));
    let whole = begun.elapsed();
    let expected: Vec<Vec<u8>> = content(&place.path("whole-cache/features")).into_values().collect();
    let entries = || {
        let folder = place.path("cache/features");
        // Unfinished files are no entries. They are removed after a day.
        let named = |path: &PathBuf| !path.parent().is_some_and(|folder| folder.ends_with("partial"));
        let found = if folder.exists() { content(&folder) } else { BTreeMap::new() };
        found.into_iter().filter(|(path, _)| named(path)).map(|(_, entry)| entry).collect::<Vec<_>>()
    };
    let mut moments = Moments(54_321);
    let mut killed = 0;
    let mut tries = 0;
    while killed < kills() {
        tries += 1;
        assert!(tries < 20 * kills(), "it is too fast to be killed");
        if entries().len() == expected.len() {
            fs::remove_dir_all(place.path("cache")).unwrap();
        }
        let before = entries().len();
        let process = quiet(place.fast_training("out").args(["--epochs", "1"]));
        killed += u64::from(kill_after(process, moments.below(whole.mul_f64(0.7))));
        let found = entries();
        assert!(found.len() >= before, "an entry was lost");
        assert!(found.iter().all(|entry| expected.contains(entry)), "an entry is not whole");
    }
    println!("killed {killed} times");
    succeed(place.fast_training("out").args(["--epochs", "1"]));
    let found = entries();
    assert_eq!(found.len(), expected.len());
    // The index of the first difference: printing the bytes would not help.
    let other = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!(other, None, "an entry is not what it would have been");
    assert!(place.parameters("out") == place.parameters("whole"), "another model");
}

#[test]
fn calibrating_killed_again_and_again_leaves_the_old_thresholds_or_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    Detector::load(models().path("calibrated")).unwrap().save(&model).unwrap();
    let calibrate = |quantile: &str| {
        let mut command = program("calibrate");
        command.arg("--model").arg(&model).arg("--data").arg(models().path("data")).args(["--quantile", quantile]);
        command
    };
    let thresholds = || fs::read_to_string(model.join("calibration.json")).unwrap();
    let quantiles = ["0.5", "0.8"];
    let mut whole = Duration::ZERO;
    let expected = quantiles.map(|quantile| {
        let begun = Instant::now();
        succeed(&mut calibrate(quantile));
        whole = whole.max(begun.elapsed());
        thresholds()
    });
    assert_ne!(expected[0], expected[1]);
    let mut moments = Moments(99);
    let (mut killed, mut turn) = (0, 0);
    while killed < kills() {
        turn += 1;
        assert!(turn < 20 * kills() as usize, "it is too fast to be killed");
        let process = quiet(&mut calibrate(quantiles[turn % 2]));
        killed += u64::from(kill_after(process, moments.below(whole)));
        assert!(expected.contains(&thresholds()), "{}", thresholds());
        Detector::load(&model).unwrap();
    }
    println!("killed {killed} times");
}

/// The test that acts as a saver where `DUALAD_SAVE_TO` is set: its process saves the two models in turn into that folder.
const SAVER: &str = "saving_killed_again_and_again_leaves_one_model_or_the_other";

fn save_forever(folder: &Path) {
    let from = PathBuf::from(std::env::var_os("DUALAD_SAVE_FROM").unwrap());
    let models = ["calibrated", "plain"].map(|name| Detector::load(from.join(name)).unwrap());
    for turn in 0.. {
        models[turn % 2].save(folder).unwrap();
        fs::write(from.join("saving"), "").unwrap();
    }
}

fn start_saver(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", SAVER]).env("DUALAD_SAVE_TO", folder);
    quiet(command.env("DUALAD_SAVE_FROM", models().path("")))
}

/// A saving process, killed when it is dropped.
struct Saver(Child);

impl Drop for Saver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Checks that a folder holds one of the two models completely, and returns its name.
fn check_saved(folder: &Path) -> &'static str {
    let digest = |folder: &Path| Model::load(folder, &Device::Cpu).unwrap().config().sha256.clone();
    let found = Detector::load(folder).unwrap();
    let name = if found.calibration().is_some() { "calibrated" } else { "plain" };
    assert_eq!(found.config().sha256, digest(&models().path(name)));
    name
}

#[test]
fn saving_killed_again_and_again_leaves_one_model_or_the_other() {
    if let Some(folder) = std::env::var_os("DUALAD_SAVE_TO") {
        return save_forever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    Detector::load(models().path("plain")).unwrap().save(&model).unwrap();
    let mut moments = Moments(7);
    let mut found = BTreeMap::new();
    for _ in 0..kills() {
        let _ = fs::remove_file(models().path("saving"));
        let process = start_saver(&model);
        wait_for("the first model", || models().path("saving").exists());
        assert!(kill_after(process, moments.below(Duration::from_millis(60))));
        *found.entry(check_saved(&model)).or_insert(0) += 1;
    }
    println!("killed {} times: {found:?}", kills());
    Detector::load(models().path("calibrated")).unwrap().save(&model).unwrap();
    let files = ["README.md", "calibration.json", "config.json", "model.safetensors", "training-images.json"];
    assert_eq!(names(&model), files);
}

#[test]
fn two_savers_and_a_reader_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    Detector::load(models().path("plain")).unwrap().save(&model).unwrap();
    let mut savers = [Saver(start_saver(&model)), Saver(start_saver(&model))];
    for _ in 0..10 * kills() {
        check_saved(&model);
    }
    for saver in &mut savers {
        assert!(saver.0.try_wait().unwrap().is_none(), "it ended by itself");
    }
    drop(savers);
    check_saved(&model);
}

#[test]
fn files_that_shrink_while_they_are_read_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    Detector::load(models().path("plain")).unwrap().save(&model).unwrap();
    let image = folder.path().join("image.png");
    fs::copy(models().path("data/gear/test/good/000.png"), &image).unwrap();
    let detector = Detector::load(&model).unwrap();
    let expected = detector.inspect(Request::from(&image)).unwrap();
    let whole = [model.join("model.safetensors"), image.clone()].map(|path| (fs::read(&path).unwrap(), path));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut moments = Moments(3);
            while !done.load(Ordering::Relaxed) {
                for (bytes, path) in &whole {
                    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                    let most = Duration::from_nanos(bytes.len() as u64);
                    file.set_len(moments.below(most).as_nanos() as u64).unwrap();
                    fs::write(path, bytes).unwrap();
                }
            }
        });
        let (mut read, mut refused) = (0, 0);
        for _ in 0..100 * kills() {
            for result in [
                Model::load(&model, &Device::Cpu).map(|_| ()),
                detector
                    .inspect(Request::from(&image))
                    .map(|found| assert_eq!(found.image_score, expected.image_score)),
            ] {
                match result {
                    Ok(()) => read += 1,
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains("image.png") || error.contains("model"), "{error}");
                        refused += 1;
                    }
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        println!("read {read} times, refused {refused} times");
        assert!(read > 0 && refused > 0, "nothing shrank while it was read");
    });
}

#[test]
fn a_full_disk_names_the_cache_and_the_way_out() {
    let place = Place::new(3);
    let Some(disk) = Disk::mount(place.path("disk"), "32k") else { return };
    let error = fail(&mut place.training_with("out", "disk/cache"));
    assert!(error.contains("disk/cache") && error.contains("--no-cache"), "{error}");
    drop(disk);
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let place = Place::new(3);
    let Some(disk) = Disk::mount(place.path("disk"), "2m") else { return };
    let flags = ["--epochs", "300", "--checkpoint-every", "0"];
    let first = quiet(place.fast_training("disk/out").args(flags));
    wait_for("a checkpoint", || disk.path("out/checkpoint.safetensors").exists());
    // Another file takes the rest of the disk.
    let hog = disk.fill();
    let stderr = text(&first.wait_with_output().unwrap().stderr);
    assert!(stderr.contains("cannot write") && stderr.contains("disk/out"), "{stderr}");
    fs::remove_file(hog).unwrap();
    succeed(place.fast_training("disk/out").args(flags).arg("--resume"));
    succeed(place.fast_training("whole").args(flags));
    assert!(place.parameters("disk/out") == place.parameters("whole"), "another model");
}

#[test]
fn a_full_disk_leaves_the_model_its_thresholds_and_whole_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(folder.path().join("disk"), "2m") else { return };
    let model = disk.path("model");
    Detector::load(models().path("calibrated")).unwrap().save(&model).unwrap();
    let before = content(&model);
    disk.fill();
    let other = Detector::load(models().path("plain")).unwrap();
    let error = other.save(&model).unwrap_err().to_string();
    assert!(error.contains("cannot write") && error.contains("disk/model"), "{error}");
    assert!(content(&model) == before, "{:?}", names(&model));
    let mut command = program("calibrate");
    let error = fail(command.arg("--model").arg(&model).arg("--data").arg(models().path("data")));
    assert!(error.contains("calibration.json"), "{error}");
    assert!(content(&model) == before, "{:?}", names(&model));
    // The result is printed although the heat map cannot be written.
    let mut command = program("inspect");
    command.arg("--model").arg(&model).arg("--heatmaps").arg(disk.path("maps")).args(["--json", "-"]);
    let output = command.arg(models().path("data/gear/test/good/000.png")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("disk/maps"), "{}{}", text(&output.stdout), text(&output.stderr));
    if disk.path("maps").exists() {
        assert!(content(&disk.path("maps")).is_empty());
    }
}

#[test]
fn errors_on_a_read_only_disk_name_the_path_and_reading_works() {
    let place = Place::new(3);
    let Some(disk) = Disk::mount(place.path("disk"), "4m") else { return };
    Detector::load(models().path("calibrated")).unwrap().save(disk.path("model")).unwrap();
    succeed(place.training_with("first", "disk/cache").args(["--epochs", "1"]));
    fs::create_dir(disk.path("out")).unwrap();
    disk.seal();
    let image = models().path("data/gear/test/good/000.png");
    succeed(program("inspect").arg("--model").arg(disk.path("model")).arg(&image));
    for (error, name) in [
        (fail(&mut place.fast_training("disk/out")), "disk/out"),
        (fail(&mut place.fast_training("disk/new")), "disk/new"),
        (fail(&mut place.training_with("out", "disk/empty-cache")), "disk/empty-cache"),
        (
            fail(program("calibrate").arg("--model").arg(disk.path("model")).arg("--data").arg(models().path("data"))),
            "disk/model",
        ),
        (
            fail(
                program("inspect")
                    .arg("--model")
                    .arg(disk.path("model"))
                    .arg("--heatmaps")
                    .arg(disk.path("maps"))
                    .arg(&image),
            ),
            "disk/maps",
        ),
    ] {
        assert!(error.contains(name), "{error}");
    }
    let error = Detector::load(models().path("plain")).unwrap().save(disk.path("model")).unwrap_err().to_string();
    assert!(error.contains("disk/model"), "{error}");
    check_saved(&disk.path("model"));
}

#[test]
fn clocks_that_jump_change_nothing() {
    let place = Place::new(6);
    let flags = ["--epochs", "60", "--checkpoint-every", "0"];
    succeed(place.fast_training("whole").args(flags));
    let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let library = library.map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1"));
    let Some(library) = library.iter().find(|library| library.exists()) else {
        println!("skipped: this needs the library of the package faketime");
        return;
    };
    let clock = place.path("clock");
    fs::write(&clock, "+0").unwrap();
    let mut command = place.training_with("jumped", "other-cache");
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
    let mut process = quiet(command.args(flags));
    let mut jumps = ["+3d", "-400d", "+20y", "-3600", "+0"].iter().cycle();
    let mut count = 0;
    while process.try_wait().unwrap().is_none() {
        let other = place.path("other-clock");
        fs::write(&other, jumps.next().unwrap()).unwrap();
        fs::rename(&other, &clock).unwrap();
        count += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    println!("the clock jumped {count} times");
    assert!(count > 1, "the run was over before a jump");
    assert!(place.parameters("jumped") == place.parameters("whole"), "another model");
}
