//! The layout of a plain folder: normal images, and optionally test images.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::defects::masks_of;
use super::left_out::is_link_within;
use super::listing::{Folder, Listing, display_name, file_name, list, list_if_there};
use super::mask_name::{Key, is_of_image, key, possible_images};
use super::names::{GOOD, Part, are_labels_of, holds_labels, is_defect_type, is_defective, is_normal, side_of};
use super::parts::{part, part_of};
use super::{label_files, mvtec, recognize, stated};
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::sample::Category;
use crate::text::names_of;

pub(crate) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let normal = recognize::only(root, recognize::plain(root)?)?;
    let name = display_name(root);
    let listing = list(root)?;
    if normal == root && Part::of(name.as_ref()) == Some(Part::Truth) {
        let reason = "by its name, its images are masks; name the folder of the images".into();
        return Err(Error::Layout { path: root.into(), reason });
    }
    refuse_defective(root, &normal)?;
    let is_of_tests = normal != root && note_tests(root, &name, findings);
    let images = list(&normal)?.images;
    if normal == root {
        refuse_stray(root, &listing, &images)?;
    }
    if normal.file_name().is_some_and(is_normal) {
        stated::report(&images, &normal, &name, findings);
    } else {
        stated::refuse(&images, &normal)?;
        stated::report(&images, &normal, &name, findings);
        refuse_masked(root, &listing, &images, &normal)?;
        label_files::report(root, &images, &HashSet::new(), &name, findings)?;
    }
    // Beside a folder of normal images, as in anomalib's folders.
    let defects = if normal == root { Vec::new() } else { defects(root, &listing)? };
    let advice = if is_of_tests {
        "they are test images of the category above".into()
    } else {
        format!(
            "the normal images to train on are those in {0}. Move normal ones to {0} to train on them, or to test/{GOOD} to test on them, and \
             defective ones to test/<type of defect>",
            normal.display()
        )
    };
    let truth = mvtec::truth_of(root, &listing)?;
    let is_read = |inner: &&Folder| {
        normal.starts_with(&inner.path)
            || inner.path == truth
            || matches!(part_of(inner, root, &listing), Some(Part::Test | Part::Truth))
            || defects.iter().any(|folder| folder.path == inner.path)
    };
    // Each folder from the root to the normal images may have other folders in it.
    let (mut beside, mut inside) = (Vec::new(), Vec::new());
    for folder in normal.ancestors().take_while(|folder| folder.starts_with(root)) {
        let found = if folder == root { &mut beside } else { &mut inside };
        found.extend(list(folder)?.folders.into_iter().filter(|inner| !is_read(&inner)));
    }
    let masks = masks_of_normal(root, &listing, &defects)?;
    let mut samples = mvtec::normal_samples(images, masks, &normal, &name, None, findings)?;
    let tests = mvtec::test_samples(root, &listing, &defects, &mvtec::paths_of(&samples), &name, findings)?;
    let places = [&beside, &inside].map(|folders| folders.iter().collect::<Vec<&Folder>>());
    let [of_beside, of_inside] = &places;
    let told = mvtec::masks_of_training(&mut samples, &tests, root, &listing, [of_beside, of_inside], &name, findings)?;
    let others = beside.into_iter().chain(inside).filter(|folder| !told.contains(&folder.path));
    mvtec::report_folders(others.map(|folder| (folder, advice.clone())).collect(), root, &name, findings);
    samples.extend(tests);
    Ok(vec![Category { name, folder: root.into(), samples }])
}

/// Reports a folder of the test images of a category that is opened by itself: its normal images are trained on. Returns whether it is one.
fn note_tests(root: &Path, name: &str, findings: &mut Vec<Finding>) -> bool {
    let Some(category) = root.canonicalize().ok().and_then(|real| real.parent().map(Path::to_path_buf)) else {
        return false;
    };
    let is_of_tests = Part::of(name.as_ref()) == Some(Part::Test) && has_training(&category);
    if is_of_tests {
        let what = format!(
            "it has the test images of the category {}, and its normal ones count as images to train on; open {} instead",
            display_name(&category),
            category.display()
        );
        findings.push(Finding::new(FindingKind::UnclearLabel, name, root, what));
    }
    is_of_tests
}

/// Returns whether a folder has normal images in one of its folders.
fn has_normal(folder: &Path) -> bool {
    let is = |inner: &Folder| is_normal(&inner.name) && list(&inner.path).is_ok_and(|inner| !inner.images.is_empty());
    list(folder).is_ok_and(|listing| listing.folders.iter().any(is))
}

/// Returns whether a folder is a category with normal images to train on.
fn has_training(folder: &Path) -> bool {
    list(folder).is_ok_and(|listing| has_normal(&part(folder, &listing, Part::Train)))
}

/// Returns an error if the images in a folder below the root, or in the root itself, are defective by the name of a folder that they lie
/// in, as in `ng/gear`. The folder above the root counts if it lies beside normal images.
pub(super) fn refuse_defective(root: &Path, images: &Path) -> Result<()> {
    if images.file_name().is_some_and(is_normal) {
        return Ok(());
    }
    // A relative path may not have the names of the folders above.
    let real = root.canonicalize().unwrap_or_else(|_| root.into());
    let own = images.ancestors().take_while(|folder| folder.starts_with(root) && *folder != root);
    for folder in own.map(Path::to_path_buf).chain(real.ancestors().take(2).map(Path::to_path_buf)) {
        let name = display_name(&folder);
        // A project may be named after defects.
        let is_above = real.starts_with(&folder) && folder != real;
        if is_defective(name.as_ref()) && (!is_above || folder.parent().is_some_and(has_normal)) {
            let whose = if folder == real { "its name".into() } else { format!("the name of the folder {name}") };
            let reason = format!(
                "by {whose}, its images are defective; open the folder above, with the normal images in its folder {GOOD}, or if \
                 these are normal, rename it"
            );
            return Err(Error::Layout { path: root.into(), reason });
        }
        refuse_type(root, &folder, &name)?;
    }
    Ok(())
}

/// Returns an error if a folder is one of test images or of masks in a category, which is meant: `test/scratch`, or `scratch` beside `good`.
fn refuse_type(root: &Path, folder: &Path, name: &str) -> Result<()> {
    let Some(above) = folder.parent() else { return Ok(()) };
    let kind = above.file_name().and_then(Part::of);
    let category = above.parent().filter(|_| matches!(kind, Some(Part::Test | Part::Truth)));
    let (category, what) = match category.filter(|category| has_training(category)) {
        Some(_) if is_normal(name.as_ref()) => return Ok(()),
        Some(category) if kind == Some(Part::Truth) => (category, "masks"),
        Some(category) => (category, "test images with defects"),
        None if is_defect_type(name.as_ref()) && has_normal(above) => (above, "images with defects"),
        None => return Ok(()),
    };
    let reason = format!(
        "it holds {what} of the category {}, and training would take them for normal; open {} instead, or if they are normal, move them away \
         from it",
        display_name(category),
        category.display()
    );
    Err(Error::Layout { path: root.into(), reason })
}

/// Returns an error if a folder has few images of its own beside folders that may be those of products. A picture that lies there by
/// accident would be all that is trained on.
fn refuse_stray(root: &Path, listing: &Listing, images: &[PathBuf]) -> Result<()> {
    /// The images in the folders for each one outside, from which on the folder is refused.
    const SHARE: usize = 2;
    let may_be_product = |folder: &&Folder| {
        let is_side = || side_of(&folder.name).is_some_and(|side| !side.is_normal);
        let is_known = [is_normal, is_defective, is_defect_type, holds_labels].iter().any(|is| is(&folder.name));
        !is_known && Part::of(&folder.name).is_none() && !is_side() && !is_link_within(&folder.path, root)
    };
    let (mut names, mut inside) = (Vec::new(), 0);
    for folder in listing.folders.iter().filter(may_be_product) {
        // A folder that cannot be listed is reported below.
        let count: usize = recognize::plain(&folder.path).map_or(0, |found| found.iter().map(|(_, count)| count).sum());
        if count > 0 {
            names.push(folder.name.to_string_lossy());
            inside += count;
        }
    }
    let Some(first) = images.first().filter(|_| inside >= SHARE * images.len()) else { return Ok(()) };
    let reason = format!(
        "it has {} of its own (such as {}), and {inside} in folders that may be those of products ({}); if each folder is a \
         product, move the images beside them away; if these are the normal ones to train on, move them to train/{GOOD}",
        if images.len() == 1 { "1 image".into() } else { format!("{} images", images.len()) },
        file_name(first).to_string_lossy(),
        names_of(&names)
    );
    Err(Error::Layout { path: root.into(), reason })
}

/// Returns the folders of defective images in a folder: those named so, and those that have masks.
fn defects<'a>(root: &Path, listing: &'a Listing) -> Result<Vec<&'a Folder>> {
    let masks = list_if_there(&part(root, listing, Part::Truth))?;
    let has_masks = |folder: &Folder| masks_of(std::slice::from_ref(&folder.name), &masks).is_some();
    let is_other = |folder: &Folder| Part::of(&folder.name).is_none() && !is_normal(&folder.name);
    let is_defects = |folder: &&Folder| is_other(folder) && (is_defective(&folder.name) || has_masks(folder));
    Ok(listing.folders.iter().filter(is_defects).collect())
}

/// Returns the masks that may be those of normal images: directly in the folder of masks, and without a defective image of their name.
fn masks_of_normal(root: &Path, listing: &Listing, defects: &[&Folder]) -> Result<Vec<PathBuf>> {
    let mut masks = list_if_there(&part(root, listing, Part::Truth))?.images;
    if masks.is_empty() {
        return Ok(masks);
    }
    let mut folders: Vec<PathBuf> = defects.iter().map(|folder| folder.path.clone()).collect();
    for folder in defects {
        folders.extend(list(&folder.path)?.folders.into_iter().map(|inner| inner.path));
    }
    let types = list_if_there(&part(root, listing, Part::Test))?.folders;
    folders.extend(types.into_iter().filter(|kind| !is_normal(&kind.name)).map(|kind| kind.path));
    let mut images = BTreeSet::<Key>::new();
    for folder in folders {
        images.extend(list(&folder)?.images.iter().map(|image| key(image)));
    }
    masks.retain(|mask| !is_of_image(mask, &images));
    Ok(masks)
}

/// Returns an error if some of the images have masks, and others have none: those with a mask have defects.
fn refuse_masked(root: &Path, listing: &Listing, images: &[PathBuf], normal: &Path) -> Result<()> {
    let product = normal.file_name().unwrap_or_default();
    let others =
        listing.folders.iter().filter(|folder| holds_labels(&folder.name) || are_labels_of(&folder.name, product));
    let truth = part(root, listing, Part::Truth);
    for folder in std::iter::once(truth).chain(others.map(|folder| folder.path.clone())) {
        refuse_masked_by(&folder, images, normal)?;
    }
    Ok(())
}

/// Returns an error if some of the images have masks in a folder, and others have none.
fn refuse_masked_by(folder: &Path, images: &[PathBuf], normal: &Path) -> Result<()> {
    let masks: BTreeSet<Key> = list_if_there(folder)?.images.iter().map(|mask| key(mask)).collect();
    let images_of: BTreeSet<&[u8]> = masks.iter().flat_map(|mask| possible_images(mask)).collect();
    let has_mask = |image: &&PathBuf| images_of.contains(key(image).as_slice());
    let (count, first) = (images.iter().filter(has_mask).count(), images.iter().find(has_mask));
    let Some(first) = first.filter(|_| count < images.len()) else { return Ok(()) };
    let reason = format!(
        "{count} of its {} images {} in {} (such as that of {}), so normal and defective images are mixed in it; move the \
         normal ones to good, and the defective ones to test/<type of defect>",
        images.len(),
        if count == 1 { "has a mask" } else { "have masks" },
        folder.display(),
        file_name(first).to_string_lossy()
    );
    Err(Error::Layout { path: normal.into(), reason })
}
