//! Masks of images to train on that lie in other folders. A mask that marks a defect says that its image is not normal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::files::images_below;
use super::listing::Folder;
use super::mask_content::may_be_masks;
use super::mask_folders::last_number;
use super::mask_name::{Key, image_of, key};
use super::names::holds_labels;
use crate::finding::{Finding, FindingKind};
use crate::sample::Sample;

/// A folder that may hold masks of images to train on.
pub(super) struct Place<'a> {
    pub(super) folder: &'a Folder,
    /// The names of images that masks in it belong to instead.
    pub(super) others: &'a BTreeSet<Key>,
}

/// The names of the images to train on.
struct Names {
    by_key: BTreeMap<Key, Vec<usize>>,
    /// The images by the last number of their names, where one alone has it.
    by_number: BTreeMap<Key, Option<usize>>,
}

impl Names {
    fn of(samples: &[Sample]) -> Self {
        let mut names = Self { by_key: BTreeMap::new(), by_number: BTreeMap::new() };
        for (index, sample) in samples.iter().enumerate() {
            let key = key(&sample.path);
            if let Some(number) = last_number(&key) {
                let only = |found: &mut Option<usize>| *found = None;
                names.by_number.entry(number.to_vec()).and_modify(only).or_insert(Some(index));
            }
            names.by_key.entry(key).or_default().push(index);
        }
        names
    }

    /// Returns the images that have the name of a mask.
    fn of_mask(&self, mask: &[u8]) -> Vec<usize> {
        let found = self.by_key.get(mask).or_else(|| self.by_key.get(image_of(mask)?));
        found.cloned().unwrap_or_default()
    }

    /// Returns the image that alone has the number of a mask.
    fn of_number(&self, mask: &[u8]) -> Vec<usize> {
        let found = last_number(mask).and_then(|number| self.by_number.get(number));
        found.into_iter().flatten().copied().collect()
    }
}

/// Gives images to train on the masks that have their names in these folders. A folder holds masks by its own name, or by its content.
/// Returns the folders of masks.
pub(super) fn assign(
    samples: &mut [Sample],
    places: &[Place],
    category: &str,
    findings: &mut Vec<Finding>,
) -> Vec<PathBuf> {
    let mut told = Vec::new();
    if places.is_empty() {
        return told;
    }
    let names = Names::of(samples);
    for Place { folder, others } in places {
        // The reader reports a folder that cannot be listed.
        let files = images_below(&folder.path).unwrap_or_default();
        let is_of_another =
            |key: &Key| others.contains(key) || image_of(key).is_some_and(|image| others.contains(image));
        let of_name = |find: fn(&Names, &[u8]) -> Vec<usize>| -> Vec<(&PathBuf, Vec<usize>)> {
            let keys = files.iter().map(|file| (file, key(file))).filter(|(_, key)| !is_of_another(key));
            let found = keys.map(|(file, key)| (file, find(&names, &key)));
            found.filter(|(_, images)| !images.is_empty()).collect()
        };
        let mut found = of_name(Names::of_mask);
        if found.is_empty() {
            found = of_name(Names::of_number);
        }
        let masks: Vec<PathBuf> = found.iter().map(|(file, _)| (*file).clone()).collect();
        if masks.is_empty() || !(holds_labels(&folder.name) || may_be_masks(&masks)) {
            continue;
        }
        for (mask, images) in &found {
            for image in images {
                if let Some(sample) = samples.get_mut(*image) {
                    sample.masks.push((*mask).clone());
                }
            }
        }
        let of_others = files.iter().filter(|file| is_of_another(&key(file))).count();
        if let Some(rest @ 1..) = files.len().checked_sub(found.len() + of_others) {
            let what = format!(
                "it holds masks of images to train on, and {rest} of its {} files {} none of them; move masks of test images to \
                 ground_truth/<type of defect>",
                files.len(),
                if rest == 1 { "belongs to" } else { "belong to" }
            );
            findings.push(Finding::new(FindingKind::UnpairedMask, category, &folder.path, what));
        }
        told.push(folder.path.clone());
    }
    told
}
