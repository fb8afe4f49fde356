//! What is wrong with one image and its masks.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::finding::{Finding, Kind};
use crate::dataset::{MaskRule, Sample};
use crate::error::Result;
use crate::image::{Limits, Mask, MaskValues, Picture, size};

/// What one sample's files turned out to be.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) size: Option<(u32, u32)>,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) findings: Vec<Finding>,
}

/// Decodes everything.
pub(super) fn whole(sample: &Sample, limits: &Limits) -> Seen {
    let mut seen = Seen::default();
    match Picture::read(&sample.path, limits) {
        Ok(picture) => {
            let size = (picture.width(), picture.height());
            let digest = Sha256::new().chain_update(size.0.to_le_bytes()).chain_update(picture.pixels()).finalize();
            (seen.size, seen.digest) = (Some(size), Some(digest.into()));
        }
        Err(error) => seen.findings.push(Finding::of_error(&sample.category, &sample.path, &error)),
    }
    missing_mask(sample, &mut seen);
    let mut masks = Vec::new();
    for path in sample.masks() {
        let read = Mask::read_values(path, sample.mask_rule, limits)
            .and_then(|read| fits(sample, path, (read.0.width(), read.0.height()), seen.size).map(|()| read));
        match read {
            Ok((mask, values)) => masks.push((path, mask.is_empty(), values)),
            Err(error) => seen.findings.push(Finding::of_error(&sample.category, path, &error)),
        }
    }
    // One of several may mark nothing, if another does.
    let empty = masks.len() == sample.masks().count() && masks.iter().all(|&(_, empty, _)| empty);
    for (index, (path, _, values)) in masks.iter().enumerate() {
        let found = if empty { (index == 0).then(|| empty_mask(sample, values)) } else { grey_mask(sample, values) };
        seen.findings.extend(found.map(|(kind, what)| Finding::new(kind, &sample.category, path, what)));
    }
    seen
}

/// Reads headers alone.
pub(super) fn headers(sample: &Sample, limits: &Limits) -> Seen {
    let mut seen = Seen::default();
    match size(&sample.path, limits) {
        Ok(size) => seen.size = Some(size),
        Err(error) => seen.findings.push(Finding::of_error(&sample.category, &sample.path, &error)),
    }
    missing_mask(sample, &mut seen);
    for path in sample.masks() {
        if let Err(error) = size(path, limits).and_then(|mask| fits(sample, path, mask, seen.size)) {
            seen.findings.push(Finding::of_error(&sample.category, path, &error));
        }
    }
    seen
}

fn missing_mask(sample: &Sample, seen: &mut Seen) {
    if sample.label.is_anomalous() && sample.mask.is_none() {
        let what = "this anomalous image has no mask; it counts for images alone, not for pixels".to_string();
        seen.findings.push(Finding::new(Kind::MissingMask, &sample.category, &sample.path, what));
    }
}

fn fits(sample: &Sample, mask: &Path, mask_size: (u32, u32), image_size: Option<(u32, u32)>) -> Result<()> {
    image_size.map_or(Ok(()), |image_size| sample.check_mask_size(mask, mask_size, image_size))
}

fn empty_mask(sample: &Sample, values: &MaskValues) -> (Kind, String) {
    let what = if values.largest == 0 {
        "this mask of an anomalous image is black; draw the defect, or remove the mask, and the image counts for images \
         alone"
            .to_string()
    } else {
        format!(
            "this mask of an anomalous image marks nothing: {} alone does ({:?}), and its largest value is {}; save it in \
             black and white, or read the dataset's masks by {:?}",
            values.white,
            sample.mask_rule,
            values.largest,
            MaskRule::NonZero
        )
    };
    (Kind::EmptyMask, what)
}

fn grey_mask(sample: &Sample, values: &MaskValues) -> Option<(Kind, String)> {
    let pixels = match values.grey {
        0 => return None,
        1 => "1 pixel of this mask is".to_string(),
        grey => format!("{grey} pixels of this mask are"),
    };
    let what = match sample.mask_rule {
        MaskRule::White => format!(
            "{pixels} neither 0 nor {}, and so no defect by its rule ({:?}); save it in black and white without loss \
             (png), or read the dataset's masks by {:?}",
            values.white,
            sample.mask_rule,
            MaskRule::NonZero
        ),
        // Any value but 0 is as it should be, unless a compression made it up.
        MaskRule::NonZero if values.lossy => format!(
            "{pixels} neither 0 nor {}, and so a defect by its rule ({:?}), but jpeg makes such values up beside every \
             edge; save it without loss (png)",
            values.white, sample.mask_rule
        ),
        MaskRule::NonZero => return None,
    };
    Some((Kind::GreyMask, what))
}
