//! Models with a bank of normal tokens: training, saving, loading, extending and inspection.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dualad::bank::BankConfig;
use dualad::candle_core::Device;
use dualad::data::synthetic::{self, Category, Options};
use dualad::data::{Cancel, Dataset, Sample, Split};
use dualad::detector::{Request, Tiling};
use dualad::fit::{Fit, FitProgress};
use dualad::recipe::Recipe;
use dualad::{Detector, Error, Model, TestSet};

mod support;

fn write(folder: &Path, categories: &[Category]) -> PathBuf {
    let options =
        Options { size: 64, train: 8, test_good: 2, test_per_defect: 1, categories: categories.into(), seed: 1 };
    synthetic::write(folder, &options, |_, _| ()).unwrap();
    folder.into()
}

fn recipe() -> Recipe {
    let mut recipe = support::recipe();
    recipe.bank = Some(BankConfig::default().with_tokens(100).with_dims(16).with_context(0.2));
    recipe
}

fn fit(data: &Path) -> Fit {
    Detector::fit(data).recipe(recipe()).hold_out(0.0)
}

/// A dataset of two categories and a detector with a bank. All tests share one.
struct Fixture {
    _folder: tempfile::TempDir,
    data: PathBuf,
    detector: Detector,
    test: Vec<Sample>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let data = write(&folder.path().join("data"), &[Category::Gear, Category::Plate]);
        let detector = fit(&data).run().unwrap().detector;
        let test = Dataset::open(&data).unwrap().samples(Split::Test).cloned().collect();
        Fixture { _folder: folder, data, detector, test }
    })
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * a.abs().max(b.abs())
}

#[test]
fn the_parts_of_a_score_add_up_to_it() {
    let Fixture { detector, test, .. } = fixture();
    let bank = detector.model().bank().unwrap();
    // For each category, 100 local tokens, and a context token of each of 8 images: their last map has one cell.
    assert_eq!((bank.tokens(), bank.is_alone()), (216, false));
    for sample in test {
        let found = detector.inspect(&sample.path).unwrap();
        let parts = found.parts.unwrap();
        assert!(parts.reconstruction > 0.0 && parts.bank > 0.0);
        assert!(near(found.image_score, parts.reconstruction + parts.bank));
        // The largest mean of a square of 24/224 of the input's side, 64 pixels.
        let mean = |row: usize, column: usize| {
            let rows = (row..row + 7).map(|row| &found.anomaly_map.values[row * 64 + column..][..7]);
            rows.flatten().sum::<f32>() / 49.0
        };
        let places = (0..=64 - 7).flat_map(|row| (0..=64 - 7).map(move |column| (row, column)));
        let largest = places.map(|(row, column)| mean(row, column)).fold(0.0, f32::max);
        assert!((found.image_score - largest).abs() < 1e-4 * largest, "{} {largest}", found.image_score);
        let json = serde_json::to_value(&found).unwrap();
        assert!(json["parts"]["bank"].is_number());
    }
}

#[test]
fn an_image_of_another_product_than_the_named_one_is_told() {
    let Fixture { detector, test, .. } = fixture();
    for sample in test {
        let found = detector.inspect(&sample.path).unwrap();
        assert_eq!(found.nearest_category.as_ref(), Some(&sample.category), "{}", sample.path.display());
        assert_eq!(found.other_category(), None, "none was named");
        let other = if sample.category == "gear" { "plate" } else { "gear" };
        let found = detector.inspect(Request::from(&sample.path).category(other)).unwrap();
        assert_eq!(found.other_category(), Some(sample.category.as_str()));
        assert_eq!(serde_json::to_value(&found).unwrap()["nearest_category"], sample.category.as_str());
    }
}

#[test]
fn defects_score_higher_than_normal_images() {
    let Fixture { detector, test, .. } = fixture();
    let (mut above, mut anomalous) = (0, 0);
    for category in ["gear", "plate"] {
        let samples = || test.iter().filter(|sample| sample.category == category);
        let score = |sample: &Sample| detector.inspect(&sample.path).unwrap().image_score;
        let normal = samples().filter(|sample| !sample.label.is_anomalous()).map(score).fold(0.0, f32::max);
        let scores: Vec<f32> = samples().filter(|sample| sample.label.is_anomalous()).map(score).collect();
        above += scores.iter().filter(|&&score| score > normal).count();
        anomalous += scores.len();
        // Scores are relative to those of normal images: one threshold is good for all categories.
        assert!((0.3..3.0).contains(&normal), "{category}: {normal}");
    }
    assert!(2 * above > anomalous, "{above} of {anomalous}");
}

#[test]
fn a_loaded_model_gives_the_same_bits() {
    let Fixture { detector, test, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let loaded = Detector::load(folder.path()).unwrap();
    assert_eq!(loaded.config(), detector.config());
    for sample in &test[..3] {
        assert_eq!(loaded.inspect(&sample.path).unwrap(), detector.inspect(&sample.path).unwrap());
    }
    // The digest of the model covers the bank.
    let without = detector.model().clone().with_bank(None);
    let other = Detector::builder().from_model(without).unwrap();
    assert_ne!(other.config().sha256, detector.config().sha256);
    assert!(other.inspect(&test[0].path).unwrap().parts.is_none());
}

#[test]
fn the_same_seed_gives_the_same_bank_on_any_number_of_threads() {
    let Fixture { data, detector, .. } = fixture();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let again = pool.install(|| fit(data).epochs(0).run()).unwrap().detector;
        let folder = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        again.save(folder[0].path()).unwrap();
        fit(data).epochs(0).run().unwrap().detector.save(folder[1].path()).unwrap();
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join("model.safetensors")).unwrap();
        assert_eq!(read(&folder[0]), read(&folder[1]), "{threads} threads");
        assert_eq!(again.model().bank().unwrap().tokens(), detector.model().bank().unwrap().tokens());
    }
}

#[test]
fn a_bank_alone_needs_no_training() {
    let Fixture { data, test, .. } = fixture();
    let fitted = fit(data).epochs(0).run().unwrap();
    assert!(fitted.losses.is_empty());
    let detector = fitted.detector;
    assert!(detector.model().bank().unwrap().is_alone());
    let found = detector.inspect(&test[0].path).unwrap();
    assert_eq!(found.parts.unwrap().reconstruction, 0.0);
    assert_eq!(found.parts.unwrap().bank, found.image_score);
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let loaded = Detector::load(folder.path()).unwrap();
    assert_eq!(loaded.inspect(&test[0].path).unwrap(), found);
    // Without a bank, something must be trained.
    let error = Detector::fit(data).recipe(support::recipe()).epochs(0).run().unwrap_err();
    assert!(matches!(error, Error::Config { field: "epochs", .. }), "{error}");
}

#[test]
fn one_training_image_gives_scores_in_proportion() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { size: 64, train: 1, test_good: 4, test_per_defect: 1, categories: vec![Category::Gear], seed: 3 };
    synthetic::write(folder.path(), &options, |_, _| ()).unwrap();
    let detector = fit(folder.path()).epochs(0).run().unwrap().detector;
    for sample in Dataset::open(folder.path()).unwrap().samples(Split::Test) {
        let score = detector.inspect(&sample.path).unwrap().image_score;
        assert!((0.5..50.0).contains(&score), "{}: {score}", sample.path.display());
    }
}

#[test]
fn a_cancelled_bank_ends_the_run() {
    let Fixture { data, .. } = fixture();
    let cancel = Cancel::default();
    let stop = cancel.clone();
    // The last step of the bank's progress is a selection.
    let progress = move |progress| {
        if let FitProgress::Bank(progress) = progress
            && progress.done + 1 == progress.total
        {
            stop.cancel();
        }
    };
    let error = fit(data).epochs(0).cancel(&cancel).progress(progress).run().unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
}

#[test]
fn a_new_category_adds_tokens_and_keeps_the_old_ones() {
    let Fixture { data, test, .. } = fixture();
    let old = fit(data).epochs(0).run().unwrap().detector;
    let folder = tempfile::tempdir().unwrap();
    // The new category comes first in the order of the alphabet.
    let new = write(&folder.path().join("new"), &[Category::Fabric]);
    let error = old.extend(&new).epochs(2).run().unwrap_err();
    assert!(matches!(error, Error::Config { field: "epochs", .. }), "{error}");
    let extended = old.extend(&new).hold_out(0.0).run().unwrap().detector;
    assert_eq!(extended.categories(), ["fabric", "gear", "plate"]);
    let bank = extended.model().bank().unwrap();
    assert_eq!((bank.tokens(), bank.is_alone()), (324, true));
    // A token of an old category has a nearest token at least as near as before; the scale of its category is the same.
    for sample in test {
        let found = [&old, &extended].map(|detector| detector.inspect(&sample.path).unwrap());
        assert!(found.iter().all(|found| found.nearest_category.as_ref() == Some(&sample.category)));
        let [before, after] = found.map(|found| found.image_score);
        assert!((0.8..=1.2).contains(&(after / before)), "{before} {after}");
    }
    let normal = Dataset::open(&new).unwrap();
    let normal = normal.samples(Split::Test).find(|sample| !sample.label.is_anomalous()).unwrap();
    assert!(extended.inspect(&normal.path).unwrap().image_score < 0.7 * old.inspect(&normal.path).unwrap().image_score);
}

#[test]
fn a_test_set_and_a_detector_give_the_same_scores() {
    let Fixture { detector, test, .. } = fixture();
    let test_set = TestSet::new(detector.features(test.clone()).compute().unwrap()).unwrap();
    for _ in 0..2 {
        let scores = test_set.score_model(detector.model(), &Cancel::default(), |_| {}).unwrap();
        for (sample, scores) in test.iter().zip(scores) {
            let found = detector.inspect(&sample.path).unwrap();
            assert!(near(found.image_score, scores.image_score), "{} {}", found.image_score, scores.image_score);
            assert!(found.anomaly_map.values.iter().zip(&scores.map).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(matches!(test_set.score_model(detector.model(), &cancel, |_| {}), Err(Error::Cancelled)));
}

#[test]
fn pictures_in_tiles_have_a_bank_too() {
    let Fixture { data, test, .. } = fixture();
    let tiling = Tiling::new(40).unwrap();
    let detector = fit(data).epochs(1).tiling(Some(tiling)).run().unwrap().detector;
    let found = detector.inspect(&test[0].path).unwrap();
    assert!(found.parts.is_some_and(|parts| parts.bank > 0.0) && found.image_score > 0.0);
    // Each tile may be nearest to another category.
    assert_eq!(found.nearest_category, None);
}

#[test]
fn a_changed_bank_is_refused() {
    let Fixture { detector, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("      200,", "      201,"),
        ("      200,", "      0,"),
        ("      200,", "      18446744073709551615,"),
        ("      200,", ""),
        ("\"dims\": 16", "\"dims\": 17"),
        ("\"dims\": 16", "\"dims\": 0"),
        ("\"neighborhood\": 3", "\"neighborhood\": 2"),
        ("\"context\": 0.2", "\"context\": 0.0"),
        ("\"tokens\": 100", "\"tokens\": 0"),
        ("    \"gear\",\n", ""),
        ("\"format\": 2", "\"format\": 3"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        std::fs::write(&path, changed).unwrap();
        assert!(Model::load(folder.path(), &Device::Cpu).is_err(), "{from} -> {to}");
    }
    // Channels whose sum overflows, and none.
    for channels in [serde_json::json!([1, u64::MAX, u64::MAX]), serde_json::json!([])] {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["network"]["stage_channels"] = channels;
        std::fs::write(&path, value.to_string()).unwrap();
        assert!(matches!(Model::load(folder.path(), &Device::Cpu), Err(Error::Config { .. })));
    }
    // A model whose bank is struck out of its configuration: its tensors have no place.
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value.as_object_mut().unwrap().remove("bank");
    std::fs::write(&path, value.to_string()).unwrap();
    assert!(Model::load(folder.path(), &Device::Cpu).unwrap_err().to_string().contains("bank."));
}

#[test]
fn a_request_of_another_size_is_scored() {
    let Fixture { detector, .. } = fixture();
    let picture = dualad::data::image::Picture::new(5, 3, vec![200; 45]).unwrap();
    assert!(detector.inspect(Request::from(&picture)).unwrap().image_score.is_finite());
}
