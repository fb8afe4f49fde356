//! One's own images: a folder of normal ones, and perhaps some to test with.

use std::path::{Path, PathBuf};

use super::listing::{display_name, list_if_there};
use super::{GOOD, mvtec};
use crate::check::Finding;
use crate::dataset::{Category, Label, Sample, Split};
use crate::error::{Error, Result};

/// The first of these folders with images in it holds the normal ones.
pub(crate) fn normal_images(root: &Path) -> Result<Option<Vec<PathBuf>>> {
    for folder in [root.to_path_buf(), root.join("train"), root.join("train").join(GOOD), root.join(GOOD)] {
        let images = list_if_there(&folder)?.images;
        if !images.is_empty() {
            return Ok(Some(images));
        }
    }
    Ok(None)
}

pub(crate) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let images = normal_images(root)?.ok_or_else(|| Error::Layout {
        path: root.into(),
        reason: "there are no images in it, nor in its train, train/good or good".into(),
    })?;
    let name = display_name(root);
    let mut samples: Vec<Sample> =
        images.into_iter().map(|path| Sample::new(path, &name, Split::Train, Label::Normal)).collect();
    samples.extend(mvtec::test_samples(root, &name, findings)?);
    Ok(vec![Category { name, samples }])
}
