//! Generated images.

use std::path::Path;

use dualad::data::synthetic::{self, Category, Options};

/// Two products of 64 x 64 pixels: `train` images of each to train on, two good ones and one of each defect to test with.
pub(crate) fn write_parts(folder: &Path, train: usize) {
    let categories = vec![Category::Gear, Category::Plate];
    let options = Options { size: 64, train, test_good: 2, test_per_defect: 1, categories, seed: 1 };
    synthetic::write(folder, &options, |_, _| ()).unwrap();
}
