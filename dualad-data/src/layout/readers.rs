//! The readers of annotations and tables: which of them reads a dataset.

use std::ffi::OsStr;
use std::path::Path;

use super::listing::{Folder, Listing, list};
use super::names::{is_defective, is_normal};
use super::{Layout, coco, coco_file, dagm, kolektor, labelme, mvtec_3d, mvtec_ad2, real_iad, recognize, tabular};
use crate::error::{Error, Result};
use crate::image_name::has_ending;

/// Returns the layout of a file: a table, or annotations.
pub(super) fn of_file(path: &Path) -> Result<Layout> {
    if tabular::is_table(path) {
        return Ok(Layout::Table);
    }
    if coco_file::is_coco(path) {
        return Ok(Layout::Coco);
    }
    if let Some(error) = coco::incomplete(path).filter(|_| has_ending(path, &["json"])) {
        return Err(error);
    }
    let reason =
        "it is a file, but no table (csv, tsv, jsonl, ndjson) and no COCO annotations (json); name the folder of the \
                  dataset"
            .into();
    Err(Error::Layout { path: path.into(), reason })
}

/// Returns the layout of a folder with a table or annotations. Files beside folders of categories do not count.
pub(super) fn annotated(root: &Path, listing: &Listing) -> Result<Option<Layout>> {
    if recognize::is_complete(root, listing) {
        return Ok(None);
    }
    if !tabular::tables(root)?.is_empty() {
        return Ok(Some(Layout::Table));
    }
    let inner = || listing.folders.iter().map(|folder| folder.path.as_path());
    for folder in std::iter::once(root).chain(inner()) {
        // A folder that cannot be listed is reported by the reader.
        if coco::is_here(folder).unwrap_or(false) {
            return Ok(Some(Layout::Coco));
        }
    }
    // Folders of normal and of defective images say more than the shapes in the latter.
    let images_in = |is: fn(&OsStr) -> bool| -> Vec<&Path> {
        let has_images = |folder: &&Folder| list(&folder.path).is_ok_and(|inner| !inner.images.is_empty());
        let named = listing.folders.iter().filter(|folder| is(&folder.name)).filter(has_images);
        named.map(|folder| folder.path.as_path()).collect()
    };
    let labels = [images_in(is_normal), images_in(is_defective)];
    let are_labels = !labels.iter().any(Vec::is_empty);
    let is_label = |folder: &&Path| are_labels && labels.iter().any(|named| named.contains(folder));
    for folder in std::iter::once(root).chain(inner().filter(|folder| !is_label(folder))) {
        if labelme::is_here(folder).unwrap_or(false) {
            return Ok(Some(Layout::LabelMe));
        }
    }
    Ok(None)
}

/// Returns the layout of a published dataset that has folders or files of its own.
pub(super) fn published(root: &Path, listing: &Listing) -> Option<Layout> {
    type Detect = fn(&Path, &Listing) -> bool;
    let known: [(Detect, Layout); 5] = [
        (real_iad::is_here, Layout::RealIad),
        (mvtec_ad2::is_here, Layout::MvtecAd2),
        (mvtec_3d::is_here, Layout::Mvtec3d),
        (kolektor::is_here, Layout::Kolektor),
        (dagm::is_here, Layout::Dagm),
    ];
    known.into_iter().find(|(is_here, _)| is_here(root, listing)).map(|(_, layout)| layout)
}
