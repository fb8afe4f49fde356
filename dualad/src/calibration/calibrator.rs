//! Thresholds for every category, and for all of them together.

use std::collections::BTreeMap;

use super::rule::{Choice, Rule};
use super::{Calibration, FalseAlarms, Method, Thresholds, bound};
use crate::error::{Error, Result};

/// An image that is known, with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<'a> {
    /// What it is a picture of.
    pub category: &'a str,
    /// The image score: finite, and below [`f32::MAX`].
    pub score: f32,
    /// Whether something is wrong with what it shows.
    pub anomalous: bool,
}

/// Chooses thresholds by rules.
///
/// ```
/// use dualad::calibration::{Calibrator, Decision, Rule, Scored};
///
/// // Of 300 good parts that the network has not seen.
/// let scores = (0..300).map(|part| Scored { category: "gear", score: part as f32, anomalous: false });
/// let calibration = Calibrator::new(Rule::FalseAlarmRate { rate: 0.01, confidence: 0.95 })
///     .review(Rule::FalseAlarmRate { rate: 0.05, confidence: 0.95 })
///     .calibrate(scores)?;
///
/// let thresholds = &calibration.categories["gear"];
/// assert_eq!(thresholds.decide(299.5)?, Decision::Reject);
/// // 8 of 300 above the threshold still show, with confidence 0.95, that no more than 5 % of all are.
/// assert_eq!(thresholds.decide(291.5)?, Decision::Review);
/// assert_eq!(thresholds.decide(291.0)?, Decision::Accept);
/// assert!(thresholds.reject_method.unwrap().false_alarms.unwrap().rate_at_most <= 0.01);
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibrator {
    reject: Rule,
    review: Option<Rule>,
}

/// The scores of a category, in ascending order once they are all there.
#[derive(Debug, Default)]
struct Scores {
    normal: Vec<f32>,
    anomalous: Vec<f32>,
}

/// Rejects at most one good part in a hundred, with confidence 0.95, where there are images enough to say so.
impl Default for Calibrator {
    fn default() -> Self {
        Self::new(Rule::FalseAlarmRate { rate: 0.01, confidence: 0.95 })
    }
}

impl Calibrator {
    /// Rejects by this rule, and has nothing looked at.
    pub fn new(reject: Rule) -> Self {
        Self { reject, review: None }
    }

    /// Has images looked at by this rule. Where it comes to a higher threshold than the rule for rejection, that one is
    /// used for both.
    #[must_use]
    pub fn review(mut self, rule: Rule) -> Self {
        self.review = Some(rule);
        self
    }

    /// The thresholds, for each category that has the images which the rules need, and for all images together. Which
    /// categories are left out, and why, is among the notices.
    ///
    /// What a rule promises of the pooled thresholds holds for categories mixed as they are here, and for no single one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a rule or a score out of range, and if all images together are not what the rules need;
    /// [`Error::NoImages`].
    pub fn calibrate<'a>(&self, images: impl IntoIterator<Item = Scored<'a>>) -> Result<Calibration> {
        self.rules().iter().try_for_each(Rule::validate)?;
        let mut categories = BTreeMap::<&str, Scores>::new();
        for (index, Scored { category, score, anomalous }) in images.into_iter().enumerate() {
            // A threshold just above the largest number would be none.
            if !score.is_finite() || score >= f32::MAX {
                let field = format!("score of image {index} (category {category:?})");
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
                Err(lacking) => notices
                    .push(format!("category {category:?} has no {lacking}, and is decided by the pooled thresholds")),
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

    fn rules(&self) -> [Rule; 2] {
        [self.review.unwrap_or(self.reject), self.reject]
    }

    /// The thresholds, or what they would need.
    fn choose(&self, scores: &Scores) -> Result<Thresholds, &'static str> {
        let Scores { normal, anomalous } = scores;
        let choose = |rule: Rule| -> Result<(Method, Choice), &'static str> {
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
                "the rule for review came to {:?}, above the {:?} from which images are rejected: nothing is left to look at",
                review.threshold, reject.threshold
            ));
            review.threshold = reject.threshold;
            review_method = reject_method;
        }
        let said = [("reject", reject.warning), ("review", review.warning)];
        let said = said.into_iter().filter(|(name, _)| self.review.is_some() || *name == "reject");
        warnings.extend(said.filter_map(|(name, warning)| Some(format!("{name}: {}", warning?))));
        Ok(Thresholds {
            review: review.threshold,
            reject: reject.threshold,
            region: review.threshold,
            review_method: Some(review_method),
            reject_method: Some(reject_method),
            normal_images: normal.len() as u64,
            anomalous_images: anomalous.len() as u64,
            warnings,
        })
    }
}

impl Scores {
    fn sort(&mut self) {
        for scores in [&mut self.normal, &mut self.anomalous] {
            // Zeros are equal, whatever their sign; the rest are numbers.
            scores.sort_unstable_by(f32::total_cmp);
        }
    }
}

/// How a threshold was chosen, and what it does to the normal images, in ascending order.
fn method(rule: Rule, normal: &[f32], choice: &Choice) -> Method {
    let images = normal.len() - normal.partition_point(|&score| score < choice.threshold);
    let confidence = rule.confidence();
    let rate_at_most = bound::upper(images.max(choice.allowed) as u64, normal.len() as u64, confidence);
    let false_alarms = FalseAlarms { images: images as u64, rate_at_most, confidence };
    Method { rule, false_alarms: (!normal.is_empty()).then_some(false_alarms) }
}
