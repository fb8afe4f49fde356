//! Images that are not read because of their names or formats, and other files beside images. They are counted and named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::files::DEPTH;
use super::left_out::is_link_within;
use super::listing::{Listing, file_name, list, stem};
use super::mask_name::{Key, is_of_image, key};
use super::names::{Part, Stated, holds_masks, is_normal, label_of};
use super::{Layout, label_files};
use crate::finding::{Finding, FindingKind};
use crate::image_name::is_other_image_name;
use crate::sample::Category;
use crate::text::{names_of, shown};

/// Reports the images of a dataset that are not read, one finding for each folder, and the other files beside its images. A layout
/// whose files name the images (`names_images`) reports its images itself. `is_read` tells the files whose content was read.
pub(super) fn report(
    root: &Path,
    layout: Layout,
    is_read: &dyn Fn(&Path) -> bool,
    categories: &[Category],
    findings: &mut Vec<Finding>,
) {
    let samples = || categories.iter().flat_map(|category| &category.samples);
    let of_images: BTreeSet<&Path> = samples().filter_map(|sample| sample.path.parent()).collect();
    let around: BTreeSet<&Path> = of_images.iter().flat_map(|folder| folder.ancestors()).collect();
    let names_images = matches!(layout, Layout::Visa | Layout::Table | Layout::Coco | Layout::RealIad);
    let names: BTreeSet<Key> = samples().map(|sample| key(&sample.path)).collect();
    let mut others = Vec::new();
    walk(root, root, DEPTH, &mut |folder, listing| {
        if folder == root || around.contains(folder) {
            others.extend(listing.others.iter().filter(|file| !is_read(file)).cloned());
        }
        let mut packed = listing.packed.clone();
        let is_of_masks = || folder.strip_prefix(root).is_ok_and(|inner| inner.iter().any(holds_masks));
        if !of_images.contains(folder) && !is_of_masks() {
            // Elsewhere, an archive may be a copy of the dataset.
            packed.retain(|file| is_of_image(file, &names) || is_part(file, listing));
        }
        let unread = if names_images { &[] } else { &listing.unread[..] };
        if names_images {
            packed.clear();
        }
        let Some(what) = describe(unread, &packed, &listing.broken_links) else { return };
        // The innermost category that holds the folder.
        let holds = |category: &&Category| folder.starts_with(&category.folder);
        let category = categories.iter().filter(holds).max_by_key(|category| category.folder.as_os_str().len());
        let name = category.map_or("", |category| category.name.as_str());
        findings.push(Finding::new(FindingKind::LeftOut, name, folder, what));
    });
    let category = if let [one] = categories { one.name.as_str() } else { "" };
    other_files(root, &others, category, findings);
}

/// Returns whether a file is named like a part of a dataset, such as `bad.zip`, and no folder beside it has its name.
fn is_part(file: &Path, listing: &Listing) -> bool {
    let stem = stem(file);
    let is_label = is_normal(stem) || label_of(stem) == Stated::Defective;
    (is_label || Part::of(stem).is_some() || holds_masks(stem))
        && !listing.folders.iter().any(|folder| folder.name.eq_ignore_ascii_case(stem))
}

/// Reports files beside images that are neither images nor known. Files that another finding tells are left out.
pub(super) fn other_files(root: &Path, files: &[PathBuf], category: &str, findings: &mut Vec<Finding>) {
    let reported = || findings.iter().filter(|finding| finding.path.starts_with(root));
    let are_told = reported().any(label_files::is_of_file);
    let told: BTreeSet<&Path> = reported().map(|finding| finding.path.as_path()).collect();
    let is_told = |file: &PathBuf| told.contains(file.as_path()) || are_told && label_files::has_ending_of_labels(file);
    let files: Vec<&PathBuf> = files.iter().filter(|file| !is_told(file)).collect();
    if files.is_empty() {
        return;
    }
    let names: Vec<_> = files.iter().map(|file| file.strip_prefix(root).unwrap_or(file).to_string_lossy()).collect();
    let (count, they_hold) = match names.len() {
        1 => ("1 file beside the images is".to_string(), "it holds"),
        count => (format!("{count} files beside the images are"), "they hold"),
    };
    let what = format!(
        "{count} not read: {}; this matters only if {they_hold} labels: those are read from a table (csv) with the columns path and label \
         that is opened, and from the folders of the images",
        names_of(&names)
    );
    findings.push(Finding::new(FindingKind::OtherFiles, category, root, what));
}

/// Describes the images in and below a folder that are not read, if there are any.
pub(super) fn below(root: &Path) -> Option<String> {
    let (mut all, mut packed, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    walk(root, root, DEPTH, &mut |_, listing| {
        all.extend_from_slice(&listing.unread);
        packed.extend_from_slice(&listing.packed);
        broken.extend_from_slice(&listing.broken_links);
    });
    describe(&all, &packed, &broken)
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

/// Describes images that are not read, files that may hold images, and links that lead nowhere, if there are any.
fn describe(files: &[PathBuf], packed: &[PathBuf], broken_links: &[PathBuf]) -> Option<String> {
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
            "{count} that may hold images {} not read ({endings}; the first is {first}): unpack archives, save the images of other files as png, or \
             move {} away",
            if packed.len() == 1 { "is" } else { "are" },
            if packed.len() == 1 { "it" } else { "them" }
        ));
    }
    if let Some(first) = broken_links.first() {
        let target = std::fs::read_link(first).unwrap_or_default();
        let (name, target) = (file_name(first).to_string_lossy(), shown(&target));
        let what = match broken_links.len() {
            1 => format!(
                "{name} is a link to {target}, which is not there or cannot be followed: restore it, or remove the link"
            ),
            count => format!(
                "{count} links lead to nothing (such as {name}, to {target}): restore what they led to, or remove them"
            ),
        };
        parts.push(what);
    }
    (!parts.is_empty()).then(|| parts.join("; "))
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
