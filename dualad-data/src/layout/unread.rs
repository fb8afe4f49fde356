//! Images that are not read because of their names or formats. They are counted and named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::left_out::is_link_within;
use super::listing::{Listing, file_name, list};
use crate::finding::{Finding, FindingKind};
use crate::image_name::is_other_image_name;
use crate::sample::Category;

/// The depth to which a dataset is searched: that of the deepest layout.
const DEPTH: usize = 5;

/// Reports the images of a dataset that are not read, one finding for each folder.
pub(super) fn report(root: &Path, categories: &[Category], findings: &mut Vec<Finding>) {
    let of_images: BTreeSet<&Path> =
        categories.iter().flat_map(|category| &category.samples).filter_map(|sample| sample.path.parent()).collect();
    walk(root, root, DEPTH, &mut |folder, listing| {
        // Elsewhere, an archive may be a copy of the dataset.
        let packed = if of_images.contains(folder) { &listing.packed[..] } else { &[] };
        if listing.unread.is_empty() && packed.is_empty() {
            return;
        }
        // The innermost category that holds the folder.
        let holds = |category: &&Category| folder.starts_with(&category.folder);
        let category = categories.iter().filter(holds).max_by_key(|category| category.folder.as_os_str().len());
        let name = category.map_or("", |category| category.name.as_str());
        findings.push(Finding::new(FindingKind::LeftOut, name, folder, describe(&listing.unread, packed)));
    });
}

/// Describes the images in and below a folder that are not read, if there are any.
pub(super) fn below(root: &Path) -> Option<String> {
    let (mut all, mut packed) = (Vec::new(), Vec::new());
    walk(root, root, DEPTH, &mut |_, listing| {
        all.extend_from_slice(&listing.unread);
        packed.extend_from_slice(&listing.packed);
    });
    (!all.is_empty() || !packed.is_empty()).then(|| describe(&all, &packed))
}

fn walk(folder: &Path, top: &Path, depth: usize, found: &mut impl FnMut(&Path, &Listing)) {
    // The readers report folders that cannot be listed.
    let Ok(listing) = list(folder) else { return };
    found(folder, &listing);
    if depth > 0 {
        for inner in listing.folders.iter().filter(|inner| !is_link_within(&inner.path, top)) {
            walk(&inner.path, top, depth - 1, found);
        }
    }
}

/// Describes images that are not read.
fn describe(files: &[PathBuf], packed: &[PathBuf]) -> String {
    let (formats, names): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(|path| is_other_image_name(path));
    let mut parts = Vec::new();
    for (files, advice) in [
        (formats, "they are of a format that is not read; convert them to png"),
        (names, "their names have no ending of an image; rename them, or move them away"),
    ] {
        if let Some(first) = files.first() {
            let count = if files.len() == 1 { "1 image is".into() } else { format!("{} images are", files.len()) };
            let (endings, first) = (endings(&files), file_name(first).to_string_lossy());
            parts.push(format!("{count} left out ({endings}; the first is {first}): {advice}"));
        }
    }
    if let Some(first) = packed.first() {
        let count = if packed.len() == 1 { "1 file".into() } else { format!("{} files", packed.len()) };
        let (endings, first) = (endings(&packed.iter().collect::<Vec<_>>()), file_name(first).to_string_lossy());
        parts.push(format!(
            "{count} that may hold images {} not read ({endings}; the first is {first}): save the images as png, or move {} away",
            if packed.len() == 1 { "is" } else { "are" },
            if packed.len() == 1 { "it" } else { "them" }
        ));
    }
    parts.join("; ")
}

/// The number of endings that a message lists.
const MAX_ENDINGS: usize = 5;

/// Lists the endings of files with their numbers, the most frequent first.
fn endings(files: &[&PathBuf]) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for path in files {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        *counts.entry(ending).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut listed: Vec<String> =
        counts.iter().take(MAX_ENDINGS).map(|(name, count)| format!(".{name}: {count}")).collect();
    if let Some(more @ 1..) = counts.len().checked_sub(MAX_ENDINGS) {
        listed.push(format!("{more} other endings"));
    }
    listed.join(", ")
}
