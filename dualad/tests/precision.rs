//! Detectors that multiply 8-bit integers: scores near those in f32, and thresholds of one precision only.

use std::path::PathBuf;
use std::sync::OnceLock;

use dualad::backbones::{Backbone, Weights};
use dualad::calibration::{Calibration, Calibrator, Rule, Thresholds};
use dualad::candle_core::DType;
use dualad::data::synthetic::{self, Category, Options};
use dualad::data::{Cancel, Dataset, Split};
use dualad::detector::{DetectorBuilder, Request};
use dualad::{Detector, Precision};

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use support::recipe_for;

/// A model with thresholds in f32, and test images. All tests share one.
struct Fixture {
    _folder: tempfile::TempDir,
    model: PathBuf,
    data: PathBuf,
    images: Vec<PathBuf>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (data, model) = (folder.path().join("data"), folder.path().join("model"));
        let options = Options {
            size: 64,
            train: 10,
            test_good: 3,
            test_per_defect: 1,
            categories: vec![Category::Gear],
            seed: 1,
        };
        synthetic::write(&data, &options, |_, _| ()).unwrap();
        let mut recipe = recipe_for(Backbone::ResNet18);
        recipe.network = recipe.network.with_narrow_width(32).with_chunk_width(64).with_ffn_width(64);
        let fit = Detector::fit(&data).recipe(recipe).backbone(Backbone::ResNet18, Weights::synthetic(4));
        fit.epochs(3).run().unwrap().detector.save(&model).unwrap();
        let dataset = Dataset::open(&data).unwrap();
        let images = dataset.samples(Split::Test).map(|sample| sample.path.clone()).collect();
        Fixture { _folder: folder, model, data, images }
    })
}

fn int8() -> DetectorBuilder {
    Detector::builder().precision(Precision::Int8)
}

fn error(loaded: dualad::Result<Detector>) -> String {
    loaded.unwrap_err().to_string()
}

fn scores(detector: &Detector, images: &[PathBuf]) -> Vec<f32> {
    detector.inspect_batch(images).into_iter().map(|found| found.unwrap().image_score).collect()
}

#[test]
fn scores_are_near_those_in_f32_and_the_same_alone_and_on_any_threads() {
    let Fixture { model, images, .. } = fixture();
    let exact = scores(&Detector::load(model).unwrap(), images);
    let detector = int8().calibration(None).load(model).unwrap();
    assert_eq!(detector.precision(), Precision::Int8);
    let found = scores(&detector, images);
    for (found, exact) in found.iter().zip(&exact) {
        // One image is ten times as far from the normal ones as the others: a channel that hardly varies on those has an error of its map's
        // scale, which is that of the strongest channel.
        let limit = if *exact > 10.0 { 0.1 } else { 0.01 };
        assert!((found - exact).abs() <= limit * exact, "{found}, not {exact}");
    }
    assert_ne!(found, exact);
    for (image, found) in images.iter().zip(&found) {
        assert_eq!(detector.inspect(image).unwrap().image_score, *found);
    }
    for threads in [1, 3] {
        assert_eq!(scores(&detector.clone().with_threads(threads).unwrap(), images), found);
    }
}

#[test]
fn thresholds_are_of_one_precision() {
    let Fixture { model, data, images, .. } = fixture();
    assert_eq!(Detector::load(model).unwrap().precision(), Precision::F32);
    let refused = error(int8().load(model));
    assert!(refused.contains("calibration.json") && refused.contains("f32") && refused.contains("int8"), "{refused}");

    // Thresholds in int8 make a detector compute in int8.
    let detector = int8().calibration(None).load(model).unwrap();
    let dataset = Dataset::open(data).unwrap();
    let labeled = dataset
        .samples(Split::Test)
        .map(|sample| (Request::from(&sample.path).category(&sample.category), sample.label.clone()));
    let calibrator = Calibrator::new(Rule::Quantile { quantile: 0.9 });
    let thresholds = detector.calibrate(&calibrator, labeled, &Cancel::default(), |_| {}).unwrap();
    assert_eq!(thresholds.precision, Precision::Int8);
    let text = thresholds.to_json().unwrap();
    assert!(text.contains(r#""precision": "int8""#) && text.contains(r#""format": 4"#), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let calibrated = detector.with_calibration(Some(thresholds.clone()));
    calibrated.save(folder.path()).unwrap();
    let loaded = Detector::load(folder.path()).unwrap();
    assert_eq!((loaded.precision(), loaded.calibration()), (Precision::Int8, Some(&thresholds)));
    assert_eq!(scores(&loaded, images), scores(&calibrated, images));
    let refused = error(Detector::builder().precision(Precision::F32).load(folder.path()));
    assert!(refused.contains("scores in int8") && refused.contains("calibrate in f32"), "{refused}");

    // Thresholds that are written by hand for any model are of any precision.
    let by_hand = Calibration::new([].into(), Some(Thresholds::new(1.0, 2.0).unwrap()));
    assert_eq!(int8().calibration(Some(by_hand)).load(model).unwrap().precision(), Precision::Int8);
    // A file in f32 is as it was.
    let earlier = std::fs::read_to_string(model.join("calibration.json")).unwrap();
    assert!(!earlier.contains("precision") && !earlier.contains(r#""format": 4"#), "{earlier}");
    let unknown = Calibration::from_json("file", r#"{"precision": "int4", "pooled": {"reject": 1}}"#);
    let unknown = unknown.unwrap_err().to_string();
    assert!(unknown.contains(r#"unknown precision "int4"; write f32 or int8"#), "{unknown}");
}

#[test]
fn other_dtypes_have_no_int8() {
    let Fixture { model, .. } = fixture();
    let refused = error(int8().calibration(None).dtype(DType::BF16).load(model));
    assert!(refused.contains("precision") && refused.contains("f32"), "{refused}");
    let extractor = Backbone::ResNet18.extractor().weights(Weights::synthetic(4)).precision(Precision::Int8).plain();
    let refused = extractor.build().unwrap_err().to_string();
    assert!(refused.contains("int8 need the CPU"), "{refused}");
}

/// The weights of the second model are not read: its configuration names a file that is not there.
#[test]
fn a_backbone_is_taken_from_another_detector() {
    let Fixture { model, images, .. } = fixture();
    let first = Detector::load(model).unwrap();
    let second = tempfile::tempdir().unwrap();
    first.save(second.path()).unwrap();
    let config = second.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["weights"]["source"] = "file".into();
    value["weights"]["location"] = "absent.safetensors".into();
    std::fs::write(&config, value.to_string()).unwrap();
    let alone = error(Detector::load(second.path()));
    assert!(alone.contains("absent.safetensors"), "{alone}");
    let shared = Detector::builder().backbone_of(&first).load(second.path()).unwrap();
    assert_eq!(scores(&shared, images), scores(&first, images));

    let of_first = || Detector::builder().calibration(None).backbone_of(&first);
    let refused = error(of_first().precision(Precision::Int8).load(second.path()));
    assert!(
        refused.starts_with("backbone_of is a detector with the precision f32: this model needs int8"),
        "{refused}"
    );
    let refused = error(of_first().dtype(DType::F16).load(second.path()));
    assert!(refused.contains("the dtype f32") && refused.contains("needs f16"), "{refused}");
    let refused = error(of_first().weights(Weights::synthetic(4)).load(second.path()));
    assert!(refused.contains("give no others"), "{refused}");
    value["stages"] = serde_json::json!([1, 2]);
    std::fs::write(&config, value.to_string()).unwrap();
    let refused = error(of_first().load(second.path()));
    assert!(refused.contains("the stages [1, 2, 3]") && refused.contains("needs [1, 2]"), "{refused}");
    // Weights of other values.
    let mut other: serde_json::Value = serde_json::from_str(&text).unwrap();
    other["weights"]["sha256"] = "0".repeat(64).into();
    std::fs::write(&config, other.to_string()).unwrap();
    let refused = error(of_first().load(second.path()));
    assert!(refused.contains(&"0".repeat(64)), "{refused}");
}
