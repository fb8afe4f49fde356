//! Tests with real datasets, if they are available.

use std::path::Path;

use dualad_data::image::Preprocess;
use dualad_data::{Dataset, Layout, Loader, Severity, Split};

/// A folder of evaluation material that is not part of the repository.
#[allow(clippy::print_stderr)] // A test that did nothing must say so.
fn shared(name: &str) -> Option<std::path::PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: {name} is not at {}", path.display());
    None
}

#[test]
fn mvtec_categories_are_complete_and_have_no_faults() {
    let Some(root) = shared("data") else { return };
    let dataset = Dataset::open(root).unwrap();
    assert_eq!(dataset.layout, Layout::Mvtec);
    let count = |category: &str, split| {
        let category = dataset.categories.iter().find(|known| known.name == category).unwrap();
        category.samples.iter().filter(|sample| sample.split == split).count()
    };
    for (category, train, test) in
        [("bottle", 209, 83), ("screw", 320, 160), ("wood", 230, 69), ("metal_plate", 54, 97)]
    {
        assert_eq!((count(category, Split::Train), count(category, Split::Test)), (train, test), "{category}");
    }
    let report = dataset.check().run().unwrap();
    for finding in &report.findings {
        eprintln!("{finding}");
    }
    assert!(report.findings.iter().all(|finding| finding.severity() < Severity::Fatal));
}

#[test]
fn full_size_images_load_with_their_masks() {
    let Some(root) = shared("data/original") else { return };
    let dataset = Dataset::open(root).unwrap();
    let loader = Loader::new(dataset.samples(Split::Test).cloned(), Preprocess::new(224, 224).unwrap()).masks(true);
    let batches: Vec<_> = loader.batches(0).collect::<Result<_, _>>().unwrap();
    let [batch] = &batches[..] else { panic!("{} batches", batches.len()) };
    assert!(batch.sizes.iter().all(|&size| size == (900, 900)));
    let masks = batch.masks.as_ref().unwrap().chunks(224 * 224);
    for (sample, mask) in batch.samples.iter().zip(masks) {
        assert_eq!(mask.contains(&1), sample.label.is_anomalous(), "{}", sample.path.display());
    }
    assert_eq!(batch.mask_known, [true; 4]);
}
