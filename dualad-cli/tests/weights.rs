//! Weights as people have them: PyTorch files, moved models, a hub that cannot be reached.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[path = "../../dualad-backbones/tests/support/mod.rs"]
#[allow(unreachable_pub)]
mod files;

mod support {
    pub(crate) mod config;
    #[allow(dead_code)]
    pub(crate) mod output;
    pub(crate) mod parts;
    pub(crate) mod place;
    pub(crate) mod program;
}

use dualad_backbones::Backbone;
use dualad_backbones::weights::synthetic;
use files::pytorch::saved;
use files::{File, Raw, serialize};
use support::output::{succeed, text};
use support::place::Place;
use support::program::program;

/// Returns a place with a folder `w` for weights.
fn place() -> Place {
    let place = Place::new(3);
    fs::create_dir(place.path("w")).unwrap();
    place
}

impl Place {
    /// Trains with weights whose path is relative to the folder.
    fn train(&self, weights: &str, flags: &[&str]) -> Output {
        let mut command = program("train");
        command.args(["--data", "data", "--config", "config.json", "--preset", "fast", "--epochs", "1", "--no-cache"]);
        command.args(["--backbone", "resnet18", "--heatmaps", "1", "--out", "model", "--weights", weights]);
        command.args(flags).current_dir(self.path("")).output().unwrap()
    }

    /// Inspects an image, from another folder.
    fn inspect(&self) -> Command {
        let mut command = program("inspect");
        command.arg("--model").arg(self.path("model")).arg(self.image()).args(["--json", "-"]).current_dir("/");
        command
    }

    fn image(&self) -> PathBuf {
        self.path("data/gear/test/good/000.png")
    }
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

/// Returns the tensors of ResNet-18, and a classifier with a head of its own.
fn resnet18(prefix: &str) -> File {
    let tensors = Backbone::ResNet18.tensors(&[1, 2, 3, 4]).unwrap().into_iter();
    let tensors =
        tensors.map(|(key, shape)| (format!("{prefix}{key}"), Raw::f32(&shape, &synthetic::tensor(&key, &shape, 7))));
    let mut file: File = tensors.collect();
    file.insert(format!("{prefix}fc.0.weight"), Raw::f32(&[4, 2], &[0.0; 8]));
    file
}

#[test]
fn a_pytorch_file_trains_a_model_that_includes_its_backbone() {
    let place = place();
    fs::write(place.path("w/resnet18.pth"), saved(&[("state_dict", &resnet18("module."))])).unwrap();
    succeeded(&place.train("w/resnet18.pth", &["--with-backbone"]));
    let card = fs::read_to_string(place.path("model/README.md")).unwrap();
    assert!(card.contains("image AUROC") || !card.contains("Not measured."), "{card}");
    assert!(card.contains("resnet18.pth") && !card.contains(&place.path("").display().to_string()), "{card}");
    let first = text(&succeed(&mut place.inspect()).stdout);
    // Neither the weights nor the folder are there any more.
    fs::remove_dir_all(place.path("w")).unwrap();
    assert_eq!(text(&succeed(&mut place.inspect()).stdout), first);
    succeed(program("info").arg("--model").arg(place.path("model")));
}

#[test]
fn a_moved_model_says_what_it_needs() {
    let place = place();
    fs::write(place.path("w/resnet18.safetensors"), serialize(&resnet18(""))).unwrap();
    succeeded(&place.train("w/resnet18.safetensors", &[]));
    assert!(!place.path("model/backbone.safetensors").exists());
    // The relative path was recorded in full.
    let first = text(&succeed(&mut place.inspect()).stdout);
    fs::rename(place.path("w"), place.path("moved")).unwrap();
    let error = failed(&place.inspect().output().unwrap());
    for word in ["resnet18", "w/resnet18.safetensors", "SHA-256", "backbone.safetensors", "--weights FILE"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    let found = succeed(place.inspect().arg("--weights").arg(place.path("moved/resnet18.safetensors")));
    assert_eq!(text(&found.stdout), first);
    for name in ["resnet18.safetensors", "backbone.safetensors"] {
        let copy = place.path("model").join(name);
        fs::copy(place.path("moved/resnet18.safetensors"), &copy).unwrap();
        assert_eq!(text(&succeed(&mut place.inspect()).stdout), first, "{name}");
        fs::remove_file(copy).unwrap();
    }
}

#[test]
fn a_file_that_is_no_state_dict_is_called_what_it_is() {
    let place = place();
    let empty = files::pytorch::archive(&[
        ("archive/data.pkl".into(), b"\x80\x02}q\0.".to_vec()),
        ("archive/data/0".into(), vec![0; 4000]),
    ]);
    fs::write(place.path("w/resnet18.pth"), empty).unwrap();
    let error = failed(&place.train("w/resnet18.pth", &[]));
    assert!(error.contains("PyTorch") && error.contains("state_dict()") && !error.contains("delete"), "{error}");
}

#[test]
fn without_the_network_a_local_file_is_named() {
    let place = place();
    let mut command = program("train");
    command.args(["--data", "data", "--backbone", "resnet18", "--no-cache", "--weights", "hub"]);
    command.current_dir(place.path("")).env("HF_HUB_OFFLINE", "1").env("HF_HOME", place.path("cache"));
    let output = command.output().unwrap();
    if cfg!(feature = "hub") {
        let error = failed(&output);
        assert!(error.contains("HF_HUB_OFFLINE") && error.contains("--weights FILE"), "{error}");
    }
}

#[test]
fn every_subcommand_that_reads_images_can_raise_their_limit() {
    let place = place();
    fs::write(place.path("w/resnet18.safetensors"), serialize(&resnet18(""))).unwrap();
    let small = ["--max-pixels", "1000"];
    for flags in [&small[..], &["--max-pixels", "1000", "--no-check"]] {
        let error = failed(&place.train("w/resnet18.safetensors", flags));
        assert!(error.contains("--max-pixels N") && error.contains("4096 pixels"), "{error}");
    }
    succeeded(&place.train("w/resnet18.safetensors", &[]));
    let model = place.path("model");
    let run = |name: &str, arguments: &[&Path]| {
        let output = program(name).args(small).args(arguments).current_dir(place.path("")).output().unwrap();
        let said = failed(&output) + &text(&output.stdout);
        assert!(said.contains("--max-pixels N"), "{name}: {said}");
    };
    let (image, data, out) = (place.image(), place.path("data"), place.path("evaluation"));
    run("check", &["--data".as_ref(), &data]);
    run("inspect", &["--model".as_ref(), &model, &image]);
    run("calibrate", &["--model".as_ref(), &model, "--data".as_ref(), &data]);
    let evaluate: [&Path; 7] =
        ["--model".as_ref(), &model, "--data".as_ref(), &data, "--out".as_ref(), &out, "--no-cache".as_ref()];
    run("evaluate", &evaluate);
}

/// Names of files may have 255 bytes, and a heat map's name has the defect's name, too.
#[test]
fn a_long_name_does_not_end_a_run() {
    let place = place();
    let long = format!("{}.png", "ü".repeat(125));
    let defect = fs::read_dir(place.path("data/gear/test")).unwrap().map(|entry| entry.unwrap().path());
    let defect = defect.into_iter().find(|path| !path.ends_with("good")).unwrap();
    fs::rename(defect.join("000.png"), defect.join(&long)).unwrap();
    let mask = place.path("data/gear/ground_truth").join(defect.file_name().unwrap());
    fs::remove_dir_all(mask).unwrap();
    let mut command = place.training("model");
    command.args(["--preset", "fast", "--epochs", "1", "--no-cache", "--heatmaps", "9"]);
    let told = succeeded(&command.output().unwrap());
    assert!(!told.contains("heat map is missing"), "{told}");
    let written = fs::read_dir(place.path("model/heatmaps/gear")).unwrap().map(|entry| entry.unwrap().file_name());
    let written: Vec<String> = written.map(|name| name.into_string().unwrap()).collect();
    assert!(written.iter().any(|name| name.contains("üüü")), "{written:?}");
    assert!(written.iter().all(|name| name.len() <= 143), "{written:?}");
}
