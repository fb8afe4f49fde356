//! Images with their labels and masks, and the categories that they belong to.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::image::{Limits, Mask, MaskRule};

/// The use of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// Training.
    Train,
    /// Testing.
    Test,
}

/// The label of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Label {
    /// No defect.
    Normal,
    /// A defect of this type: the name of its folder, or its label in a table.
    Anomalous(String),
}

impl Label {
    /// Returns whether there is a defect.
    pub fn is_anomalous(&self) -> bool {
        matches!(self, Self::Anomalous(_))
    }
}

/// An image with its label and masks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The path of the image.
    pub path: PathBuf,
    /// The name of the category.
    pub category: String,
    /// The use of the image.
    pub split: Split,
    /// The label.
    pub label: Label,
    /// The masks of the defects. Most datasets have one file for each anomalous image, MVTec LOCO has one for each defect:
    /// a pixel is defective if any of them marks it. Empty for an image without masks.
    pub masks: Vec<PathBuf>,
    /// The mask values that mark a defect.
    pub mask_rule: MaskRule,
}

impl Sample {
    /// Creates a sample without masks. [`masks`](Self::masks) can be set afterwards.
    pub fn new(path: impl Into<PathBuf>, category: impl Into<String>, split: Split, label: Label) -> Self {
        let (path, category) = (path.into(), category.into());
        Self { path, category, split, label, masks: Vec::new(), mask_rule: MaskRule::White }
    }

    /// Returns the masks that count: all [`masks`](Self::masks) of an anomalous image, none of a normal one.
    pub fn defect_masks(&self) -> &[PathBuf] {
        if self.label.is_anomalous() { &self.masks } else { &[] }
    }

    /// Reads the [`defect_masks`](Self::defect_masks) and joins them: a pixel is defective if any of them marks it. Returns
    /// `None` if there are none. `size` is the width and height of the image.
    ///
    /// # Errors
    /// The errors of [`Mask::read`], and [`Error::MaskSize`] if a mask has another size than the image.
    pub fn read_mask(&self, size: (u32, u32), limits: &Limits) -> Result<Option<Mask>> {
        let mut all: Option<Mask> = None;
        for path in self.defect_masks() {
            let mask = Mask::read(path, self.mask_rule, limits)?;
            self.check_mask_size(path, (mask.width(), mask.height()), size)?;
            match &mut all {
                Some(all) => all.add(&mask),
                None => all = Some(mask),
            }
        }
        Ok(all)
    }

    /// Checks that a mask has the size of the image.
    pub(crate) fn check_mask_size(&self, mask: &Path, mask_size: (u32, u32), image_size: (u32, u32)) -> Result<()> {
        if mask_size == image_size {
            return Ok(());
        }
        Err(Error::MaskSize { mask: mask.into(), mask_size, image: self.path.clone(), image_size })
    }
}

/// A product category: one kind of object or texture.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Category {
    /// The name. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// The images: training before test, sorted by name within each folder.
    pub samples: Vec<Sample>,
}
