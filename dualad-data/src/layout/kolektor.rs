//! KolektorSDD and KolektorSDD2 (Tabernik et al., 2019; Bozic et al., 2021): a mask beside each image tells its label.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::apart::{ANOMALOUS_TRAINING, child, note_apart, report_others};
use super::divide::divide;
use super::left_out::LeftOut;
use super::listing::{Listing, display_name, list, stem};
use crate::error::Result;
use crate::finding::Finding;
use crate::image::{Limits, Mask, MaskRule};
use crate::sample::{Category, Label, Sample, Split};

/// The end of the name of a mask in KolektorSDD and in KolektorSDD2.
const LABEL: &str = "_label";
const TRUTH: &str = "_GT";

/// Returns whether a folder is KolektorSDD: `kos01/Part0.jpg` and `kos01/Part0_label.bmp`.
fn is_first(listing: &Listing) -> bool {
    let is_part = |name: &str| {
        let digits = name.to_ascii_lowercase();
        digits
            .strip_prefix("kos")
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut parts = listing.folders.iter().filter(|folder| is_part(&folder.name.to_string_lossy()));
    parts.any(|folder| has_masks(&folder.path, LABEL))
}

/// Returns whether a folder is KolektorSDD2: `train/10000.png` and `train/10000_GT.png`, and the same in `test`. A folder whose
/// test images lie in `test/good` and `test/<type>` is another layout.
fn is_second(root: &Path) -> bool {
    child(root, "train").is_some_and(|train| has_masks(&train, TRUTH))
        && child(root, "test").is_none_or(|test| has_masks(&test, TRUTH))
}

fn has_masks(folder: &Path, suffix: &str) -> bool {
    list(folder).is_ok_and(|listing| listing.images.iter().any(|path| image_of(path, suffix).is_some()))
}

/// Returns the stem of the image that a mask belongs to by its name.
fn image_of(path: &Path, suffix: &str) -> Option<OsString> {
    let stem = stem(path).to_str()?;
    let split = stem.len().checked_sub(suffix.len())?;
    let end = stem.get(split..)?;
    (split > 0 && end.eq_ignore_ascii_case(suffix)).then(|| stem[..split].into())
}

/// Returns whether a folder is one of the two datasets.
pub(super) fn is_here(root: &Path, listing: &Listing) -> bool {
    is_first(listing) || is_second(root)
}

/// Reads either dataset as one category.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let (name, listing) = (display_name(root), list(root)?);
    if is_first(&listing) {
        let mut images = Vec::new();
        let read: Vec<PathBuf> = listing.folders.iter().map(|folder| folder.path.clone()).collect();
        report_others(root, &read, false, &name, findings)?;
        for folder in &listing.folders {
            report_others(&folder.path, &[], true, &name, findings)?;
            images.extend(labeled(&folder.path, LABEL, &name, findings)?.into_iter().map(|sample| (None, sample)));
        }
        return Ok(vec![divide(&name, root, images, findings)]);
    }
    let mut samples = Vec::new();
    let parts: Vec<PathBuf> = ["train", "test"].iter().filter_map(|part| child(root, part)).collect();
    report_others(root, &parts, false, &name, findings)?;
    for part in &parts {
        report_others(part, &[], true, &name, findings)?;
    }
    if let Some(train) = child(root, "train") {
        let all = labeled(&train, TRUTH, &name, findings)?;
        let (anomalous, normal): (Vec<_>, Vec<_>) = all.into_iter().partition(|sample| sample.label.is_anomalous());
        note_apart(&name, &train, anomalous.len(), ANOMALOUS_TRAINING, findings);
        samples.extend(normal);
    }
    if let Some(test) = child(root, "test") {
        let test = labeled(&test, TRUTH, &name, findings)?.into_iter();
        samples.extend(test.map(|sample| Sample { split: Split::Test, ..sample }));
    }
    if samples.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Category { name, folder: root.into(), samples }])
}

/// Returns the images of a folder with the labels that their masks tell. An image is anomalous if its mask marks a pixel.
fn labeled(folder: &Path, suffix: &str, category: &str, findings: &mut Vec<Finding>) -> Result<Vec<Sample>> {
    let (mut masks, mut images) = (BTreeMap::<OsString, PathBuf>::new(), Vec::new());
    for path in list(folder)?.images {
        match image_of(&path, suffix) {
            Some(stem) => drop(masks.insert(stem, path)),
            None => images.push(path),
        }
    }
    let count = images.len();
    images.retain(|path| masks.contains_key(stem(path)));
    let advice = format!("their labels are unknown without a mask <stem>{suffix} beside them");
    LeftOut { top: folder, category, findings }.loose(folder, count - images.len(), &advice);
    let read = |path: PathBuf| {
        let mut sample = Sample::new(&path, category, Split::Train, Label::Normal);
        sample.mask_rule = MaskRule::NonZero;
        if let Some(mask) = masks.get(stem(&path))
            && !Mask::read(mask, MaskRule::NonZero, &Limits::default())?.is_empty()
        {
            sample.label = Label::Anomalous("defect".into());
            sample.masks.push(mask.clone());
        }
        Ok(sample)
    };
    images.into_par_iter().map(read).collect()
}
