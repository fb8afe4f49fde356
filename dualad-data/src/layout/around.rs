//! Masks and labels around a folder of images that is opened by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::content::{Content, content};
use super::files::{bytes, images_below};
use super::label_files::advice;
use super::listing::{display_name, file_name, list, stem};
use super::mask_name::{Key, is_of_image, key};
use super::named::{Mentions, Names};
use super::names::{
    Part, Stated, are_labels_of, holds_images, holds_masks, is_normal, label_of, may_hold_annotations, means_labels,
};
use super::training_images::Images;
use super::training_labels::first_mark;
use crate::error::{Error, Result};
use crate::image_name::{IMAGE_ENDINGS, has_ending};
use crate::sample::{Category, Label, Sample, Split};
use crate::text::shown;

/// The number of folders above the images that are looked at: `labels/train` belongs to `images/train`.
const ABOVE: usize = 2;
/// The depth to which a folder of masks or labels is searched.
const DEPTH: usize = 2;
/// The most entries of a folder above that may be a dataset's.
const MAX_ENTRIES: usize = 64;
/// The most bytes of tables and annotations that are read around a folder: as many as one file of annotations may have.
const MAX_BYTES: u64 = 256 << 20;
/// The endings of tables, annotations and texts that may label images.
const ENDINGS: [&str; 10] = ["csv", "json", "jsonl", "lst", "ndjson", "tsv", "txt", "xml", "yaml", "yml"];

/// Returns an error if masks or labels of some of the images lie beside their folder, or if a file above it or in a folder beside it labels
/// them: the images may have defects. Around folders named `images` and the like, it may be any label; around others, the file must say that
/// some images have defects. Folders beside a folder of test images are not looked at.
pub(super) fn refuse(root: &Path, images: &[PathBuf]) -> Result<()> {
    // A relative path may not have the name of the folder above.
    let Ok(real) = root.canonicalize() else { return Ok(()) };
    if images.is_empty() || real.file_name().is_some_and(is_normal) {
        return Ok(());
    }
    // A product of another name may have labels of other products beside it.
    let is_of_images = real.iter().rev().take(ABOVE).any(holds_images);
    let keys: BTreeSet<Key> = images.iter().map(|image| key(image)).collect();
    let names = Names::of(images);
    let fault = |reason| Err(Error::Layout { path: root.into(), reason });
    for above in real.ancestors().skip(1).take(ABOVE) {
        let Some([folders, mut files]) = entries(above) else { return Ok(()) };
        let others: Vec<&PathBuf> = folders.iter().filter(|folder| !real.starts_with(folder)).collect();
        if others.iter().any(|folder| Part::of(file_name(folder)) == Some(Part::Test)) {
            return Ok(());
        }
        let may_label = |folder: &&&PathBuf| {
            let name = file_name(folder);
            holds_masks(name) || may_hold_annotations(name) || are_labels_of(name, file_name(&real))
        };
        for folder in others.iter().filter(may_label) {
            let (found, others) = labels_of(&keys, folder, DEPTH);
            files.extend(found.iter().cloned().chain(others));
            let Some(first) = found.first().filter(|_| is_of_images) else { continue };
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
        let mut budget = MAX_BYTES;
        files.retain(|file| may_name(file, &keys, &mut budget) && (is_of_images || are_labels(file)));
        if let Some((file, count)) = marked(root, &real, above, images, &files, !is_of_images) {
            return fault(format!(
                "{} says that {count} of its {} images {}, and training would take all of them for normal; to have it read, {}; or move the \
                 defective images away, or if they are normal, correct what it says of them",
                shown(&file),
                images.len(),
                if count == 1 { "has a defect" } else { "have defects" },
                advice(&file).how
            ));
        }
        for file in files.iter().filter(|_| is_of_images) {
            let mentions = Mentions::of(file, &names).filter(|mentions| mentions.are_labels(file, &names));
            let Some(count) = mentions.map(|mentions| mentions.count()) else { continue };
            return fault(format!(
                "{} names {count} of its {} images and may say that some have defects; to have it read, {}; if it holds no labels, move the \
                 images to a folder good",
                shown(file),
                images.len(),
                advice(file).how
            ));
        }
    }
    Ok(())
}

/// Returns the first of these files that says that images have defects, and the number of these images. A name that other images below the
/// folder `above` have, too, says nothing without its folder. `is_product` tells that the images may be those of one of several products.
fn marked(
    root: &Path,
    real: &Path,
    above: &Path,
    images: &[PathBuf],
    files: &[PathBuf],
    is_product: bool,
) -> Option<(PathBuf, usize)> {
    let name = display_name(real);
    let mut paths: Vec<PathBuf> = images
        .iter()
        .map(|image| image.strip_prefix(root).map_or_else(|_| image.clone(), |own| real.join(own)))
        .collect();
    let samples = paths.iter().map(|path| Sample::new(path, &name, Split::Train, Label::Normal)).collect();
    let category = Category { name, folder: real.to_path_buf(), samples };
    let first = |paths: &[PathBuf]| {
        let images = Images::of(above, paths, std::slice::from_ref(&category)).strict(is_product);
        first_mark(files, &images, &category)
    };
    first(&paths)?;
    let own: BTreeSet<PathBuf> = paths.iter().cloned().collect();
    paths.extend(images_below(above).ok()?.into_iter().filter(|path| !own.contains(path)));
    first(&paths)
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

/// Returns whether a file may label images: it has one of their whole names. A short name may be a word of any text. `budget` is the number of
/// bytes that may still be read.
fn may_name(file: &Path, keys: &BTreeSet<Key>, budget: &mut u64) -> bool {
    let size = || std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file).map_or(u64::MAX, |found| found.len());
    if !has_ending(file, &ENDINGS) || content(file) != Content::Other || size() > *budget {
        return false;
    }
    *budget = budget.saturating_sub(size());
    let Ok(text) = bytes(file) else { return false };
    let text = String::from_utf8_lossy(&text);
    let is_name = |cell: &str| {
        let name = Path::new(cell.trim_matches(|c: char| c.is_whitespace() || c == ':'));
        has_ending(name, &IMAGE_ENDINGS) && keys.contains(&key(name))
    };
    let mut cells = text.split(['"', '\'', '<', '>', ',', ';', '\t', '\n', '\r', '/', '\\']);
    cells.any(|cell| is_name(cell) || cell.split_whitespace().any(is_name))
}

/// Returns whether a file around a product may have labels: it has not the scores of a model, and a text is named like labels.
fn are_labels(file: &Path) -> bool {
    const SCORES: [&str; 5] = ["image_score", "anomaly_score", "pred_score", "pred_label", "prediction"];
    let is_text = has_ending(file, &["lst", "txt", "yaml", "yml"]);
    let is_named = || means_labels(stem(file)) || label_of(stem(file)) == Stated::Defective;
    let has_scores = || {
        let text = bytes(file).map_or(String::new(), |text| String::from_utf8_lossy(&text).into_owned());
        SCORES.iter().any(|key| text.contains(key))
    };
    (!is_text || is_named()) && !has_scores()
}

/// Returns the files in a folder, or below it, that have the names of images, as masks or as labels have them, and the others that are no
/// images.
fn labels_of(images: &BTreeSet<Key>, folder: &Path, depth: usize) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let Ok(listing) = list(folder) else { return (Vec::new(), Vec::new()) };
    let is_of_image = |file: &PathBuf| is_of_image(file, images);
    let (mut found, mut others): (Vec<PathBuf>, Vec<PathBuf>) = listing.others.into_iter().partition(is_of_image);
    found.extend(listing.images.into_iter().filter(is_of_image));
    found.sort();
    for inner in listing.folders.iter().filter(|_| depth > 0) {
        let (of_images, rest) = labels_of(images, &inner.path, depth - 1);
        found.extend(of_images);
        others.extend(rest);
    }
    (found, others)
}
