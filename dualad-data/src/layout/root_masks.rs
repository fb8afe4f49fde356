//! Masks of images to train on that lie beside the categories: in `masks/bottle`, `bottle_train_masks` and the like.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;

use super::listing::{Folder, list};
use super::mask_name::{Key, key};
use super::names::{are_labels_of, holds_masks};
use super::train_masks::{self, Place};
use super::words::letters;
use crate::finding::Finding;
use crate::sample::{Category, Sample, Split};

/// Gives the images to train on of the categories their masks in folders beside them. Returns the folders of masks.
pub(super) fn assign(categories: &mut [Category], beside: &[&Folder], findings: &mut Vec<Finding>) -> Vec<PathBuf> {
    let is_only = categories.len() == 1;
    let mut told = Vec::new();
    for category in categories {
        let Some(name) = category.folder.file_name().map(OsStr::to_os_string) else { continue };
        let mut folders = Vec::new();
        for folder in beside {
            let is_of_name = are_labels_of(&folder.name, &name)
                || without_train(&folder.name).is_some_and(|rest| are_labels_of(rest.as_ref(), &name));
            if is_of_name || is_only && holds_masks(&folder.name) {
                folders.push((*folder).clone());
            } else if holds_masks(&folder.name) {
                let inner = list(&folder.path).map_or(Vec::new(), |listing| listing.folders);
                folders.extend(inner.into_iter().filter(|inner| inner.name.eq_ignore_ascii_case(&name)));
            }
        }
        if folders.is_empty() {
            continue;
        }
        let (mut trained, rest): (Vec<Sample>, Vec<Sample>) =
            category.samples.drain(..).partition(|sample| sample.split == Split::Train);
        let others: BTreeSet<Key> = rest.iter().map(|sample| key(&sample.path)).collect();
        let place = |folder| Place { folder, others: &others, is_of_masks: true };
        let places: Vec<Place> = folders.iter().map(place).collect();
        let found = train_masks::assign(&mut trained, &places, &category.name, findings);
        told.extend(
            beside.iter().map(|folder| folder.path.clone()).filter(|path| found.iter().any(|f| f.starts_with(path))),
        );
        category.samples = trained.into_iter().chain(rest).collect();
    }
    told
}

/// Returns a name without the word for training: `bottle_masks` for `bottle_train_masks`.
fn without_train(name: &OsStr) -> Option<String> {
    let name = name.to_string_lossy();
    let mut parts: Vec<&str> = name.split(['_', '-', '.', ' ']).collect();
    let all = parts.len();
    parts.retain(|part| !matches!(letters(part).as_str(), "train" | "training"));
    (parts.len() < all).then(|| parts.join("_"))
}
