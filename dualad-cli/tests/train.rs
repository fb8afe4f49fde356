//! `dualad train` and `dualad evaluate` as processes: the files they write, how they end, and what an interrupted run keeps.

#![cfg(unix)]
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dualad::Variant;
use dualad::backbones::Backbone;
use dualad::recipe::Recipe;
use serde_json::Value;

mod support {
    pub(crate) mod config;
    pub(crate) mod example;
    pub(crate) mod output;
    pub(crate) mod parts;
    pub(crate) mod place;
    pub(crate) mod program;
    pub(crate) mod signal;
    pub(crate) mod wait;
}

use support::example::example;
use support::output::{succeed, text};
use support::place::Place;
use support::program::program;
use support::signal::signal;
use support::wait::wait_for;

impl Place {
    /// Returns a training run into the folder `out`.
    fn command(&self, out: &str) -> Command {
        let mut command = self.training(out);
        command.args(["--preset", "fast", "--heatmaps", "1"]).arg("--cache").arg(self.path("cache"));
        command
    }

    fn model(&self, out: &str) -> Vec<u8> {
        fs::read(self.path(out).join("model.safetensors")).unwrap()
    }

    /// Returns the result without the times, which differ from run to run.
    fn result(&self, out: &str) -> Value {
        let mut result = json(&self.path(out).join("report.json"));
        result.as_object_mut().unwrap().remove("seconds");
        result
    }

    /// Returns the content of every cache entry.
    fn cached(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for folder in fs::read_dir(self.path("cache/features")).unwrap() {
            for entry in fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = entry.unwrap().path();
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
        found
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Runs a command that must fail with this exit status and returns its stderr, one line for status 1.
fn fail(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{}{stderr}", text(&output.stdout));
    if code == 1 {
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
    stderr
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// The threads that compute have names.
#[cfg(target_os = "linux")]
#[test]
fn training_computes_on_as_many_threads_as_are_asked_for() {
    let place = Place::new(8);
    assert!(fail(place.command("out").args(["--threads", "0"]), 2).contains("--threads"));
    let mut command = place.command("out");
    let mut child = command.args(["--threads", "3"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let tasks = format!("/proc/{}/task", child.id());
    let mut names = std::collections::BTreeSet::new();
    let status = loop {
        for task in fs::read_dir(&tasks).into_iter().flatten().flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let number = name.trim().strip_prefix("dualad-").and_then(|number| number.parse::<u64>().ok());
            names.extend(number);
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    assert!(status.success());
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_run_leaves_a_model_a_report_and_heat_maps() {
    let place = Place::new(3);
    let output = succeed(&mut place.command("out"));
    let table = text(&output.stdout);
    assert!(table.contains("gear") && table.contains("plate") && table.contains("mean"), "{table}");
    assert_eq!(text(&output.stderr), "", "nothing to say where nobody watches");
    let out = place.path("out");
    for file in ["config.json", "model.safetensors", "README.md", "report.json", "report.html", "train.jsonl"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    for category in ["gear", "plate"] {
        assert_eq!(fs::read_dir(out.join("heatmaps").join(category)).unwrap().count(), 1);
    }
    let config = json(&out.join("config.json"));
    assert_eq!((&config["format"], &config["backbone"]), (&2.into(), &"filter-bank".into()));
    assert_eq!(config["categories"], serde_json::json!(["gear", "plate"]));
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("filter-bank") && card.contains("gear"), "{card}");

    let result = place.result("out");
    assert_eq!((&result["format"], &result["epochs"], &result["seed"]), (&1.into(), &8.into(), &0.into()));
    assert_eq!((&result["preset"], &result["train_images"]), (&"fast".into(), &6.into()));
    assert_eq!(result["loss"].as_array().unwrap().len(), 8);
    assert!(result["categories"]["gear"]["image_auroc"].is_number());
    assert_eq!(json(&out.join("report.json"))["seconds"].as_object().unwrap().len(), 3);

    // A second evaluation gives the same metrics.
    let mut again = program("train");
    again.args(["--eval-only", "--json", "-", "--data"]).arg(place.path("data")).arg("--out").arg(&out);
    again.arg("--cache").arg(place.path("cache"));
    let output = succeed(&mut again);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["categories"], result["categories"]);
    assert_eq!(found["pooled"], result["pooled"]);
}

#[test]
fn the_second_run_takes_its_features_from_the_cache_and_no_cache_changes_nothing() {
    let place = Place::new(3);
    succeed(&mut place.command("first"));
    let cached = place.cached();
    // 6 training images; 2 good and 7 defective ones of each category, some of which may be equal.
    assert!(cached.len() > 6, "{}", cached.len());
    let written = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    let times: Vec<_> = cached.keys().map(written).collect();
    succeed(&mut place.command("second"));
    assert_eq!(times, cached.keys().map(written).collect::<Vec<_>>());
    assert_eq!(place.model("first"), place.model("second"));
    assert_eq!(place.result("first"), place.result("second"));

    let mut without = program("train");
    without.arg("--data").arg(place.path("data")).arg("--config").arg(place.path("config.json"));
    without.args(["--backbone", "filter-bank", "--preset", "fast", "--no-cache"]).arg("--out").arg(place.path("third"));
    without.env("DUALAD_CACHE", place.path("untouched"));
    succeed(&mut without);
    assert!(!place.path("untouched").exists());
    assert_eq!(place.model("first"), place.model("third"));
}

#[test]
fn damaged_cache_entries_are_computed_again() {
    let place = Place::new(3);
    succeed(&mut place.command("first"));
    let whole = place.cached();
    for (number, (path, bytes)) in whole.iter().enumerate() {
        match number % 5 {
            0 => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
            1 => {
                let mut changed = bytes.clone();
                changed[bytes.len() - 3] ^= 0x40;
                fs::write(path, changed).unwrap();
            }
            2 => fs::write(path, "").unwrap(),
            3 => fs::remove_file(path).unwrap(),
            _ => {}
        }
    }
    succeed(&mut place.command("second"));
    assert_eq!(place.model("first"), place.model("second"));
    assert!(place.cached() == whole, "every entry is as it was");
}

#[test]
fn two_runs_share_a_cache_and_not_a_folder() {
    let place = Place::new(3);
    let mut runs: Vec<_> =
        ["a", "b"].map(|out| place.command(out).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()).into();
    for run in &mut runs {
        assert!(run.wait().unwrap().success());
    }
    assert_eq!(place.model("a"), place.model("b"));

    let mut first = place.command("a").args(["--epochs", "100000"]).stdout(Stdio::null()).spawn().unwrap();
    let log = place.path("a/train.jsonl");
    wait_for("the first run to train", || lines(&log) > 9);
    let error = fail(&mut place.command("a"), 1);
    assert!(error.contains("another run is writing to") && error.contains("/a"), "{error}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_signal_saves_the_run_and_resuming_gives_the_same_bits() {
    let place = Place::new(3);
    let epochs = ["--epochs", "60"];
    succeed(place.command("whole").args(epochs));
    for name in ["INT", "TERM"] {
        let mut run = place.command(name);
        let run = run.args(epochs).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = place.path(name).join("train.jsonl");
        wait_for("the run to train", || lines(&log) > 5);
        signal(&run, name);
        let output = run.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.lines().count() == 1 && stderr.contains("checkpoint.safetensors") && stderr.contains("--resume")
        );
        assert!(!place.path(name).join("model.safetensors").exists());

        // A resumed run must have the same recipe and images.
        let error = fail(place.command(name).args(epochs).args(["--resume", "--batch-size", "3"]), 1);
        assert!(error.contains("train.batch_size is 3 now, and was 4 there"), "{error}");
        let error = fail(place.command(name).args(epochs).args(["--resume", "--categories", "plate"]), 1);
        assert!(error.contains("training image 0 is plate/000.png"), "{error}");

        succeed(place.command(name).args(epochs).arg("--resume"));
        assert_eq!(place.model(name), place.model("whole"), "after SIG{name}");
        assert_eq!(place.result(name), place.result("whole"));
        let steps = |out: &str| -> Vec<(Value, Value)> {
            let text = fs::read_to_string(place.path(out).join("train.jsonl")).unwrap();
            let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
            text.lines().map(line).map(|line| (line["step"].clone(), line["loss"].clone())).collect()
        };
        assert_eq!(steps(name), steps("whole"));
    }
}

#[test]
fn visa_reads_its_own_layout() {
    let place = Place::new(3);
    let root = place.path("visa");
    let mut table = String::from("object,split,label,image,mask\n");
    let images = root.join("gear/Data/Images");
    let masks = root.join("gear/Data/Masks/Anomaly");
    for folder in [images.join("Normal"), images.join("Anomaly"), masks.clone(), root.join("split_csv")] {
        fs::create_dir_all(folder).unwrap();
    }
    let gear = place.path("data/gear");
    for number in 0..3 {
        fs::copy(gear.join(format!("train/good/00{number}.png")), images.join(format!("Normal/{number}.png"))).unwrap();
        table += &format!("gear,train,normal,gear/Data/Images/Normal/{number}.png,\n");
    }
    fs::copy(gear.join("test/good/000.png"), images.join("Normal/9.png")).unwrap();
    table += "gear,test,normal,gear/Data/Images/Normal/9.png,\n";
    fs::copy(gear.join("test/stain/000.png"), images.join("Anomaly/0.png")).unwrap();
    fs::copy(gear.join("ground_truth/stain/000_mask.png"), masks.join("0.png")).unwrap();
    table += "gear,test,anomaly,gear/Data/Images/Anomaly/0.png,gear/Data/Masks/Anomaly/0.png\n";
    fs::write(root.join("split_csv/1cls.csv"), table).unwrap();

    let run = |name: &str| {
        let mut command = example(name);
        command.arg("--data").arg(&root).arg("--config").arg(place.path("config.json"));
        command.args(["--backbone", "filter-bank", "--preset", "fast", "--cache-type", "f16", "--eval-every", "3"]);
        command.arg("--cache").arg(place.path("cache")).arg("--out").arg(place.path("out"));
        command
    };
    let output = succeed(run("visa").args(["--json", "-"]));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(result["categories"]["gear"]["pixel_auroc"].is_number(), "{result}");
    let output = text(&succeed(&mut run("visa")).stdout);
    assert!(output.contains("epoch 3: image AUROC") && output.contains("epoch 6: image AUROC"), "{output}");
    let output = succeed(run("visa").args(["--best", "--json", "-"]));
    let best: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(best["reported_epoch"], result["reported_epoch"], "{best}");
    let error = fail(run("visa").arg("--data").arg(place.path("data")), 2);
    assert!(error.contains("--data"), "{error}");
    let mut other = example("visa");
    other.arg("--data").arg(place.path("data")).arg("--out").arg(place.path("out"));
    let error = fail(&mut other, 1);
    assert!(error.contains("1cls.csv"), "{error}");
}

#[test]
fn bad_usage_ends_with_status_2_and_other_errors_with_one_line() {
    let place = Place::new(3);
    for flags in [
        &["--preset", "paper", "--epochs", "0"][..],
        &["--epochs", "many"],
        &["--batch-size", "0"],
        &["--learning-rate", "-1"],
        &["--learning-rate", "nan"],
        &["--eval-every", "0"],
        &["--backbone", "resnet19"],
        &["--preset", "slow"],
        &["--variant", "mixed"],
        &["--device", "abacus"],
        &["--device", "cpu,cuda"],
        &["--device", "cuda:0, 1"],
        &["--device", "cuda:1,1"],
        &["--eval-only", "--device", "cuda:0,1"],
        &["--resume", "--eval-only"],
        &["--best"],
        &["--best", "--eval-every", "2", "--resume"],
        &["--cache", "a", "--no-cache"],
        &["--no-such-flag"],
        &["an-argument"],
    ] {
        let output = program("train").args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {}", text(&output.stderr));
    }
    let told = |device: &str| text(&program("train").args(["--device", device]).output().unwrap().stderr);
    assert!(told("cpu,cuda").contains("must be cpu, cuda, metal, cuda:N, or cuda:N,M"), "{}", told("cpu,cuda"));
    // Only the training itself takes several devices. No machine has so many.
    assert!(told("cuda:255,254").contains("no device cuda:255"), "{}", told("cuda:255,254"));
    let measured = program("train").args(["--eval-only", "--device", "cuda:1,0"]).output().unwrap();
    let measured = text(&measured.stderr);
    assert!(measured.contains("computes on one device; use --device cuda:1"), "{measured}");
    let mut missing = program("train");
    missing.args(["--data", "/nowhere/at/all", "--backbone", "filter-bank"]).arg("--out").arg(place.path("out"));
    missing.arg("--cache").arg(place.path("cache"));
    let error = fail(&mut missing, 1);
    assert!(error.contains("/nowhere/at/all"), "{error}");
    let error = fail(place.command("out").args(["--categories", "gear,nut"]), 1);
    assert!(error.contains("nut") && error.contains("plate"), "{error}");
    let mut untrained = program("train");
    untrained.arg("--eval-only").arg("--data").arg(place.path("data")).arg("--out").arg(place.path("out"));
    let error = fail(untrained.arg("--cache").arg(place.path("cache")), 1);
    assert!(error.contains("there is no such folder"), "{error}");

    fs::write(place.path("config.json"), r#"{"train": {"epoch": 3}}"#).unwrap();
    let error = fail(&mut place.command("out"), 1);
    assert!(error.contains("config.json") && error.contains("unknown field `epoch`"), "{error}");
    fs::write(place.path("config.json"), r#"{"network": {"heads": 3}}"#).unwrap();
    let error = fail(&mut place.command("out"), 1);
    assert!(error.contains("heads"), "{error}");
    fs::remove_file(place.path("config.json")).unwrap();
    assert!(fail(&mut place.command("out"), 1).contains("config.json"));
}

/// A run that is killed before its first checkpoint starts again with the command that resumes it.
#[test]
fn resuming_without_a_checkpoint_begins_the_run() {
    let place = Place::new(3);
    let output = succeed(place.command("resumed").arg("--resume"));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("no ") && stderr.contains("checkpoint.safetensors to resume from"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    succeed(&mut place.command("whole"));
    assert_eq!(place.model("resumed"), place.model("whole"));
    assert_eq!(place.result("resumed"), place.result("whole"));
    let output = succeed(place.command("resumed").arg("--resume"));
    assert_eq!(text(&output.stderr), "", "a checkpoint exists");
}

/// The example `mvtec` trains the same model as `dualad train`, and `dualad evaluate` measures it with the same result.
#[test]
fn the_example_trains_the_same_model_and_evaluate_measures_it() {
    let place = Place::new(3);
    succeed(&mut place.command("program"));
    let mut run = example("mvtec");
    run.arg("--data").arg(place.path("data")).arg("--config").arg(place.path("config.json"));
    run.args(["--backbone", "filter-bank", "--preset", "fast", "--heatmaps", "1"]);
    run.arg("--cache").arg(place.path("cache")).arg("--out").arg(place.path("example"));
    succeed(&mut run);
    assert_eq!(place.model("example"), place.model("program"));
    assert_eq!(place.result("example"), place.result("program"));

    let mut evaluate = program("evaluate");
    evaluate.arg("--model").arg(place.path("program")).arg("--data").arg(place.path("data")).args(["--json", "-"]);
    evaluate.arg("--cache").arg(place.path("cache")).arg("--out").arg(place.path("evaluation"));
    let measured: Value = serde_json::from_slice(&succeed(&mut evaluate).stdout).unwrap();
    for field in
        ["categories", "mean", "pooled", "backbone", "variant", "preset", "epochs", "parameters", "train_images"]
    {
        assert_eq!(measured[field], place.result("program")[field], "{field}");
    }
    assert!(place.path("evaluation/report.html").is_file() && place.path("evaluation/heatmaps/gear").is_dir());
    assert!(!place.path("evaluation/config.json").exists(), "the model is not copied");

    // The model's own folder keeps its training report.
    let mut into_model = program("evaluate");
    into_model.arg("--model").arg(place.path("program")).arg("--data").arg(place.path("data"));
    let before = fs::read(place.path("program/report.json")).unwrap();
    let error = fail(into_model.arg("--out").arg(place.path("program")), 1);
    assert!(error.contains("holds a model") && error.contains("name another folder"), "{error}");
    assert_eq!(fs::read(place.path("program/report.json")).unwrap(), before);

    // Test images are enough to evaluate on.
    fs::remove_dir_all(place.path("data/gear/train")).unwrap();
    let again: Value = serde_json::from_slice(&succeed(&mut evaluate).stdout).unwrap();
    assert_eq!(again["mean"], measured["mean"]);

    // Copies of training images among the test images are counted.
    assert_eq!(again["trained_test_images"], 0);
    for (index, image) in fs::read_dir(place.path("data/plate/train/good")).unwrap().enumerate() {
        fs::copy(image.unwrap().path(), place.path(&format!("data/plate/test/good/copy{index}.png"))).unwrap();
    }
    let output = succeed(&mut evaluate);
    let copied: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = copied["trained_test_images"].as_u64().unwrap();
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(count > 0 && warning.contains(&format!("the model was trained on {count} of the")), "{count}: {warning}");
}

/// A folder of images is detected, and the layout can be forced.
#[test]
fn a_folder_of_images_is_detected_and_can_be_forced() {
    let place = Place::new(3);
    let folder = place.path("data/gear/train/good");
    let run = |layout: &str, out: &str| {
        let mut command = program("train");
        command.arg("--data").arg(&folder).arg("--config").arg(place.path("config.json")).args(["--layout", layout]);
        command.args(["--backbone", "filter-bank", "--preset", "fast"]);
        command.arg("--cache").arg(place.path("cache")).arg("--out").arg(place.path(out));
        command
    };
    let output = succeed(&mut run("auto", "auto"));
    assert!(text(&output.stderr).contains("no test images"), "{}", text(&output.stderr));
    succeed(&mut run("folder", "folder"));
    assert_eq!(place.model("auto"), place.model("folder"));
    let error = fail(&mut run("visa", "out"), 1);
    assert!(error.contains("1cls.csv"), "{error}");
}

#[test]
fn files_of_an_earlier_run_are_set_aside_or_removed() {
    let place = Place::new(3);
    succeed(&mut place.command("out"));
    let checkpoint = fs::read(place.path("out/checkpoint.safetensors")).unwrap();
    let strip = place.path("out/heatmaps/gear/old.png");
    fs::write(&strip, b"of another model").unwrap();
    fs::write(place.path("out/.dualad-unfinished-abc"), b"a killed process").unwrap();
    fs::write(place.path("out/heatmaps/mine.txt"), b"not the run's").unwrap();

    // A new run without test images leaves no report and no heat maps of the earlier model.
    for product in ["gear", "plate"] {
        for part in ["test", "ground_truth"] {
            fs::remove_dir_all(place.path("data").join(product).join(part)).unwrap();
        }
    }
    let error = fail(place.command("out").args(["--json", "-"]), 1);
    assert!(error.contains("no test images") && error.contains("--json"), "{error}");
    assert!(place.path("out/report.json").exists(), "nothing was trained");
    let output = succeed(place.command("out").args(["--epochs", "2"]));
    assert!(text(&output.stderr).contains("checkpoint.previous.safetensors"), "{}", text(&output.stderr));
    assert_eq!(fs::read(place.path("out/checkpoint.previous.safetensors")).unwrap(), checkpoint);
    assert!(place.path("out/train.previous.jsonl").exists());
    for gone in ["report.json", "report.html", "heatmaps/gear/old.png", ".dualad-unfinished-abc"] {
        assert!(!place.path("out").join(gone).exists(), "{gone}");
    }
    assert!(place.path("out/heatmaps/mine.txt").exists());
}

#[test]
fn a_json_file_that_cannot_be_written_is_refused_before_the_run() {
    let place = Place::new(3);
    for (path, reason) in [
        (place.path("nowhere/result.json"), "there is no folder"),
        (place.path("data"), "not a regular file"),
        (place.path("out/checkpoint.safetensors"), "a file of its own"),
        (place.path("out/train.jsonl"), "a file of its own"),
        (place.path("out/checkpoint.previous.safetensors"), "a file of its own"),
    ] {
        fs::create_dir_all(place.path("out")).unwrap();
        let error = fail(place.command("out").arg("--json").arg(&path), 1);
        assert!(error.contains(reason), "{error}");
        assert!(!place.path("out/train.jsonl").exists(), "a run began");
    }
}

#[test]
fn parameters_that_are_not_finite_end_the_run_and_name_the_step() {
    let place = Place::new(3);
    let error = fail(place.command("out").args(["--epochs", "1", "--learning-rate", "1e308"]), 1);
    assert!(error.contains("training step") && error.contains("learning rate"), "{error}");
    assert!(!place.path("out/checkpoint.safetensors").exists(), "a checkpoint that leads nowhere");
}

/// A damaged checkpoint is named, with what to do, once. So is a file that grows beyond what the system allows.
#[test]
fn a_damaged_checkpoint_and_a_size_limit_are_one_line_each() {
    let place = Place::new(3);
    fs::create_dir(place.path("out")).unwrap();
    fs::write(place.path("out/checkpoint.safetensors"), "damaged").unwrap();
    let error = fail(place.command("out").arg("--resume"), 1);
    assert_eq!(error.matches("anew").count(), 1, "{error}");
    assert!(error.contains("leave out --resume"), "{error}");

    let command = place.command("limited");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 16; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    let error = fail(limited.arg("--no-check").env_remove("DUALAD_CACHE"), 1);
    assert!(error.contains("File too large"), "{error}");
}

#[test]
fn the_recipe_in_the_documentation_is_valid() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/training.md");
    let text = fs::read_to_string(docs).unwrap();
    let recipe = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let paper = Recipe::paper(Variant::Heterogeneous, Backbone::ResNet18);
    let recipe = paper.with_json("docs/training.md", recipe).unwrap();
    recipe.validate().unwrap();
    assert_eq!((recipe.train.epochs, recipe.train.optimizer.clip_norm), (40, None));
}

#[test]
fn problems_of_the_data_set_are_reported_before_training() {
    let place = Place::new(3);
    fs::remove_file(place.path("data/gear/ground_truth/stain/000_mask.png")).unwrap();
    let output = succeed(&mut place.command("out"));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("warning") && stderr.contains("stain/000.png"), "{stderr}");
    fs::write(place.path("data/plate/train/good/001.png"), "no picture").unwrap();
    let error = fail(&mut place.command("out"), 1);
    assert!(error.contains("plate/train/good/001.png"), "{error}");
}
