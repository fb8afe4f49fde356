//! Images with their labels and masks, and the categories that they belong to.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::image::{Limits, Mask, MaskRule};

/// What an image is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// Learn what is normal from it.
    Train,
    /// Score it.
    Test,
}

/// What is known about an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Label {
    /// Without a defect.
    Normal,
    /// With a defect of this type: the name of its folder, or of its label in a table.
    Anomalous(String),
}

impl Label {
    /// Whether there is a defect.
    pub fn is_anomalous(&self) -> bool {
        matches!(self, Self::Anomalous(_))
    }
}

/// One image and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The image.
    pub path: PathBuf,
    /// The name of its category.
    pub category: String,
    /// What it is used for.
    pub split: Split,
    /// What is known about it.
    pub label: Label,
    /// The masks of its defects. Most datasets have one file for each anomalous image, MVTec LOCO has one for each defect:
    /// a pixel is defective if any of them marks it. Empty for an image without masks.
    pub masks: Vec<PathBuf>,
    /// The mask values that mark a defect.
    pub mask_rule: MaskRule,
}

impl Sample {
    /// A sample of one's own: a test image without a mask until told otherwise.
    pub fn new(path: impl Into<PathBuf>, category: impl Into<String>, split: Split, label: Label) -> Self {
        let (path, category) = (path.into(), category.into());
        Self { path, category, split, label, masks: Vec::new(), mask_rule: MaskRule::White }
    }

    /// The masks that count: all [`masks`](Self::masks) of an anomalous image, none of a normal one.
    pub fn defect_masks(&self) -> &[PathBuf] {
        if self.label.is_anomalous() { &self.masks } else { &[] }
    }

    /// Reads the [`defect_masks`](Self::defect_masks) and joins them: a pixel is set if any of them marks it. `None` if there
    /// are none. `size` is the width and height of the image.
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

    pub(crate) fn check_mask_size(&self, mask: &Path, mask_size: (u32, u32), image_size: (u32, u32)) -> Result<()> {
        if mask_size == image_size {
            return Ok(());
        }
        Err(Error::MaskSize { mask: mask.into(), mask_size, image: self.path.clone(), image_size })
    }
}

/// One kind of object or texture.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Category {
    /// Its name; a name that is not UTF-8 has its foreign bytes replaced.
    pub name: String,
    /// Where its files are.
    pub folder: PathBuf,
    /// Its images: training before test, and by name within each folder.
    pub samples: Vec<Sample>,
}
