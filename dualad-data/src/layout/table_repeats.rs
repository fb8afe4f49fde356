//! The lines of a table that name an image again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::files::parent;
use crate::finding::{Finding, FindingKind};
use crate::sample::{Sample, Split};
use crate::text::{MAX_NAMES, shown};

/// The first line of an image.
struct First {
    line: u64,
    is_anomalous: bool,
    split: Option<Split>,
    /// The category of the image, and its place in it.
    place: (String, usize),
}

/// The images of a table by their paths, and the lines that name one again.
#[derive(Default)]
pub(super) struct Repeats {
    seen: HashMap<PathBuf, First>,
    /// The first of the lines that tell nothing new: the image, its category, and its two lines.
    listed: Vec<(PathBuf, String, [u64; 2])>,
    /// The number of the others.
    others: usize,
    /// The number of lines that tell another mask, and the first of them.
    masks: usize,
    first_mask: Option<(PathBuf, [u64; 2])>,
}

impl Repeats {
    /// Returns the category and place of the image, if an earlier line names it. A line that contradicts that one is an error.
    pub(super) fn earlier(&self, sample: &Sample, split: Option<Split>) -> Result<Option<(String, usize)>, String> {
        let Some(first) = self.seen.get(&sample.path) else { return Ok(None) };
        let other = if first.is_anomalous != sample.label.is_anomalous() {
            "label"
        } else if first.split != split {
            "split"
        } else {
            return Ok(Some(first.place.clone()));
        };
        Err(format!("line {} has another {other} for this image; remove one of the lines", first.line))
    }

    /// Adds an image at its place.
    pub(super) fn add(&mut self, line: u64, sample: &Sample, split: Option<Split>, place: (String, usize)) {
        let first = First { line, is_anomalous: sample.label.is_anomalous(), split, place };
        self.seen.insert(sample.path.clone(), first);
    }

    /// Counts a line that names an image again, and that may tell another mask of it.
    pub(super) fn again(&mut self, line: u64, image: &Path, has_other_mask: bool) {
        let Some(first) = self.seen.get(image) else { return };
        let lines = [first.line, line];
        if has_other_mask {
            self.masks += 1;
            self.first_mask.get_or_insert_with(|| (image.into(), lines));
        } else if self.listed.len() < MAX_NAMES {
            self.listed.push((image.into(), first.place.0.clone(), lines));
        } else {
            self.others += 1;
        }
    }

    /// Reports these lines.
    pub(super) fn report(self, table: &Path, findings: &mut Vec<Finding>) {
        for (image, category, [first, line]) in self.listed {
            let what = format!("{} names it in line {first} and in line {line}; the first counts", table.display());
            findings.push(Finding::new(FindingKind::Duplicate, &category, &image, what));
        }
        if self.others > 0 {
            let what = format!("more lines that name an image again: {}; the first of each image counts", self.others);
            let mut finding = Finding::new(FindingKind::Duplicate, "", table, what);
            finding.count = self.others;
            findings.push(finding);
        }
        if let Some((image, [first, line])) = self.first_mask {
            let what = format!(
                "lines with another mask of an image that an earlier line names: {} (such as line {line}: {}, named in line {first}); all \
                 masks of an image count together, with the label of its first line",
                self.masks,
                shown(image.strip_prefix(parent(table)).unwrap_or(&image))
            );
            findings.push(Finding::new(FindingKind::Choice, "", table, what));
        }
    }
}
