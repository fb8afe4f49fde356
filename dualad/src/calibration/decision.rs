//! The decision on an image.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The decision on an image, in order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// The image is normal.
    Accept,
    /// A person has to decide.
    Review,
    /// The image is anomalous.
    Reject,
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Accept => "accept",
            Self::Review => "review",
            Self::Reject => "reject",
        })
    }
}

/// A decision, with the score and the thresholds it was made by.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// The image score.
    pub score: f32,
    /// The image score from which on an image is reviewed.
    pub review: f32,
    /// The image score from which on an image is rejected.
    pub reject: f32,
    /// The value of the anomaly map from which on a pixel belongs to a defect region.
    pub region: f32,
    /// The origin of the thresholds.
    pub source: ThresholdSource,
}

/// The origin of the thresholds of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ThresholdSource {
    /// The thresholds of the image's category.
    Category {
        /// The category's name.
        name: String,
    },
    /// The pooled thresholds of all categories.
    Pooled {
        /// The image's category, which has no thresholds of its own; `None` if the image has no category.
        instead_of: Option<String>,
    },
}

/// Refuses NaN. It is not at or above any threshold, so it would be accepted.
pub(super) fn check(score: f32) -> Result<()> {
    if score.is_nan() {
        let reason = "cannot be compared with a threshold; look at the picture and the model's weights";
        return Err(Error::invalid_argument("the image score", "NaN", reason));
    }
    Ok(())
}
