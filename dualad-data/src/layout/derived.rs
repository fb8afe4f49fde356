//! Pictures that programs made of images: thumbnails, overlays and heat maps, beside their images or in folders of their own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::images_below;
use super::listing::{Folder, Listing, file_name, list, list_if_there};
use super::mask_name::{Key, image_of, key, separates};
use super::names::{holds_masks, may_hold_annotations};
use super::words::letters;
use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::image_name::has_ending;

/// The advice for a folder of such pictures.
pub(super) const FOLDER: &str = "by its name and those of its files, it holds thumbnails, overlays or heat maps of images elsewhere; if these \
     are photographs, rename it";

/// The files of annotations that an image may have.
const ANNOTATIONS: [&str; 3] = ["json", "txt", "xml"];

/// Returns the keys of the image of which a picture is a thumbnail, an overlay or a heat map by a word at the end or the beginning of its
/// name.
fn derived_from(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    const WORDS: [&str; 5] = ["thumb", "thumbnail", "overlay", "heatmap", "heat_map"];
    WORDS.iter().flat_map(|word| {
        let (word, rest) = (word.as_bytes(), name.len().checked_sub(word.len()));
        let before = rest.and_then(|rest| name.split_at_checked(rest)).and_then(|(rest, end)| {
            let (&byte, image) = rest.split_last()?;
            (separates(byte) && end.eq_ignore_ascii_case(word)).then_some(image)
        });
        let after = name.split_at_checked(word.len()).and_then(|(begin, rest)| {
            let (&byte, image) = rest.split_first()?;
            (separates(byte) && begin.eq_ignore_ascii_case(word)).then_some(image)
        });
        [before, after].into_iter().flatten().filter(|image| !image.is_empty())
    })
}

/// Separates pictures that by name were made of other files among these. Those with a mask or annotations of their own are images.
pub(super) fn separate(files: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let keys: BTreeSet<Key> = files.iter().map(|path| key(path)).collect();
    let is_derived = |path: &PathBuf| derived_from(&key(path)).any(|image| keys.contains(image));
    let (derived, mut images): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(is_derived);
    let mut own = None;
    let masks: BTreeSet<&[u8]> = keys.iter().filter_map(|key| image_of(key)).collect();
    let has_own = |path: &PathBuf| {
        let own = own.get_or_insert_with(|| path.parent().map(annotated_around).unwrap_or_default());
        let key = key(path);
        masks.contains(&key[..]) || own.contains(&key)
    };
    let (kept, derived): (Vec<PathBuf>, Vec<PathBuf>) = derived.into_iter().partition(has_own);
    if !kept.is_empty() {
        images.extend(kept);
        images.sort_by(|a, b| file_name(a).as_encoded_bytes().cmp(file_name(b).as_encoded_bytes()));
    }
    (derived, images)
}

/// Reports such pictures in a folder. They are not read.
pub(super) fn report(derived: &[PathBuf], folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    let Some(first) = derived.first() else { return };
    let what = format!(
        "files that by name are thumbnails, overlays or heat maps of other images in it: {} (such as {}); they are left out; rename \
         photographs that are named so",
        derived.len(),
        file_name(first).to_string_lossy()
    );
    findings.push(Finding::new(FindingKind::LeftOut, category, folder, what));
}

/// Returns the images directly in a folder without such pictures, which are reported. A folder that does not exist has none.
pub(super) fn images_in(folder: &Path, category: &str, findings: &mut Vec<Finding>) -> Result<Vec<PathBuf>> {
    let (derived, images) = separate(list_if_there(folder)?.images);
    report(&derived, folder, category, findings);
    Ok(images)
}

/// Returns the keys of the images that files of annotations and masks in a listing belong to.
fn annotated(listing: Listing) -> impl Iterator<Item = Key> {
    let files = listing.others.into_iter().filter(|file| has_ending(file, &ANNOTATIONS));
    files.map(|file| key(&file)).chain(listing.images.into_iter().flat_map(|mask| {
        let key = key(&mask);
        [image_of(&key).map(<[u8]>::to_vec), Some(key)].into_iter().flatten()
    }))
}

/// Returns the folders of masks and annotations in the two folders around a folder, and in it.
fn truths(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let around = folder.ancestors().take(3).filter_map(|folder| list(folder).ok());
    let truths = around.flat_map(|listing| listing.folders);
    truths.filter(|inner| holds_masks(&inner.name) || may_hold_annotations(&inner.name)).map(|inner| inner.path)
}

/// Returns the keys of the images of a folder that have masks or annotations of their own, beside them or in folders around.
fn annotated_around(folder: &Path) -> BTreeSet<Key> {
    let beside = list(folder).map(|listing| Listing { images: Vec::new(), ..listing });
    let of_kind = file_name(folder);
    let masks = truths(folder).filter(|truth| truth.as_path() != folder).flat_map(|truth| [truth.join(of_kind), truth]);
    let masks = masks.filter_map(|truth| list_if_there(&truth).ok());
    beside.into_iter().chain(masks).flat_map(annotated).collect()
}

/// Returns whether a folder holds such pictures by its name and those of its files: some are those of images elsewhere below `root`.
/// A folder with annotations in it, or with a folder of masks of its name, holds images.
pub(super) fn fill(folder: &Folder, root: &Path) -> bool {
    const NAMES: &str = "thumb thumbs thumbnail thumbnails overlay overlays heatmap heatmaps preview previews";
    let name = letters(&folder.name.to_string_lossy());
    if !NAMES.split_whitespace().any(|known| known == name) {
        return false;
    }
    let is_elsewhere = |path: &PathBuf| {
        let inner = path.strip_prefix(root).ok().and_then(Path::parent);
        !path.starts_with(&folder.path) && !inner.is_some_and(|inner| inner.iter().any(holds_masks))
    };
    let (Ok(own), Ok(all)) = (images_below(&folder.path), images_below(root)) else { return false };
    let images: BTreeSet<Key> = all.iter().filter(|path| is_elsewhere(path)).map(|path| key(path)).collect();
    let is_named_so = |path: &PathBuf| {
        let key = key(path);
        images.contains(&key) || derived_from(&key).any(|image| images.contains(image))
    };
    let has_masks =
        || truths(&folder.path).any(|truth| truth.join(&folder.name).is_dir() || truth.starts_with(&folder.path));
    let has_annotations = || {
        let files = list(&folder.path).map_or(Vec::new(), |listing| listing.others);
        let files: BTreeSet<Key> =
            files.iter().filter(|file| has_ending(file, &ANNOTATIONS)).map(|file| key(file)).collect();
        own.iter().any(|path| files.contains(&key(path)))
    };
    own.iter().any(is_named_so) && !has_masks() && !has_annotations()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_at_the_end_and_at_the_beginning_are_known() {
        let of = |name: &'static str| derived_from(name.as_bytes()).collect::<Vec<_>>();
        for name in ["a_thumb", "a-THUMBNAIL", "a.overlay", "a heatmap", "Heat_Map_a", "thumb-a"] {
            assert!(of(name).contains(&&b"a"[..]), "{name}");
        }
        for name in ["athumb", "thumb", "_thumb", "thumb_", "a_thumbs", "overlaya"] {
            assert!(of(name).is_empty(), "{name}");
        }
    }
}
