//! Names of folders and files that say what their images are.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::listing;
use crate::finding::{Finding, FindingKind};

/// The name of the folder of normal images, beside the folders of defect types.
pub(crate) const GOOD: &str = "good";

/// Returns whether a name other than [`GOOD`] probably stands for normal images.
pub(super) fn may_be_normal(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        GOOD,
        "goods",
        "ok",
        "okay",
        "normal",
        "normals",
        "nominal",
        "pass",
        "passed",
        "fine",
        "clean",
        "nodefect",
        "defectfree",
        "nondefective",
    ];
    let letters: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    name != GOOD && NAMES.contains(&letters.as_str())
}

/// Reports masks that lie beside their images (`x_mask.png` beside `x.png`) and are read as images.
pub(super) fn masks_among(images: &[PathBuf], folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    let stems: BTreeSet<_> = images.iter().map(|path| listing::stem(path)).collect();
    let mut masks = images.iter().filter(|path| {
        let stem = listing::stem(path).to_string_lossy();
        stem.strip_suffix("_mask").is_some_and(|image| stems.contains(OsStr::new(image)))
    });
    if let Some(first) = masks.next() {
        let name = first.file_name().unwrap_or_default().to_string_lossy();
        let count = 1 + masks.count();
        let what = format!(
            "{count} of its images {} by name the mask of another ({name}), but read as an image; move masks to \
             ground_truth/<type>",
            if count == 1 { "is" } else { "are each" }
        );
        findings.push(Finding::new(FindingKind::MaskAmongImages, category, folder, what));
    }
}
