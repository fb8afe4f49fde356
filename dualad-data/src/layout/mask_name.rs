//! Names of masks: the stem of the image, with or without an ending such as `_mask`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use super::listing::{file_name, stem};
use super::mask_content::{ByContent, masks_by_content};
use crate::finding::{Finding, FindingKind};

/// The words at the end or the beginning of a mask's name, in lower case. One of `_`, `-`, `.` and a space separates them from the
/// name of the image.
const WORDS: [&str; 12] = [
    "ground_truth",
    "ground-truth",
    "groundtruth",
    "gt",
    "mask",
    "masks",
    "msk",
    "label",
    "labels",
    "seg",
    "segmentation",
    "annotation",
];

/// A stem that is compared with others.
///
/// Unicode allows two spellings of letters with accents, and different systems write different ones: both are the same here.
pub(super) type Key = Vec<u8>;

/// Returns the key of a file.
pub(super) fn key(path: &Path) -> Key {
    let stem = stem(path);
    match stem.to_str() {
        Some(text) if text.is_ascii() => text.as_bytes().to_vec(),
        Some(text) => text.nfc().collect::<String>().into_bytes(),
        None => stem.as_encoded_bytes().to_vec(),
    }
}

fn separates(byte: u8) -> bool {
    matches!(byte, b'_' | b'-' | b'.' | b' ')
}

/// Returns the key of the image that a mask belongs to by its ending, such as `_mask`, `-label` or `_GT`, or by its beginning,
/// such as `mask_`. A number may follow the ending.
pub(super) fn image_of(mask: &[u8]) -> Option<&[u8]> {
    of_word(mask).or_else(|| of_word(without_number(mask)?))
}

/// Returns whether a mask is one of several of its image: a number follows its ending, as in `_mask_0`.
pub(super) fn is_numbered(mask: &[u8]) -> bool {
    of_word(mask).is_none() && image_of(mask).is_some()
}

/// Returns a name without the number at its end: `x_mask` for `x_mask_0`, `x_mask1` and `x_mask (2)`.
fn without_number(name: &[u8]) -> Option<&[u8]> {
    let name = name.strip_suffix(b")").map_or(name, |name| name);
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = name.get(..name.len() - digits).filter(|_| digits > 0)?;
    while let Some((&byte, shorter)) = rest.split_last()
        && (separates(byte) || byte == b'(')
    {
        rest = shorter;
    }
    Some(rest)
}

fn of_word(mask: &[u8]) -> Option<&[u8]> {
    WORDS.iter().find_map(|word| {
        let word = word.as_bytes();
        let (rest, end) = mask.split_at_checked(mask.len().checked_sub(word.len())?)?;
        let (begin, after) = mask.split_at_checked(word.len())?;
        match (rest.split_last(), after.split_first()) {
            (Some((&byte, image)), _) if separates(byte) && end.eq_ignore_ascii_case(word) => Some(image),
            (_, Some((&byte, image))) if separates(byte) && begin.eq_ignore_ascii_case(word) => Some(image),
            _ => None,
        }
        .filter(|image| !image.is_empty())
    })
}

/// The images of a folder, and the masks that lie beside them.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) images: Vec<PathBuf>,
    /// Masks by name.
    pub(super) masks: Vec<PathBuf>,
    /// Masks by content, and files that may be images or masks.
    pub(super) by_content: ByContent,
}

/// Separates the masks of a folder from its images, by their names (`x_mask.png` beside `x.png`), or by their content.
pub(super) fn separate(files: Vec<PathBuf>) -> Beside {
    let keys: BTreeSet<Key> = files.iter().map(|path| key(path)).collect();
    let is_mask = |path: &PathBuf| image_of(&key(path)).is_some_and(|image| keys.contains(image));
    let (masks, mut images): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(is_mask);
    let by_content = masks_by_content(&images);
    let found: BTreeSet<&PathBuf> = by_content.masks.iter().map(|(path, _)| path).collect();
    images.retain(|path| !found.contains(path));
    Beside { images, masks, by_content }
}

/// Returns whether the end of a name may tell a mask from its image. Numbers count images, and views of a part.
pub(super) fn may_be_ending(ending: &[u8]) -> bool {
    ending.iter().any(u8::is_ascii_alphabetic) && !ending.first().is_none_or(u8::is_ascii_digit)
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

/// Reports masks that lie beside normal images. They are not read as images.
pub(super) fn report_beside(beside: &Beside, folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    let by_content: Vec<&PathBuf> = beside.by_content.masks.iter().map(|(path, _)| path).collect();
    for (masks, why) in [(beside.masks.iter().collect(), "name"), (by_content, "content")] {
        let Some(first) = masks.first() else { continue };
        let what = format!(
            "{} by {why} masks of others ({}), and not read as images; move masks to ground_truth/<type>, and the images whose \
             defects they mark to test/<type>",
            if masks.len() == 1 { "1 file in it is".to_string() } else { format!("{} files in it are", masks.len()) },
            file_name(first).to_string_lossy()
        );
        findings.push(Finding::new(FindingKind::MaskAmongImages, category, folder, what));
    }
}

/// Reports files that share their name with another, and that may be masks: they are read as images.
pub(super) fn report_unclear(beside: &Beside, folder: &Path, category: &str, findings: &mut Vec<Finding>) {
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
    fn endings_of_masks_are_known_in_any_case() {
        for name in ["a_mask", "a-MASK", "a_GT", "a_label", "a.seg", "a ground_truth", "a_Labels", "mask_a", "GT-a"] {
            assert_eq!(image_of(name.as_bytes()), Some(&b"a"[..]), "{name}");
        }
        for name in ["a_mask_0", "a_mask1", "a-GT-12", "a_label (3)", "a.seg.2", "mask_a"] {
            assert_eq!(image_of(name.as_bytes()), Some(&b"a"[..]), "{name}");
        }
        assert!(is_numbered(b"a_mask_0") && !is_numbered(b"a_mask") && !is_numbered(b"a_0"));
        for name in ["amask", "mask", "_mask", "a_masked", "a_0", "widget"] {
            assert_eq!(image_of(name.as_bytes()), None, "{name}");
        }
    }

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
