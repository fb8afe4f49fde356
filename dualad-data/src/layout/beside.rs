//! Masks that lie beside their images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::derived;
use super::listing::file_name;
use super::mask_content::{ByContent, masks_by_content, photographs_among};
use super::mask_name::{Key, image_of, key, may_be_ending, may_name_photograph};
use crate::finding::{Finding, FindingKind};

/// The images of a folder, and the masks that lie beside them.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) images: Vec<PathBuf>,
    /// Masks by name.
    pub(super) masks: Vec<PathBuf>,
    /// Masks by name and content whose images are missing.
    pub(super) orphans: Vec<PathBuf>,
    /// Those of the images that are named as masks of others, and that are photographs by their content.
    pub(super) photographs: Vec<PathBuf>,
    /// Pictures that a program made of images, by name.
    pub(super) derived: Vec<PathBuf>,
    /// Masks by content, and files that may be images or masks.
    pub(super) by_content: ByContent,
}

/// Separates the masks of a folder from its images, by their names (`x_mask.png` beside `x.png`), or by their content. A photograph may be named
/// as a mask by a word of several meanings (`gt_x.png`).
pub(super) fn separate(files: Vec<PathBuf>) -> Beside {
    let (derived, files) = derived::separate(files);
    let keys: BTreeSet<Key> = files.iter().map(|path| key(path)).collect();
    let is_mask = |path: &PathBuf| image_of(&key(path)).is_some_and(|image| keys.contains(image));
    let (mut masks, mut images): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(is_mask);
    let photographs = photographs_of(&masks, &images);
    if !photographs.is_empty() {
        masks.retain(|path| !photographs.contains(path));
        images.extend(photographs.iter().cloned());
        images.sort_by(|a, b| file_name(a).as_encoded_bytes().cmp(file_name(b).as_encoded_bytes()));
    }
    let by_content = masks_by_content(&images);
    let found: BTreeSet<&PathBuf> = by_content.masks.iter().map(|(path, _)| path).collect();
    images.retain(|path| !found.contains(path));
    Beside { images, masks, orphans: Vec::new(), photographs, derived, by_content }
}

/// Returns the files that are masks of images by a word that photographs may have, too, and that are photographs by their content.
fn photographs_of(masks: &[PathBuf], images: &[PathBuf]) -> Vec<PathBuf> {
    let by_key: BTreeMap<Key, &PathBuf> = images.iter().map(|path| (key(path), path)).collect();
    let pairs = masks.iter().filter_map(|mask| {
        let own = key(mask);
        let image = by_key.get(image_of(&own).filter(|_| may_name_photograph(&own))?)?;
        Some((mask, *image))
    });
    photographs_among(&pairs.collect::<Vec<_>>())
}

/// Reports pictures that programs made of the images beside them. They are not read.
pub(super) fn report_derived(beside: &Beside, folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    derived::report(&beside.derived, folder, category, findings);
}

/// The number of endings that are tried.
const MAX_ENDINGS: usize = 8;

/// Reports images that may be masks: all of them by their names, or half of them, because each other image has one with its
/// name and the same ending.
pub(super) fn report_pairs(images: &[PathBuf], folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    if let [first, _, ..] = images
        && images.iter().all(|path| image_of(&key(path)).is_some())
    {
        let first = file_name(first).to_string_lossy();
        let what =
            format!("all of its images are masks by name (such as {first}), and are read as images; move masks away");
        findings.push(Finding::new(FindingKind::MaskAmongImages, category, folder, what));
        return;
    }
    if images.len() < 4 || images.len() % 2 == 1 {
        return;
    }
    let keys: BTreeMap<Key, &PathBuf> = images.iter().map(|path| (key(path), path)).collect();
    // The shortest name is that of an image, and the next one that begins with it is its mask.
    let Some((first, _)) = keys.iter().min_by_key(|(key, _)| key.len()) else { return };
    let others =
        keys.range(first.clone()..).skip(1).map_while(|(other, path)| Some((other.strip_prefix(&first[..])?, path)));
    for (ending, path) in others.filter(|(ending, _)| may_be_ending(ending)).take(MAX_ENDINGS) {
        let pairs = keys.keys().filter(|key| keys.contains_key(&[key, ending].concat())).count();
        if 2 * pairs == images.len() {
            let what = format!(
                "half of its images have the name of another and the ending \"{}\" ({}), and all are read as images; if these \
                 are masks, move them to ground_truth/<type>",
                String::from_utf8_lossy(ending),
                file_name(path).to_string_lossy()
            );
            findings.push(Finding::new(FindingKind::MaskAmongImages, category, folder, what));
            return;
        }
    }
}

/// The advice for photographs that are taken for masks.
const PHOTOGRAPHS: &str = "if these are photographs (such as silhouettes), rename them so that no name begins with another one, and end the names of views with \
     words such as front and back";

/// Notes masks that lie beside defective images, and that their content alone tells.
pub(super) fn note_by_content(beside: &Beside, folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    // One that two images may have is a mask of both.
    let masks: BTreeSet<&PathBuf> = beside.by_content.masks.iter().map(|(path, _)| path).collect();
    let Some(first) = masks.first() else { return };
    let what = format!(
        "files that are masks of other images in it by their content: {} (such as {}); {PHOTOGRAPHS}",
        masks.len(),
        file_name(first).to_string_lossy()
    );
    findings.push(Finding::new(FindingKind::Choice, category, folder, what));
}

/// Reports masks that lie beside normal images. They are not read as images.
pub(super) fn report_beside(beside: &Beside, folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    let by_content: Vec<&PathBuf> = beside.by_content.masks.iter().map(|(path, _)| path).collect();
    for (masks, why) in [(beside.masks.iter().collect(), "name"), (by_content, "content")] {
        let Some(first) = masks.first() else { continue };
        let what = format!(
            "{} by {why} masks of others ({}), and not read as images; move masks to ground_truth/<type>, and the images whose \
             defects they mark to test/<type>; {}",
            if masks.len() == 1 { "1 file in it is".to_string() } else { format!("{} files in it are", masks.len()) },
            file_name(first).to_string_lossy(),
            if why == "content" { PHOTOGRAPHS } else { "rename photographs that are named so" }
        );
        findings.push(Finding::new(FindingKind::MaskAmongImages, category, folder, what));
    }
    if let Some(first) = beside.orphans.first() {
        let what = format!(
            "files with the names and the few colors of masks, whose images are not in it: {} (such as {}); they are left out: add the images, or \
             move the masks to ground_truth/<type>; if they are pictures of parts, rename them",
            beside.orphans.len(),
            file_name(first).to_string_lossy()
        );
        findings.push(Finding::new(FindingKind::MaskAmongImages, category, folder, what));
    }
}

/// Reports files that are read as images and may be masks: those that share their name with another, and photographs that are named as masks.
pub(super) fn report_unclear(beside: &Beside, folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    if let Some(first) = beside.photographs.first() {
        let what = format!(
            "files with the names of masks of others, and with the many colors of photographs: {} (such as {}); they are read as images. If they \
             are masks, or pictures that a program made of the others, move them away; if not, rename them",
            beside.photographs.len(),
            file_name(first).to_string_lossy()
        );
        findings.push(Finding::new(FindingKind::MaskAmongImages, category, folder, what));
    }
    let unclear = &beside.by_content.unclear;
    let Some(first) = unclear.first() else { return };
    let what = format!(
        "files of few colors that share their name with another and may be masks: {} (such as {}); they are read as images. Move \
         masks to ground_truth/<type>",
        unclear.len(),
        file_name(first).to_string_lossy()
    );
    findings.push(Finding::new(FindingKind::MaskAmongImages, category, folder, what));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_names_are_reported() {
        let found = |names: &[&str]| {
            let mut findings = Vec::new();
            let images: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
            report_pairs(&images, Path::new("f"), "c", &mut findings);
            !findings.is_empty()
        };
        assert!(found(&["a.png", "a_x.png", "b.png", "b_x.png"]));
        assert!(found(&["1.jpg", "1-roi.bmp", "10.jpg", "10-roi.bmp", "2.jpg", "2-roi.bmp"]));
        assert!(found(&["a_mask.png", "b_mask.png"]));
        assert!(!found(&["1.png", "10.png", "2.png", "20.png"]));
        assert!(!found(&["a.png", "a_1.png", "b.png", "b_1.png"]));
        assert!(!found(&["a.png", "a_x.png", "b.png", "c.png"]));
    }
}
