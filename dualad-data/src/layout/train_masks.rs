//! Masks of images to train on that lie in other folders. A mask that marks a defect says that its image is not normal.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::files::images_below;
use super::listing::Folder;
use super::mask_content::may_be_masks;
use super::mask_folders::last_number;
use super::mask_name::{Key, is_of_image, key, possible_images};
use super::names::{Part, holds_masks, is_defect_type, is_defective, is_normal};
use crate::finding::{Finding, FindingKind};
use crate::sample::Sample;

/// A folder that may hold masks of images to train on.
pub(super) struct Place<'a> {
    pub(super) folder: &'a Folder,
    /// The names of images that masks in it belong to instead.
    pub(super) others: &'a BTreeSet<Key>,
    /// True for a folder of masks, whatever its name and its content.
    pub(super) is_of_masks: bool,
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
        let found = possible_images(mask).find_map(|image| self.by_key.get(image));
        found.cloned().unwrap_or_default()
    }

    /// Returns the image that alone has the number of a mask.
    fn of_number(&self, mask: &[u8]) -> Vec<usize> {
        let found = last_number(mask).and_then(|number| self.by_number.get(number));
        found.into_iter().flatten().copied().collect()
    }
}

/// Returns the part of a category whose masks a folder in a folder of masks holds: those of training or of testing. A folder of a type of
/// defect holds those of test images.
fn split_of(name: &OsStr) -> Option<Part> {
    match Part::of(name) {
        Some(Part::Truth) => None,
        Some(part) => Some(part),
        None if is_normal(name) || holds_masks(name) => None,
        None if is_defective(name) || is_defect_type(name) => Some(Part::Test),
        None => None,
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
    for Place { folder, others, is_of_masks } in places {
        // The reader reports a folder that cannot be listed.
        let files = images_below(&folder.path).unwrap_or_default();
        // A folder inside may say which images its masks are of.
        let part = |file: &Path| file.strip_prefix(&folder.path).ok()?.parent()?.iter().find_map(split_of);
        let is_of_another = |file: &Path| match part(file) {
            Some(Part::Test) => true,
            Some(Part::Train) => false,
            _ => is_of_image(file, others),
        };
        let of_name = |find: &dyn Fn(&[u8]) -> Vec<usize>| -> Vec<(&PathBuf, Vec<usize>)> {
            let keys = files.iter().filter(|file| !is_of_another(file)).map(|file| (file, key(file)));
            let found = keys.map(|(file, key)| (file, find(&key)));
            found.filter(|(_, images)| !images.is_empty()).collect()
        };
        let mut found = of_name(&|mask| names.of_mask(mask));
        if found.is_empty() {
            let numbers: BTreeSet<&[u8]> = others.iter().filter_map(|key| last_number(key)).collect();
            let is_of_another = |mask: &[u8]| last_number(mask).is_some_and(|number| numbers.contains(number));
            found = of_name(&|mask| if is_of_another(mask) { Vec::new() } else { names.of_number(mask) });
        }
        let masks: Vec<PathBuf> = found.iter().map(|(file, _)| (*file).clone()).collect();
        if masks.is_empty() || !(*is_of_masks || holds_masks(&folder.name) || may_be_masks(&masks)) {
            continue;
        }
        for (mask, images) in &found {
            for image in images {
                if let Some(sample) = samples.get_mut(*image) {
                    sample.masks.push((*mask).clone());
                }
            }
        }
        let of_others = files.iter().filter(|file| is_of_another(file)).count();
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
