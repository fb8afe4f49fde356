//! What becomes of an image.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What becomes of an image; later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It passes.
    Accept,
    /// Someone has a look.
    Review,
    /// It is sorted out.
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

/// A decision and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// What becomes of the image.
    pub decision: Decision,
    /// The image score it was made on.
    pub score: f32,
    /// From this score on an image is looked at.
    pub review: f32,
    /// From this score on an image is rejected.
    pub reject: f32,
    /// From this value of the anomaly map on a pixel belongs to a defect.
    pub region: f32,
    /// Whose thresholds these are.
    pub source: ThresholdSource,
}

/// Whose thresholds a decision was made by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ThresholdSource {
    /// The category's own.
    Category {
        /// Its name.
        name: String,
    },
    /// Those of all categories together.
    Pooled {
        /// The category that was named, which has none of its own; `None` if none was named.
        instead_of: Option<String>,
    },
}

/// Refuses what compares with nothing: no threshold would ever stop it.
pub(super) fn check(score: f32) -> Result<()> {
    if score.is_nan() {
        let reason = "cannot be compared with a threshold; look at the picture and the model's weights";
        return Err(Error::invalid_argument("the image score", "NaN", reason));
    }
    Ok(())
}
