//! The decisions of thresholds on images with known labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Calibration, Decision, KNOWN_FORMAT, LabeledScore, Thresholds};
use crate::error::Result;

/// The share of known defective images above which a warning says that they are accepted.
const ACCEPTED_SHARE: f64 = 0.1;

/// The numbers of images that are accepted, reviewed and rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DecisionCounts {
    /// The number of images that are accepted.
    pub accepted: u64,
    /// The number of images that a person has to review.
    pub reviewed: u64,
    /// The number of images that are rejected.
    pub rejected: u64,
}

/// The decisions on images of known labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// The decisions on normal images.
    pub normal: DecisionCounts,
    /// The decisions on anomalous images.
    pub anomalous: DecisionCounts,
}

impl DecisionCounts {
    /// Returns the number of all images.
    pub fn images(&self) -> u64 {
        self.accepted.saturating_add(self.reviewed).saturating_add(self.rejected)
    }

    /// Returns a phrase on the decisions on images that are known to be defective.
    ///
    /// ```
    /// use dualad::calibration::Calibration;
    ///
    /// let text = r#"{"pooled": {"reject": 5, "known_defective": {"accepted": 2, "reviewed": 3, "rejected": 15}}}"#;
    /// let known = Calibration::from_json("example", text)?.pooled.unwrap().known_defective.unwrap();
    /// assert_eq!(known.text(), "would accept 2 of 20 known defective images (10.0 %) and send 3 to a review");
    /// # Ok::<(), dualad::Error>(())
    /// ```
    pub fn text(&self) -> String {
        let share = 100.0 * self.accepted as f64 / self.images().max(1) as f64;
        let mut text =
            format!("would accept {} of {} known defective images ({share:.1} %)", self.accepted, self.images());
        if self.reviewed > 0 {
            text += &format!(" and send {} to a review", self.reviewed);
        }
        text
    }

    fn add(&mut self, decision: Decision) {
        *match decision {
            Decision::Accept => &mut self.accepted,
            Decision::Review => &mut self.reviewed,
            Decision::Reject => &mut self.rejected,
        } += 1;
    }
}

impl Calibration {
    /// Decides on images with known labels, each by the thresholds of its category or else by the pooled ones, and counts the decisions for
    /// each category. Images without thresholds are left out.
    ///
    /// ```
    /// use dualad::calibration::{Calibration, LabeledScore};
    ///
    /// let calibration = Calibration::from_json("example", r#"{"categories": {"gear": {"review": 0.4, "reject": 0.7}}}"#)?;
    /// let image = |score, anomalous| LabeledScore { category: "gear", score, anomalous };
    /// let tally = calibration.tally([image(0.3, false), image(0.5, true), image(0.9, true)])?["gear"];
    /// assert_eq!((tally.normal.accepted, tally.anomalous.reviewed, tally.anomalous.rejected), (1, 1, 1));
    /// # Ok::<(), dualad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a score that is NaN.
    pub fn tally<'a>(&self, images: impl IntoIterator<Item = LabeledScore<'a>>) -> Result<BTreeMap<String, Tally>> {
        let mut tallies = BTreeMap::<String, Tally>::new();
        for LabeledScore { category, score, anomalous } in images {
            let Some((thresholds, _)) = self.thresholds(Some(category)) else { continue };
            let decision = thresholds.decide(score)?;
            let tally = match tallies.get_mut(category) {
                Some(tally) => tally,
                None => tallies.entry(category.to_owned()).or_default(),
            };
            if anomalous { &mut tally.anomalous } else { &mut tally.normal }.add(decision);
        }
        Ok(tallies)
    }

    /// Records the decisions on images that are known to be defective, each with its category and score, in
    /// [`Thresholds::known_defective`]. A warning says so if more than a tenth of them are accepted. No threshold changes.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a score that is NaN.
    pub fn record_known_defective<'a>(&mut self, scores: impl IntoIterator<Item = (&'a str, f32)>) -> Result<()> {
        let scores: Vec<(&str, f32)> = scores.into_iter().collect();
        for (name, thresholds) in &mut self.categories {
            thresholds.record(scores.iter().filter(|(category, _)| category == name).map(|(_, score)| *score))?;
        }
        if let Some(pooled) = &mut self.pooled {
            pooled.record(scores.iter().map(|(_, score)| *score))?;
        }
        self.format = self.format.max(KNOWN_FORMAT);
        Ok(())
    }
}

impl Thresholds {
    fn record(&mut self, scores: impl Iterator<Item = f32>) -> Result<()> {
        let mut counts = DecisionCounts::default();
        for score in scores {
            counts.add(self.decide(score)?);
        }
        let (accepted, images) = (counts.accepted, counts.images());
        if images == 0 {
            return Ok(());
        }
        if accepted as f64 > ACCEPTED_SHARE * images as f64 {
            let share = 100.0 * accepted as f64 / images as f64;
            self.warnings.push(format!(
                "{accepted} of {images} known defective images ({share:.1} %) score below {:.4} and are accepted; lower the thresholds, or train on more good images",
                self.review
            ));
        }
        self.known_defective = Some(counts);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibrator;

    fn good(category: &str, score: f32) -> LabeledScore<'_> {
        LabeledScore { category, score, anomalous: false }
    }

    #[test]
    fn decisions_on_known_defects_are_recorded_and_written() {
        let images = (0..40).map(|part| good("gear", part as f32)).chain([good("nut", 3.0)]);
        let mut found = Calibrator::default().calibrate(images).unwrap();
        let before = found.clone();
        let scores = [1.0, 2.0, 38.5, 50.0, 60.0].map(|score| ("gear", score));
        found.record_known_defective(scores).unwrap();
        let gear = &found.categories["gear"];
        assert_eq!(gear.known_defective, Some(DecisionCounts { accepted: 2, reviewed: 1, rejected: 2 }));
        assert_eq!((gear.review, gear.reject), (before.categories["gear"].review, before.categories["gear"].reject));
        assert!(gear.warnings.last().unwrap().starts_with("2 of 5 known defective images (40.0 %)"), "{gear:?}");
        assert_eq!(found.categories["nut"], before.categories["nut"]);
        assert_eq!(found.pooled.as_ref().unwrap().known_defective.unwrap().images(), 5);
        let read = Calibration::from_json("written", &found.to_json().unwrap()).unwrap();
        assert_eq!(read, found);
        assert!(found.record_known_defective([("gear", f32::NAN)]).is_err());

        // A tenth is below the share that is warned of.
        let mut found = before.clone();
        found.record_known_defective((0..10).map(|part| ("gear", if part == 0 { 1.0 } else { 50.0 }))).unwrap();
        assert_eq!(found.categories["gear"].warnings, before.categories["gear"].warnings);
    }

    #[test]
    fn images_without_thresholds_are_not_counted() {
        let text = r#"{"categories": {"gear": {"review": 1, "reject": 2}}}"#;
        let mut found = Calibration::from_json("example", text).unwrap();
        let tally = found.tally([good("gear", 1.5), good("nut", 1.5)]).unwrap();
        assert_eq!(tally.len(), 1);
        assert_eq!(tally["gear"].normal, DecisionCounts { reviewed: 1, ..DecisionCounts::default() });
        // With pooled thresholds, they are.
        found.pooled = Some(Thresholds::new(1.0, 1.0).unwrap());
        assert_eq!(found.tally([good("nut", 1.5)]).unwrap()["nut"].normal.rejected, 1);
    }
}
