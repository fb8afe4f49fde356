//! Generated images.

use std::path::Path;

use dualad::data::synthetic::{self, Category, Options};

/// Generates images of two products, 64 x 64 pixels: of each, `train` training images, two good test images and one test image
/// of each defect.
pub(crate) fn write_parts(folder: &Path, train: usize) {
    let categories = vec![Category::Gear, Category::Plate];
    let options = Options { size: 64, train, test_good: 2, test_per_defect: 1, categories, seed: 1 };
    synthetic::write(folder, &options, |_, _| ()).unwrap();
}
