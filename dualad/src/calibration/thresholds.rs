//! The thresholds of one category, and what stands behind them.

use serde::{Deserialize, Serialize};

use super::Rule;
use super::decision::{self, Decision};
use crate::error::{Error, Result};

/// What separates accepted, looked-at and rejected images.
///
/// ```
/// use dualad::calibration::{Decision, Thresholds};
///
/// let thresholds = Thresholds::new(0.4, 0.7)?;
/// assert_eq!(thresholds.decide(0.7)?, Decision::Reject);
/// assert_eq!(thresholds.decide(0.5)?, Decision::Review);
/// assert_eq!(thresholds.region, 0.4);
/// assert!(Thresholds::new(0.7, 0.4).unwrap_err().to_string().contains("review is 0.7"));
/// # Ok::<(), dualad::Error>(())
/// ```
///
/// In JSON `review` or `reject` is enough, and the other one is the same then; all else may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
#[non_exhaustive]
pub struct Thresholds {
    /// From this image score on someone has a look; at most [`Self::reject`].
    pub review: f32,
    /// From this image score on an image is rejected.
    pub reject: f32,
    /// From this value of the anomaly map on a pixel belongs to a defect region; [`Self::review`] where nothing else is said.
    pub region: f32,
    /// How `review` was chosen; `None` if by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_method: Option<Method>,
    /// How `reject` was chosen; `None` if by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_method: Option<Method>,
    /// Normal images they were chosen on.
    pub normal_images: u64,
    /// Anomalous images they were chosen on.
    pub anomalous_images: u64,
    /// Why they are to be used with care: too few images for what was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How a threshold was chosen, and what it does to normal images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Method {
    /// The rule.
    pub rule: Rule,
    /// How many normal images reach the threshold, where there were any to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarms: Option<FalseAlarms>,
}

/// Normal images at or above a threshold, and what follows for those to come.
///
/// These are the images that the threshold was chosen with. The bound (Clopper and Pearson's) holds nonetheless for
/// [`Rule::FalseAlarmRate`], for [`Rule::Recall`], which does not look at normal images, and for [`Rule::Quantile`] where no
/// two images have the same score. For [`Rule::F1Max`] it is too good to be true: measure it on other images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenFalseAlarms")]
#[non_exhaustive]
pub struct FalseAlarms {
    /// Normal images at or above the threshold.
    pub images: u64,
    /// With this confidence, at most this share of all normal images is.
    pub rate_at_most: f64,
    /// The confidence, between 0 and 1.
    pub confidence: f64,
}

impl Thresholds {
    /// Thresholds chosen by hand.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if one is not finite, or `review` is above `reject`.
    pub fn new(review: f32, reject: f32) -> Result<Self> {
        let thresholds = Self {
            review,
            reject,
            region: review,
            review_method: None,
            reject_method: None,
            normal_images: 0,
            anomalous_images: 0,
            warnings: Vec::new(),
        };
        thresholds.check()?;
        Ok(thresholds)
    }

    /// The band of an image score.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a score that is NaN.
    pub fn decide(&self, score: f32) -> Result<Decision> {
        decision::check(score)?;
        Ok(if score >= self.reject {
            Decision::Reject
        } else if score >= self.review {
            Decision::Review
        } else {
            Decision::Accept
        })
    }

    /// Whether the numbers are thresholds.
    pub(super) fn check(&self) -> Result<()> {
        check_finite([("review", self.review), ("reject", self.reject), ("region", self.region)])?;
        if self.review > self.reject {
            let reason = format!("must be at most reject, which is {:?}; lower it or raise reject", self.reject);
            return Err(Error::invalid_argument("review", format_args!("{:?}", self.review), reason));
        }
        [self.review_method, self.reject_method].iter().flatten().try_for_each(Method::check)
    }
}

fn check_finite<'a>(values: impl IntoIterator<Item = (&'a str, f32)>) -> Result<()> {
    match values.into_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((field, value)) => {
            let reason = format!("must be a finite number of at most {:e}", f32::MAX);
            Err(Error::invalid_argument(field, value, reason))
        }
    }
}

impl Method {
    fn check(&self) -> Result<()> {
        self.rule.validate()?;
        self.false_alarms.iter().try_for_each(FalseAlarms::check)
    }
}

impl FalseAlarms {
    fn check(&self) -> Result<()> {
        let wrong = |field: &str, value: f64, reason: &str| Err(Error::invalid_argument(field, value, reason));
        if !(0.0..=1.0).contains(&self.rate_at_most) {
            return wrong("rate_at_most", self.rate_at_most, "must be from 0 to 1");
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return wrong("confidence", self.confidence, "must be between 0 and 1");
        }
        Ok(())
    }
}

/// [`Thresholds`] as a file says them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    review: Option<f32>,
    reject: Option<f32>,
    region: Option<f32>,
    review_method: Option<Method>,
    reject_method: Option<Method>,
    #[serde(default)]
    normal_images: u64,
    #[serde(default)]
    anomalous_images: u64,
    #[serde(default)]
    warnings: Vec<String>,
}

impl TryFrom<Written> for Thresholds {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        let Written { review, reject, region, review_method, reject_method, .. } = written;
        // Before one stands in for another.
        let given = [("review", review), ("reject", reject), ("region", region)];
        check_finite(given.into_iter().filter_map(|(field, value)| Some((field, value?))))?;
        let (Some(review), Some(reject)) = (review.or(reject), reject.or(review)) else {
            return Err(Error::invalid_argument("reject", "missing", "must be given, or review, or both"));
        };
        let Written { normal_images, anomalous_images, warnings, .. } = written;
        let region = region.unwrap_or(review);
        let thresholds =
            Self { review, reject, region, review_method, reject_method, normal_images, anomalous_images, warnings };
        thresholds.check()?;
        Ok(thresholds)
    }
}

/// [`FalseAlarms`] as a file says them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFalseAlarms {
    images: u64,
    rate_at_most: f64,
    confidence: f64,
}

impl TryFrom<WrittenFalseAlarms> for FalseAlarms {
    type Error = Error;

    fn try_from(WrittenFalseAlarms { images, rate_at_most, confidence }: WrittenFalseAlarms) -> Result<Self> {
        let false_alarms = Self { images, rate_at_most, confidence };
        false_alarms.check()?;
        Ok(false_alarms)
    }
}
