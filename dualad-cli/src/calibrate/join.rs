//! The new thresholds joined with the earlier ones, which are kept where the images say nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dualad::calibration::{Calibration, Thresholds};
use dualad::{Detector, Model, ModelFiles};

use crate::common::{Result, note, printable};

/// Thresholds that were there before.
pub(super) struct Earlier(pub(super) Calibration);

impl Earlier {
    /// Reads the thresholds of the model that a file has, if it has any. Those of another model or precision, and of categories that the
    /// model does not have, are not kept. Says so, and which categories will have none: the images set those of `products` alone.
    pub(super) fn read(path: &Path, detector: &Detector, products: &BTreeSet<&str>) -> Option<Self> {
        if !path.exists() {
            return None;
        }
        let name = path.display();
        let mut earlier = match Calibration::load(path) {
            Ok(earlier) => earlier,
            Err(error) => {
                note(&format!("note: of the earlier thresholds none will be kept: {error}"));
                return None;
            }
        };
        if earlier.model.as_ref().is_some_and(|model| *model != detector.config().sha256) {
            let lost = lost(&earlier, products);
            note(&format!(
                "note: the thresholds in {name} were set for another model, so none of them will be kept{lost}"
            ));
            return None;
        }
        if earlier.precision != detector.precision() && !earlier.is_of_any_precision() {
            let (found, wanted, lost) = (earlier.precision, detector.precision(), lost(&earlier, products));
            note(&format!(
                "note: the thresholds in {name} were set in {found}, and the new ones will be in {wanted}, so none of them will be kept{lost}"
            ));
            return None;
        }
        let known = detector.categories();
        let unknown: Vec<String> = earlier.categories.keys().filter(|name| !known.contains(name)).cloned().collect();
        if !known.is_empty() && !unknown.is_empty() {
            earlier.categories.retain(|name, _| known.contains(name));
            let unknown = unknown.join(", ");
            note(&format!(
                "note: {name} has thresholds for {unknown}, which the model was not trained on; they will not be kept"
            ));
        }
        Some(Self(earlier))
    }
}

/// Returns a sentence on the categories that have earlier thresholds, and no images to set new ones; empty without any.
fn lost(earlier: &Calibration, products: &BTreeSet<&str>) -> String {
    let lost = earlier.categories.keys().map(String::as_str).filter(|name| !products.contains(name));
    let lost = lost.collect::<Vec<_>>().join(", ");
    match lost.is_empty() {
        true => String::new(),
        false => format!("; without good images, these will have no thresholds of their own: {lost}"),
    }
}

/// The new thresholds with those that were kept.
pub(super) struct Joined {
    pub(super) calibration: Calibration,
    /// The categories that the images set thresholds of.
    set: Vec<String>,
    /// True if the images set the pooled thresholds.
    set_pooled: bool,
    /// Says what is replaced and what is kept, once it is written.
    notes: Vec<String>,
}

/// Joins new thresholds with earlier ones, as [`Calibration::joined`] does.
pub(super) fn join(
    new: Calibration,
    earlier: Option<Earlier>,
    known: &[String],
    replace_pooled: bool,
) -> Result<Joined> {
    let set: Vec<String> = new.categories.keys().cloned().collect();
    let Some(Earlier(earlier)) = earlier else {
        let calibration = new.joined(None, known, replace_pooled)?;
        return Ok(Joined { calibration, set, set_pooled: true, notes: Vec::new() });
    };
    let set_pooled = replace_pooled || new.replaces_pooled(Some(&earlier), known);
    let all: Vec<String> = if known.is_empty() { earlier.categories.keys().cloned().collect() } else { known.to_vec() };
    let lacking: Vec<String> = new.lacking(&all).into_iter().map(str::to_owned).collect();
    // Images of no known category set the pooled thresholds alone: where there are some, they are refused before.
    let calibration = new.joined(Some(&earlier), known, set_pooled)?;
    let change = |name: &str, old: Option<&Thresholds>, new: Option<&Thresholds>| {
        let (old, new) = (old?, new?);
        Some(format!("{name} ({:.4} before, {:.4} now)", old.reject, new.reject))
    };
    let of_category = |name: &String| change(name, earlier.categories.get(name), calibration.categories.get(name));
    let mut replaced: Vec<String> = set.iter().filter_map(of_category).collect();
    let mut kept: Vec<String> = earlier.categories.keys().filter(|name| !set.contains(name)).cloned().collect();
    if set_pooled {
        replaced.extend(change("the pooled ones", earlier.pooled.as_ref(), calibration.pooled.as_ref()));
    } else {
        let pooled = if earlier.pooled.is_some() { "the pooled ones" } else { "no pooled ones, as before" };
        kept.push(pooled.into());
    }
    let mut notes = Vec::new();
    if !replaced.is_empty() {
        notes.push(format!("note: thresholds that are replaced: {}", replaced.join(", ")));
    }
    if !kept.is_empty() {
        let lacking = lacking.join(", ");
        notes.push(format!(
            "note: thresholds that are kept, because no images set those of {lacking}: {}",
            kept.join(", ")
        ));
    }
    Ok(Joined { calibration, set, set_pooled, notes })
}

impl Joined {
    /// Writes the thresholds, then says on standard error what is replaced and what is kept. Those that a model's own replace are kept
    /// beside them.
    pub(super) fn save(&self, out: &Path) -> Result<()> {
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let files = ModelFiles::of(folder);
        // A link stays a link.
        let is_models = out.file_name() == files.calibration.file_name() && !out.is_symlink();
        let has_replaced = match is_models {
            true => Model::save_thresholds(folder, &self.calibration)?,
            false => {
                self.calibration.save(out)?;
                false
            }
        };
        self.notes.iter().for_each(|text| note(text));
        if has_replaced {
            let kept: PathBuf = files.previous_calibration;
            note(&format!("note: the earlier file of thresholds is now {}", kept.display()));
        }
        Ok(())
    }

    /// Says which of the new thresholds reject images that are known to be good, and which accept images that are known to be defective.
    pub(super) fn tell_of_known(&self) {
        for (name, thresholds, _) in self.all().filter(|(.., is_new)| *is_new) {
            if let Some(known) = thresholds.known_good.filter(|known| known.rejected > 0) {
                note(&format!("note: {name}: {}", known.text()));
            }
            if let Some(known) = &thresholds.known_defective {
                note(&format!("note: {name}: {}", known.text()));
            }
        }
    }

    /// Returns all thresholds with their names, and whether the images set them.
    fn all(&self) -> impl Iterator<Item = (&str, &Thresholds, bool)> {
        let is_set = |name: &String| self.set.contains(name);
        let own = self.calibration.categories.iter();
        let own = own.map(move |(name, thresholds)| (name.as_str(), thresholds, is_set(name)));
        let pooled = self.calibration.pooled.iter().map(|thresholds| ("(pooled)", thresholds, self.set_pooled));
        own.chain(pooled)
    }

    /// Returns the thresholds as a table.
    pub(super) fn table(&self, out: &Path) -> String {
        let columns = ("category", "review", "reject", "good", "defective");
        let mut text =
            format!("{:<16} {:>10} {:>10} {:>6} {:>9}\n", columns.0, columns.1, columns.2, columns.3, columns.4);
        for (name, thresholds, is_new) in self.all() {
            let Thresholds { review, reject, normal_images, anomalous_images, .. } = thresholds;
            let (name, kept) = (printable(name), if is_new { "" } else { "  kept" });
            text +=
                &format!("{name:<16} {review:>10.4} {reject:>10.4} {normal_images:>6} {anomalous_images:>9}{kept}\n");
        }
        text + &format!("{}\n", out.display())
    }
}
