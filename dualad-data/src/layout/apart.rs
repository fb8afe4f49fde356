//! Folders with fixed names inside published datasets, and notes on images that these datasets keep apart.

use std::path::{Path, PathBuf};

use super::listing::{Listing, list};
use crate::finding::{Finding, FindingKind};

/// Returns the folder of this name in a folder, in upper or lower case.
pub(super) fn child(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.is_dir() {
        return Some(exact);
    }
    let inner = list(folder).ok()?.folders;
    inner.into_iter().find(|inner| inner.name.to_string_lossy().eq_ignore_ascii_case(name)).map(|inner| inner.path)
}

/// Returns the root if it is a category by itself, or else the folders in it that are.
pub(super) fn categories(root: &Path, listing: &Listing, is_category: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    if is_category(root) {
        return vec![root.to_path_buf()];
    }
    let inner = listing.folders.iter().map(|folder| folder.path.clone());
    inner.filter(|folder| is_category(folder)).collect()
}

/// Notes a folder whose images the dataset keeps apart from training and testing.
pub(super) fn note_apart(category: &str, folder: &Path, count: usize, why: &str, findings: &mut Vec<Finding>) {
    if count > 0 {
        let what = format!("images that are neither trained nor tested on: {count}; {why}");
        findings.push(Finding::new(FindingKind::Choice, category, folder, what));
    }
}

/// The reason for validation images.
pub(super) const VALIDATION: &str = "they are for choosing thresholds: calibrate on this folder";

/// The reason for anomalous images among the training images.
pub(super) const ANOMALOUS_TRAINING: &str = "they are the anomalous ones of the training part";
