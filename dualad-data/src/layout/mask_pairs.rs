//! Masks among test images, whose names differ from those of the images in their last word or number: `000_mask.png` beside `000_cam.png`,
//! `000_1.png` beside `000_0.png`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::beside::Beside;
use super::listing::{Folder, list};
use super::mask_content::{are_photographs, is_mask_of, look_like_masks, may_be_masks};
use super::mask_folders::ImageNames;
use super::mask_name::{Key, image_of, key};
use super::names::{holds_masks, is_normal};
use super::views::{is_view, part_and_view};

/// The number of pairs with the same words that are looked at first. If none is an image and its mask, the others are not read.
const SAMPLED: usize = 4;
/// The number of pairs of words that are looked at, the most frequent first.
const MAX_WORDS: usize = 8;
/// The number of images of a part from which on their words are numbers in other writing.
const MAX_VIEWS: usize = 8;

/// Moves the masks of a folder of test images from its images to its masks, where their names differ in the last word, and their content
/// tells which is the mask: `000_mask.png` and `000_cam.png`. Words for views name photographs. Numbers (`000_0.png` and `000_1.png`) may
/// name views or masks: they are views if images to train on (`trained`) have such a number and few colors, too.
pub(super) fn separate_pairs(beside: &mut Beside, trained: &[PathBuf]) {
    let mut found = masks_of_pairs(&beside.images, |_, word| word.starts_with(char::is_alphabetic), is_view);
    let mut numbered = masks_of_pairs(&beside.images, is_numbered, |_| false);
    if !numbered.is_empty() {
        let views = numbers_of_views(trained);
        numbered.retain(|(mask, _)| !views.contains(&number(mask)));
    }
    found.append(&mut numbered);
    let masks: HashSet<&PathBuf> = found.iter().map(|(mask, _)| mask).collect();
    let images = beside.images.iter().filter(|path| !masks.contains(path)).cloned().collect();
    beside.images = images;
    beside.by_content.masks.append(&mut found);
    separate_orphans(beside);
}

/// Moves the masks whose images are missing from the images of a folder of photographs to its orphans: they are named as masks and have few
/// colors.
fn separate_orphans(beside: &mut Beside) {
    let is_named = |path: &PathBuf| image_of(&key(path)).is_some();
    let (named, others): (Vec<PathBuf>, Vec<PathBuf>) = beside.images.iter().cloned().partition(is_named);
    if named.is_empty() || !are_photographs(&others) {
        return;
    }
    let is_mask = |path: &&PathBuf| look_like_masks(std::slice::from_ref(*path));
    let orphans: HashSet<PathBuf> = named.par_iter().filter(is_mask).cloned().collect();
    beside.images.retain(|path| !orphans.contains(path));
    beside.orphans.extend(orphans);
    beside.orphans.sort();
}

/// Returns whether the last word of a name is a number, and that of a part is before it: `0` in `000_0`, not in `cam_0`.
fn is_numbered(part: &str, word: &str) -> bool {
    part.contains(|c: char| c.is_ascii_digit()) && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the number after that of a part in a name. It is empty if there is none.
fn number(path: &Path) -> String {
    part_and_view(path).filter(|(part, word)| is_numbered(part, word)).map_or(String::new(), |(_, word)| word)
}

/// Returns the numbers of names under which images to train on have few colors, as silhouettes have.
fn numbers_of_views(trained: &[PathBuf]) -> HashSet<String> {
    let mut by_number = HashMap::<String, Vec<&PathBuf>>::new();
    for image in trained {
        by_number.entry(number(image)).or_default().push(image);
    }
    let is_of_views = |images: &[&PathBuf]| {
        let step = images.len().div_ceil(MAX_VIEWS).max(1);
        let images: Vec<&&PathBuf> = images.iter().step_by(step).collect();
        images.into_par_iter().any(|image| look_like_masks(std::slice::from_ref(*image)))
    };
    by_number.into_iter().filter(|(_, images)| is_of_views(images)).map(|(number, _)| number).collect()
}

/// Returns the masks among images whose names differ in the last word, with the keys of their images. `is_word` takes the rest of a name
/// and its last word, `is_of_photograph` a word that no mask has.
fn masks_of_pairs(
    images: &[PathBuf],
    is_word: impl Fn(&str, &str) -> bool,
    is_of_photograph: impl Fn(&str) -> bool,
) -> Vec<(PathBuf, Key)> {
    let mut parts = BTreeMap::<String, Vec<(String, &PathBuf)>>::new();
    for path in images {
        if let Some(stem) = path.file_stem() {
            parts.entry(stem.to_string_lossy().to_lowercase()).or_default().push((String::new(), path));
        }
        if let Some((part, word)) = part_and_view(path).filter(|(part, word)| is_word(part, word)) {
            parts.entry(part.to_lowercase()).or_default().push((word.to_lowercase(), path));
        }
    }
    let mut pairs = BTreeMap::<[&str; 2], Vec<[&PathBuf; 2]>>::new();
    for files in parts.values().filter(|files| (2..=MAX_VIEWS).contains(&files.len())) {
        for (of_image, image) in files {
            let is_mask = |word: &str| word != of_image && (word.is_empty() || !is_of_photograph(word));
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
    found
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
