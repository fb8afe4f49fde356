//! `dualad import` as a process.

use std::fs;

#[path = "../../dualad-backbones/tests/support/mod.rs"]
#[allow(unreachable_pub)]
mod files;

mod support {
    pub(crate) mod program;
    pub(crate) mod run;
}

use dualad::backbones::Backbone;
use dualad::backbones::weights::synthetic;
use dualad::{DualAdConfig, Variant};
use files::pytorch::saved;
use files::{File, Raw};
use serde_json::Value;
use support::program::program;
use support::run::run;

/// Returns tensors by rule under a prefix.
fn tensors(prefix: &str, shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> File {
    let tensor = |(key, shape): (String, Vec<usize>)| {
        (format!("{prefix}{key}"), Raw::f32(&shape, &synthetic::tensor(&key, &shape, 7)))
    };
    shapes.into_iter().map(tensor).collect()
}

/// Writes a checkpoint of a small network of four heads, with its backbone.
fn write_checkpoint(path: &std::path::Path, variant: Variant) -> DualAdConfig {
    let config = DualAdConfig::paper(variant, Backbone::ResNet18)
        .with_grid([4, 4])
        .with_levels(2)
        .with_narrow_width(8)
        .with_chunk_width(8)
        .with_ffn_width(16)
        .with_encoder_layers(1)
        .with_wide_layers(1)
        .with_heads(4)
        .with_neighbor_mask(Some([3, 3]))
        .with_memory_slots(if variant == Variant::Heterogeneous { 5 } else { 0 });
    let parameters = config.parameters().unwrap().into_iter().map(|parameter| (parameter.name, parameter.shape));
    let mut file = tensors("module.reconstruction.", parameters);
    file.extend(tensors("module.backbone.", Backbone::ResNet18.tensors(&[1, 2, 3]).unwrap()));
    fs::write(path, saved(&[("state_dict", &file)])).unwrap();
    config
}

#[test]
fn a_published_checkpoint_becomes_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let import = |arguments: &[&str], code: i32| {
        let mut command = program("import");
        run(command.current_dir(&folder).args(["checkpoint.pth.tar", "--backbone", "resnet18"]).args(arguments), code)
    };
    for variant in [Variant::Heterogeneous, Variant::Homogeneous] {
        let config = write_checkpoint(&folder.path().join("checkpoint.pth.tar"), variant);
        fs::write(folder.path().join("c.json"), r#"{"network": {"heads": 4, "neighbor_mask": [3, 3]}}"#).unwrap();
        let out = variant.name();
        let (json, _) = import(&["--config", "c.json", "--out", out, "--categories", "gear, plate", "--json", "-"], 0);
        let found: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&found["format"], &found["variant"]), (&1.into(), &out.into()));
        let model: Value =
            serde_json::from_slice(&fs::read(folder.path().join(out).join("config.json")).unwrap()).unwrap();
        assert_eq!(serde_json::from_value::<DualAdConfig>(model["network"].clone()).unwrap(), config);
        assert_eq!(
            (&model["categories"], &model["backbone"]),
            (&serde_json::json!(["gear", "plate"]), &"resnet18".into())
        );
        // The folder inspects images, and holds no thresholds.
        let image = folder.path().join("image.png");
        dualad::data::image_crate::RgbImage::from_fn(70, 64, |x, y| [x as u8, y as u8, 9].into()).save(&image).unwrap();
        let mut inspect = program("inspect");
        let (lines, _) = run(inspect.current_dir(&folder).args(["--model", out, "image.png", "--json", "-"]), 0);
        let line: Value = serde_json::from_str(&lines).unwrap();
        assert!(line["image_score"].as_f64().unwrap() > 0.0 && line["verdict"].is_null(), "{line}");
        let (_, stderr) = import(&["--config", "c.json", "--out", out], 1);
        assert!(stderr.contains("holds a model"), "{stderr}");
    }
    // What the checkpoint says otherwise, and a category named twice.
    fs::write(folder.path().join("levels.json"), r#"{"network": {"heads": 4, "neighbor_mask": [3, 3], "levels": 3}}"#)
        .unwrap();
    let (_, stderr) = import(&["--config", "levels.json", "--out", "other"], 1);
    assert!(stderr.contains("network.levels 3") && stderr.contains("is 2"), "{stderr}");
    let (_, stderr) = import(&["--config", "c.json", "--out", "other", "--categories", "gear,plate,gear"], 1);
    assert!(stderr.contains("names gear twice"), "{stderr}");
    let (_, stderr) = import(&["--config", "c.json", "--out", "other", "--categories", "gear, "], 2);
    assert!(stderr.contains("name is empty"), "{stderr}");
    assert!(!folder.path().join("other").exists());
    // The published code's own configuration.
    for name in ["config.yaml", "CONFIG.YML"] {
        fs::write(folder.path().join(name), "net:\n  - name: reconstruction\n    kwargs: {nhead: 4}\n").unwrap();
        let (_, stderr) = import(&["--config", name, "--out", "other"], 1);
        assert!(stderr.contains(&format!("{name} is YAML")) && stderr.contains("nhead"), "{stderr}");
    }
    // The paper's mask of 7 x 7 covers 4 x 4 tokens, so the shapes alone do not fit.
    let (_, stderr) = import(&["--out", "other"], 1);
    assert!(stderr.contains("neighbor_mask") && !folder.path().join("other").exists(), "{stderr}");
    let mut command = program("import");
    command.current_dir(&folder).args(["checkpoint.pth.tar", "--backbone", "wide-resnet50-2", "--config", "c.json"]);
    let (_, stderr) = run(&mut command, 1);
    assert!(stderr.contains("448 channels") && stderr.contains("1792"), "{stderr}");
}

#[test]
fn a_checkpoint_without_a_backbone_needs_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.pth.tar");
    let config = write_checkpoint(&path, Variant::Heterogeneous);
    let parameters = config.parameters().unwrap().into_iter().map(|parameter| (parameter.name, parameter.shape));
    fs::write(&path, saved(&[("state_dict", &tensors("", parameters))])).unwrap();
    fs::write(folder.path().join("c.json"), r#"{"network": {"heads": 4, "neighbor_mask": [3, 3]}}"#).unwrap();
    let backbone = tensors("", Backbone::ResNet18.tensors(&[1, 2, 3]).unwrap());
    fs::write(folder.path().join("resnet18.pth"), saved(&[("state_dict", &backbone)])).unwrap();
    let import = |arguments: &[&str], code: i32| {
        let mut command = program("import");
        command.current_dir(&folder).args(["checkpoint.pth.tar", "--backbone", "resnet18", "--config", "c.json"]);
        run(command.args(["--out", "model"]).args(arguments), code)
    };
    let (_, stderr) = import(&[], 1);
    assert!(stderr.contains("--weights FILE") && !folder.path().join("model").exists(), "{stderr}");
    import(&["--weights", "resnet18.pth", "--with-backbone"], 0);
    assert!(folder.path().join("model/backbone.safetensors").is_file());
}
