//! The warning of a single normal image that sets a threshold.

use std::collections::BTreeMap;

use super::Calibration;

/// The ratio of the highest score to the next one above which an image stands alone.
const RATIO: f32 = 1.15;
/// The fewest images of a category with which one can stand alone.
const FEWEST: usize = 5;

impl Calibration {
    /// Adds a warning to each category whose threshold only one normal image sets, by a score far above those of all others. It may
    /// show a defect. `scores` are the category and the score of each image, `name` returns the name of the image at a position.
    pub(crate) fn warn_of_lone_images<'a>(
        &mut self,
        scores: impl IntoIterator<Item = (&'a str, f32)>,
        name: impl Fn(usize) -> String,
    ) {
        let mut own = BTreeMap::<&str, Vec<(f32, usize)>>::new();
        for (position, (category, score)) in scores.into_iter().enumerate() {
            own.entry(category).or_default().push((score, position));
        }
        for (category, mut scores) in own {
            let Some(thresholds) = self.categories.get_mut(category) else { continue };
            scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            let [(highest, position), (next, _), ..] = scores[..] else { continue };
            if scores.len() >= FEWEST && highest > RATIO * next && thresholds.reject > next {
                thresholds.warnings.push(format!(
                    "one image sets the threshold: {} scores {highest:.4}, the next one {next:.4}; if it shows a defect, remove it and set the thresholds again",
                    name(position)
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::calibration::{Calibrator, LabeledScore};

    #[test]
    fn an_image_that_alone_sets_a_threshold_is_named() {
        let warnings = |scores: &[f32]| {
            let labeled = scores.iter().map(|&score| LabeledScore { category: "gear", score, anomalous: false });
            let mut found = Calibrator::default().calibrate(labeled).unwrap();
            let before = found.categories["gear"].warnings.len();
            found
                .warn_of_lone_images(scores.iter().map(|&score| ("gear", score)), |position| format!("{position}.png"));
            found.categories["gear"].warnings[before..].join("")
        };
        let said = warnings(&[0.7, 0.8, 1.3, 0.9, 0.6]);
        assert!(said.contains("2.png scores 1.3000") && said.contains("0.9000"), "{said}");
        assert_eq!(warnings(&[0.7, 0.8, 1.0, 0.9, 0.6]), "");
        assert_eq!(warnings(&[0.7, 0.8, 1.3, 0.9]), "", "too few to tell");
        // Of 800 images, the rule rejects the highest.
        let many: Vec<f32> =
            (0..800).map(|number| if number == 7 { 3.0 } else { 0.5 + number as f32 / 1000.0 }).collect();
        assert_eq!(warnings(&many), "");
    }
}
