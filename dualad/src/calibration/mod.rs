//! Thresholds: chosen by the scores of images with known labels, saved in a file, and applied to new images. This module does
//! not depend on the network.
//!
//! Two thresholds separate three decisions: an image below `review` is accepted, one from `reject` on is rejected, and one
//! between them is reviewed by a person. A [`Calibrator`] chooses the thresholds by [`Rule`]s, for each category and for all
//! categories together. The result is a [`Calibration`], JSON that can be edited by hand.
//!
//! The guarantees of a rule hold for images from the same source as those it was applied to. Another camera, light or product
//! needs another calibration. Images that the network was trained on have too low scores; calibrate on other images.

mod bound;
mod calibrator;
mod decision;
mod file;
mod known_good;
mod lone;
mod merge;
mod other_products;
pub(crate) mod precision;
mod rule;
mod tally;
#[cfg(test)]
mod tests;
mod thresholds;

use std::collections::BTreeMap;

pub use calibrator::{Calibrator, LabeledScore};
pub use decision::{Decision, ThresholdSource, Verdict};
pub use known_good::KnownGood;
pub use rule::Rule;
use serde::{Deserialize, Serialize};
pub use tally::{DecisionCounts, Tally};
pub use thresholds::{FalseAlarms, ThresholdMethod, Thresholds};

use crate::Precision;
use crate::error::Result;

/// The newest version of the file's format. Raised when older versions of the library cannot read a file.
const FORMAT: u64 = 4;
/// The version of a file with a precision.
const PRECISION_FORMAT: u64 = 4;
/// The version of a file with known images.
const KNOWN_FORMAT: u64 = 3;
/// The version of a file without either.
const FIRST_FORMAT: u64 = 1;
/// The beginning of the warning that there are too few images for a guarantee.
const REJECT_TOO_FEW: &str = "reject: a false-alarm rate of at most ";

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_f32(precision: &Precision) -> bool {
    *precision == Precision::F32
}

fn default_format() -> u64 {
    FIRST_FORMAT
}

/// The thresholds of each category, and the pooled thresholds of all categories.
///
/// ```
/// use dualad::calibration::{Calibration, Decision, ThresholdSource};
///
/// // A minimal file.
/// let text = r#"{"categories": {"gear": {"review": 0.4, "reject": 0.7}}, "pooled": {"reject": 0.9}}"#;
/// let calibration = Calibration::from_json("line-3.json", text)?;
/// let verdict = calibration.decide(Some("gear"), 0.5)?.unwrap();
/// assert_eq!(verdict.decision, Decision::Review);
///
/// // A category without thresholds of its own.
/// let verdict = calibration.decide(Some("cable"), 0.5)?.unwrap();
/// assert_eq!(verdict.decision, Decision::Accept);
/// assert_eq!(verdict.source, ThresholdSource::Pooled { instead_of: Some("cable".into()) });
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Calibration {
    /// The version of the file's format.
    #[serde(default = "default_format")]
    format: u64,
    /// The SHA-256 of the `model.safetensors` whose scores the thresholds were chosen by. A detector of another model refuses
    /// them. `None` for a file that is written by hand and for any model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The precision that the scores were computed in. A detector that computes in another one refuses the thresholds.
    #[serde(default, with = "precision", skip_serializing_if = "is_f32")]
    pub precision: Precision,
    /// The thresholds of each category.
    #[serde(default, deserialize_with = "file::distinct")]
    pub categories: BTreeMap<String, Thresholds>,
    /// The thresholds for images without a category, or of a category that is not listed.
    #[serde(default)]
    pub pooled: Option<Thresholds>,
    /// Notices for the user, such as of categories without thresholds of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

impl Calibration {
    /// Makes a calibration of these thresholds.
    pub fn new(categories: BTreeMap<String, Thresholds>, pooled: Option<Thresholds>) -> Self {
        Self { format: FIRST_FORMAT, model: None, precision: Precision::F32, categories, pooled, notices: Vec::new() }
    }

    /// Sets the precision that the scores were computed in, and the format that has it.
    pub(crate) fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
        self.format = match precision {
            Precision::F32 => self.format.min(KNOWN_FORMAT),
            Precision::Int8 => PRECISION_FORMAT,
        };
    }

    /// Returns `true` for thresholds of no precision: written by hand, and for any model.
    pub fn is_of_any_precision(&self) -> bool {
        self.model.is_none() && self.precision == Precision::F32
    }

    /// Returns the notices, and the warnings of each threshold with its category. The warning of too few images for a guarantee stands once
    /// for all categories that have it, and a warning of the pooled thresholds is left out if a category has the same.
    pub fn warnings(&self) -> Vec<String> {
        let (few, counted) = self.too_few();
        let own = self.categories.iter().flat_map(|(name, thresholds)| {
            let warnings = thresholds.warnings.iter().filter(|warning| !counted.contains(warning));
            warnings.map(move |warning| format!("category \"{name}\": {warning}"))
        });
        let pooled = self.pooled.iter().flat_map(|thresholds| &thresholds.warnings);
        // Those of a model's only category are the same.
        let is_said = |warning: &String| self.categories.values().any(|own| own.warnings.contains(warning));
        let pooled = pooled.filter(|warning| !is_said(warning));
        // It follows from those of the categories.
        let pooled = pooled.filter(|warning| few.is_empty() || !warning.starts_with(REJECT_TOO_FEW));
        let pooled = pooled.map(|warning| format!("pooled thresholds: {warning}"));
        self.notices.iter().cloned().chain(few.clone()).chain(own).chain(pooled).collect()
    }

    /// Returns a warning for all categories that have too few images for the same guarantee, and their own warnings. None if that is one
    /// category at most.
    fn too_few(&self) -> (Vec<String>, Vec<&String>) {
        let mut same = Vec::<(Rule, [u64; 2], Vec<&String>)>::new();
        for Thresholds { reject_method, normal_images, warnings, .. } in self.categories.values() {
            let Some(ThresholdMethod { rule: rule @ Rule::FalseAlarmRate { rate, confidence }, .. }) = reject_method
            else {
                continue;
            };
            let text = format!("reject: {}", rule::too_few(*rate, *confidence, [*normal_images; 2], 1));
            let Some(warning) = warnings.iter().find(|warning| **warning == text) else { continue };
            match same.iter_mut().find(|(other, ..)| other == rule) {
                Some((_, [fewest, most], warnings)) => {
                    (*fewest, *most) = ((*fewest).min(*normal_images), (*most).max(*normal_images));
                    warnings.push(warning);
                }
                None => same.push((*rule, [*normal_images; 2], vec![warning])),
            }
        }
        let (mut texts, mut counted) = (Vec::new(), Vec::new());
        for (rule, images, warnings) in same.into_iter().filter(|(.., warnings)| warnings.len() > 1) {
            if let Rule::FalseAlarmRate { rate, confidence } = rule {
                texts.push(rule::too_few(rate, confidence, images, warnings.len()));
                counted.extend(warnings);
            }
        }
        (texts, counted)
    }

    /// Returns the thresholds for a category, and their origin; `None` if there are none.
    pub fn thresholds(&self, category: Option<&str>) -> Option<(&Thresholds, ThresholdSource)> {
        if let Some((name, own)) = category.and_then(|name| self.categories.get_key_value(name)) {
            return Some((own, ThresholdSource::Category { name: name.clone() }));
        }
        let source = ThresholdSource::Pooled { instead_of: category.map(str::to_owned) };
        self.pooled.as_ref().map(|pooled| (pooled, source))
    }

    /// Decides on an image by its category's thresholds, or else by the pooled ones; `None` if there are neither.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a score that is NaN.
    pub fn decide(&self, category: Option<&str>, score: f32) -> Result<Option<Verdict>> {
        decision::check(score)?;
        let verdict = |(thresholds, source): (&Thresholds, _)| {
            let decision = thresholds.decide(score)?;
            let Thresholds { review, reject, region, .. } = *thresholds;
            Ok(Verdict { decision, score, review, reject, region, source })
        };
        self.thresholds(category).map(verdict).transpose()
    }
}
