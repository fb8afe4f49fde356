//! The warning of a single normal image that sets a threshold.

use std::collections::BTreeMap;

use super::{Calibration, Thresholds};

/// The ratio of the highest score to the next one above which an image stands alone.
const RATIO: f32 = 1.15;
/// The fewest images with which one can stand alone.
const FEWEST: usize = 5;

impl Calibration {
    /// Adds a warning to the thresholds of each category, and to the pooled ones, that only one normal image sets, by a score far above
    /// those of all others. It may show a defect. `scores` are the category and the score of each image, `name` returns the name of the
    /// image at a position.
    pub(crate) fn warn_of_lone_images<'a>(
        &mut self,
        scores: impl IntoIterator<Item = (&'a str, f32)>,
        name: impl Fn(usize) -> String,
    ) {
        let (mut own, mut all) = (BTreeMap::<&str, Vec<(f32, usize)>>::new(), Vec::new());
        for (position, (category, score)) in scores.into_iter().enumerate() {
            own.entry(category).or_default().push((score, position));
            all.push((score, position));
        }
        for (category, scores) in own {
            if let Some(thresholds) = self.categories.get_mut(category) {
                warn(thresholds, scores, &name);
            }
        }
        if let Some(pooled) = &mut self.pooled {
            warn(pooled, all, &name);
        }
    }
}

/// Adds the warning to these thresholds, if it applies. `scores` are those of their images, each with its position.
fn warn(thresholds: &mut Thresholds, mut scores: Vec<(f32, usize)>, name: impl Fn(usize) -> String) {
    scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let [(highest, position), (next, _), ..] = scores[..] else { return };
    if scores.len() >= FEWEST && highest > RATIO * next && thresholds.reject > next {
        thresholds.warnings.push(format!(
            "one image sets the threshold: {} scores {highest:.4}, the next one {next:.4}; if it shows a defect, remove it and set the thresholds again",
            name(position)
        ));
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

    #[test]
    fn an_image_that_alone_sets_the_pooled_threshold_is_named() {
        // Images without a category count under the empty name, which has no thresholds of its own.
        let warnings = |scores: &[(&'static str, f32)]| {
            let labeled = scores.iter().map(|&(category, score)| LabeledScore { category, score, anomalous: false });
            let mut found = Calibrator::default().calibrate(labeled).unwrap();
            found.categories.remove("");
            found.warn_of_lone_images(scores.iter().copied(), |position| format!("{position}.png"));
            let said = |warning: &String| warning.contains("one image sets the threshold");
            found.warnings().into_iter().filter(said).collect::<Vec<_>>()
        };
        let of = |category, scores: [f32; 5]| scores.map(|score| (category, score));
        let alone = warnings(&of("", [0.7, 0.8, 1.3, 0.9, 0.6]));
        assert_eq!(alone.len(), 1, "{alone:?}");
        assert!(alone[0].starts_with("pooled thresholds: one image") && alone[0].contains("2.png"), "{alone:?}");
        // The pooled thresholds of one category are its own: one warning is enough.
        let same = warnings(&of("gear", [0.7, 0.8, 1.3, 0.9, 0.6]));
        assert_eq!(same.len(), 1, "{same:?}");
        assert!(same[0].starts_with("category \"gear\": one image"), "{same:?}");
        // The category of each image has too few to tell.
        let few = [("gear", 0.7), ("gear", 0.8), ("plate", 2.0), ("plate", 0.9), ("cup", 1.0)];
        let said = warnings(&few);
        assert!(said.len() == 1 && said[0].contains("2.png scores 2.0000, the next one 1.0000"), "{said:?}");
        // What stands alone in its category does not do so among all.
        let covered = [of("gear", [0.7, 0.8, 1.3, 0.9, 0.6]), of("plate", [1.2, 1.25, 1.21, 1.23, 1.22])].concat();
        let said = warnings(&covered);
        assert!(said.len() == 1 && said[0].starts_with("category \"gear\""), "{said:?}");
    }
}
