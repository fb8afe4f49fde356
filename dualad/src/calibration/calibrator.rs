//! The choice of thresholds for every category and for all of them together.

use std::collections::BTreeMap;

use super::merge::notice_of;
use super::rule::{Choice, Rule};
use super::{Calibration, FalseAlarms, ThresholdMethod, Thresholds, bound};
use crate::error::{Error, Result};

/// The score of an image with a known label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabeledScore<'a> {
    /// The image's category.
    pub category: &'a str,
    /// The image score: finite, and below [`f32::MAX`].
    pub score: f32,
    /// The label: `true` for an anomalous image.
    pub anomalous: bool,
}

/// The rules that thresholds are chosen by.
///
/// ```
/// use dualad::calibration::{Calibrator, Decision, Rule, LabeledScore};
///
/// // The scores of 300 normal images that the network was not trained on.
/// let scores = (0..300).map(|part| LabeledScore { category: "gear", score: part as f32, anomalous: false });
/// let calibration = Calibrator::new(Rule::FalseAlarmRate { rate: 0.01, confidence: 0.95 })
///     .review(Rule::FalseAlarmRate { rate: 0.05, confidence: 0.95 })
///     .calibrate(scores)?;
///
/// let thresholds = &calibration.categories["gear"];
/// assert_eq!(thresholds.decide(299.5)?, Decision::Reject);
/// // With 8 of 300 above the threshold, at most 5 % of all normal images are, with confidence 0.95.
/// assert_eq!(thresholds.decide(291.5)?, Decision::Review);
/// assert_eq!(thresholds.decide(291.0)?, Decision::Accept);
/// assert!(thresholds.reject_method.unwrap().false_alarms.unwrap().rate_at_most <= 0.01);
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibrator {
    reject: Rule,
    review: Option<Rule>,
    training_images: bool,
}

/// The scores of a category; in ascending order after [`Scores::sort`].
#[derive(Debug, Default)]
struct Scores {
    normal: Vec<f32>,
    anomalous: Vec<f32>,
}

/// Rejects at most 1 % of normal images, with confidence 0.95, if there are enough images to guarantee that. Reviews images that score at
/// least as high as the highest 5 % of normal images: with few of these, one unusual image sets the threshold for rejection, and many
/// defects score below it.
impl Default for Calibrator {
    fn default() -> Self {
        Self::new(Rule::FalseAlarmRate { rate: 0.01, confidence: 0.95 }).review(Rule::Quantile { quantile: 0.95 })
    }
}

impl Calibrator {
    /// Makes a calibrator with a rule for rejection and no review band.
    pub fn new(reject: Rule) -> Self {
        Self { reject, review: None, training_images: false }
    }

    /// Sets the rule for review. If it gives a higher threshold than the rule for rejection, the latter is used for both.
    #[must_use]
    pub fn review(mut self, rule: Rule) -> Self {
        self.review = Some(rule);
        self
    }

    /// Sets whether [`Detector::calibrate`](crate::Detector::calibrate) takes images that the model was trained on. Default: false,
    /// since they score lower than new images: thresholds chosen by them are too low or, by anomalous images, of no use.
    #[must_use]
    pub fn training_images(mut self, allowed: bool) -> Self {
        self.training_images = allowed;
        self
    }

    /// Returns whether images that the model was trained on are taken.
    pub(crate) fn takes_training_images(&self) -> bool {
        self.training_images
    }

    /// Checks that the rules can be followed with good images alone, as training does.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a rule that needs images of defects or has a value out of its range.
    #[cfg(feature = "train")]
    pub(crate) fn check_for_good_images(&self) -> Result<()> {
        let rules = [("the rule for rejection", Some(self.reject)), ("the rule for review", self.review)];
        for (name, rule) in rules {
            let Some(rule) = rule else { continue };
            rule.validate()?;
            if rule.lacks(1, 0).is_some() {
                let reason = "needs images of defects, which training does not use; choose another rule here, and calibrate with images \
                              of both kinds afterwards";
                return Err(Error::invalid_argument(name, format!("{rule:?}"), reason));
            }
        }
        Ok(())
    }

    /// Chooses thresholds for each category that has the images which the rules need, and for all images together. The notices
    /// name the categories that are left out, and the reason.
    ///
    /// The guarantee of a rule holds for the pooled thresholds only on the same mixture of categories, and not for a single
    /// category.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a rule or a score out of range, and if all images together are not what the rules need;
    /// [`Error::NoImages`].
    pub fn calibrate<'a>(&self, images: impl IntoIterator<Item = LabeledScore<'a>>) -> Result<Calibration> {
        self.rules().iter().try_for_each(Rule::validate)?;
        let mut categories = BTreeMap::<&str, Scores>::new();
        for (index, LabeledScore { category, score, anomalous }) in images.into_iter().enumerate() {
            // The next value above the largest f32 would be infinite.
            if !score.is_finite() || score >= f32::MAX {
                let field = format!("score of image {index} (category \"{category}\")");
                let reason = format!("must be finite and below {:e}", f32::MAX);
                return Err(Error::invalid_argument(field, format_args!("{score:?}"), reason));
            }
            let scores = categories.entry(category).or_default();
            if anomalous { &mut scores.anomalous } else { &mut scores.normal }.push(score);
        }
        if categories.is_empty() {
            return Err(Error::NoImages { purpose: "calibrate on" });
        }
        let mut pooled = Scores::default();
        let mut own = BTreeMap::new();
        let mut notices = Vec::new();
        for (category, mut scores) in categories {
            scores.sort();
            pooled.normal.extend(&scores.normal);
            pooled.anomalous.extend(&scores.anomalous);
            match self.choose(&scores) {
                Ok(thresholds) => _ = own.insert(category.to_owned(), thresholds),
                Err(lacking) => {
                    notices.push(format!("{}has no {lacking}, so the pooled thresholds decide", notice_of(category)))
                }
            }
        }
        pooled.sort();
        let pooled = self.choose(&pooled).map_err(|lacking| {
            let counts = format!("{} normal and {} anomalous", pooled.normal.len(), pooled.anomalous.len());
            let reason = format!("the rule needs {lacking}; add some, or choose another rule");
            Error::invalid_argument("the set of images", counts, reason)
        })?;
        let mut calibration = Calibration::new(own, Some(pooled));
        calibration.notices = notices;
        Ok(calibration)
    }

    /// Replaces the thresholds for review by those that the rule for review gives on these scores of normal images, if it is a
    /// quantile: such a rule guarantees nothing, so images that the model was trained on may serve it. Thresholds for rejection stay.
    #[cfg(feature = "train")]
    pub(crate) fn review_by<'a>(
        &self,
        calibration: &mut Calibration,
        normal: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Result<()> {
        let Some(rule @ Rule::Quantile { .. }) = self.review else { return Ok(()) };
        let normal = normal.into_iter().map(|(category, score)| LabeledScore { category, score, anomalous: false });
        let found = Self::new(rule).calibrate(normal)?;
        let pooled = found.pooled.as_ref().zip(calibration.pooled.as_mut());
        let own = calibration.categories.iter_mut();
        let own = own.filter_map(|(name, thresholds)| Some((found.categories.get(name)?, thresholds)));
        for (found, thresholds) in own.chain(pooled) {
            thresholds.review = found.reject.min(thresholds.reject);
            thresholds.region = thresholds.review;
            // The bound on false alarms is one for images that are new to the model.
            thresholds.review_method = Some(ThresholdMethod { rule, false_alarms: None });
        }
        Ok(())
    }

    fn rules(&self) -> [Rule; 2] {
        [self.review.unwrap_or(self.reject), self.reject]
    }

    /// Returns the thresholds, or the images that they lack.
    fn choose(&self, scores: &Scores) -> Result<Thresholds, &'static str> {
        let Scores { normal, anomalous } = scores;
        let choose = |rule: Rule| -> Result<(ThresholdMethod, Choice), &'static str> {
            let lacking = rule.lacks(normal.len(), anomalous.len()).unwrap_or("images");
            let choice = rule.choose(normal, anomalous).ok_or(lacking)?;
            Ok((method(rule, normal, &choice), choice))
        };
        let [review_rule, reject_rule] = self.rules();
        let (mut review_method, mut review) = choose(review_rule)?;
        let (reject_method, reject) = choose(reject_rule)?;
        let mut warnings = Vec::new();
        if review.threshold > reject.threshold {
            warnings.push(format!(
                "the rule for review came to {:?}, above the {:?} from which images are rejected: the review band is empty",
                review.threshold, reject.threshold
            ));
            review.threshold = reject.threshold;
            review_method = reject_method;
        }
        let warnings_of_reject = reject.warning.is_some();
        let said = [("reject", reject.warning), ("review", review.warning)];
        // Both say that there are too few images.
        let is_said = warnings_of_reject && matches!(review_rule, Rule::Quantile { .. });
        let said = said.into_iter().filter(|(name, _)| *name == "reject" || (self.review.is_some() && !is_said));
        warnings.extend(said.filter_map(|(name, warning)| Some(format!("{name}: {}", warning?))));
        Ok(Thresholds {
            review: review.threshold,
            reject: reject.threshold,
            region: review.threshold,
            review_method: Some(review_method),
            reject_method: Some(reject_method),
            normal_images: normal.len() as u64,
            anomalous_images: anomalous.len() as u64,
            known_good: None,
            known_defective: None,
            warnings,
        })
    }
}

impl Scores {
    fn sort(&mut self) {
        for scores in [&mut self.normal, &mut self.anomalous] {
            // Zeros of both signs are equal to comparisons; no score is NaN.
            scores.sort_unstable_by(f32::total_cmp);
        }
    }
}

/// Returns the rule of a threshold and its false alarms on the normal images, which are in ascending order.
fn method(rule: Rule, normal: &[f32], choice: &Choice) -> ThresholdMethod {
    let images = normal.len() - normal.partition_point(|&score| score < choice.threshold);
    let confidence = rule.confidence();
    let rate_at_most = bound::upper(images.max(choice.allowed) as u64, normal.len() as u64, confidence);
    let false_alarms = FalseAlarms { images: images as u64, rate_at_most, confidence };
    ThresholdMethod { rule, false_alarms: (!normal.is_empty()).then_some(false_alarms) }
}
