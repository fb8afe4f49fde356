//! Masks among test images, whose names differ from those of the images in their last word: `000_mask.png` beside `000_cam.png`.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::beside::Beside;
use super::listing::{Folder, list};
use super::mask_content::{are_photographs, is_mask_of, may_be_masks};
use super::mask_folders::ImageNames;
use super::mask_name::{Key, key};
use super::names::{holds_masks, is_normal};
use super::views::{is_view, part_and_view};

/// The number of pairs with the same words that are looked at first. If none is an image and its mask, the others are not read.
const SAMPLED: usize = 4;
/// The number of pairs of words that are looked at, the most frequent first.
const MAX_WORDS: usize = 8;
/// The number of images of a part from which on their words are numbers in other writing.
const MAX_VIEWS: usize = 8;

/// Moves the masks of a folder of test images from its images to its masks, where their names differ in the last word, and their content
/// tells which is the mask. Words for views and numbers name photographs.
pub(super) fn separate_pairs(beside: &mut Beside) {
    let mut parts = BTreeMap::<String, Vec<(String, &PathBuf)>>::new();
    for path in &beside.images {
        if let Some(stem) = path.file_stem() {
            parts.entry(stem.to_string_lossy().to_lowercase()).or_default().push((String::new(), path));
        }
        if let Some((part, word)) = part_and_view(path).filter(|(_, word)| word.starts_with(char::is_alphabetic)) {
            parts.entry(part.to_lowercase()).or_default().push((word.to_lowercase(), path));
        }
    }
    let mut pairs = BTreeMap::<[&str; 2], Vec<[&PathBuf; 2]>>::new();
    for files in parts.values().filter(|files| (2..=MAX_VIEWS).contains(&files.len())) {
        for (of_image, image) in files {
            let is_mask = |word: &str| word != of_image && (word.is_empty() || !is_view(word));
            for (of_mask, mask) in files.iter().filter(|(word, _)| is_mask(word)) {
                pairs.entry([of_image, of_mask]).or_default().push([image, mask]);
            }
        }
    }
    let mut pairs: Vec<Vec<[&PathBuf; 2]>> = pairs.into_values().collect();
    pairs.sort_by_key(|pairs| std::cmp::Reverse(pairs.len()));
    let is_pair = |[image, mask]: &&[&PathBuf; 2]| is_mask_of(mask, image);
    let mut found = Vec::<(PathBuf, Key)>::new();
    for pairs in pairs.into_iter().take(MAX_WORDS) {
        let step = pairs.len().div_ceil(SAMPLED).max(1);
        if pairs.iter().step_by(step).any(|pair| is_pair(&pair)) {
            let masks = pairs.par_iter().filter(is_pair).map(|[image, mask]| ((*mask).clone(), key(image)));
            found.extend(masks.collect::<Vec<_>>());
        }
    }
    let masks: HashSet<&PathBuf> = found.iter().map(|(mask, _)| mask).collect();
    let images = beside.images.iter().filter(|path| !masks.contains(path)).cloned().collect();
    beside.images = images;
    beside.by_content.masks.append(&mut found);
}

/// The folder of test images that the files of another folder are masks of.
pub(super) enum Images<'a> {
    Of(&'a Folder),
    /// One of several.
    OfOne,
}

/// Returns the folder of test images whose masks a folder beside it holds, by the names and the content of its files. Only folders of
/// much smaller files are read.
pub(super) fn images_of<'a>(masks: &Folder, folders: &'a [Folder]) -> Option<Images<'a>> {
    if is_normal(&masks.name) {
        return None;
    }
    let files = |folder: &Folder| list(&folder.path).map_or(Vec::new(), |listing| listing.images);
    let own = files(masks);
    let bytes = mean_bytes(&own)?;
    let is_of = |folder: &&Folder| {
        let images = files(folder);
        let names = ImageNames::of(&images);
        folder.path != masks.path
            && !holds_masks(&folder.name)
            && mean_bytes(&images).is_some_and(|found| found >= 2 * bytes)
            && 2 * own.iter().filter(|mask| names.may_have(mask)).count() > own.len()
            && are_photographs(&images)
    };
    let found: Vec<&Folder> = folders.iter().filter(is_of).collect();
    if found.is_empty() || !may_be_masks(&own) {
        return None;
    }
    let begins = |folder: &&&Folder| masks.name.as_encoded_bytes().starts_with(folder.name.as_encoded_bytes());
    Some(match (&found[..], found.iter().find(begins)) {
        ([one], _) | (_, Some(one)) => Images::Of(one),
        _ => Images::OfOne,
    })
}

/// Returns the mean size of some files of a folder in bytes.
fn mean_bytes(files: &[PathBuf]) -> Option<u64> {
    const LOOKED_AT: usize = 8;
    let step = files.len().div_ceil(LOOKED_AT).max(1);
    let size = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    let sizes: Vec<u64> = files.iter().step_by(step).filter_map(|path| size(path)).collect();
    sizes.iter().sum::<u64>().checked_div(sizes.len() as u64)
}
