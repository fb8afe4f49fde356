//! A folder of images for each product.

use std::path::{Path, PathBuf};

use super::left_out::LeftOut;
use super::listing::{Folder, display_name, list, stem};
use super::mask_content::look_like_masks;
use super::names::{
    Part, Side, are_labels_of, are_opposite, holds_labels, is_defect_type, is_defective, is_normal, may_be_a_label,
    may_be_normal, may_hold_labels, side_of,
};
use super::{label_files, recognize};
use crate::error::{Error, Result};
use crate::finding::Finding;
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
    let refuse = |folders: &[&Folder], what: &str| {
        let reason = format!(
            "{what} ({}), so its folders of images are not those of products, and some images may be defective; move \
             the normal ones to train/good, and the others to test/<type of defect>",
            names(folders)
        );
        Err(Error::Layout { path: root.into(), reason })
    };
    let labels: Vec<&Folder> = listing.folders.iter().filter(|folder| holds_labels(&folder.name)).collect();
    if !labels.is_empty() || Part::of(display_name(root).as_ref()) == Some(Part::Truth) {
        return refuse(&labels, "it holds masks or labels by name");
    }
    let is_of_another = |folder: &&&Folder| {
        listing.folders.iter().any(|other| are_labels_of(&folder.name, &other.name))
            || may_hold_labels(&folder.name) && list(&folder.path).is_ok_and(|inner| look_like_masks(&inner.images))
    };
    let labels: Vec<&Folder> = products.iter().filter(is_of_another).copied().collect();
    if !labels.is_empty() {
        return refuse(
            &labels,
            "it has folders that hold masks or labels by name (if such a folder is a product, rename it)",
        );
    }
    // The name of a product that states its normal images says nothing about them.
    let unstated: Vec<&Folder> = products.iter().filter(|folder| !states_normal(folder)).copied().collect();
    let is_label = |folder: &&&Folder| {
        let tests = [is_normal, is_defective, is_defect_type, may_be_normal];
        tests.iter().any(|test| test(&folder.name))
    };
    let labels: Vec<&Folder> = unstated.iter().filter(is_label).copied().collect();
    if !labels.is_empty() {
        return refuse(
            &labels,
            "it has folders whose names are labels (if such a folder is a product, move its normal images to a folder good in it)",
        );
    }
    if unstated.len() > 1 && unstated.iter().all(|folder| may_be_a_label(&folder.name)) {
        return refuse(&unstated, "it has folders whose names may be labels");
    }
    if let Some(reason) = defective_side(&unstated) {
        return Err(Error::Layout { path: root.into(), reason });
    }
    let advice = "it has no images of its own, so it is no product; move it away, or open it by itself";
    LeftOut { top: root, category: "", findings }.folders(others, advice);
    Ok(products.into_iter().map(|folder| folder.path.clone()).collect())
}

/// Returns whether a folder may be that of a product: it has normal images, or may have them.
pub(super) fn has_images(folder: &Folder) -> bool {
    recognize::plain(&folder.path).is_ok_and(|found| !found.is_empty())
}

/// Returns whether a folder has its images in folders, one of which is named as the normal ones.
fn states_normal(folder: &Folder) -> bool {
    list(&folder.path)
        .is_ok_and(|inner| inner.images.is_empty() && inner.folders.iter().any(|inner| is_normal(&inner.name)))
}

fn names(folders: &[&Folder]) -> String {
    names_of(&folders.iter().map(|folder| folder.name.to_string_lossy()).collect::<Vec<_>>())
}

/// Describes folders that may be the defective side of a product by their names: those that state it (`gear_nok`), and those
/// beside a normal side of the same product (`gear_x` beside `gear_ok`, `gearnok` beside `gearok`).
fn defective_side(products: &[&Folder]) -> Option<String> {
    let sides: Vec<(&Folder, Option<Side>)> = products.iter().map(|folder| (*folder, side_of(&folder.name))).collect();
    let normal: Vec<&Side> = sides.iter().filter_map(|(_, side)| side.as_ref()).filter(|side| side.is_normal).collect();
    let may_be_defective = |folder: &Folder, side: &Option<Side>| match side {
        Some(side) => !side.is_normal,
        None => {
            normal.iter().any(|normal| normal.has_product_of(&folder.name))
                || products.iter().any(|other| are_opposite(&folder.name, &other.name))
        }
    };
    let found: Vec<&Folder> =
        sides.iter().filter(|(folder, side)| may_be_defective(folder, side)).map(|(folder, _)| *folder).collect();
    if found.is_empty() {
        return None;
    }
    let stated = sides.iter().filter_map(|(_, side)| side.as_ref()).find(|side| !side.is_normal);
    let (product, label) = match stated {
        Some(side) if !side.product.is_empty() => (side.product.join("_"), side.label.as_str()),
        _ => ("PRODUCT".into(), "<type of defect>"),
    };
    Some(format!(
        "folders in it may be the defective side of a product by name ({}), and as products of their own they would be trained \
         on as normal; move the normal images to {product}/train/good, and the defective ones to {product}/test/{label}; if \
         such a folder is a product, rename it",
        names(&found)
    ))
}

/// Reports files beside the products that may hold labels of their images. The reader of a product reports those in it.
pub(crate) fn report_labels(root: &Path, categories: &[Category], findings: &mut Vec<Finding>) {
    let trained = || categories.iter().flat_map(|category| &category.samples).filter(|s| s.split == Split::Train);
    let is_stated = |sample: &Sample| sample.path.parent().and_then(Path::file_name).is_some_and(is_normal);
    if trained().all(is_stated) {
        return;
    }
    let stems = trained().map(|sample| stem(&sample.path)).collect();
    let known: Vec<&Path> = categories.iter().map(|category| category.folder.as_path()).collect();
    label_files::report(root, &stems, &known, "", findings);
}
