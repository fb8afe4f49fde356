//! Images with their labels and masks, and the categories that they belong to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::image::{Drawing, Limits, Mask, MaskRule};

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
    /// a pixel is defective if any of them marks it. Empty for an image without mask files.
    pub masks: Vec<PathBuf>,
    /// The defects as shapes, for a dataset with annotations instead of mask files (COCO, LabelMe). A normal image to train on has a
    /// drawing if annotations beside it mark a defect: [`Dataset::check`](crate::Dataset::check) reports it.
    pub drawing: Option<Arc<Drawing>>,
    /// The mask values that mark a defect.
    pub mask_rule: MaskRule,
    /// The name of the object that the image shows, for a dataset with several views of each object (Real-IAD). Images of a
    /// category with the same name show the same object.
    pub object: Option<String>,
}

impl Sample {
    /// Creates a sample without masks. [`masks`](Self::masks) and [`drawing`](Self::drawing) can be set afterwards.
    pub fn new(path: impl Into<PathBuf>, category: impl Into<String>, split: Split, label: Label) -> Self {
        let (path, category) = (path.into(), category.into());
        let (masks, mask_rule) = (Vec::new(), MaskRule::White);
        Self { path, category, split, label, masks, drawing: None, mask_rule, object: None }
    }

    /// Returns the mask files that count: all [`masks`](Self::masks) of an anomalous image, none of a normal one.
    pub fn defect_masks(&self) -> &[PathBuf] {
        if self.label.is_anomalous() { &self.masks } else { &[] }
    }

    /// Returns the drawing that counts: that of an anomalous image.
    pub fn defect_drawing(&self) -> Option<&Drawing> {
        self.drawing.as_deref().filter(|_| self.label.is_anomalous())
    }

    /// Returns whether the image is anomalous and its defective pixels are known, from mask files or a drawing.
    pub fn has_mask(&self) -> bool {
        !self.defect_masks().is_empty() || self.defect_drawing().is_some()
    }

    /// Reads the [`defect_masks`](Self::defect_masks), draws the [`defect_drawing`](Self::defect_drawing), and joins them: a
    /// pixel is defective if any of them marks it. Returns `None` if there are none. `size` is the width and height of the image.
    ///
    /// # Errors
    /// The errors of [`Mask::read`] and [`Drawing::mask`], and [`Error::MaskSize`] if a mask or the drawing has another size than
    /// the image.
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
        if let Some(drawing) = self.defect_drawing() {
            let mask = self.draw(drawing, size, limits)?;
            match &mut all {
                Some(all) => all.add(&mask),
                None => all = Some(mask),
            }
        }
        Ok(all)
    }

    /// Draws a mask of the size of the image.
    pub(crate) fn draw(&self, drawing: &Drawing, size: (u32, u32), limits: &Limits) -> Result<Mask> {
        if let Some(drawn) = drawing.size() {
            self.check_mask_size(drawing.file(), drawn, size)?;
        }
        drawing.mask(size, limits).map_err(|error| error.of_image(&self.path))
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
