//! `dualad check`, `info`, `completions` and `man` as processes.

use std::fs;
#[cfg(unix)]
use std::process::Command;

mod support {
    pub(crate) mod config;
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod recipe;
    pub(crate) mod run;
}

use dualad::Detector;
use dualad::data::image_crate;
use serde_json::Value;
use support::parts::write_parts;
use support::program::program;
use support::recipe::recipe;
use support::run::run;

#[test]
fn check_ends_its_list_after_twenty_findings_and_names_the_flag_for_masks() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_parts(&data, 3);
    let check = |options: &[&str], code: i32| run(program("check").arg("--data").arg(&data).args(options), code).0;
    assert!(!check(&[], 0).contains("--masks"));

    // A mask of 0 and 1.
    let kinds = fs::read_dir(data.join("gear/ground_truth")).unwrap();
    let kind = kinds.map(|kind| kind.unwrap().path()).min().unwrap();
    let mask = fs::read_dir(kind).unwrap().next().unwrap().unwrap().path();
    let mut image = image_crate::open(&mask).unwrap().into_luma8();
    image.pixels_mut().for_each(|pixel| pixel.0[0] = pixel.0[0].min(1));
    image.save(&mask).unwrap();
    let text = check(&[], 0);
    assert!(text.contains("marks nothing") && text.contains("--masks chooses"), "{text}");
    let text = check(&["--masks", "non-zero"], 0);
    assert!(!text.contains("marks nothing") && !text.contains("--masks"), "{text}");

    for index in 0..30 {
        fs::write(data.join(format!("plate/train/good/{index}.jfif")), "").unwrap();
    }
    let text = check(&["--masks", "non-zero"], 1);
    assert_eq!(text.lines().filter(|line| line.starts_with("fatal: ")).count(), 20, "{text}");
    assert!(text.contains("... and 10 more (empty file: 10); --list 0 lists all"), "{text}");
    assert!(text.contains("30 fatal"), "{text}");
    // So does the JSON, for each kind.
    let json = |options: &[&str]| -> Value {
        let all = [&["--masks", "non-zero", "--json", "-"], options].concat();
        serde_json::from_str(&check(&all, 1)).unwrap()
    };
    let found = json(&[]);
    let findings = found["findings"].as_array().unwrap();
    let of_kind: Vec<&Value> = findings.iter().filter(|finding| finding["kind"] == "empty_file").collect();
    assert_eq!((of_kind.len(), &of_kind[19]["count"], &of_kind[20]["count"]), (21, &1.into(), &10.into()), "{found}");
    assert_eq!(found["fatal"], 30);
    let found = json(&["--list", "0"]);
    assert!(found["findings"].as_array().unwrap().len() >= 30 && found["fatal"] == 30, "{found}");
    // Training and evaluation list as many.
    let out = folder.path().join("model");
    let (_, stderr) = run(program("train").arg("--data").arg(&data).arg("--out").arg(&out), 1);
    assert_eq!(stderr.lines().filter(|line| line.starts_with("fatal: ")).count(), 20, "{stderr}");
    assert!(stderr.contains("... and 10 more (empty file: 10)") && stderr.contains("30 fatal faults"), "{stderr}");
}

#[test]
fn check_names_the_flag_for_folders_that_may_be_labels() {
    let folder = tempfile::tempdir().unwrap();
    let (parts, data) = (folder.path().join("parts"), folder.path().join("data"));
    write_parts(&parts, 3);
    fs::create_dir(&data).unwrap();
    let defects = fs::read_dir(parts.join("gear/test")).unwrap().map(|kind| kind.unwrap().path());
    let defects = defects.filter(|kind| !kind.ends_with("good")).min().unwrap();
    fs::rename(parts.join("gear/train/good"), data.join("Referenz")).unwrap();
    fs::rename(defects, data.join("Reklamation")).unwrap();
    let check = |options: &[&str], code: i32| run(program("check").arg("--data").arg(&data).args(options), code);
    let (text, stderr) = check(&[], 1);
    assert!(text.contains("Referenz, Reklamation") && text.contains("1 fatal"), "{text}");
    assert!(stderr.contains("--categories NAME,NAME"), "{stderr}");
    let (text, _) = check(&["--categories", "Referenz,Reklamation"], 0);
    assert!(text.contains("0 fatal"), "{text}");
    let out = folder.path().join("model");
    let (_, stderr) = run(program("train").arg("--data").arg(&data).arg("--out").arg(&out), 1);
    assert!(stderr.contains("Referenz, Reklamation") && stderr.contains("--categories NAME,NAME"), "{stderr}");
}

#[test]
fn check_lists_the_findings_and_fails_at_fatal_ones() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_parts(&data, 3);
    let check = |options: &[&str], code: i32| {
        let mut command = program("check");
        run(command.arg("--data").arg(&data).args(options), code)
    };
    let (text, stderr) = check(&[], 0);
    assert!(text.contains("gear") && text.contains("0 fatal") && stderr.is_empty(), "{text}{stderr}");
    let (json, _) = check(&["--json"], 0);
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&found["format"], &found["layout"], &found["fatal"]), (&1.into(), &"mvtec".into(), &0.into()));
    assert_eq!((&found["categories"][0]["name"], &found["categories"][0]["train"]), (&"gear".into(), &3.into()));

    // The headers alone tell less, and the output says so.
    assert!(!text.contains("--headers-only") && found["headers_only"] == Value::Bool(false), "{text}");
    let (text, _) = check(&["--headers-only"], 0);
    assert!(text.contains("--headers-only reads no pixels; without it, the check also finds damage"), "{text}");
    let (json, _) = check(&["--headers-only", "--json"], 0);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["headers_only"], Value::Bool(true));

    fs::write(data.join("plate/train/good/001.png"), "").unwrap();
    let (text, stderr) = check(&["--categories", "plate"], 1);
    assert!(text.contains("fatal") && text.contains("plate/train/good/001.png"), "{text}");
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1 && stderr.contains("1 fatal"), "{stderr}");
    let file = folder.path().join("found.json");
    let (stdout, _) = check(&["--json", file.to_str().unwrap()], 1);
    assert!(stdout.contains("fatal"), "{stdout}");
    let found: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        (&found["findings"][0]["kind"], &found["findings"][0]["severity"]),
        (&"empty_file".into(), &"fatal".into())
    );

    // A folder that is no dataset at all.
    let mut command = program("check");
    let (json, stderr) = run(command.arg("--data").arg(folder.path().join("nowhere")).args(["--json", "-"]), 1);
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&found["layout"], &found["fatal"]), (&Value::Null, &1.into()));
    assert!(stderr.contains("nowhere"), "{stderr}");
}

#[test]
fn info_says_how_a_model_was_trained_and_what_its_thresholds_promise() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model"));
    write_parts(&data, 8);
    Detector::fit(&data).recipe(recipe()).run().unwrap().detector.save(&model).unwrap();
    let info = |options: &[&str], code: i32| {
        let mut command = program("info");
        run(command.arg("--model").arg(&model).args(options), code)
    };
    let (text, _) = info(&[], 0);
    for word in ["filter-bank", "gear, plate", "12 normal images", "2 epochs", "thresholds of gear", "confidence"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let (json, _) = info(&["--json"], 0);
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&found["format"], &found["config"]["backbone"]), (&1.into(), &"filter-bank".into()));
    assert!(found["calibration"]["categories"]["gear"]["reject"].is_number());
    assert!(found["promises"]["gear"][0].as_str().unwrap().starts_with("rejects from"), "{found}");

    // Neither the files of a model nor an image is replaced by a result.
    for needed in [model.join("config.json"), model.join("model.safetensors"), data.join("gear/train/good/000.png")] {
        let before = fs::read(&needed).unwrap();
        let (_, stderr) = run(program("info").arg("--model").arg(&model).arg("--json").arg(&needed), 1);
        assert!(stderr.contains("name another file"), "{stderr}");
        assert_eq!(fs::read(&needed).unwrap(), before, "{}", needed.display());
    }

    fs::remove_file(model.join("calibration.json")).unwrap();
    let (text, _) = info(&[], 0);
    assert!(text.contains("dualad calibrate"), "{text}");
    fs::write(model.join("model.safetensors"), "damaged").unwrap();
    let (_, stderr) = info(&[], 1);
    assert!(stderr.starts_with("error: ") && stderr.contains("model.safetensors"), "{stderr}");
}

#[test]
fn completions_and_manual_pages_name_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    run(program("man").arg(folder.path()), 0);
    let (page, _) = run(&mut program("man"), 0);
    let (bash, _) = run(program("completions").arg("bash"), 0);
    for subcommand in dualad_cli::command().get_subcommands() {
        let name = subcommand.get_name();
        assert!(bash.contains(name), "{name}");
        assert!(page.contains(name), "{name}");
        let file = folder.path().join(format!("dualad-{name}.1"));
        assert!(name == "help" || file.is_file(), "{}", file.display());
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(!run(program("completions").arg(shell), 0).0.is_empty(), "{shell}");
    }
    assert_eq!(program("completions").arg("tcl").output().unwrap().status.code(), Some(2));
}

/// The help that cannot be printed is an error, except where its reader has read enough.
#[cfg(target_os = "linux")]
#[test]
fn help_that_cannot_be_printed_is_an_error() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for flags in [&["--help"][..], &["--version"], &["inspect", "--help"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_dualad")).args(flags).stdout(full()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && stderr.starts_with("error: cannot write"), "{flags:?}: {stderr}");
    }
}

/// Nothing but a folder is opened as a model, and nothing but a regular file in it. A pipe would block its reader.
#[cfg(unix)]
#[test]
fn pipes_and_files_in_the_place_of_a_model_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, model) = (folder.path().join("pipe"), folder.path().join("model"));
    let make_pipe = |path: &std::path::Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    make_pipe(&pipe);
    write_parts(&folder.path().join("data"), 8);
    Detector::fit(folder.path().join("data")).recipe(recipe()).run().unwrap().detector.save(&model).unwrap();
    for path in [pipe.clone(), "/dev/zero".into(), model.join("config.json")] {
        for subcommand in ["info", "inspect", "evaluate", "calibrate", "watch", "serve"] {
            let mut command = program(subcommand);
            command.current_dir(&folder).arg("--model").arg(&path);
            match subcommand {
                "evaluate" | "calibrate" => command.args(["--data", "data"]),
                "inspect" | "watch" => command.arg("data"),
                _ => &mut command,
            };
            let (_, stderr) = run(&mut command, 1);
            assert!(stderr.contains("give the folder of a trained model"), "{subcommand}: {stderr}");
        }
    }
    for name in ["config.json", "model.safetensors", "calibration.json"] {
        let (file, kept) = (model.join(name), folder.path().join("kept"));
        fs::rename(&file, &kept).unwrap();
        make_pipe(&file);
        let (_, stderr) = run(program("info").arg("--model").arg(&model), 1);
        assert!(stderr.contains(name), "{stderr}");
        fs::remove_file(&file).unwrap();
        fs::rename(&kept, &file).unwrap();
    }
}

/// Each flag and subcommand has a help text; every flag with a value has a default, is required, or says what happens without it.
#[test]
fn every_flag_is_explained() {
    let program = dualad_cli::command();
    for subcommand in program.get_subcommands() {
        assert!(subcommand.get_about().is_some(), "{}", subcommand.get_name());
        for argument in subcommand.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "{} {}", subcommand.get_name(), argument.get_id());
        }
    }
}
