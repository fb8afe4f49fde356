//! How a threshold is chosen.

use serde::{Deserialize, Serialize};

use super::bound;
use crate::error::{Error, Result};

/// With fewer images of a kind than this, the next few may move the threshold anywhere.
const MIN_IMAGES: usize = 10;

/// How a threshold is chosen from the scores of images that are known. Shares are from 0 to 1, and an image whose score
/// equals the threshold is above it.
///
/// The first two need normal images only.
///
/// ```
/// use dualad::calibration::{Calibrator, Rule, Scored};
///
/// let scores = [0.1, 0.2, 0.3, 0.4, 0.5].map(|score| Scored { category: "gear", score, anomalous: false });
/// let rule = Rule::Quantile { quantile: 0.5 };
/// assert_eq!(Calibrator::new(rule).calibrate(scores)?.categories["gear"].reject, 0.3);
/// assert!(Rule::Recall { share: 1.1 }.validate().is_err());
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// A quantile of the normal scores: always one of them, and where it falls between two, the higher one.
    Quantile {
        /// The share of normal images below, from 0 to 1.
        quantile: f64,
    },
    /// The lowest threshold of which it is known that few normal images reach it, whatever the distribution of the scores:
    /// just above the normal score of which so many are higher as [`Self::FalseAlarmRate::rate`] allows for (an order
    /// statistic as tolerance limit, after Wilks, 1941).
    ///
    /// Of `1 - confidence` of all calibrations the true rate is higher. If there are too few normal images to know, the
    /// threshold is just above the highest of them, and a warning says what holds instead and how many are needed.
    FalseAlarmRate {
        /// The share of all normal images that may be at or above the threshold, between 0 and 1.
        rate: f64,
        /// The probability with which it is no more, between 0 and 1.
        confidence: f64,
    },
    /// Where F1 is best for these images, the highest such threshold. Needs normal and anomalous images.
    #[serde(rename = "f1-max")]
    F1Max,
    /// The highest threshold that so many of these anomalous images reach.
    Recall {
        /// Their share, above 0 and at most 1.
        share: f64,
    },
}

/// A threshold and how much it is worth.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) threshold: f32,
    /// Normal images that the rule let be at or above it. Fewer are where scores are equal, but which threshold it became
    /// depended on them: to count on these few would promise too much.
    pub(super) allowed: usize,
    pub(super) warning: Option<String>,
}

impl Rule {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the first that is not.
    pub fn validate(&self) -> Result<()> {
        let check = |field: &str, value: f64, holds: bool, reason: &str| {
            if holds { Ok(()) } else { Err(Error::invalid_argument(field, value, reason)) }
        };
        let inside = |value: f64| value > 0.0 && value < 1.0;
        match *self {
            Self::Quantile { quantile } => {
                check("quantile", quantile, (0.0..=1.0).contains(&quantile), "must be from 0 to 1")
            }
            Self::FalseAlarmRate { rate, confidence } => {
                check("rate", rate, inside(rate), "must be between 0 and 1, such as 0.01")?;
                check("confidence", confidence, inside(confidence), "must be between 0 and 1, such as 0.95")
            }
            Self::F1Max => Ok(()),
            Self::Recall { share } => {
                check("share", share, share > 0.0 && share <= 1.0, "must be above 0 and at most 1")
            }
        }
    }

    /// The confidence of bounds on the rate of false alarms.
    pub(super) fn confidence(&self) -> f64 {
        match *self {
            Self::FalseAlarmRate { confidence, .. } => confidence,
            _ => 0.95,
        }
    }

    /// What the rule cannot do without and there is none of.
    pub(super) fn lacks(&self, normal: usize, anomalous: usize) -> Option<&'static str> {
        let (needs_normal, needs_anomalous) = match self {
            Self::Quantile { .. } | Self::FalseAlarmRate { .. } => (true, false),
            Self::F1Max => (true, true),
            Self::Recall { .. } => (false, true),
        };
        match (needs_normal && normal == 0, needs_anomalous && anomalous == 0) {
            (true, _) => Some("normal images"),
            (_, true) => Some("anomalous images"),
            _ => None,
        }
    }

    /// The threshold, from scores in ascending order; `None` if [`Self::lacks`] says what is missing.
    pub(super) fn choose(&self, normal: &[f32], anomalous: &[f32]) -> Option<Choice> {
        if self.lacks(normal.len(), anomalous.len()).is_some() {
            return None;
        }
        match *self {
            Self::Quantile { quantile } => choose_quantile(normal, quantile),
            Self::FalseAlarmRate { rate, confidence } => choose_false_alarm_rate(normal, rate, confidence),
            Self::F1Max => choose_f1_max(normal, anomalous),
            Self::Recall { share } => choose_recall(anomalous, share),
        }
    }
}

fn choose_quantile(normal: &[f32], quantile: f64) -> Option<Choice> {
    let last = normal.len() - 1;
    let threshold = *normal.get(count_of(quantile, last))?;
    let higher = last as f64 * (1.0 - quantile);
    let warning = (higher < 1.0).then(|| {
        format!("the {quantile} quantile of {} normal images is the score of a single one, the highest", normal.len())
    });
    Some(Choice { threshold, allowed: 0, warning })
}

fn choose_false_alarm_rate(normal: &[f32], rate: f64, confidence: f64) -> Option<Choice> {
    let images = normal.len() as u64;
    let allowed = bound::allowed(images, rate, confidence);
    let warning = allowed.is_none().then(|| {
        let needed = bound::needed(rate, confidence);
        let instead = bound::upper(0, images, confidence);
        format!(
            "a false-alarm rate of at most {rate} with confidence {confidence} takes {needed} normal images, and there \
             are {images}: what holds is a rate of at most {instead:.3}"
        )
    });
    let allowed = allowed.unwrap_or(0) as usize;
    // Fewer are allowed than there are.
    let highest_passed = *normal.iter().nth_back(allowed)?;
    // What reaches the threshold is above it.
    Some(Choice { threshold: highest_passed.next_up(), allowed, warning })
}

fn choose_f1_max(normal: &[f32], anomalous: &[f32]) -> Option<Choice> {
    // F1 changes where an anomalous score is passed, and is best at one: in between, a higher threshold has fewer false
    // alarms at the same recall.
    let mut best: Option<(u128, u128, f32)> = None;
    for (missed, &threshold) in anomalous.iter().enumerate() {
        // Of equal scores the first one misses the fewest: all of them are found.
        if missed > 0 && anomalous[missed - 1] == threshold {
            continue;
        }
        let found = anomalous.len() - missed;
        let false_alarms = normal.len() - normal.partition_point(|&score| score < threshold);
        // F1 as a fraction: 2 found / (2 found + false alarms + missed).
        let [over, under] = [2 * found, 2 * found + false_alarms + missed].map(|count| count as u128);
        if best.is_none_or(|(best_over, best_under, _)| over * best_under >= best_over * under) {
            best = Some((over, under, threshold));
        }
    }
    let fewest = normal.len().min(anomalous.len());
    let warning = (fewest < MIN_IMAGES).then(|| {
        let [normal, anomalous] = [normal.len(), anomalous.len()];
        format!(
            "F1 was measured on {normal} normal and {anomalous} anomalous images; have {MIN_IMAGES} of each at least"
        )
    });
    best.map(|(_, _, threshold)| Choice { threshold, allowed: 0, warning })
}

fn choose_recall(anomalous: &[f32], share: f64) -> Option<Choice> {
    let found = count_of(share, anomalous.len()).max(1);
    let threshold = *anomalous.iter().nth_back(found - 1)?;
    let warning = (anomalous.len() < MIN_IMAGES)
        .then(|| format!("recall was measured on {} anomalous images; have {MIN_IMAGES} at least", anomalous.len()));
    Some(Choice { threshold, allowed: 0, warning })
}

/// The smallest count that is at least this share of `all`.
fn count_of(share: f64, all: usize) -> usize {
    // The product may be rounded over a whole number: 0.07 of 100 would be 8.
    let count = ((share * all as f64).ceil() as usize).min(all);
    let fewer = count.saturating_sub(1);
    if all > 0 && fewer as f64 / all as f64 >= share { fewer } else { count }
}

/// [`Rule`] as a file says it. With a variant that has fields, even if none: only then are unknown ones noticed.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    Quantile {
        quantile: f64,
    },
    FalseAlarmRate {
        rate: f64,
        confidence: f64,
    },
    #[serde(rename = "f1-max")]
    F1Max {},
    Recall {
        share: f64,
    },
}

impl TryFrom<Written> for Rule {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        let rule = match written {
            Written::Quantile { quantile } => Self::Quantile { quantile },
            Written::FalseAlarmRate { rate, confidence } => Self::FalseAlarmRate { rate, confidence },
            Written::F1Max {} => Self::F1Max,
            Written::Recall { share } => Self::Recall { share },
        };
        rule.validate()?;
        Ok(rule)
    }
}
