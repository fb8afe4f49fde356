//! `dualad submit` as a process.

use std::fs;
use std::path::Path;

mod support {
    pub(crate) mod config;
    #[allow(dead_code)]
    pub(crate) mod output;
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod recipe;
}

use dualad::Detector;
use dualad::data::image::{Limits, Picture};
use serde_json::Value;
use support::output::text;
use support::parts::write_parts;
use support::program::program;
use support::recipe::recipe;

#[test]
fn a_submission_has_a_map_and_a_decision_for_each_private_image() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("model"));
    let (set, out) = (folder.path().join("ad2"), folder.path().join("out"));
    write_parts(&data, 8);
    Detector::fit(&data).recipe(recipe()).run().unwrap().detector.save(&model).unwrap();
    let copy = |name: &str| {
        let to = set.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(data.join("gear/train/good/000.png"), to).unwrap();
    };
    let names = ["gear/test_private/000_regular", "gear/test_private/001_regular", "gear/test_private_mixed/000_mixed"];
    copy("gear/train/good/000.png");
    names.iter().for_each(|name| copy(&format!("{name}.png")));
    let submit = |options: &[&str]| {
        let mut command = program("submit");
        command.arg("--model").arg(&model).arg("--data").arg(&set).arg("--out").arg(&out).args(options);
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };

    let (code, stdout, stderr) = submit(&["--json", "-"]);
    assert_eq!(code, Some(0), "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&found["format"], &found["images"]), (&1.into(), &3.into()));
    let size = |path: &Path| Picture::read_size(path, &Limits::default()).unwrap();
    let expected = size(&set.join("gear/train/good/000.png"));
    for name in names {
        assert_eq!(size(&out.join(format!("anomaly_images/{name}.tiff"))), expected, "{name}");
        assert_eq!(size(&out.join(format!("anomaly_images_thresholded/{name}.png"))), expected, "{name}");
    }

    // Without thresholds, a value has to be given. At this one, every pixel is defective.
    fs::remove_file(model.join("calibration.json")).unwrap();
    let (code, _, stderr) = submit(&[]);
    assert!(code == Some(1) && stderr.contains("no thresholds for gear: give --threshold"), "{stderr}");
    assert_eq!(submit(&["--threshold", "-1"]).0, Some(0));
    let decision = Picture::read(out.join(format!("anomaly_images_thresholded/{}.png", names[0])), &Limits::default());
    assert!(decision.unwrap().pixels().iter().all(|&value| value == 255));

    for value in ["nan", "inf", "-inf", "half"] {
        let (code, _, stderr) = submit(&[&format!("--threshold={value}")]);
        assert!(code == Some(2) && stderr.contains("finite number"), "{stderr}");
    }

    // The scores of a category that the model does not know mean nothing.
    fs::rename(set.join("gear"), set.join("vial")).unwrap();
    let (code, _, stderr) = submit(&["--threshold=1"]);
    assert!(code == Some(1) && stderr.contains("not trained on \"vial\", but on gear, plate"), "{stderr}");
    let (code, _, stderr) = submit(&["--threshold=1", "--data", data.to_str().unwrap()]);
    assert!(code != Some(0) && !stderr.is_empty());
}
