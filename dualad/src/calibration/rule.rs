//! The rules for choosing a threshold.

use serde::{Deserialize, Serialize};

use super::bound;
use crate::error::{Error, Result};

/// The minimum number of images of each label. With fewer, a warning is given.
const MIN_IMAGES: usize = 10;

/// A rule for choosing a threshold from the scores of images with known labels. A score equal to the threshold counts as above
/// it.
///
/// The first two rules need normal images only.
///
/// ```
/// use dualad::calibration::{Calibrator, Rule, LabeledScore};
///
/// let scores = [0.1, 0.2, 0.3, 0.4, 0.5].map(|score| LabeledScore { category: "gear", score, anomalous: false });
/// let rule = Rule::Quantile { quantile: 0.5 };
/// assert_eq!(Calibrator::new(rule).calibrate(scores)?.categories["gear"].reject, 0.3);
/// assert!(Rule::Recall { share: 1.1 }.validate().is_err());
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// A quantile of the normal scores. Between two scores, the higher one.
    Quantile {
        /// The share of normal images below the threshold, from 0 to 1.
        quantile: f64,
    },
    /// The smallest threshold whose false-alarm rate is at most `rate` with probability `confidence`, for any distribution of
    /// the scores: just above an order statistic of the normal scores (Wilks' tolerance limit, 1941).
    ///
    /// At most `1 - confidence` of calibrations have a higher rate. With too few normal images for the guarantee, the threshold
    /// is just above the highest normal score, and a warning gives the rate that is guaranteed and the number of images needed.
    FalseAlarmRate {
        /// The maximum share of normal images at or above the threshold, between 0 and 1.
        rate: f64,
        /// The probability of the guarantee, between 0 and 1.
        confidence: f64,
    },
    /// The highest threshold with the best F1 on these images. Needs normal and anomalous images.
    #[serde(rename = "f1-max")]
    F1Max,
    /// The highest threshold that a share of the anomalous images reaches. Needs anomalous images.
    Recall {
        /// The share, above 0 and at most 1.
        share: f64,
    },
}

/// A threshold and its reliability.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) threshold: f32,
    /// The number of normal images that the rule allows at or above the threshold. Equal scores may leave fewer, but a bound
    /// computed from fewer would be too low.
    pub(super) allowed: usize,
    pub(super) warning: Option<String>,
}

impl Rule {
    /// Checks that the rule's values are in range.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for the first that is not.
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

    /// Returns the confidence of bounds on the false-alarm rate.
    pub(super) fn confidence(&self) -> f64 {
        match *self {
            Self::FalseAlarmRate { confidence, .. } => confidence,
            _ => 0.95,
        }
    }

    /// Returns the images that the rule needs and that are missing.
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

    /// Returns the threshold, from scores in ascending order; `None` if images are missing, see [`Self::lacks`].
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
        format!("the {quantile} quantile of {} normal images is the score of a single one, the highest; give more good images", normal.len())
    });
    Some(Choice { threshold, allowed: 0, warning })
}

fn choose_false_alarm_rate(normal: &[f32], rate: f64, confidence: f64) -> Option<Choice> {
    let images = normal.len() as u64;
    let allowed = bound::allowed(images, rate, confidence);
    let warning = allowed.is_none().then(|| too_few(rate, confidence, [images; 2], 1));
    let allowed = allowed.unwrap_or(0) as usize;
    // `allowed` is below the number of images.
    let highest_passed = *normal.iter().nth_back(allowed)?;
    // An image at the threshold is above it, so the threshold is the next value up.
    Some(Choice { threshold: highest_passed.next_up(), allowed, warning })
}

/// Returns the warning that the guarantee does not hold for so many sets of thresholds, which have between so many normal images.
pub(super) fn too_few(rate: f64, confidence: f64, [fewest, most]: [u64; 2], sets: usize) -> String {
    let needed = match bound::needed(rate, confidence) {
        u64::MAX => format!("more than {:e}", u64::MAX as f64),
        needed => needed.to_string(),
    };
    let [lowest, highest] = [most, fewest].map(|images| bound::upper(0, images, confidence));
    let takes =
        format!("a false-alarm rate of at most {rate} with confidence {confidence} takes {needed} normal images");
    let advice = "give more good images";
    if sets == 1 {
        return format!("{takes}, and there are {fewest}: the rate is guaranteed to be at most {highest:.3}; {advice}");
    }
    let (images, rates) = match fewest == most {
        true => (fewest.to_string(), format!("{highest:.3}")),
        false => (format!("{fewest} to {most}"), format!("{lowest:.3} to {highest:.3}, the less the more images")),
    };
    format!("{takes}, and {sets} categories have {images}: their rates are guaranteed to be at most {rates}; {advice}")
}

fn choose_f1_max(normal: &[f32], anomalous: &[f32]) -> Option<Choice> {
    // The best F1 is at an anomalous score: between two of them a higher threshold has fewer false alarms and the same recall.
    let mut best: Option<(u128, u128, f32)> = None;
    for (missed, &threshold) in anomalous.iter().enumerate() {
        // Of equal scores, the first one misses the fewest.
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

/// Returns the smallest count that is at least this share of `all`.
fn count_of(share: f64, all: usize) -> usize {
    // Rounding may have moved the product above a whole number: 0.07 of 100 would be 8.
    let count = ((share * all as f64).ceil() as usize).min(all);
    let fewer = count.saturating_sub(1);
    if all > 0 && fewer as f64 / all as f64 >= share { fewer } else { count }
}

/// The JSON form of a [`Rule`]. `F1Max` has an empty list of fields so that unknown fields are refused.
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
