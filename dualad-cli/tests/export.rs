//! `dualad export` as a process.

#![cfg(feature = "onnx")]

use std::fs;
use std::path::Path;
use std::process::Command;

mod support {
    pub(crate) mod config;
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod recipe;
    pub(crate) mod resnet;
    pub(crate) mod run;
}

use dualad::Detector;
use serde_json::Value;
use support::parts::write_parts;
use support::program::program;
use support::resnet::train;
use support::run::run;

const LIBRARY: &str = "ORT_DYLIB_PATH";

/// Returns the command, without a library of onnxruntime.
fn export(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program("export");
    command.current_dir(folder).env_remove(LIBRARY).args(arguments);
    command
}

#[test]
fn a_file_is_written_after_a_check_or_on_demand_only() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder);
    let out = folder.join("model.onnx");
    let (_, stderr) = run(&mut export(folder, &["model"]), 1);
    assert!(stderr.contains("--onnxruntime") && stderr.contains("--unchecked") && !out.exists(), "{stderr}");
    let (_, stderr) = run(&mut export(folder, &["model", "--onnxruntime", "none.so"]), 1);
    assert!(stderr.contains("none.so") && !out.exists(), "{stderr}");
    fs::write(folder.join("text.so"), "text").unwrap();
    let (_, stderr) = run(export(folder, &["model"]).env(LIBRARY, "text.so"), 1);
    assert!(stderr.contains("text.so") && !out.exists(), "{stderr}");
    for (out, reason) in [("-", "standard output"), ("/dev/null", "not a regular file; name another file")] {
        let (_, stderr) = run(&mut export(folder, &["model", "--unchecked", "--out", out]), 1);
        assert!(stderr.contains(reason) && !folder.join("-").exists(), "{stderr}");
    }
    // One of the two names of a model.
    run(&mut export(folder, &["--unchecked"]), 2);
    run(&mut export(folder, &["model", "--model", "model", "--unchecked"]), 2);
    run(&mut export(folder, &["model", "--unchecked", "--onnxruntime", "none.so"]), 2);

    let (json, _) = run(&mut export(folder, &["model", "--unchecked", "--json", "-"]), 0);
    let found: Value = serde_json::from_str(&json).unwrap();
    let written = fs::read(&out).unwrap();
    assert_eq!((&found["format"], &found["out"], &found["opset"]), (&1.into(), &"model.onnx".into(), &17.into()));
    assert_eq!((&found["check"], &found["bytes"]), (&Value::Null, &written.len().into()));
    assert!(dualad_onnx::is_export(&written));
    let holds = |text: &str| written.windows(text.len()).any(|window| window == text.as_bytes());
    for text in ["dualad.check", "dualad.thresholds", r#"["gear","plate"]"#, r#""range":[0,255]"#, "LayerNormalization"]
    {
        assert!(holds(text), "{text}");
    }
    // The same model gives the same bytes, and an earlier export is replaced.
    let (text, _) = run(&mut export(folder, &["--model", "model", "--unchecked"]), 0);
    assert!(text.contains("not checked") && fs::read(&out).unwrap() == written, "{text}");
    // No other file is.
    for name in ["model/config.json", "data/gear/train/good/000.png", "text.so"] {
        let before = fs::read(folder.join(name)).unwrap();
        let (_, stderr) = run(&mut export(folder, &["model", "--unchecked", "--out", name]), 1);
        assert!(stderr.contains("name another file") && fs::read(folder.join(name)).unwrap() == before, "{stderr}");
    }
    fs::create_dir(folder.join("empty")).unwrap();
    let (_, stderr) = run(&mut export(folder, &["model", "--unchecked", "--images", "empty"]), 1);
    assert!(stderr.contains("empty") && stderr.contains("no images"), "{stderr}");
}

#[test]
fn thresholds_of_another_precision_are_refused_with_the_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder);
    let mut calibrate = program("calibrate");
    calibrate.current_dir(folder).args(["--model", "model", "--data", "data", "--precision", "int8"]);
    run(&mut calibrate, 0);
    // Before the library of onnxruntime is missed.
    let anew = "set new ones with `dualad calibrate --model model --data FOLDER --precision f32`";
    let refused = || run(&mut export(folder, &["model"]), 1).1;
    let stderr = refused();
    assert!(stderr.contains("model/calibration.json are for scores in int8") && stderr.contains(anew), "{stderr}");
    assert!(stderr.contains("copy model/calibration.previous.json there"), "{stderr}");
    fs::rename(folder.join("model/calibration.previous.json"), folder.join("earlier.json")).unwrap();
    let stderr = refused();
    assert!(stderr.contains(anew) && !stderr.contains("copy "), "{stderr}");
    fs::rename(folder.join("earlier.json"), folder.join("model/calibration.json")).unwrap();
    run(&mut export(folder, &["model", "--unchecked"]), 0);
}

/// Needs a library of onnxruntime, which ORT_DYLIB_PATH names.
#[test]
fn onnxruntime_gives_the_scores_of_the_model() {
    let Some(library) = std::env::var_os(LIBRARY).filter(|library| !library.is_empty()) else {
        println!("skipped: {LIBRARY} names no library of onnxruntime");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder);
    for (images, count) in [(None, 8), (Some("data/gear/test/good"), 2)] {
        let mut command = export(folder, &["model", "--json", "-"]);
        command.env(LIBRARY, &library);
        command.args(images.iter().flat_map(|images| ["--images", images]));
        let found: Value = serde_json::from_str(&run(&mut command, 0).0).unwrap();
        let check = &found["check"];
        assert_eq!((&check["runtime"], &check["images"]), (&"onnxruntime".into(), &count.into()));
        assert!(check["score_difference"].as_f64().unwrap() <= 1e-4, "{check}");
        assert!(check["map_difference"].as_f64().unwrap() <= 1e-4, "{check}");
        // The file records the check.
        let written = fs::read(folder.join("model.onnx")).unwrap();
        let recorded = format!(r#"{{"runtime":"onnxruntime","version":{},"images":{count}"#, check["version"]);
        assert!(written.windows(recorded.len()).any(|window| window == recorded.as_bytes()), "{recorded}");
    }
}

#[test]
fn a_backbone_that_is_not_exported_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_parts(&folder.path().join("data"), 4);
    let fit = Detector::fit(folder.path().join("data")).recipe(support::recipe::recipe());
    fit.run().unwrap().detector.save(folder.path().join("model")).unwrap();
    let (_, stderr) = run(&mut export(folder.path(), &["model", "--unchecked"]), 1);
    assert!(stderr.contains("filter-bank") && stderr.contains("resnet18"), "{stderr}");
    assert!(!folder.path().join("model.onnx").exists());
}
