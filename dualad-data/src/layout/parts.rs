//! The folders of a category: `train`, `test` and `ground_truth`, and the normal ones among their subfolders.

use std::path::{Path, PathBuf};

use super::listing::{Folder, Listing, list};
use super::names::{GOOD, Part, is_normal};
use crate::error::Result;

/// Returns the path of a part: the folder of its exact name, or else of another name for it. A part that is missing has a path
/// that does not exist.
pub(super) fn part(folder: &Path, listing: &Listing, part: Part) -> PathBuf {
    let exact = listing.folders.iter().find(|inner| inner.name == part.name());
    let found = exact.or_else(|| listing.folders.iter().find(|inner| Part::of(&inner.name) == Some(part)));
    found.map_or_else(|| folder.join(part.name()), |inner| inner.path.clone())
}

/// Returns the part that a listed folder is. A second folder for the same part is none.
pub(super) fn part_of(inner: &Folder, folder: &Path, listing: &Listing) -> Option<Part> {
    Part::of(&inner.name).filter(|found| part(folder, listing, *found) == inner.path)
}

/// Returns the folders of normal images among the listed ones: `good`, or else those of another name for it.
pub(super) fn normal(listing: &Listing) -> Result<Vec<&Folder>> {
    let named: Vec<&Folder> = listing.folders.iter().filter(|folder| is_normal(&folder.name)).collect();
    match named.iter().find(|folder| folder.name == GOOD) {
        // An empty `good` does not hide the images of another folder.
        Some(good) if named.len() == 1 || !list(&good.path)?.images.is_empty() => Ok(vec![*good]),
        _ => Ok(named),
    }
}
