//! A folder of images for each product.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::files::images_below;
use super::folder::refuse_defective;
use super::left_out::LeftOut;
use super::listing::{Folder, display_name, list};
use super::mask_content::look_like_masks;
use super::mask_folders::{Candidate, masks_beside};
use super::names::{
    GOOD, Part, Side, besides_label, compound_of, holds_labels, is_defect_type, is_defective, is_normal,
    may_be_a_label, may_be_normal, may_hold_labels, product_of_images, product_of_labels, side_of,
};
use super::siblings::Siblings;
use super::words::tokens;
use super::{alike, coco, crops, derived, label_files, recognize};
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::sample::{Category, Sample, Split};
use crate::text::names_of;

/// Returns the folders of products in a folder, or none if it has images of its own or no folder of images. Folders whose names
/// are labels are an error: an image in them may be defective.
pub(crate) fn products(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<PathBuf>> {
    let listing = list(root)?;
    // Images beside the folders would belong to no category.
    if !listing.images.is_empty() {
        return Ok(Vec::new());
    }
    let (products, others): (Vec<&Folder>, Vec<&Folder>) =
        listing.folders.iter().partition(|folder| has_images(folder));
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |folders: &[&Folder], what: &str, if_product: &str| {
        let reason = format!(
            "{what} ({}), so its folders of images are not those of products, and some images may be defective; move \
             the normal ones to train/good, and the others to test/<type of defect>{if_product}",
            names(folders)
        );
        Err(Error::Layout { path: root.into(), reason })
    };
    let labels: Vec<&Folder> = listing.folders.iter().filter(|folder| holds_labels(&folder.name)).collect();
    if !labels.is_empty() {
        if let Some(error) = coco::incomplete(root) {
            return Err(error);
        }
        // A table that is not valid is the nearer fault.
        let images: Vec<PathBuf> = products
            .iter()
            .filter(|folder| !holds_labels(&folder.name))
            .flat_map(|folder| images_below(&folder.path).unwrap_or_default())
            .collect();
        label_files::report(root, &images, &HashSet::new(), "", &mut Vec::new())?;
        return refuse(&labels, "it holds masks or labels by name", "");
    }
    if Part::of(display_name(root).as_ref()) == Some(Part::Truth) {
        let reason = format!(
            "by its own name (\"{}\"), it holds masks, and its folders ({}) are those of no products; if they are, rename it",
            display_name(root),
            names(&products)
        );
        return Err(Error::Layout { path: root.into(), reason });
    }
    if products.iter().any(|folder| !(states_normal(folder) || has_train(folder))) {
        refuse_defective(root, root)?;
    }
    let of_images: HashSet<String> =
        listing.folders.iter().filter_map(|folder| product_of_images(&folder.name)).collect();
    let is_of_another = |folder: &&&Folder| {
        let is_of_sibling = product_of_labels(&folder.name).is_some_and(|product| of_images.contains(&product));
        // Of a folder that has its images in folders, the content decides: `bottle_label/good` may be a product's.
        (is_of_sibling && !(states_normal(folder) || has_train(folder)))
            || may_hold_labels(&folder.name) && look_like_masks(&normal_images(folder))
    };
    let labels: Vec<&Folder> = products.iter().filter(is_of_another).copied().collect();
    if !labels.is_empty() {
        return refuse(
            &labels,
            "it has folders that hold masks or labels by name",
            "; if such a folder is a product, rename it",
        );
    }
    let candidates: Vec<Candidate> =
        products.iter().map(|folder| Candidate { folder, images: normal_images(folder) }).collect();
    if let Some((masks, images)) = masks_beside(&candidates) {
        let [masks, images] = [masks, images].map(|folder| folder.name.to_string_lossy());
        let reason = format!(
            "the files in {masks} look like masks of the images in {images}: most have the names or the numbers of files there, and \
             they have few colors. If they are masks, {images} is no product of good images alone, since images with masks have \
             defects: move its normal images to train/{GOOD}, the others to test/<type of defect>, and the masks to \
             ground_truth/<type of defect>. If {masks} is a product (such as silhouettes), move one of the two folders away, or \
             rename the files in it so that they share no names and numbers with those in {images}"
        );
        return Err(Error::Layout { path: root.into(), reason });
    }
    let (derived, products): (Vec<&Folder>, Vec<&Folder>) =
        products.into_iter().partition(|folder| derived::fill(folder, root));
    LeftOut { top: root, category: "", findings }.folders(derived.iter().copied(), derived::FOLDER);
    let is_product = |candidate: &Candidate| !derived.iter().any(|folder| folder.path == candidate.folder.path);
    let candidates: Vec<Candidate> = candidates.into_iter().filter(is_product).collect();
    let siblings = Siblings::of(listing.folders.iter().map(|folder| folder.name.as_os_str()));
    // The name of a product that states its normal images says nothing about them. Nor does a name that is not a label alone, if the
    // folder has a folder for training, and no other is of the same product.
    let is_stated = |folder: &Folder| {
        let has_other_words = || {
            let rest = besides_label(&folder.name);
            rest.is_some_and(|rest| !siblings.share(&folder.name, &rest)) && !may_be_normal(&folder.name)
        };
        states_normal(folder) || has_other_words() && has_train(folder)
    };
    let unstated: Vec<&Folder> = products.iter().filter(|folder| !is_stated(folder)).copied().collect();
    let says_nothing = |folder: &&Folder| {
        let is = |test: &fn(&OsStr) -> bool| test(&folder.name);
        !LABELS.iter().any(is) && side_of(&folder.name).is_none_or(|side| side.is_normal)
    };
    let plain = products.len() - unstated.iter().filter(|folder| !says_nothing(folder)).count();
    // Among several products, one whose name has a word for defects and names a thing is a product, too: `bent_tube`.
    let cores: HashSet<Vec<String>> =
        products.iter().filter(|folder| says_nothing(folder)).map(|folder| core(&folder.name)).collect();
    let is_compound = |folder: &&Folder| {
        let of = compound_of(&folder.name).filter(|_| !says_nothing(folder));
        plain > 1 && 2 * plain > products.len() && of.is_some_and(|of| !cores.contains(&of.rest))
    };
    let (compounds, unstated): (Vec<&Folder>, Vec<&Folder>) = unstated.into_iter().partition(is_compound);
    let labels: Vec<&Folder> =
        unstated.iter().filter(|folder| LABELS.iter().any(|test| test(&folder.name))).copied().collect();
    if !labels.is_empty() {
        return refuse(
            &labels,
            "it has folders whose names are labels",
            "; if such a folder is a product, move its normal images to a folder good in it",
        );
    }
    if unstated.len() > 1 && unstated.iter().all(|folder| may_be_a_label(&folder.name)) {
        return refuse(&unstated, "it has folders whose names may be labels", "");
    }
    if let Some(reason) = defective_side(&unstated) {
        return Err(Error::Layout { path: root.into(), reason });
    }
    for folder in compounds {
        let Some(compound) = compound_of(&folder.name) else { continue };
        let what = format!(
            "it is read as a product, like the folders beside it, and its images count as normal; if \"{}\" in its name means that they \
             have defects, move them to test/<type of defect> of their product; if it is a product, move them to a folder {GOOD} in it",
            compound.word
        );
        findings.push(Finding::new(FindingKind::UnclearLabel, &display_name(&folder.path), &folder.path, what));
    }
    // Of a folder that has its images in folders, the names say which are normal.
    let is_plain = |candidate: &Candidate| {
        let folder = &candidate.folder.path;
        candidate.images.iter().all(|image| image.parent() == Some(folder)) && !has_tests(folder)
    };
    crops::report(root, &candidates, |candidate| is_plain(candidate) && !is_stated(candidate.folder), findings);
    let plain: Vec<Candidate> = candidates.into_iter().filter(is_plain).collect();
    alike::report(root, &plain, findings);
    let advice = "it has no images of its own, so it is no product; move it away, or open it by itself";
    LeftOut { top: root, category: "", findings }.folders(others, advice);
    Ok(products.into_iter().map(|folder| folder.path.clone()).collect())
}

/// The tests of names that are labels.
const LABELS: [fn(&OsStr) -> bool; 4] = [is_normal, is_defective, is_defect_type, may_be_normal];

/// Returns whether a folder may be that of a product: it has normal images, or may have them.
pub(super) fn has_images(folder: &Folder) -> bool {
    recognize::plain(&folder.path).is_ok_and(|found| !found.is_empty())
}

/// Returns whether a folder has its images in folders, one of which is named as the normal ones.
fn states_normal(folder: &Folder) -> bool {
    list(&folder.path)
        .is_ok_and(|inner| inner.images.is_empty() && inner.folders.iter().any(|inner| is_normal(&inner.name)))
}

/// Returns the words of a name without those of a label.
fn core(name: &OsStr) -> Vec<String> {
    side_of(name).map_or_else(|| tokens(&name.to_string_lossy()), |side| side.product)
}

/// Returns whether a folder has its images in a folder for training.
fn has_train(folder: &Folder) -> bool {
    let is_train = |inner: &Folder| Part::of(&inner.name) == Some(Part::Train) && has_images(inner);
    list(&folder.path).is_ok_and(|inner| inner.images.is_empty() && inner.folders.iter().any(is_train))
}

/// Returns whether a folder has a folder of test images.
fn has_tests(folder: &Path) -> bool {
    list(folder).is_ok_and(|inner| inner.folders.iter().any(|inner| Part::of(&inner.name) == Some(Part::Test)))
}

/// Returns the normal images of a folder.
fn normal_images(folder: &Folder) -> Vec<PathBuf> {
    let found = recognize::plain(&folder.path).unwrap_or_default();
    found.first().and_then(|(path, _)| list(path).ok()).map_or(Vec::new(), |inner| inner.images)
}

fn names(folders: &[&Folder]) -> String {
    names_of(&folders.iter().map(|folder| folder.name.to_string_lossy()).collect::<Vec<_>>())
}

/// Describes folders that may be the defective side of a product by their names: those that state it (`gear_nok`), and those
/// beside a normal side of the same product (`gear_x` beside `gear_ok`, `gearnok` beside `gearok`).
fn defective_side(products: &[&Folder]) -> Option<String> {
    let siblings = Siblings::of(products.iter().map(|folder| folder.name.as_os_str()));
    let sides: Vec<(&Folder, Option<Side>)> = products.iter().map(|folder| (*folder, side_of(&folder.name))).collect();
    let may_be_defective = |folder: &Folder, side: &Option<Side>| match side {
        Some(side) => !side.is_normal,
        None => siblings.have_normal_side_of(&folder.name) || siblings.have_opposite_of(&folder.name),
    };
    let found: Vec<&Folder> =
        sides.iter().filter(|(folder, side)| may_be_defective(folder, side)).map(|(folder, _)| *folder).collect();
    let first = found.first()?;
    // The words beside `fail` in `fail_safe_relay` are no product.
    let has_word = |product: &[String]| product.iter().any(|word| word.starts_with(char::is_alphabetic));
    let is_side = |(folder, side): &&(&Folder, Option<Side>)| {
        side.as_ref().is_some_and(|side| !side.is_normal && has_word(&side.product))
            && compound_of(&folder.name).is_none()
    };
    let (product, label) = match sides.iter().find(is_side) {
        Some((_, Some(side))) => {
            let product = crops::without_crops(&side.product).unwrap_or(&side.product);
            let product = product.join("_");
            // The name of a part of a dataset is none of a product: `test_bad`.
            (if Part::of(product.as_ref()).is_some() { "PRODUCT".into() } else { product }, side.label.as_str())
        }
        _ => ("PRODUCT".into(), "<type of defect>"),
    };
    Some(format!(
        "folders in it may be the defective side of a product by name ({}), and as products of their own they would be trained \
         on as normal; if their images have defects, move the normal images to {product}/train/{GOOD}, and the defective ones to \
         {product}/test/{label}; if such a folder is a product, move its images to a folder {GOOD} in it ({}/{GOOD}), or rename it",
        names(&found),
        first.name.to_string_lossy()
    ))
}

/// Reports files beside the products: those that may hold labels of their images, and others. The reader of a product reports those in
/// it.
pub(crate) fn report_files(root: &Path, categories: &[Category], findings: &mut Vec<Finding>) -> Result<()> {
    let trained = || categories.iter().flat_map(|category| &category.samples).filter(|s| s.split == Split::Train);
    let is_stated = |sample: &Sample| sample.path.parent().and_then(Path::file_name).is_some_and(is_normal);
    if !trained().all(is_stated) {
        let images: Vec<PathBuf> = trained().map(|sample| sample.path.clone()).collect();
        let known: HashSet<&Path> = categories.iter().map(|category| category.folder.as_path()).collect();
        label_files::report(root, &images, &known, "", findings)?;
    }
    Ok(())
}
