//! The description of a folder without a known layout: the near misses in it.

use std::path::{Path, PathBuf};

use super::files::DEPTH;
use super::listing::{Folder, Listing, list};
use super::names::{GOOD, Part, is_defective, is_foreign, is_normal};
use super::recognize::{self, FolderKind};
use super::{label_files, readers, real_iad, unread, visa};
use crate::error::Error;
use crate::text::names_of;

/// The number of folders that are searched.
const MAX_FOLDERS: usize = 500;

/// Describes a folder that has no known layout.
pub(super) fn describe(root: &Path, listing: &Listing) -> String {
    if listing.folders.iter().any(|folder| folder.path.join("Data/Images").is_dir()) {
        return format!(
            "it looks like VisA without its {}; VisA's archive has that file, and the image_anno.csv of each category can be opened by its path",
            visa::TABLE
        );
    }
    if listing.folders.iter().any(|folder| folder.name.to_string_lossy().starts_with(real_iad::SPLITS)) {
        return format!(
            "it has the lists of Real-IAD ({}), but none of the folders of its images ({}); put one of them beside the lists",
            real_iad::SPLITS,
            real_iad::IMAGES.join(", ")
        );
    }
    let mut reason = String::from(
        "it has no <category>/train/good (MVTec AD), no split_csv/1cls.csv (VisA), and no images of its own",
    );
    if let Some(error) = unlisted(listing) {
        return format!("{error}; give the permission to read it, or open another folder");
    }
    let found = datasets(listing);
    let is_part = |folder: &&Folder| Part::of(&folder.name) == Some(Part::Train);
    if let Some(train) =
        listing.folders.iter().find(is_part).filter(|train| found.iter().all(|f| f.starts_with(&train.path)))
        && let Some(first) = found.first()
    {
        let name = first.strip_prefix(&train.path).unwrap_or(first).display();
        reason.push_str(&format!(
            "; the categories lie in {}: give each one its own folders, such as {name}/train/{GOOD}, {name}/test/{GOOD} and \
             {name}/test/<type of defect>",
            train.name.to_string_lossy()
        ));
        return reason;
    }
    if !found.is_empty() {
        let noun = if found.len() == 1 { "a dataset lies" } else { "datasets lie" };
        let names: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
        reason.push_str(&format!(
            "; {noun} in {}: open {}",
            names_of(&names),
            if found.len() == 1 { "that" } else { "one" }
        ));
    }
    if let Some(advice) = products_in_normal(listing) {
        reason.push_str(&advice);
        return reason;
    }
    // The folder of normal images is unknown, so all are listed.
    let folders: Vec<String> = with_images(listing)
        .iter()
        .map(|path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned())
        .collect();
    if !folders.is_empty() {
        reason.push_str(&format!(
            "; images lie in {}: move the normal ones to train/{GOOD}, and those to test with to test/{GOOD} and \
             test/<type of defect>",
            names_of(&folders)
        ));
    }
    if let Some(advice) = label_files::yolo(listing) {
        reason.push_str(&advice);
    }
    if let Some(unread) = unread::below(root) {
        reason.push_str(&format!("; in and below it, {unread}"));
    }
    reason
}

/// Returns the error of the first folder below a folder that cannot be listed.
fn unlisted(listing: &Listing) -> Option<Error> {
    let (mut level, mut budget) = (listing.folders.clone(), MAX_FOLDERS);
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for folder in level.into_iter().take(budget) {
            budget -= 1;
            match list(&folder.path) {
                Ok(inner) => next.extend(inner.folders),
                Err(error) => return Some(error),
            }
        }
        level = next;
    }
    None
}

/// Describes a folder of normal images by name that has its images in folders in it: `OK/gear`.
fn products_in_normal(listing: &Listing) -> Option<String> {
    let mut normal = listing.folders.iter().filter(|folder| is_normal(&folder.name));
    normal.find_map(|folder| {
        let inner = list(&folder.path).ok().filter(|inner| inner.images.is_empty())?.folders;
        let has_images = |inner: &&Folder| list(&inner.path).is_ok_and(|inner| !inner.images.is_empty());
        let (bad, inner): (Vec<&Folder>, Vec<&Folder>) =
            inner.iter().filter(has_images).partition(|inner| is_defective(&inner.name));
        let [bad, names] =
            [bad, inner].map(|folders| folders.iter().map(|inner| inner.name.to_string_lossy()).collect::<Vec<_>>());
        let first = names.first()?;
        if !bad.is_empty() {
            return Some(format!(
                "; images lie one folder lower, in folders of {0}: those in {1} are normal if the name {0} is right, and those in {2} have defects \
                 by name; move the images of the first directly into {0}, and {2} to a folder bad beside it",
                folder.name.to_string_lossy(),
                names_of(&names),
                names_of(&bad),
            ));
        }
        Some(format!(
            "; the normal images lie one folder lower, in folders of {} ({}): open {} to train on each of these as a product, or for \
             test images, too, make folders {first}/{GOOD} and {first}/bad",
            folder.name.to_string_lossy(),
            names_of(&names),
            folder.path.display()
        ))
    })
}

/// Returns the nearest folders below a folder that have images.
fn with_images(listing: &Listing) -> Vec<PathBuf> {
    let mut level: Vec<Folder> = listing.folders.clone();
    let mut budget = MAX_FOLDERS;
    for _ in 0..DEPTH {
        let (mut found, mut next) = (Vec::new(), Vec::new());
        for folder in level.into_iter().take(budget) {
            budget -= 1;
            let Ok(inner) = list(&folder.path) else { continue };
            if !inner.images.is_empty() {
                found.push(folder.path);
            }
            next.extend(inner.folders);
        }
        if !found.is_empty() {
            return found;
        }
        level = next;
    }
    Vec::new()
}

/// Returns the datasets in the folders of a folder, the nearest ones first. A dataset is not looked into.
fn datasets(listing: &Listing) -> Vec<PathBuf> {
    let mut level: Vec<Folder> = listing.folders.clone();
    let (mut budget, mut found) = (MAX_FOLDERS, Vec::new());
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for folder in level {
            // A part of a dataset is none.
            if budget == 0
                || is_foreign(&folder.name)
                || matches!(Part::of(&folder.name), Some(Part::Test | Part::Truth))
            {
                continue;
            }
            budget -= 1;
            let Ok(inner) = list(&folder.path) else { continue };
            if is_dataset(&folder.path, &inner) {
                found.push(folder.path);
            } else {
                next.extend(inner.folders);
            }
        }
        level = next;
    }
    found
}

/// Returns whether a folder is a dataset, apart from folders of images without labels.
fn is_dataset(folder: &Path, listing: &Listing) -> bool {
    let kind = || recognize::folder(folder, listing, Vec::new());
    let has_good = || {
        listing
            .folders
            .iter()
            .any(|inner| is_normal(&inner.name) && list(&inner.path).is_ok_and(|inner| !inner.images.is_empty()))
    };
    folder.join(visa::TABLE).is_file()
        || readers::published(folder, listing).is_some()
        || readers::annotated(folder, listing).is_ok_and(|found| found.is_some())
        || has_good()
        || kind().is_ok_and(|kind| !matches!(kind, FolderKind::Plain(_) | FolderKind::Nothing))
}
