//! Findings for images in places that no reader reads. The user has put them there for a reason.

use std::path::{Path, PathBuf};

use super::files::DEPTH;
use super::listing::{Folder, Listing, list};
use crate::error::{Result, without_path};
use crate::finding::{Finding, FindingKind};
use crate::text::{names_of, shown};

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

    /// Reports images in a folder or below it that a file does not list, with their names.
    pub(crate) fn unlisted(&mut self, folder: &Path, found: &[&PathBuf], advice: &str) {
        if found.is_empty() {
            return;
        }
        let is_below = found.iter().any(|image| image.parent() != Some(folder));
        let names: Vec<String> = found.iter().map(|image| shown(image.strip_prefix(folder).unwrap_or(image))).collect();
        let count = images(found.len(), if is_below { "in or below it" } else { "in it" });
        self.add(folder, format!("{count} left out: {advice}: {}", names_of(&names)));
    }

    /// Reports folders of which a file lists nothing, with the names of their images.
    pub(crate) fn unlisted_folders<'f>(&mut self, folders: impl IntoIterator<Item = &'f Folder>, advice: &str) {
        for folder in folders {
            match below(&folder.path, self.top, DEPTH) {
                Ok(found) => self.unlisted(&folder.path, &found.iter().collect::<Vec<_>>(), advice),
                Err(_) => self.folders([folder], advice),
            }
        }
    }

    /// Reports the folders that have images in them or in their subfolders.
    pub(crate) fn folders<'f>(&mut self, folders: impl IntoIterator<Item = &'f Folder>, advice: &str) {
        for folder in folders {
            match below(&folder.path, self.top, DEPTH) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => {
                    self.add(&folder.path, format!("{} left out: {advice}", images(found.len(), "in or below it")));
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

/// Returns the images in a folder and its subfolders.
fn below(folder: &Path, top: &Path, depth: usize) -> Result<Vec<PathBuf>> {
    if is_link_within(folder, top) {
        return Ok(Vec::new());
    }
    let listing = list(folder)?;
    let mut found = listing.images;
    if depth > 0 {
        for inner in &listing.folders {
            found.extend(below(&inner.path, top, depth - 1)?);
        }
    }
    Ok(found)
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
