//! What is wrong with one image and its masks.

use std::path::Path;

use image::metadata::Orientation;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::decode::{orientation_of as orientation, size};
use crate::image::levels::MaskValues;
use crate::image::{Limits, Mask, MaskRule, Picture};
use crate::sample::Sample;

/// What one sample's files turned out to be.
#[derive(Default)]
pub(super) struct Inspected {
    pub(super) size: Option<(u32, u32)>,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) findings: Vec<Finding>,
}

/// Decodes everything.
pub(super) fn whole(sample: &Sample, limits: &Limits) -> Inspected {
    let mut inspected = Inspected::default();
    match Picture::read(&sample.path, limits) {
        Ok(picture) => {
            let size = (picture.width(), picture.height());
            let digest = Sha256::new().chain_update(size.0.to_le_bytes()).chain_update(picture.pixels()).finalize();
            (inspected.size, inspected.digest) = (Some(size), Some(digest.into()));
        }
        Err(error) => inspected.findings.push(error_finding(&sample.category, &sample.path, &error)),
    }
    missing_mask(sample, &mut inspected);
    let mut masks = Vec::new();
    for path in sample.defect_masks() {
        let read = Mask::read_values(path, sample.mask_rule, limits)
            .and_then(|read| fits(sample, path, (read.0.width(), read.0.height()), inspected.size).map(|()| read));
        match read {
            Ok((mask, values)) => masks.push((path.as_path(), mask, values)),
            Err(error) => inspected.findings.push(error_finding(&sample.category, path, &error)),
        }
    }
    if let Some(what) = turned(sample, &masks, &inspected, limits) {
        inspected.findings.push(Finding::new(FindingKind::RotatedImage, &sample.category, &sample.path, what));
    }
    if let [(path, first, _), rest @ ..] = &mut masks[..] {
        let mut all = first.clone();
        rest.iter().for_each(|(_, mask, _)| all.add(mask));
        let marked = all.pixels().iter().filter(|&&pixel| pixel != 0).count();
        if marked as f64 > NEARLY_ALL * all.pixels().len() as f64 {
            let what = format!(
                "this mask marks {:.0} % of its image; white is the defect, and black what is sound",
                100.0 * marked as f64 / all.pixels().len() as f64
            );
            inspected.findings.push(Finding::new(FindingKind::FullMask, &sample.category, path, what));
        }
    }
    // One of several may mark nothing, if another does.
    let empty = masks.len() == sample.defect_masks().len() && masks.iter().all(|(_, mask, _)| mask.is_empty());
    for (index, (path, _, values)) in masks.iter().enumerate() {
        let found = if empty { (index == 0).then(|| empty_mask(sample, values)) } else { gray_mask(sample, values) };
        inspected.findings.extend(found.map(|(kind, what)| Finding::new(kind, &sample.category, path, what)));
    }
    inspected
}

/// The share of an image that no defect covers.
const NEARLY_ALL: f64 = 0.95;

/// Whether the image is turned, and the mask may have been drawn on it before.
fn turned(
    sample: &Sample,
    masks: &[(&Path, Mask, MaskValues)],
    inspected: &Inspected,
    limits: &Limits,
) -> Option<String> {
    let ((mask, ..), (width, height)) = (masks.first()?, inspected.size?);
    let is = |path| orientation(path, limits).unwrap_or(Orientation::NoTransforms);
    let found = is(&sample.path);
    // A mask of the upright size was drawn on the upright image, where the sizes differ.
    if found == Orientation::NoTransforms
        || is(mask) != Orientation::NoTransforms
        || found.to_exif() > 4 && width != height
    {
        return None;
    }
    let found = found.to_exif();
    Some(format!(
        "its EXIF orientation ({found}) turns it, and its mask has none; make sure that {} was drawn on the upright image",
        mask.display()
    ))
}

/// Reads headers alone.
pub(super) fn headers(sample: &Sample, limits: &Limits) -> Inspected {
    let mut inspected = Inspected::default();
    match size(&sample.path, limits) {
        Ok(size) => inspected.size = Some(size),
        Err(error) => inspected.findings.push(error_finding(&sample.category, &sample.path, &error)),
    }
    missing_mask(sample, &mut inspected);
    for path in sample.defect_masks() {
        if let Err(error) = size(path, limits).and_then(|mask| fits(sample, path, mask, inspected.size)) {
            inspected.findings.push(error_finding(&sample.category, path, &error));
        }
    }
    inspected
}

fn missing_mask(sample: &Sample, inspected: &mut Inspected) {
    if sample.label.is_anomalous() && sample.defect_masks().is_empty() {
        let what = "this anomalous image has no mask; it counts for images alone, not for pixels".to_string();
        inspected.findings.push(Finding::new(FindingKind::MissingMask, &sample.category, &sample.path, what));
    }
}

fn fits(sample: &Sample, mask: &Path, mask_size: (u32, u32), image_size: Option<(u32, u32)>) -> Result<()> {
    image_size.map_or(Ok(()), |image_size| sample.check_mask_size(mask, mask_size, image_size))
}

fn empty_mask(sample: &Sample, values: &MaskValues) -> (FindingKind, String) {
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
    (FindingKind::EmptyMask, what)
}

fn gray_mask(sample: &Sample, values: &MaskValues) -> Option<(FindingKind, String)> {
    let pixels = match values.gray {
        0 => return None,
        1 => "1 pixel of this mask is".to_string(),
        gray => format!("{gray} pixels of this mask are"),
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
            "{pixels} neither 0 nor {}, and so a defect by its rule ({:?}), but lossy compression makes such values up beside every \
             edge; save it without loss (png)",
            values.white, sample.mask_rule
        ),
        MaskRule::NonZero => return None,
    };
    Some((FindingKind::GrayMask, what))
}

/// Returns the finding that an error of a file amounts to.
fn error_finding(category: &str, path: &Path, error: &Error) -> Finding {
    let kind = match error {
        Error::EmptyFile { .. } => FindingKind::EmptyFile,
        Error::MaskSize { .. } => FindingKind::MaskSize,
        _ => FindingKind::Unreadable,
    };
    Finding::new(kind, category, path, error.to_string())
}
