//! Scores to decisions: thresholds chosen on images that are known, kept in a file, applied to images that are not. Knows no
//! network.
//!
//! Two thresholds make three bands: below `review` an image is accepted, from `reject` on it is rejected, and between them
//! someone has a look. A [`Calibrator`] chooses them by [`Rule`]s, for each category and for all together; a
//! [`Calibration`] is what it finds, as JSON that can be edited by hand.
//!
//! What a rule promises holds for images that come about as those it saw: another camera, light or product needs another
//! calibration. Images that the network was trained on score lower than others; calibrate on images it has not seen.

mod bound;
mod calibrator;
mod decision;
mod file;
mod rule;
#[cfg(test)]
mod tests;
mod thresholds;

use std::collections::BTreeMap;

pub use calibrator::{Calibrator, Scored};
pub use decision::{Decision, ThresholdSource, Verdict};
pub use rule::Rule;
use serde::{Deserialize, Serialize};
pub use thresholds::{FalseAlarms, Method, Thresholds};

use crate::error::Result;

/// To be raised when the file changes in a way that older versions cannot read.
const FORMAT: u64 = 1;

fn current_format() -> u64 {
    FORMAT
}

/// The thresholds of every category, and those of all categories together.
///
/// ```
/// use dualad::calibration::{Calibration, Decision, ThresholdSource};
///
/// // All that a file has to say.
/// let text = r#"{"categories": {"gear": {"review": 0.4, "reject": 0.7}}, "pooled": {"reject": 0.9}}"#;
/// let calibration = Calibration::from_json("line-3.json", text)?;
/// let verdict = calibration.decide(Some("gear"), 0.5)?.unwrap();
/// assert_eq!(verdict.decision, Decision::Review);
///
/// // A category that it does not know.
/// let verdict = calibration.decide(Some("cable"), 0.5)?.unwrap();
/// assert_eq!(verdict.decision, Decision::Accept);
/// assert_eq!(verdict.source, ThresholdSource::Pooled { instead_of: Some("cable".into()) });
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Calibration {
    /// The version of this format.
    #[serde(default = "current_format")]
    format: u64,
    /// SHA-256 of the `model.safetensors` whose scores they were chosen on: a detector of another model refuses them. `None`,
    /// as in a file written by hand: of no model in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Per category.
    #[serde(default, deserialize_with = "file::distinct")]
    pub categories: BTreeMap<String, Thresholds>,
    /// For images of no category, or of one that is not listed.
    #[serde(default)]
    pub pooled: Option<Thresholds>,
    /// What a reader should know, such as which categories have no thresholds of their own and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

impl Calibration {
    /// A calibration of these thresholds.
    pub fn new(categories: BTreeMap<String, Thresholds>, pooled: Option<Thresholds>) -> Self {
        Self { format: FORMAT, model: None, categories, pooled, notices: Vec::new() }
    }

    /// Everything that a user should know of these thresholds: the notices, and each threshold's warnings with its category.
    pub fn warnings(&self) -> Vec<String> {
        let own = self.categories.iter().flat_map(|(name, thresholds)| {
            thresholds.warnings.iter().map(move |warning| format!("category {name:?}: {warning}"))
        });
        let pooled = self.pooled.iter().flat_map(|thresholds| &thresholds.warnings);
        let pooled = pooled.map(|warning| format!("pooled thresholds: {warning}"));
        self.notices.iter().cloned().chain(own).chain(pooled).collect()
    }

    /// The thresholds for a category's images, and which they are; `None` if there are none for it.
    pub fn thresholds(&self, category: Option<&str>) -> Option<(&Thresholds, ThresholdSource)> {
        if let Some((name, own)) = category.and_then(|name| self.categories.get_key_value(name)) {
            return Some((own, ThresholdSource::Category { name: name.clone() }));
        }
        let source = ThresholdSource::Pooled { instead_of: category.map(str::to_owned) };
        self.pooled.as_ref().map(|pooled| (pooled, source))
    }

    /// What becomes of an image, by its category's thresholds or else by the pooled ones; `None` if there are neither.
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
