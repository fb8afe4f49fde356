//! Findings for images in places that no reader reads. The user has put them there for a reason.

use std::path::Path;

use super::listing::{Folder, Listing, list};
use crate::error::{Result, without_path};
use crate::finding::{Finding, FindingKind};

/// The depth to which a folder that is not read is searched for images: the depth of the deepest layout.
const DEPTH: usize = 4;

/// The collector of findings for unused images of a category, or of the dataset if `category` is empty.
pub(crate) struct LeftOut<'a> {
    /// The folder that is read. Links to folders in it need no finding.
    pub(crate) top: &'a Path,
    pub(crate) category: &'a str,
    pub(crate) findings: &'a mut Vec<Finding>,
}

impl LeftOut<'_> {
    /// Reports `count` images directly in a folder.
    pub(crate) fn loose(&mut self, folder: &Path, count: usize, advice: &str) {
        if count > 0 {
            self.add(folder, format!("{} left out: {advice}", images(count, "in it")));
        }
    }

    /// Reports the folders that have images in them or in their subfolders.
    pub(crate) fn folders<'f>(&mut self, folders: impl IntoIterator<Item = &'f Folder>, advice: &str) {
        for folder in folders {
            match below(&folder.path, self.top, DEPTH) {
                Ok(0) => {}
                Ok(count) => {
                    self.add(&folder.path, format!("{} left out: {advice}", images(count, "in or below it")));
                }
                Err(error) => {
                    self.add(&folder.path, format!("it may hold images, but {}", without_path(&error, &folder.path)))
                }
            }
        }
    }

    /// Reports the images of a folder of products that belong to none with annotations: those directly in it, and those of `others`.
    pub(crate) fn beside_annotated(&mut self, root: &Listing, others: &[&Folder], annotations: &str) {
        let advice = format!(
            "it has no {annotations}, which other folders beside it have, so it is no category; annotate its images, or open it by itself"
        );
        self.folders(others.iter().copied(), &advice);
        self.loose(
            self.top,
            root.images.len(),
            "they belong to no folder with annotations; move them away, or into one",
        );
    }

    fn add(&mut self, folder: &Path, what: String) {
        self.findings.push(Finding::new(FindingKind::LeftOut, self.category, folder, what));
    }
}

fn images(count: usize, place: &str) -> String {
    if count == 1 { format!("1 image {place} is") } else { format!("{count} images {place} are") }
}

/// Returns the number of images in a folder and its subfolders.
fn below(folder: &Path, top: &Path, depth: usize) -> Result<usize> {
    if is_link_within(folder, top) {
        return Ok(0);
    }
    let listing = list(folder)?;
    let mut count = listing.images.len();
    if depth > 0 {
        for inner in &listing.folders {
            count += below(&inner.path, top, depth - 1)?;
        }
    }
    Ok(count)
}

/// Returns whether a folder is reached by a link into the dataset or to a parent of it. Its images are read or reported in
/// their real place.
pub(super) fn is_link_within(folder: &Path, top: &Path) -> bool {
    // Resolving every path would be slow.
    let is_link = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if !folder.ancestors().take_while(|path| *path != top).any(is_link) {
        return false;
    }
    let (Ok(target), Ok(real)) = (folder.canonicalize(), top.canonicalize()) else { return false };
    let direct = folder.strip_prefix(top).map(|rest| real.join(rest));
    direct.is_ok_and(|direct| direct != target) && (target.starts_with(&real) || real.starts_with(&target))
}
