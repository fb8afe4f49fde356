//! A folder of images for each product.

use std::path::{Path, PathBuf};

use super::left_out::LeftOut;
use super::listing::{Folder, display_name, list};
use super::names::{Part, holds_labels, is_defect_type, is_defective, is_normal, may_be_a_label, may_be_normal};
use super::recognize;
use crate::error::{Error, Result};
use crate::finding::Finding;

/// The number of names that a message lists.
const MAX_NAMES: usize = 20;

/// Returns the folders of products in a folder, or none if it has images of its own or no folder of images. Folders whose names
/// are labels are an error: an image in them may be defective.
pub(crate) fn products(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<PathBuf>> {
    let listing = list(root)?;
    // Images beside the folders would belong to no category.
    if !listing.images.is_empty() {
        return Ok(Vec::new());
    }
    let has_images = |folder: &&Folder| recognize::plain(&folder.path).is_ok_and(|found| !found.is_empty());
    let (products, others): (Vec<&Folder>, Vec<&Folder>) = listing.folders.iter().partition(has_images);
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |folders: Vec<&Folder>, what: &str| {
        let names: Vec<_> = folders.iter().take(MAX_NAMES).map(|folder| folder.name.to_string_lossy()).collect();
        let more = folders.len().checked_sub(MAX_NAMES).filter(|more| *more > 0);
        let names = names.join(", ") + &more.map_or_else(String::new, |more| format!(" and {more} more"));
        let reason = format!(
            "{what} ({names}), so its folders of images are not those of products, and some images may be defective; move \
             the normal ones to train/good, and the others to test/<type of defect>"
        );
        Err(Error::Layout { path: root.into(), reason })
    };
    let labels: Vec<&Folder> = listing.folders.iter().filter(|folder| holds_labels(&folder.name)).collect();
    if !labels.is_empty() || Part::of(display_name(root).as_ref()) == Some(Part::Truth) {
        return refuse(labels, "it holds masks or labels by name");
    }
    let is_label = |folder: &&&Folder| {
        let tests = [is_normal, is_defective, is_defect_type, may_be_normal];
        tests.iter().any(|test| test(&folder.name))
    };
    let labels: Vec<&Folder> = products.iter().filter(is_label).copied().collect();
    if !labels.is_empty() {
        return refuse(labels, "it has folders whose names are labels");
    }
    if products.len() > 1 && products.iter().all(|folder| may_be_a_label(&folder.name)) {
        return refuse(products, "it has folders whose names may be labels");
    }
    let advice = "it has no images of its own, so it is no product; move it away, or open it by itself";
    LeftOut { top: root, category: "", findings }.folders(others, advice);
    Ok(products.into_iter().map(|folder| folder.path.clone()).collect())
}
