//! Labels in the names of images. Nothing else tells normal and defective images in one folder apart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::listing::{file_name, stem};
use super::mask_name::{Key, image_of, key};
use super::names::{GOOD, Stated, is_defective, label_of, side_of};
use super::views::part_and_view;
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::sample::Label;
use crate::text::shown;

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

/// Reports images of a folder of normal ones whose names say that they are defective, or may say so.
pub(super) fn report(images: &[PathBuf], folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    let Some((count, first)) = defective(images) else { return report_unclear(images, folder, category, findings) };
    let what = format!(
        "{count} of its {} images {} defective by name (such as {first}), and read as normal; move defective ones to \
         test/<type of defect>",
        images.len(),
        if count == 1 { "is" } else { "are" },
    );
    findings.push(Finding::new(FindingKind::UnclearLabel, category, folder, what));
}

/// The folders of defective images in a dataset whose files tell the labels, such as `ng`.
pub(super) struct Folders<'a> {
    root: &'a Path,
    /// True if the dataset is the defective side of a product, such as `gear_nok`.
    is_defective: bool,
    /// The first image whose folder alone tells that it is defective, and the number of such images.
    found: Option<(PathBuf, usize)>,
}

impl<'a> Folders<'a> {
    /// `is_product` tells that the dataset is one of several in a folder. The name of a single one may mean anything.
    pub(super) fn new(root: &'a Path, is_product: bool) -> Self {
        let is_defective = is_product
            && root.file_name().is_some_and(|name| {
                is_defective(name) || side_of(name).is_some_and(|side| !side.is_normal && !side.product.is_empty())
            });
        Self { root, is_defective, found: None }
    }

    /// Returns the label of an image. One that the files take for normal is anomalous if its folder says so.
    pub(super) fn label(&mut self, image: &Path, label: Label) -> Label {
        if label.is_anomalous() {
            return label;
        }
        let folders = image.strip_prefix(self.root).ok().and_then(Path::parent);
        let mut folders = folders.into_iter().flat_map(Path::components).map(|part| part.as_os_str());
        let Some(kind) =
            folders.find(|name| is_defective(name)).or(self.root.file_name().filter(|_| self.is_defective))
        else {
            return Label::Normal;
        };
        self.found.get_or_insert_with(|| (image.to_path_buf(), 0)).1 += 1;
        Label::Anomalous(kind.to_string_lossy().into_owned())
    }

    /// Reports the images whose folders alone tell that they are defective.
    pub(super) fn report(self, category: &str, findings: &mut Vec<Finding>) {
        let Some((first, count)) = self.found else { return };
        let what = format!(
            "images without annotations in folders that are defective by name: {count} (such as {}); they count as anomalous",
            shown(first.strip_prefix(self.root).unwrap_or(&first))
        );
        findings.push(Finding::new(FindingKind::UnclearLabel, category, self.root, what));
    }
}

/// Returns the number of images that are defective by their names, and the first of them.
fn defective(images: &[PathBuf]) -> Option<(usize, String)> {
    // Masks are named so, too: `000_anomaly.png` beside `000.png`.
    let keys: BTreeSet<Key> = images.iter().map(|path| key(path)).collect();
    let is_mask = |path: &&PathBuf| image_of(&key(path)).is_some_and(|image| keys.contains(image));
    let has_normal = images.iter().any(|path| label_of(stem(path)) == Stated::Normal);
    let mut found = images.iter().filter(|path| !is_mask(path)).filter(|path| match label_of(stem(path)) {
        Stated::Defective => true,
        // A product may have such a name, but then all images have it.
        Stated::DefectType => has_normal,
        Stated::Normal | Stated::Nothing => false,
    });
    let first = found.next()?;
    Some((1 + found.count(), file_name(first).to_string_lossy().into_owned()))
}

/// Reports images whose names may be labels: some have a word for a type of defect (`scratch_050`), or each ends with one of two values
/// (`10_0` and `50_1`).
fn report_unclear(images: &[PathBuf], folder: &Path, category: &str, findings: &mut Vec<Finding>) {
    let typed: Vec<&PathBuf> = images.iter().filter(|path| label_of(stem(path)) == Stated::DefectType).collect();
    // The name of a product may have such a word.
    let typed = if 2 * typed.len() > images.len() { Vec::new() } else { typed };
    let (found, why) = match values(images) {
        _ if !typed.is_empty() => (typed, "have a word for a type of defect in their names".to_string()),
        Some((found, [usual, rare])) => {
            (found, format!("have names that end with \"{rare}\", and the others \"{usual}\""))
        }
        None => return,
    };
    let Some(first) = found.first() else { return };
    let what = format!(
        "images that {why}: {} of {} (such as {}); all are read as normal; if these have defects, move them to test/<type of defect>",
        found.len(),
        images.len(),
        file_name(first).to_string_lossy()
    );
    findings.push(Finding::new(FindingKind::UnclearLabel, category, folder, what));
}

/// Returns the images whose names end with the rarer of two values that may be labels, and the two values, if all names end with one of
/// them, and no image has both: those would be views.
fn values(images: &[PathBuf]) -> Option<(Vec<&PathBuf>, [&'static str; 2])> {
    const PAIRS: [[&str; 2]; 6] = [["0", "1"], ["p", "f"], ["g", "b"], ["t", "f"], ["y", "n"], ["pos", "neg"]];
    const LEAST: usize = 4;
    if images.len() < LEAST {
        return None;
    }
    let split: Vec<(String, String)> = images.iter().map(|path| part_and_view(path)).collect::<Option<_>>()?;
    let is_of =
        |pair: &&[&str; 2]| split.iter().all(|(_, end)| pair.iter().any(|value| end.eq_ignore_ascii_case(value)));
    let [one, other] = *PAIRS.iter().find(is_of)?;
    let (of_one, of_other): (Vec<usize>, Vec<usize>) =
        (0..split.len()).partition(|index| split.get(*index).is_some_and(|(_, end)| end.eq_ignore_ascii_case(one)));
    let part = |index: &usize| split.get(*index).map(|(part, _)| part.as_str());
    let parts: BTreeSet<Option<&str>> = of_one.iter().map(part).collect();
    let has_both = of_other.iter().any(|index| parts.contains(&part(index)));
    // The same part with a value each time is one series.
    let is_series = parts.len() < of_one.len() || of_one.is_empty() || of_other.is_empty();
    if has_both || is_series {
        return None;
    }
    let (rare, values) = if of_other.len() <= of_one.len() { (of_other, [one, other]) } else { (of_one, [other, one]) };
    Some((rare.iter().filter_map(|index| images.get(*index)).collect(), values))
}
