//! The short examples, run on generated images.

#![cfg(feature = "train")]

use std::path::Path;
use std::process::{Command, Stdio};

use dualad::Detector;
use dualad::data::synthetic::{self, Category, Options};

mod support;

use support::recipe;

/// Returns a command that runs an example. `cargo test` builds the examples beside the tests.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} does not exist; run `cargo build --workspace --examples`", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

/// Generates images of two products.
fn write_parts(folder: &Path) {
    let categories = vec![Category::Gear, Category::Plate];
    let options = Options { size: 64, train: 6, test_good: 2, test_per_defect: 1, categories, seed: 1 };
    synthetic::write(folder, &options, |_, _| ()).unwrap();
}

/// Runs to the end, which must be a good one, and returns what was printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_example_runs_on_generated_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_parts(&path("data"));
    for (name, seed) in [("model", 0), ("new-model", 1)] {
        Detector::fit(path("data")).recipe(recipe()).seed(seed).run().unwrap().detector.save(path(name)).unwrap();
    }
    let image = path("data/gear/test/good/000.png");

    let text = run(example("inspect_camera_buffer").arg(path("model")));
    assert!(text.starts_with("score") && text.contains("rejects from"), "{text}");
    let text = run(example("calibrate").arg(path("model")).arg(path("data")));
    assert!(text.contains("gear: rejects from") && text.contains("plate: rejects from"), "{text}");
    let text = run(example("swap_model").arg(path("model")).arg(path("new-model")).arg(&image));
    assert!(text.contains("the new model:"), "{text}");
    let text = run(example("features_and_metrics").arg(path("data")));
    assert!(text.contains("mean image AUROC: Ok("), "{text}");
    let text = run(example("train_folder").arg(path("data")).arg(path("trained")).arg("1"));
    assert!(text.contains("2 images held out"), "{text}");
    assert!(Detector::load(path("trained")).unwrap().calibration().is_some());
}
