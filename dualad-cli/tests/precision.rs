//! The precision that scores are computed in: the thresholds that belong to it, and the reports that name it.

#![cfg(unix)]

use std::fs;
use std::process::Output;

use serde_json::Value;

mod support {
    pub(crate) mod calibrated;
    pub(crate) mod config;
    pub(crate) mod output;
    pub(crate) mod parts;
    pub(crate) mod place;
    pub(crate) mod program;
    pub(crate) mod resnet;
}

use support::output::{succeed, text};
use support::place::Place;
use support::program::program;

#[test]
fn thresholds_of_one_precision_decide_in_it_and_in_no_other() {
    let place = Place::new(10);
    succeed(&mut place.train(&["--preset", "fast"]));
    let image = "data/gear/test/good/000.png";
    let inspect = |options: &[&str]| {
        let mut command = program("inspect");
        command.arg("--model").arg(place.path("model")).args(["--json", "-"]).args(options).arg(place.path(image));
        command.output().unwrap()
    };
    let score = |output: Output| {
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["image_score"].as_f64().unwrap()
    };
    let info = || text(&succeed(program("info").arg("--model").arg(place.path("model"))).stdout);
    let exact = score(inspect(&[]));
    assert!(info().contains("for scores in f32") && info().contains("precision    f32, unless"), "{}", info());
    let refused = inspect(&["--precision", "int8"]);
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("scores in f32") && told.contains("calibrate in int8"), "{told}");
    assert_eq!(inspect(&["--precision", "int4"]).status.code(), Some(2));

    let output = place.calibrate("data", &["--precision", "int8"]);
    let notes = text(&output.stderr);
    assert!(output.status.success() && notes.contains("were set in f32, and the new ones will be in int8"), "{notes}");
    assert_eq!(place.json("model/calibration.json")["precision"], "int8");
    let near = score(inspect(&[]));
    assert!(near != exact && (near - exact).abs() < 0.05 * exact, "{near}, not {exact}");
    assert_eq!(score(inspect(&["--precision", "int8"])), near);
    let told = text(&inspect(&["--precision", "f32"]).stderr);
    assert!(told.contains("scores in int8") && told.contains("calibrate in f32"), "{told}");
    assert!(info().contains("for scores in int8") && info().contains("precision    int8, unless"), "{}", info());
    let described = succeed(program("info").arg("--model").arg(place.path("model")).arg("--json"));
    assert_eq!(serde_json::from_slice::<Value>(&described.stdout).unwrap()["precision"], "int8");
    let line: Value = serde_json::from_slice(&inspect(&[]).stdout).unwrap();
    assert_eq!(line["precision"], "int8");

    // Without the flag, calibrating stays in the precision of the earlier thresholds.
    let output = place.calibrate("data/gear", &["--category", "gear"]);
    assert!(output.status.success() && !text(&output.stderr).contains("were set in"), "{}", text(&output.stderr));
    assert_eq!(place.json("model/calibration.json")["precision"], "int8");

    // Those by hand are of any.
    fs::write(place.path("model/calibration.json"), r#"{"pooled": {"reject": 5}}"#).unwrap();
    assert!(info().contains("for scores in any precision"), "{}", info());
    assert_eq!(score(inspect(&["--precision", "int8"])), near);
}

#[test]
fn a_change_of_precision_says_first_what_it_drops_and_loses_no_thresholds() {
    let place = Place::new(10);
    succeed(&mut place.train(&["--preset", "fast"]));
    let thresholds = || fs::read(place.path("model/calibration.json")).unwrap();
    let trained = thresholds();
    let dropped = "none of them will be kept; without good images, these will have no thresholds of their own: plate";
    // Before an image is read.
    let image = place.path("data/gear/test/good/000.png");
    let good = fs::read(&image).unwrap();
    fs::write(&image, "no picture").unwrap();
    let output = place.calibrate("data/gear", &["--precision", "int8"]);
    let notes = text(&output.stderr);
    assert!(!output.status.success() && notes.contains(dropped) && thresholds() == trained, "{notes}");
    fs::write(&image, good).unwrap();

    let calibrate = |options: &[&str]| {
        let output = place.calibrate("data/gear", options);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let notes = calibrate(&["--precision", "int8"]);
    assert!(notes.contains(dropped) && notes.contains("computed in int8, as --precision says"), "{notes}");
    assert_eq!(fs::read(place.path("model/calibration.previous.json")).unwrap(), trained);
    // A second time, by another rule, and back.
    let notes = calibrate(&["--quantile", "0.5"]);
    let file = place.path("model/calibration.json");
    let took = format!("computed in int8, the precision of the thresholds in {}", file.display());
    assert!(notes.contains(&took) && !notes.contains("none of them"), "{notes}");
    calibrate(&["--precision", "f32"]);
    assert_eq!(fs::read(place.path("model/calibration.previous.1.json")).unwrap(), trained);
    for name in ["calibration.previous.2.json", "calibration.previous.json"] {
        assert_eq!(place.json(&format!("model/{name}"))["precision"], "int8");
    }
    assert!(!place.path("model/calibration.previous.3.json").exists());
    fs::remove_file(&file).unwrap();
    assert!(calibrate(&[]).contains("computed in f32, the default"));
}

#[test]
fn an_evaluation_names_its_precision_and_has_no_decisions_by_thresholds_of_another() {
    let folder = tempfile::tempdir().unwrap();
    support::resnet::train(folder.path());
    let evaluate = |options: &[&str]| {
        let mut command = program("evaluate");
        command.current_dir(folder.path()).args(["--model", "model", "--data", "data", "--out", "evaluation"]);
        succeed(command.args(["--no-cache", "--heatmaps", "0"]).args(options))
    };
    let output = evaluate(&["--precision", "int8"]);
    let (table, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(table.contains("Scores are computed in int8.") && !table.contains("Decisions"), "{table}");
    assert!(notes.contains("no decisions in the report, because the thresholds are for scores in f32; "), "{notes}");
    assert!(notes.contains("--precision int8` sets those") && !notes.contains("cannot use the model"), "{notes}");
    let page = fs::read_to_string(folder.path().join("evaluation/report.html")).unwrap();
    assert!(page.contains("<dt>precision</dt><dd><bdi>int8</bdi></dd>"));
    let report: Value = serde_json::from_slice(&evaluate(&["--json", "-"]).stdout).unwrap();
    assert_eq!(report["precision"], "f32");
}

#[test]
fn a_model_on_the_filter_bank_is_evaluated_in_the_precision_that_is_asked_for() {
    let place = Place::new(10);
    succeed(&mut place.train(&["--preset", "fast"]));
    let report = |precision: &str| -> Value {
        let mut command = program("evaluate");
        command.arg("--model").arg(place.path("model")).arg("--data").arg(place.path("data"));
        command.arg("--out").arg(place.path("evaluation")).args(["--no-cache", "--heatmaps", "0", "--json", "-"]);
        serde_json::from_slice(&succeed(command.args(["--precision", precision])).stdout).unwrap()
    };
    let [f32, int8] = ["f32", "int8"].map(report);
    assert_eq!((&f32["precision"], &int8["precision"]), (&"f32".into(), &"int8".into()));
    assert_ne!(f32["images"], int8["images"]);
}
