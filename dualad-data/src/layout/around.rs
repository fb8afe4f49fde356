//! Masks and labels around a folder of images that is opened by itself.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::around_files::{Entries, Files, Naming, entries};
use super::files::bytes;
use super::label_files::advice;
use super::listing::{display_name, file_name, list, stem};
use super::mask_content::mark_nothing;
use super::mask_name::{Key, is_of_image, key};
use super::named::{Mentions, Names};
use super::names::{
    Part, Stated, are_labels_of, holds_images, holds_masks, is_normal, label_of, may_hold_annotations, may_hold_images,
    means_labels,
};
use super::training_images::Images;
use super::training_labels::{first_mark, says_all_are_normal};
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image_name::{has_ending, is_image_name};
use crate::sample::{Category, Label, Sample, Split};
use crate::text::shown;

/// The number of folders above the images that are looked at: `labels/train` belongs to `images/train`.
const ABOVE: usize = 2;
/// The depth to which a folder of masks or labels is searched.
const DEPTH: usize = 2;
/// The depth to which a folder above is searched for other images, and the number of folders.
const IMAGE_DEPTH: usize = 6;
const MAX_FOLDERS: usize = 5_000;

/// Returns an error if masks or labels of some of the images lie beside their folder, or if a file above it or in a folder beside it labels
/// them: the images may have defects. Around folders named `images` and the like, it may be any label; around others, the file must say that
/// some images have defects. Folders beside a folder of test images are not looked at. Files that may label the images and cannot be read are
/// reported.
pub(super) fn report(root: &Path, images: &[PathBuf], findings: &mut Vec<Finding>) -> Result<()> {
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
    let mut looked = Files::new(&keys, &real);
    for (child, above) in real.ancestors().zip(real.ancestors().skip(1)).take(ABOVE) {
        let Some(Entries { folders, mut files, is_crowded, is_cut }) = entries(above) else { break };
        let others: Vec<&PathBuf> = folders.iter().filter(|folder| !real.starts_with(folder)).collect();
        if others.iter().any(|folder| Part::of(file_name(folder)) == Some(Part::Test)) {
            break;
        }
        // A folder of downloads is no dataset around the one in it.
        if is_crowded && child != real && !holds_images(file_name(child)) {
            break;
        }
        looked.is_cut |= is_cut;
        let may_label = |folder: &&&PathBuf| {
            let name = file_name(folder);
            holds_masks(name) || may_hold_annotations(name) || are_labels_of(name, file_name(child))
        };
        for folder in others.iter().filter(may_label) {
            let (of_images, is_own) = match own_part(folder, child) {
                // Of other files of a product, the content is read.
                Some(inner) => {
                    let mut masks = labels_of(&keys, &inner, DEPTH).0;
                    let is_of_all = is_of_images || may_hold_images(file_name(child));
                    masks.retain(|file| is_of_all || is_image_name(file));
                    (masks, true)
                }
                None => (Vec::new(), false),
            };
            let (found, others) = labels_of(&keys, folder, DEPTH);
            files.extend(found.iter().cloned().chain(others));
            let found = if is_own { of_images } else { found };
            let Some(first) = found.first().filter(|_| is_own || is_of_images) else { continue };
            if mark_nothing(&found) {
                continue;
            }
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
        let may_name = |file: &PathBuf| {
            let naming = looked.naming(file)?;
            (is_of_images || are_labels(file)).then_some((file.clone(), naming))
        };
        let files: Vec<(PathBuf, Naming)> = files.iter().filter_map(may_name).collect();
        let paths: Vec<PathBuf> = files.iter().map(|(file, _)| file.clone()).collect();
        let needs_folder = is_crowded && !is_of_images;
        if let Some((file, count)) = marked(root, &real, above, images, &paths, [!is_of_images, needs_folder]) {
            return fault(format!(
                "{} says that {count} of its {} images {}, and training would take all of them for normal; to have it read, {}; or move the \
                 defective images away, or if they are normal, correct what it says of them",
                shown(&file),
                images.len(),
                if count == 1 { "has a defect" } else { "have defects" },
                advice(&file).how
            ));
        }
        for (file, _) in files.iter().filter(|(_, naming)| is_of_images && *naming == Naming::Whole) {
            let mentions = Mentions::of(file, &names).filter(|mentions| mentions.are_labels(file, &names));
            let Some(count) = mentions.map(|mentions| mentions.count()) else { continue };
            if says_all_are_normal(file) {
                continue;
            }
            return fault(format!(
                "{} names {count} of its {} images and may say that some have defects; to have it read, {}; if it holds no labels, move the \
                 images to a folder good",
                shown(file),
                images.len(),
                advice(file).how
            ));
        }
    }
    let category = display_name(root);
    // Those in the dataset have been told.
    let is_told = |file: &PathBuf, findings: &[Finding]| {
        let same =
            |told: &Path| file_name(told) == file_name(file) && told.canonicalize().is_ok_and(|told| told == *file);
        findings.iter().any(|finding| same(&finding.path))
    };
    for (file, why) in &looked.unread {
        if is_told(file, findings) {
            continue;
        }
        let what =
            format!("{why}. It may label images of {}; if it holds no labels of them, nothing is missing", shown(root));
        findings.push(Finding::new(FindingKind::LeftOut, &category, file, what));
    }
    if looked.is_cut {
        let what = "more files around it may hold labels of its images than are looked at; if one does, open it by its path, or move it and \
                    the images to a folder of their own"
            .to_string();
        findings.push(Finding::new(FindingKind::Choice, &category, root, what));
    }
    Ok(())
}

/// Returns the part of a folder of masks or labels that belongs to the images of another folder by its name: all of it (`gear_masks` beside
/// `gear`, `masks` beside `frames`), or a folder in it (`masks/gear`).
fn own_part(labels: &Path, images: &Path) -> Option<PathBuf> {
    let (name, of) = (file_name(labels), file_name(images));
    if are_labels_of(name, of) || may_hold_images(of) {
        return Some(labels.into());
    }
    let inner = labels.join(of);
    inner.is_dir().then_some(inner)
}

/// Returns the first of these files that says that images have defects, and the number of these images. A name that other images below the
/// folder `above` have, too, says nothing without its folder. `is_product` tells that the images may be those of one of several products, and
/// `needs_folder` that a name counts with its folder alone.
fn marked(
    root: &Path,
    real: &Path,
    above: &Path,
    images: &[PathBuf],
    files: &[PathBuf],
    [is_product, needs_folder]: [bool; 2],
) -> Option<(PathBuf, usize)> {
    let name = display_name(real);
    let mut paths: Vec<PathBuf> = images
        .iter()
        .map(|image| image.strip_prefix(root).map_or_else(|_| image.clone(), |own| real.join(own)))
        .collect();
    let samples = paths.iter().map(|path| Sample::new(path, &name, Split::Train, Label::Normal)).collect();
    let category = Category { name, folder: real.to_path_buf(), samples };
    let own = paths.clone();
    let folders: BTreeSet<&OsStr> = own.iter().filter_map(|path| path.parent()?.file_name()).collect();
    let first = |paths: &[PathBuf]| {
        let images = Images::of(above, paths, std::slice::from_ref(&category));
        let images = images.with_products(folders.iter().copied()).strict(is_product).with_folders_alone(needs_folder);
        first_mark(files, &images, &category)
    };
    let found = first(&paths)?;
    if needs_folder {
        return Some(found);
    }
    let own: BTreeSet<&PathBuf> = own.iter().collect();
    paths.extend(images_around(above).into_iter().filter(|path| !own.contains(path)));
    first(&paths)
}

/// Returns the images below a folder, of a bounded number of folders.
fn images_around(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut seen, mut level) = (Vec::new(), HashSet::new(), vec![folder.to_path_buf()]);
    for _ in 0..=IMAGE_DEPTH {
        let mut next = Vec::new();
        for folder in level {
            if seen.len() == MAX_FOLDERS || !folder.canonicalize().is_ok_and(|real| seen.insert(real)) {
                continue;
            }
            let Ok(listing) = list(&folder) else { continue };
            found.extend(listing.images);
            next.extend(listing.folders.into_iter().map(|inner| inner.path));
        }
        level = next;
    }
    found
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
