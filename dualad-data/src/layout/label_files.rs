//! Files that may hold the labels of images, and that no layout reads. They are named: the images count as normal.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::files::files_with;
use super::left_out::is_link_within;
use super::listing::{Folder, Listing, list, stem};
use super::names::{Part, is_normal, means_labels};
use crate::finding::{Finding, FindingKind};
use crate::image_name::has_ending;

/// The endings of tables and annotations.
const ENDINGS: [&str; 11] = ["csv", "json", "jsonl", "ndjson", "ods", "parquet", "tsv", "xls", "xlsm", "xlsx", "xml"];
/// The endings of texts. Most are notes.
const TEXTS: [&str; 2] = ["txt", "lst"];

/// The advice for a table.
const TABLE: &str = ". A table is read if it lies above the images, and has the columns path (relative to the table) and label \
                     (normal, or a type of defect)";

/// The depth to which folders are searched.
const DEPTH: usize = 2;
/// The number of folders that are searched.
const MAX_FOLDERS: usize = 500;

/// Reports the files in a folder, and in those in it, that may hold labels of the images. Folders in `known` are not searched.
pub(super) fn report(
    root: &Path,
    images: &BTreeSet<&OsStr>,
    known: &[&Path],
    category: &str,
    findings: &mut Vec<Finding>,
) {
    let mut found = Vec::new();
    let mut level = vec![root.to_path_buf()];
    let mut budget = MAX_FOLDERS;
    for depth in 0..=DEPTH {
        let mut next = Vec::new();
        for folder in level.iter().take(budget) {
            found.extend(of_folder(folder, images));
            // The readers report folders that cannot be listed.
            let Ok(listing) = list(folder).map(|listing| listing.folders) else { continue };
            let is_searched = |folder: &PathBuf| !known.contains(&folder.as_path()) && !is_link_within(folder, root);
            // The folders there say which images are normal.
            let inner = listing
                .into_iter()
                .filter(|inner| !is_normal(&inner.name) && Part::of(&inner.name) != Some(Part::Test));
            next.extend(inner.map(|inner| inner.path).filter(is_searched));
        }
        budget = budget.saturating_sub(level.len());
        if depth == DEPTH || budget == 0 {
            break;
        }
        level = next;
    }
    let Some(first) = found.first() else { return };
    let what = format!(
        "files that may label the images are not read: {} (such as {}); all images count as normal. If some have defects, correct the \
         files, name their layout, or move these images to test/<type of defect>; if none has, name the folder good",
        found.len(),
        first.strip_prefix(root).unwrap_or(first).display()
    ) + if has_ending(first, &["csv", "tsv", "jsonl", "ndjson"]) { TABLE } else { "" };
    findings.push(Finding::new(FindingKind::LeftOut, category, first, what));
}

/// Returns the files directly in a folder that may hold labels. YOLO has a text for each image.
fn of_folder(folder: &Path, images: &BTreeSet<&OsStr>) -> Vec<PathBuf> {
    let mut files = files_with(folder, &ENDINGS).unwrap_or_default();
    let texts = files_with(folder, &TEXTS).unwrap_or_default().into_iter();
    files.extend(texts.filter(|file| images.contains(stem(file)) || means_labels(stem(file))));
    files
}

/// Describes the labels of YOLO in a folder, or in one of its folders: texts in a folder `labels`.
pub(super) fn yolo(listing: &Listing) -> Option<String> {
    let has_texts = |folder: &&Folder| {
        folder.name.eq_ignore_ascii_case("labels")
            && files_with(&folder.path, &["txt"]).is_ok_and(|texts| !texts.is_empty())
    };
    let inner = listing.folders.iter().take(MAX_FOLDERS).filter_map(|folder| list(&folder.path).ok());
    let inner: Vec<Folder> = inner.flat_map(|listing| listing.folders).collect();
    let labels = listing.folders.iter().chain(&inner).find(has_texts)?;
    Some(format!(
        "; the texts in {} are labels as YOLO has them, which are not read: convert them to COCO, or move the images to train/good \
         and test/<type of defect>",
        labels.path.display()
    ))
}
