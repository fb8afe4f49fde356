//! A model, images that it was not trained on, and a folder to watch.

use std::path::PathBuf;

use dualad::Detector;
use dualad::data::{Dataset, Split};

use super::parts::write_parts;
use super::recipe::recipe;

/// A folder with the dataset `data`, the model `model` and the empty folder `incoming`.
pub(crate) struct Watched {
    folder: tempfile::TempDir,
    /// The test images of the dataset.
    pub(crate) images: Vec<PathBuf>,
}

impl Watched {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        write_parts(&data, 8);
        Detector::fit(&data).recipe(recipe()).run().unwrap().detector.save(folder.path().join("model")).unwrap();
        let dataset = Dataset::open(&data).unwrap();
        let images = dataset.samples(Split::Test).map(|sample| sample.path.clone()).collect();
        std::fs::create_dir(folder.path().join("incoming")).unwrap();
        Self { folder, images }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
