//! A small model and its images.

use std::path::{Path, PathBuf};

use dualad::backbones::Backbone;
use dualad::data::synthetic::{self, Category, Options};
use dualad::data::{Dataset, Split};
use dualad::recipe::Recipe;
use dualad::{Detector, Variant};

/// A network that is trained in a second, for images of 64 x 64 pixels.
const RECIPE: &str = r#"{
    "network": {"grid": [4, 4], "neighbor_mask": [1, 1], "levels": 2, "narrow_width": 8, "chunk_width": 8, "heads": 2,
                "ffn_width": 8, "encoder_layers": 1, "memory_slots": 6},
    "train": {"epochs": 2, "batch_size": 4, "schedule": {"warmup_steps": 2}}
}"#;

/// Writes the folder `model`, a model with thresholds of two categories, and images below `data`. Returns the test images.
pub(crate) fn write_model(folder: &Path) -> Vec<PathBuf> {
    let data = folder.join("data");
    let categories = vec![Category::Gear, Category::Plate];
    let options = Options { size: 64, train: 8, test_good: 2, test_per_defect: 1, categories, seed: 1 };
    synthetic::write(&data, &options, |_, _| ()).unwrap();
    let recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank).with_json("RECIPE", RECIPE).unwrap();
    let fitted = Detector::fit(&data).recipe(recipe).run().unwrap();
    fitted.detector.save(folder.join("model")).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    dataset.samples(Split::Test).map(|sample| sample.path.clone()).collect()
}
