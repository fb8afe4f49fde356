//! DAGM 2007 (Wieler and Hahn): `Class1/Train`, `Class1/Test`, and a mask in their `Label` for each defective image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::apart::{ANOMALOUS_TRAINING, categories, child, note_apart, report_beside_categories, report_others};
use super::derived;
use super::listing::{Listing, display_name, list, stem};
use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::image::MaskRule;
use crate::sample::{Category, Label, Sample, Split};

const MASKS: &str = "Label";

fn is_class(folder: &Path) -> bool {
    // A folder `test/label` of MVTec AD's layout has no images beside it.
    let has_masks = |part: &str| {
        child(folder, part).is_some_and(|part| {
            child(&part, MASKS).is_some() && list(&part).is_ok_and(|listing| !listing.images.is_empty())
        })
    };
    has_masks("Train") || has_masks("Test")
}

/// Returns whether a folder has classes of DAGM, or is one.
pub(super) fn is_here(root: &Path, listing: &Listing) -> bool {
    !categories(root, listing, is_class).is_empty()
}

/// Reads the classes.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let listing = list(root)?;
    let found = categories(root, &listing, is_class);
    report_beside_categories(root, &listing, &found, findings);
    found.iter().map(|folder| class(folder, findings)).collect()
}

fn class(folder: &Path, findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(folder);
    let mut samples = Vec::new();
    let parts = [("Train", Split::Train), ("Test", Split::Test)].map(|(name, split)| (child(folder, name), split));
    let found: Vec<PathBuf> = parts.iter().filter_map(|(part, _)| part.clone()).collect();
    report_others(folder, &found, false, &name, findings)?;
    for (part, split) in parts {
        let Some(part) = part else { continue };
        let inner: Vec<PathBuf> = child(&part, MASKS).into_iter().collect();
        report_others(&part, &inner, true, &name, findings)?;
        let images = derived::images_in(&part, &name, findings)?;
        let masks = match child(&part, MASKS) {
            Some(masks) => list(&masks)?.images,
            None => {
                let what = format!("without the folder {MASKS}, its images count as normal: {}", images.len());
                findings.push(Finding::new(FindingKind::Choice, &name, &part, what));
                Vec::new()
            }
        };
        let mut masks: BTreeMap<String, _> = masks
            .into_iter()
            .map(|path| (stem(&path).to_string_lossy().to_ascii_lowercase().replace("_label", ""), path))
            .collect();
        let mut apart = 0;
        for path in images {
            let mask = masks.remove(&stem(&path).to_string_lossy().to_ascii_lowercase());
            if split == Split::Train && mask.is_some() {
                apart += 1;
                continue;
            }
            let label = if mask.is_some() { Label::Anomalous("defect".into()) } else { Label::Normal };
            let mut sample = Sample::new(path, &name, split, label);
            sample.mask_rule = MaskRule::NonZero;
            sample.masks.extend(mask);
            samples.push(sample);
        }
        note_apart(&name, &part, apart, ANOMALOUS_TRAINING, findings);
        for mask in masks.into_values() {
            let what = format!("this mask is not used: {} has no image of its name", part.display());
            findings.push(Finding::new(FindingKind::UnpairedMask, &name, &mask, what));
        }
    }
    Ok(Category { name, folder: folder.into(), samples })
}
