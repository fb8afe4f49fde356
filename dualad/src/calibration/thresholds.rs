//! The thresholds of one category, and their origin.

use serde::{Deserialize, Serialize};

use super::decision::{self, Decision};
use super::{DecisionCounts, KnownGood, Rule};
use crate::error::{Error, Result};

/// The thresholds that separate accepted, reviewed and rejected images.
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
/// In JSON one of `review` and `reject` is enough; the other one is then the same. All other fields are optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
#[non_exhaustive]
pub struct Thresholds {
    /// The image score from which on an image is reviewed; at most [`Self::reject`].
    pub review: f32,
    /// The image score from which on an image is rejected.
    pub reject: f32,
    /// The value of the anomaly map from which on a pixel belongs to a defect region. Default: [`Self::review`].
    pub region: f32,
    /// The origin of `review`; `None` if chosen by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_method: Option<ThresholdMethod>,
    /// The origin of `reject`; `None` if chosen by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_method: Option<ThresholdMethod>,
    /// The number of normal images that the thresholds were chosen by.
    pub normal_images: u64,
    /// The number of anomalous images that the thresholds were chosen by.
    pub anomalous_images: u64,
    /// The normal images that the thresholds were checked against when they were set; `None` if they were not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_good: Option<KnownGood>,
    /// The decisions on images that are known to be defective; `None` if there were none. They do not change the thresholds unless the
    /// rule uses them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_defective: Option<DecisionCounts>,
    /// Warnings, such as of too few images for a rule's guarantee.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The rule that a threshold was chosen by, and its false alarms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ThresholdMethod {
    /// The rule.
    pub rule: Rule,
    /// The false alarms; `None` if there were no normal images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarms: Option<FalseAlarms>,
}

/// The false alarms of a threshold, and a bound on their rate on new images.
///
/// The false alarms are counted on the images that the threshold was chosen by. The bound (Clopper and Pearson's) is still valid
/// for [`Rule::FalseAlarmRate`], for [`Rule::Recall`], which does not use normal images, and for [`Rule::Quantile`] if no two
/// images have the same score. For [`Rule::F1Max`] it is too low; measure the rate on other images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenFalseAlarms")]
#[non_exhaustive]
pub struct FalseAlarms {
    /// The number of normal images at or above the threshold.
    pub images: u64,
    /// The upper bound of the share of all normal images at or above the threshold, from 0 to 1.
    pub rate_at_most: f64,
    /// The confidence of the bound, between 0 and 1.
    pub confidence: f64,
}

impl Thresholds {
    /// Makes thresholds chosen by hand.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if one is not finite or is below 0, or `review` is above `reject`.
    pub fn new(review: f32, reject: f32) -> Result<Self> {
        let thresholds = Self {
            review,
            reject,
            region: review,
            review_method: None,
            reject_method: None,
            normal_images: 0,
            anomalous_images: 0,
            known_good: None,
            known_defective: None,
            warnings: Vec::new(),
        };
        thresholds.check()?;
        Ok(thresholds)
    }

    /// Decides on an image score.
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

    /// Checks the order and the range of the values.
    pub(super) fn check(&self) -> Result<()> {
        check_values([("reject", self.reject), ("review", self.review), ("region", self.region)])?;
        if self.review > self.reject {
            let reason = format!("must be at most reject, which is {:?}; lower it or raise reject", self.reject);
            return Err(Error::invalid_argument("review", format_args!("{:?}", self.review), reason));
        }
        let methods = [("review_method", self.review_method), ("reject_method", self.reject_method)];
        for (name, method) in methods.into_iter().filter_map(|(name, method)| Some((name, method?))) {
            method.check()?;
            let alarms = method.false_alarms.map_or(0, |alarms| alarms.images);
            let field = format!("{name}.false_alarms.images");
            check_count(&field, alarms, self.normal_images, "normal_images")?;
        }
        self.known_good.as_ref().map_or(Ok(()), check_known_good)
    }
}

/// Checks thresholds one by one. Each has the name of its field.
fn check_values<'a>(values: impl IntoIterator<Item = (&'a str, f32)>) -> Result<()> {
    for (field, value) in values {
        if !value.is_finite() {
            let reason = format!("must be a finite number of at most {:e}", f32::MAX);
            return Err(Error::invalid_argument(field, value, reason));
        }
        if value < 0.0 {
            let effect = match field {
                "reject" => "rejects every image",
                "review" => "accepts no image",
                _ => "marks every pixel",
            };
            let reason = format!("must be at least 0, as scores are; below 0 it {effect}, and so does 0");
            return Err(Error::invalid_argument(field, format_args!("{value:?}"), reason));
        }
    }
    Ok(())
}

/// Refuses numbers of images that exceed the number of all.
fn check_known_good(known: &KnownGood) -> Result<()> {
    let KnownGood { images, rejected, reviewed, trained_on } = *known;
    let all = "known_good.images";
    check_count("known_good.reviewed", reviewed, images, all)?;
    check_count("known_good.trained_on", trained_on, images, all)?;
    check_count("known_good.rejected", rejected, images, all)?;
    // An image is rejected or reviewed, not both.
    check_count("known_good.rejected", rejected, images - reviewed, "known_good.images without those that are reviewed")
}

fn check_count(field: &str, count: u64, most: u64, of: &str) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(Error::invalid_argument(field, count, format!("must be at most {of}, which is {most}; correct one of them")))
}

impl ThresholdMethod {
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

/// The JSON form of [`Thresholds`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    review: Option<f32>,
    reject: Option<f32>,
    region: Option<f32>,
    review_method: Option<ThresholdMethod>,
    reject_method: Option<ThresholdMethod>,
    #[serde(default)]
    normal_images: u64,
    #[serde(default)]
    anomalous_images: u64,
    known_good: Option<KnownGood>,
    known_defective: Option<DecisionCounts>,
    #[serde(default)]
    warnings: Vec<String>,
}

impl TryFrom<Written> for Thresholds {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        let Written { review, reject, region, review_method, reject_method, .. } = written;
        // Checks each given value before it replaces a missing one.
        let given = [("reject", reject), ("review", review), ("region", region)];
        check_values(given.into_iter().filter_map(|(field, value)| Some((field, value?))))?;
        let (Some(review), Some(reject)) = (review.or(reject), reject.or(review)) else {
            return Err(Error::invalid_argument("reject", "missing", "give `reject`, `review` or both"));
        };
        let Written { normal_images, anomalous_images, known_good, known_defective, warnings, .. } = written;
        let region = region.unwrap_or(review);
        let thresholds = Self {
            review,
            reject,
            region,
            review_method,
            reject_method,
            normal_images,
            anomalous_images,
            known_good,
            known_defective,
            warnings,
        };
        thresholds.check()?;
        Ok(thresholds)
    }
}

/// The JSON form of [`FalseAlarms`].
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
