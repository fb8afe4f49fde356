//! Folders with fixed names inside published datasets, and notes on images that these datasets keep apart.

use std::path::{Path, PathBuf};

use super::derived;
use super::left_out::LeftOut;
use super::listing::{Folder, Listing, file_name, list, list_if_there};
use crate::error::Result;
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
    let is_one = |folder: &&Folder| is_category(&folder.path) && !derived::fill(folder, root);
    listing.folders.iter().filter(is_one).map(|folder| folder.path.clone()).collect()
}

/// Notes a folder whose images the dataset keeps apart from training and testing.
pub(super) fn note_apart(category: &str, folder: &Path, count: usize, why: &str, findings: &mut Vec<Finding>) {
    if count > 0 {
        let what = format!("images that are neither trained nor tested on: {count}; {why}");
        findings.push(Finding::new(FindingKind::Choice, category, folder, what));
    }
}

/// Reports the images beside the categories of a dataset: those directly in its folder, and those of folders that are no category.
pub(super) fn report_beside_categories(
    root: &Path,
    listing: &Listing,
    categories: &[PathBuf],
    findings: &mut Vec<Finding>,
) {
    if categories == [root] {
        return;
    }
    let mut left_out = LeftOut { top: root, category: "", findings };
    left_out.loose(root, listing.images.len(), "they belong to no category; move them away");
    for other in listing.folders.iter().filter(|folder| !categories.contains(&folder.path)) {
        let usual = "it is not a category, because it has not the folders of one; move it away, or open it by itself";
        left_out.folders([other], if derived::fill(other, root) { derived::FOLDER } else { usual });
    }
}

/// Reports the images of a folder that are not read. Those of the folders `read` are, and if `reads_images`, those directly in it.
pub(super) fn report_others(
    folder: &Path,
    read: &[PathBuf],
    reads_images: bool,
    category: &str,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let listing = list_if_there(folder)?;
    let names: Vec<_> = read.iter().map(|path| file_name(path).to_string_lossy()).collect();
    let advice = match (names.is_empty(), reads_images) {
        (true, _) => "folders in this one are not read; move the images into it, or away".to_string(),
        (false, true) => {
            format!("beside its own images, only those of {} are read; move others away", names.join(", "))
        }
        (false, false) => format!("only images of {} are read; move others away", names.join(", ")),
    };
    let mut left_out = LeftOut { top: folder, category, findings };
    if !reads_images {
        left_out.loose(folder, listing.images.len(), &advice);
    }
    for other in listing.folders.iter().filter(|inner| !read.contains(&inner.path)) {
        left_out.folders([other], if derived::fill(other, folder) { derived::FOLDER } else { &advice });
    }
    Ok(())
}

/// The reason for validation images.
pub(super) const VALIDATION: &str = "they are for choosing thresholds: calibrate on this folder";

/// The reason for anomalous images among the training images.
pub(super) const ANOMALOUS_TRAINING: &str = "they are the anomalous ones of the training part";
