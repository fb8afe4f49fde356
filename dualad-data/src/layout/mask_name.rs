//! Names of masks: the stem of the image, with or without an ending such as `_mask`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use super::listing::stem;
use crate::image_name::IMAGE_ENDINGS;

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
        Some(_) => composed(stem).into_bytes(),
        None => stem.as_encoded_bytes().to_vec(),
    }
}

/// Returns a name with composed letters, to compare it with others.
pub(super) fn composed(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    if name.is_ascii() { name.into_owned() } else { name.nfc().collect() }
}

/// Returns whether a mask beside an image is not named as one: only its content tells that it is a mask.
pub(crate) fn is_by_content(mask: &Path, image: &Path) -> bool {
    mask.parent() == image.parent() && image_of(&key(mask)) != Some(&key(image)[..])
}

/// Returns whether a byte separates the words of a name.
pub(super) fn separates(byte: u8) -> bool {
    matches!(byte, b'_' | b'-' | b'.' | b' ')
}

/// Returns the keys of the images that a mask or a file of labels may belong to by its key, the nearest first: its own, that without an ending
/// of masks, and these without the ending of an image, as tools name a file by the whole name of its image (`000.jpg.json`).
pub(super) fn possible_images(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let own = [Some(file), image_of(file)];
    own.into_iter().flatten().chain(own.into_iter().flatten().filter_map(without_image_ending))
}

/// Returns whether a mask or a file of labels has the name of one of these images.
pub(super) fn is_of_image(file: &Path, images: &BTreeSet<Key>) -> bool {
    possible_images(&key(file)).any(|image| images.contains(image))
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

/// The most digits of a mask's number. Longer ones are dates and times, which belong to another image.
const MAX_DIGITS: usize = 3;

/// Returns a name without the short number at its end, if something separates the two: `000` for `000_1`.
pub(super) fn part_of_number(name: &[u8]) -> Option<&[u8]> {
    let rest = without_number(name)?;
    let is_separated = name.get(rest.len()).is_some_and(|byte| !byte.is_ascii_digit());
    let digits = name.get(rest.len()..)?.iter().filter(|byte| byte.is_ascii_digit()).count();
    (is_separated && digits <= MAX_DIGITS && !rest.is_empty()).then_some(rest)
}

/// Returns a stem without the ending of an image that it has, as tools write that put their own behind it: `000` for `000.png`.
pub(super) fn without_image_ending(stem: &[u8]) -> Option<&[u8]> {
    let dot = stem.iter().rposition(|byte| *byte == b'.')?;
    let (rest, ending) = (stem.get(..dot)?, stem.get(dot + 1..)?);
    IMAGE_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known.as_bytes())).then_some(rest)
}

fn of_word(mask: &[u8]) -> Option<&[u8]> {
    WORDS.iter().find_map(|word| without_word(mask, word))
}

/// Returns whether a name is that of a mask by a word that photographs may have, too: `gt_05`, `05_label`.
pub(super) fn may_name_photograph(name: &[u8]) -> bool {
    ["gt", "label", "labels", "seg"].iter().any(|word| without_word(name, word).is_some())
}

/// Returns a name without this word at its end or its beginning.
fn without_word<'n>(name: &'n [u8], word: &str) -> Option<&'n [u8]> {
    let word = word.as_bytes();
    let (rest, end) = name.split_at_checked(name.len().checked_sub(word.len())?)?;
    let (begin, after) = name.split_at_checked(word.len())?;
    match (rest.split_last(), after.split_first()) {
        (Some((&byte, image)), _) if separates(byte) && end.eq_ignore_ascii_case(word) => Some(image),
        (_, Some((&byte, image))) if separates(byte) && begin.eq_ignore_ascii_case(word) => Some(image),
        _ => None,
    }
    .filter(|image| !image.is_empty())
}

/// Returns whether the end of a name may tell a mask from its image. Numbers count images, and views of a part.
pub(super) fn may_be_ending(ending: &[u8]) -> bool {
    ending.iter().any(u8::is_ascii_alphabetic) && !ending.first().is_none_or(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_labels_may_have_the_whole_name_of_an_image() {
        let images = BTreeSet::from([b"a".to_vec()]);
        for name in ["a.json", "a.jpg.json", "a.JPG.png", "a_mask.png", "a.jpg_mask.png"] {
            assert!(is_of_image(Path::new(name), &images), "{name}");
        }
        for name in ["a.x.json", "b.jpg.json", "a.jpg.png.json", "a_b.png"] {
            assert!(!is_of_image(Path::new(name), &images), "{name}");
        }
    }

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
}
