//! The check of thresholds against the scores of normal images, before they are used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Calibration, KNOWN_FORMAT, Rule, ThresholdMethod, Thresholds};

/// The normal images that thresholds were checked against when they were set: those that they were chosen by, and others that are known
/// to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KnownGood {
    /// The number of images.
    pub images: u64,
    /// The number of images that the thresholds reject.
    pub rejected: u64,
    /// The number of images that the thresholds send to a review.
    pub reviewed: u64,
    /// The number of those images that the model was trained on. They score lower than new ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub trained_on: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl KnownGood {
    /// Returns the share of the images that the thresholds reject, from 0 to 1; 0 without images.
    pub fn rejected_share(&self) -> f64 {
        self.rejected as f64 / self.images.max(1) as f64
    }

    /// Returns a phrase on the images that the thresholds reject, and on which images this rests.
    ///
    /// ```
    /// use dualad::calibration::Calibration;
    ///
    /// let text = r#"{"pooled": {"reject": 5, "known_good": {"images": 50, "rejected": 1, "reviewed": 0, "trained_on": 40}}}"#;
    /// let known = Calibration::from_json("example", text)?.pooled.unwrap().known_good.unwrap();
    /// assert_eq!(known.text(), "would reject 1 of 50 known good images (2.0 %; the model was trained on 40 of them)");
    /// # Ok::<(), dualad::Error>(())
    /// ```
    pub fn text(&self) -> String {
        let Self { images, rejected, reviewed, trained_on } = self;
        let share = 100.0 * self.rejected_share();
        let known = match trained_on {
            0 => String::new(),
            _ => format!("; the model was trained on {trained_on} of them"),
        };
        let text = format!("would reject {rejected} of {images} known good images ({share:.1} %{known})");
        match reviewed {
            0 => text,
            _ => text + &format!(" and send {reviewed} to a review"),
        }
    }
}

impl Calibration {
    /// Checks the thresholds against the scores of normal images, each with its category, and records the result. `unseen` are new to the
    /// model: give those that the thresholds were chosen by, and others that are known to be good. The model was trained on the images of
    /// `trained_on`. A bank gives them scores near 0, which say nothing: leave them out. A threshold by [`Rule::FalseAlarmRate`] that rejects a
    /// larger share of all of them than its rate is too low, since images that the model was trained on score no higher than new ones: it is
    /// raised, and a warning says so. Thresholds of categories without scores stay as they are.
    ///
    /// ```
    /// use dualad::calibration::{Calibrator, LabeledScore};
    ///
    /// let good = |score| LabeledScore { category: "gear", score, anomalous: false };
    /// let mut calibration = Calibrator::default().calibrate([1.0, 2.0].map(good))?;
    /// // Another good image, which the thresholds would reject.
    /// calibration.check_known_good([1.0, 2.0].map(|score| ("gear", score)), [("gear", 3.0)]);
    /// let thresholds = &calibration.categories["gear"];
    /// assert!(thresholds.reject > 3.0 && thresholds.warnings.last().unwrap().contains("raised"));
    /// assert_eq!(thresholds.known_good.unwrap().images, 3);
    /// # Ok::<(), dualad::Error>(())
    /// ```
    pub fn check_known_good<'a>(
        &mut self,
        unseen: impl IntoIterator<Item = (&'a str, f32)>,
        trained_on: impl IntoIterator<Item = (&'a str, f32)>,
    ) {
        // The scores of each category, and the number of its images that the model was trained on.
        let mut own = BTreeMap::<&str, (Vec<f32>, u64)>::new();
        for (category, score) in unseen {
            own.entry(category).or_default().0.push(score);
        }
        for (category, score) in trained_on {
            let (scores, count) = own.entry(category).or_default();
            scores.push(score);
            *count += 1;
        }
        let mut all: Vec<f32> = own.values().flat_map(|(scores, _)| scores).copied().collect();
        for (category, (scores, count)) in &mut own {
            if let Some(thresholds) = self.categories.get_mut(*category) {
                check(thresholds, scores, *count);
            }
        }
        if let Some(pooled) = self.pooled.as_mut().filter(|_| !all.is_empty()) {
            check(pooled, &mut all, own.values().map(|(_, count)| count).sum());
        }
        self.format = self.format.max(KNOWN_FORMAT);
    }

    /// Returns a line for each category's thresholds, and one for the pooled ones: the number of images that they were chosen by, and
    /// the share of the known good images that they reject.
    pub fn summary(&self) -> Vec<String> {
        let own = self.categories.iter().map(|(name, thresholds)| (name.as_str(), thresholds));
        let pooled = self.pooled.iter().map(|thresholds| ("pooled", thresholds));
        own.chain(pooled).map(|(name, thresholds)| format!("{name}: {}", summary(thresholds))).collect()
    }
}

fn summary(thresholds: &Thresholds) -> String {
    let Thresholds { review, reject, normal_images, anomalous_images, .. } = thresholds;
    let mut text = format!("rejects from {reject:.4}");
    if format!("{review:.4}") != format!("{reject:.4}") {
        text += &format!(", asks for a review from {review:.4}");
    }
    text += &format!(", set by {normal_images} good");
    if *anomalous_images > 0 {
        text += &format!(" and {anomalous_images} defective");
    }
    text += if normal_images + anomalous_images == 1 { " image" } else { " images" };
    if let Some(known) = &thresholds.known_good {
        text += &format!("; it {}", known.text());
    }
    if let Some(known) = &thresholds.known_defective {
        text += &format!("; it {}", known.text());
    }
    text
}

fn check(thresholds: &mut Thresholds, scores: &mut [f32], trained_on: u64) {
    scores.sort_unstable_by(f32::total_cmp);
    let follows = thresholds.region == thresholds.review;
    let reject = raised(thresholds.reject, thresholds.reject_method.as_ref(), scores);
    let review = raised(thresholds.review, thresholds.review_method.as_ref(), scores);
    // A rejection that is raised shows that the images which set both thresholds scored lower than others.
    let review = review.or_else(|| reject.and(quantile(thresholds.review_method.as_ref(), scores)));
    if let Some(reject) = reject {
        let (old, images) = (thresholds.reject, scores.len());
        let above = images - scores.partition_point(|&score| score < old);
        thresholds.warnings.push(format!(
            "the rule gave the threshold {old:.4}, at or above which {above} of {images} known good images are; it was raised to {reject:.4}"
        ));
        thresholds.reject = reject;
    }
    thresholds.review = review.map_or(thresholds.review, |review| review.max(thresholds.review)).min(thresholds.reject);
    if follows {
        thresholds.region = thresholds.review;
    }
    let from = |threshold: f32| (scores.len() - scores.partition_point(|&score| score < threshold)) as u64;
    let rejected = from(thresholds.reject);
    let reviewed = from(thresholds.review) - rejected;
    thresholds.known_good = Some(KnownGood { images: scores.len() as u64, rejected, reviewed, trained_on });
}

/// Returns a higher threshold if this one rejects a larger share of the scores, which are in ascending order, than its rule allows.
fn raised(threshold: f32, method: Option<&ThresholdMethod>, scores: &[f32]) -> Option<f32> {
    let Rule::FalseAlarmRate { rate, .. } = method?.rule else { return None };
    let allowed = (rate * scores.len() as f64) as usize;
    let highest_passed = *scores.iter().nth_back(allowed)?;
    (highest_passed >= threshold).then(|| highest_passed.next_up())
}

/// Returns the threshold that a quantile gives on these scores, which are in ascending order; `None` for another rule.
fn quantile(method: Option<&ThresholdMethod>, scores: &[f32]) -> Option<f32> {
    let rule @ Rule::Quantile { .. } = method?.rule else { return None };
    rule.choose(scores, &[]).map(|choice| choice.threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{Calibrator, LabeledScore};

    fn calibration(calibrator: &Calibrator) -> Calibration {
        let scores = (0..8).map(|part| LabeledScore { category: "gear", score: part as f32, anomalous: false });
        calibrator.calibrate(scores).unwrap()
    }

    #[test]
    fn thresholds_that_reject_known_good_images_are_raised_and_say_so() {
        let mut found = calibration(&Calibrator::default());
        let before = found.categories["gear"].clone();
        assert_eq!(before.reject, 7f32.next_up());
        // Within the threshold: nothing changes but the record.
        let good = |images: std::ops::Range<usize>, step: f32| images.map(move |part| ("gear", part as f32 * step));
        found.check_known_good(good(0..8, 1.0), good(0..12, 0.5));
        let own = &found.categories["gear"];
        assert_eq!((own.reject, &own.warnings), (before.reject, &before.warnings));
        assert_eq!(own.known_good, Some(KnownGood { images: 20, rejected: 0, reviewed: 1, trained_on: 12 }));
        assert!(found.summary()[0].contains("set by 8 good images") && found.summary()[0].contains("0 of 20"));
        assert!(found.summary()[0].contains("the model was trained on 12 of them"), "{:?}", found.summary());

        // 150 images, of which one may be rejected.
        found.check_known_good(good(0..150, 1.0), None);
        assert!(!found.summary()[0].contains("trained on"), "{:?}", found.summary());
        let own = &found.categories["gear"];
        assert_eq!((own.reject, own.review, own.region), (148f32.next_up(), 142.0, 142.0));
        assert!(own.warnings.last().unwrap().contains("142 of 150 known good images"), "{:?}", own.warnings);
        assert_eq!(own.known_good, Some(KnownGood { images: 150, rejected: 1, reviewed: 7, trained_on: 0 }));
        assert_eq!(found.pooled.as_ref().unwrap().reject, own.reject);
        let read = Calibration::from_json("written", &found.to_json().unwrap()).unwrap();
        assert_eq!(read, found);
    }

    #[test]
    fn a_rule_without_a_rate_is_only_reported() {
        let mut found = calibration(&Calibrator::new(Rule::Quantile { quantile: 0.5 }));
        let before = found.categories["gear"].reject;
        found.check_known_good((0..10).map(|part| ("gear", part as f32)), None);
        let own = &found.categories["gear"];
        assert_eq!((own.reject, own.known_good.unwrap().rejected), (before, 6));
        assert!(found.summary()[0].contains("6 of 10 known good images (60.0 %)"), "{:?}", found.summary());
        // A review band of its own stays below the rejection.
        let calibrator = Calibrator::default().review(Rule::Quantile { quantile: 0.5 });
        let mut found = calibration(&calibrator);
        found.check_known_good((0..10).map(|part| ("gear", part as f32)), None);
        let own = &found.categories["gear"];
        // It is raised with the rejection.
        assert!(before < 5.0);
        assert_eq!((own.review, own.reject), (5.0, 9f32.next_up()));
        assert_eq!(own.known_good, Some(KnownGood { images: 10, rejected: 0, reviewed: 5, trained_on: 0 }));
    }
}
