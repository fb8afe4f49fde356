//! Folders of masks beside folders of images, told by the names of their files and by their content, whatever the folder's name.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::files::images_below;
use super::listing::Folder;
use super::mask_content::{are_photographs, may_be_masks};
use super::mask_name::{Key, image_of, key};

/// The names of images, to find the image that a mask belongs to.
pub(super) struct ImageNames {
    /// In lower case.
    stems: HashSet<Key>,
    /// The last number of each name, without zeros before it.
    numbers: HashSet<Key>,
}

impl ImageNames {
    pub(super) fn of<'a>(images: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let (mut stems, mut numbers) = (HashSet::new(), HashSet::new());
        for image in images {
            let stem = lower(image);
            numbers.extend(last_number(&stem).map(<[u8]>::to_vec));
            stems.insert(stem);
        }
        Self { stems, numbers }
    }

    /// Returns whether a mask may belong to one of the images: it has the image's stem, alone, after or before other words, or the same
    /// number.
    pub(super) fn may_have(&self, mask: &Path) -> bool {
        let name = lower(mask);
        let begins = || (1..=name.len()).any(|end| name.get(..end).is_some_and(|stem| self.stems.contains(stem)));
        image_of(&name).is_some_and(|image| self.stems.contains(image))
            || last_number(&name).is_some_and(|number| self.numbers.contains(number))
            || begins()
    }
}

fn lower(path: &Path) -> Key {
    let key = key(path);
    // Bytes that are not UTF-8 have no case.
    String::from_utf8(key).map_or_else(|error| error.into_bytes(), |name| name.to_lowercase().into_bytes())
}

/// Returns the last number of a name without zeros before it: `7` for `part_007_a`.
pub(super) fn last_number(name: &[u8]) -> Option<&[u8]> {
    let mut runs = name.split(|byte| !byte.is_ascii_digit()).filter(|run| !run.is_empty());
    let run = runs.next_back()?;
    let zeros = run.iter().take_while(|byte| **byte == b'0').count();
    run.get(zeros.min(run.len().saturating_sub(1))..)
}

/// A folder with its normal images.
pub(super) struct Candidate<'a> {
    pub(super) folder: &'a Folder,
    pub(super) images: Vec<PathBuf>,
}

/// Returns the first folder of masks and the folder of their images: most of its files have the name or the number of a file there, they
/// look like masks, and the others do not.
pub(super) fn masks_beside<'a>(folders: &[Candidate<'a>]) -> Option<(&'a Folder, &'a Folder)> {
    if folders.len() < 2 {
        return None;
    }
    // Of these, few are read.
    let masks = folders.iter().enumerate().filter(|(_, folder)| may_be_masks(&folder.images));
    let masks: Vec<(usize, &Candidate)> = masks.collect();
    for (index, folder) in folders.iter().enumerate() {
        let masks = || masks.iter().filter(|(other, _)| *other != index).map(|(_, masks)| masks);
        if masks().next().is_none() {
            continue;
        }
        let all = images_below(&folder.folder.path).unwrap_or_default();
        let names = ImageNames::of(&all);
        let is_of = |masks: &&&Candidate| {
            let count = masks.images.iter().filter(|mask| names.may_have(mask)).count();
            2 * count > masks.images.len()
        };
        if let Some(found) = masks().find(is_of)
            && are_photographs(&folder.images)
        {
            return Some((found.folder, folder.folder));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_the_names_or_numbers_of_images() {
        let images = ["img_007.jpg", "top.png"].map(PathBuf::from);
        let names = ImageNames::of(&images);
        for mask in ["img_007.png", "IMG_007_roi.png", "mask-7.png", "gt_img_007.png", "top-x.bmp"] {
            assert!(names.may_have(Path::new(mask)), "{mask}");
        }
        for other in ["img_008.png", "70.png", "side.png"] {
            assert!(!names.may_have(Path::new(other)), "{other}");
        }
    }
}
