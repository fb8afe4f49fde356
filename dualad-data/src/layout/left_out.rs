//! Images where no reader looks. A user put them there for something: they are named, and not passed over.

use std::path::Path;

use super::listing::{Folder, list};
use crate::error::{Result, without_path};
use crate::finding::{Finding, FindingKind};

/// How deep below a folder that is not read images are looked for: as deep as any layout has them.
const DEPTH: usize = 4;

/// Who hears of images that are not read: the findings of one category, or, without a name, of the dataset.
pub(crate) struct LeftOut<'a> {
    /// The folder that is read; what a link into it holds is not lost.
    pub(crate) top: &'a Path,
    pub(crate) category: &'a str,
    pub(crate) findings: &'a mut Vec<Finding>,
}

impl LeftOut<'_> {
    /// `count` images that lie loose in a folder.
    pub(crate) fn loose(&mut self, folder: &Path, count: usize, advice: &str) {
        if count > 0 {
            self.add(folder, format!("{} left out: {advice}", images(count, "in it")));
        }
    }

    /// Those of these folders that hold images, themselves or further down.
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

    fn add(&mut self, folder: &Path, what: String) {
        self.findings.push(Finding::new(FindingKind::LeftOut, self.category, folder, what));
    }
}

fn images(count: usize, place: &str) -> String {
    if count == 1 { format!("1 image {place} is") } else { format!("{count} images {place} are") }
}

/// How many images are in a folder and below it.
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

/// Whether a link on the way leads back into the dataset, or to a folder around it: what is there is read, or named, where
/// it really is.
fn is_link_within(folder: &Path, top: &Path) -> bool {
    let (Ok(target), Ok(real)) = (folder.canonicalize(), top.canonicalize()) else { return false };
    let direct = folder.strip_prefix(top).map(|rest| real.join(rest));
    direct.is_ok_and(|direct| direct != target) && (target.starts_with(&real) || real.starts_with(&target))
}
