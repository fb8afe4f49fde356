//! Masks and labels around a folder of images that is opened by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::bytes;
use super::listing::{file_name, list};
use super::mask_name::{Key, is_of_image, key};
use super::named::{Mentions, Names};
use super::names::{Part, holds_images, holds_masks, is_normal, may_hold_annotations};
use crate::error::{Error, Result};
use crate::image_name::{IMAGE_ENDINGS, has_ending};
use crate::text::shown;

/// The number of folders above the images that are looked at: `labels/train` belongs to `images/train`.
const ABOVE: usize = 2;
/// The depth to which a folder of masks or labels is searched.
const DEPTH: usize = 2;
/// The most entries of a folder above that may be a dataset's.
const MAX_ENTRIES: usize = 64;
/// The size of the largest file above that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Returns an error if masks or labels of some of the images lie beside their folder, or if a file above them labels them: the images may
/// have defects. This holds for folders named `images` and the like, and not beside a folder of test images.
pub(super) fn refuse(root: &Path, images: &[PathBuf]) -> Result<()> {
    // A relative path may not have the name of the folder above.
    let Ok(real) = root.canonicalize() else { return Ok(()) };
    // A product of another name may have labels of other products beside it.
    let is_of_images = || real.iter().rev().take(ABOVE).any(holds_images);
    if images.is_empty() || real.file_name().is_some_and(is_normal) || !is_of_images() {
        return Ok(());
    }
    let keys: BTreeSet<Key> = images.iter().map(|image| key(image)).collect();
    let names = Names::of(images);
    let fault = |reason| Err(Error::Layout { path: root.into(), reason });
    for above in real.ancestors().skip(1).take(ABOVE) {
        let Some([folders, files]) = entries(above) else { return Ok(()) };
        let others: Vec<&PathBuf> = folders.iter().filter(|folder| !real.starts_with(folder)).collect();
        if others.iter().any(|folder| Part::of(file_name(folder)) == Some(Part::Test)) {
            return Ok(());
        }
        let may_label = |folder: &&&PathBuf| holds_masks(file_name(folder)) || may_hold_annotations(file_name(folder));
        for folder in others.iter().filter(may_label) {
            let found = labels_of(&keys, folder, DEPTH);
            let Some(first) = found.first() else { continue };
            return fault(format!(
                "masks or labels of {} of its {} images lie in {} (such as {}), so some of them may have defects; move the normal \
                 images to a folder good, or if they are all normal, move {} away",
                found.len(),
                images.len(),
                shown(folder),
                file_name(first).to_string_lossy(),
                file_name(folder).to_string_lossy()
            ));
        }
        for file in files {
            let Some(count) = labelled(&file, &keys, &names) else { continue };
            return fault(format!(
                "{} above it names {count} of its {} images and may say that some have defects; open that file or its folder, or if it \
                 holds no labels, move the images to a folder good",
                shown(&file),
                images.len()
            ));
        }
    }
    Ok(())
}

/// Returns the folders and the files in a folder, sorted by name, without opening them. Returns `None` for a folder that cannot be listed, or
/// has too many entries.
fn entries(folder: &Path) -> Option<[Vec<PathBuf>; 2]> {
    let found: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.take(MAX_ENTRIES + 1).map_while(|entry| Some(entry.ok()?.path())).collect();
    if found.len() > MAX_ENTRIES {
        return None;
    }
    let (mut folders, mut files): (Vec<PathBuf>, Vec<PathBuf>) = found.into_iter().partition(|path| path.is_dir());
    folders.sort();
    files.sort();
    Some([folders, files])
}

/// Returns the number of images that a table or a file of annotations labels, if it has one of their whole names.
fn labelled(file: &Path, keys: &BTreeSet<Key>, names: &Names) -> Option<usize> {
    let is_small = || std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() <= MAX_BYTES);
    if !has_ending(file, &["csv", "json", "jsonl", "ndjson", "tsv", "xml"]) || !is_small() {
        return None;
    }
    // A short name may be a word of any text.
    let text = String::from_utf8_lossy(&bytes(file).ok()?).into_owned();
    let mut cells = text.split(['"', '\'', '<', '>', ',', ';', '\t', '\n', '\r', '/', '\\']).map(str::trim);
    let has_name =
        cells.any(|cell| has_ending(Path::new(cell), &IMAGE_ENDINGS) && keys.contains(&key(Path::new(cell))));
    let labels = Mentions::of(file, names).filter(|mentions| has_name && mentions.are_labels(file, names))?;
    Some(labels.count())
}

/// Returns the files in a folder, or below it, that have the names of images, as masks or as labels have them.
fn labels_of(images: &BTreeSet<Key>, folder: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(listing) = list(folder) else { return Vec::new() };
    let is_of_image = |file: &PathBuf| is_of_image(file, images);
    let mut found: Vec<PathBuf> = listing.images.into_iter().chain(listing.others).filter(is_of_image).collect();
    if depth > 0 {
        found.extend(listing.folders.iter().flat_map(|inner| labels_of(images, &inner.path, depth - 1)));
    }
    found
}
