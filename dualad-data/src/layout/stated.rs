//! Labels in the names of images. Nothing else tells normal and defective images in one folder apart.

use std::path::{Path, PathBuf};

use super::listing::{file_name, stem};
use super::names::{GOOD, Stated, label_of};
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};

/// Returns an error if the names of images say that some are defective. `folder` is not named as one of normal images.
pub(super) fn refuse(images: &[PathBuf], folder: &Path) -> Result<()> {
    let Some((count, first)) = defective(images) else { return Ok(()) };
    let reason = format!(
        "{} of its {} images {} defective by name (such as {first}), and training takes all of them for normal; move the \
         normal ones to {GOOD}, and the defective ones to test/<type of defect>",
        count,
        images.len(),
        if count == 1 { "is" } else { "are" },
    );
    Err(Error::Layout { path: folder.into(), reason })
}

/// Reports images of a folder of normal ones whose names say that they are defective.
pub(super) fn report(images: &[PathBuf], folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    let Some((count, first)) = defective(images) else { return };
    let what = format!(
        "{count} of its {} images {} defective by name (such as {first}), and read as normal; move defective ones to \
         test/<type of defect>",
        images.len(),
        if count == 1 { "is" } else { "are" },
    );
    findings.push(Finding::new(FindingKind::UnclearLabel, category, folder, what));
}

/// Returns the number of images that are defective by their names, and the first of them.
fn defective(images: &[PathBuf]) -> Option<(usize, String)> {
    let has_normal = images.iter().any(|path| label_of(stem(path)) == Stated::Normal);
    let mut found = images.iter().filter(|path| match label_of(stem(path)) {
        Stated::Defective => true,
        // A product may have such a name, but then all images have it.
        Stated::DefectType => has_normal,
        Stated::Normal | Stated::Nothing => false,
    });
    let first = found.next()?;
    Some((1 + found.count(), file_name(first).to_string_lossy().into_owned()))
}
