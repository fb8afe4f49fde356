//! The saturation of defects in MVTec LOCO: the area from which on a defect counts as found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::image::levels::MaskValues;
use crate::image::{Limits, Mask, decode};
use crate::sample::{Category, Sample};

/// The file of a category, beside its `train` and `test`.
pub(crate) const FILE: &str = "defects_config.json";

/// The largest file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The saturations of a category's defects, from its `defects_config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Saturations {
    file: PathBuf,
    by_value: BTreeMap<u16, Saturation>,
}

/// The area that saturates a defect.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Saturation {
    /// The share of its pixels.
    Share(f64),
    /// The number of pixels.
    Pixels(f64),
}

#[derive(Deserialize)]
struct Entry {
    pixel_value: u16,
    saturation_threshold: f64,
    relative_saturation: bool,
}

/// A defect of an image, with its saturation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SaturatedDefect {
    /// The mask of this defect alone.
    pub mask: Mask,
    /// The share of its pixels that is enough to have found all of it, in `(0, 1]`.
    pub share: f64,
}

impl Saturations {
    /// Reads the saturations of every category that has the file.
    ///
    /// # Errors
    /// The errors of [`Self::of_category`].
    pub fn of_dataset(dataset: &Dataset) -> Result<BTreeMap<String, Self>> {
        let mut found = BTreeMap::new();
        for category in &dataset.categories {
            if let Some(saturations) = Self::of_category(category)? {
                found.insert(category.name.clone(), saturations);
            }
        }
        Ok(found)
    }

    /// Reads the saturations of a category. Returns `None` if it has no `defects_config.json`.
    ///
    /// # Errors
    /// [`Error::Annotations`] if the file is not a list of defects with `pixel_value`, `saturation_threshold` and
    /// `relative_saturation`, if a threshold is not above 0, or if a relative one is above 1; the errors of reading a file.
    pub fn of_category(category: &Category) -> Result<Option<Self>> {
        let file = category.folder.join(FILE);
        if !file.is_file() {
            return Ok(None);
        }
        let fault = |reason: String| Error::Annotations { path: file.clone(), reason };
        let text = decode::read(&file, &Limits::default().with_file_bytes(MAX_BYTES))?;
        let entries: Vec<Entry> = serde_json::from_slice(&text).map_err(|error| {
            let expected = "a list of defects with pixel_value, saturation_threshold and relative_saturation";
            fault(format!("it is not {expected}: {error}"))
        })?;
        let mut by_value = BTreeMap::new();
        for Entry { pixel_value, saturation_threshold: threshold, relative_saturation: relative } in entries {
            if !(threshold > 0.0 && (threshold <= 1.0 || !relative && threshold.is_finite())) {
                let what = format!("the saturation_threshold of the pixel_value {pixel_value} is {threshold}");
                return Err(fault(format!("{what}; it must be above 0, and at most 1 if it is relative")));
            }
            by_value.insert(
                pixel_value,
                if relative { Saturation::Share(threshold) } else { Saturation::Pixels(threshold) },
            );
        }
        Ok(Some(Self { file, by_value }))
    }

    /// Reads the defects of an image, one for each mask file. The value of the pixels in a file tells the kind of the defect, and
    /// so its saturation. `size` is the width and height of the image.
    ///
    /// # Errors
    /// [`Error::Annotations`] if no defect has the value of a mask; the errors of [`Sample::read_mask`].
    pub fn defects(&self, sample: &Sample, size: (u32, u32), limits: &Limits) -> Result<Vec<SaturatedDefect>> {
        let mut defects = Vec::with_capacity(sample.defect_masks().len());
        for path in sample.defect_masks() {
            let (mask, values) = Mask::read_values(path, sample.mask_rule, limits)?;
            sample.check_mask_size(path, (mask.width(), mask.height()), size)?;
            if let Some(share) = self.share(path, &mask, &values)? {
                defects.push(SaturatedDefect { mask, share });
            }
        }
        Ok(defects)
    }

    /// Returns the share of a defect that is enough to have found all of it, or `None` for a mask that marks nothing.
    ///
    /// # Errors
    /// [`Error::Annotations`] if no defect has the value of the mask.
    pub(crate) fn share(&self, path: &Path, mask: &Mask, values: &MaskValues) -> Result<Option<f64>> {
        let area = mask.pixels().iter().filter(|&&pixel| pixel != 0).count();
        if area == 0 {
            return Ok(None);
        }
        match self.by_value.get(&values.largest) {
            Some(Saturation::Share(share)) => Ok(Some(*share)),
            Some(Saturation::Pixels(pixels)) => Ok(Some((pixels / area as f64).min(1.0))),
            None => {
                let reason = format!(
                    "no defect in it has the pixel_value {}, which the mask {} has; add it",
                    values.largest,
                    path.display()
                );
                Err(Error::Annotations { path: self.file.clone(), reason })
            }
        }
    }
}
