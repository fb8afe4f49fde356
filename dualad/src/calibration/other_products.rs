//! A warning for images that look like another product.

use std::collections::BTreeMap;

use crate::calibration::Calibration;

impl Calibration {
    /// Adds a warning to each category of whose normal images more than half look like other categories. `images` are the category of
    /// each image and the other category that it looks like.
    pub(crate) fn warn_of_other_products<'a>(&mut self, images: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        let mut counts = BTreeMap::<&str, (usize, BTreeMap<&str, usize>)>::new();
        for (category, other) in images {
            let (images, others) = counts.entry(category).or_default();
            *images += 1;
            other.into_iter().for_each(|other| *others.entry(other).or_default() += 1);
        }
        for (category, (images, others)) in counts {
            let Some(thresholds) = self.categories.get_mut(category) else { continue };
            let different: usize = others.values().sum();
            let Some((most, _)) = others.iter().max_by_key(|(_, count)| **count).filter(|_| 2 * different > images)
            else {
                continue;
            };
            thresholds.warnings.push(format!(
                "{different} of its {images} good images look like another product, such as {most}; if they do not show {category}, set the thresholds again with images of it"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::calibration::{Calibrator, LabeledScore};

    #[test]
    fn more_than_half_of_the_images_of_other_products_are_told() {
        let warnings = |others: &[Option<&str>]| {
            let labeled = (0..4).map(|score| LabeledScore { category: "gear", score: score as f32, anomalous: false });
            let mut calibration = Calibrator::default().calibrate(labeled).unwrap();
            let before = calibration.categories["gear"].warnings.len();
            calibration.warn_of_other_products(others.iter().map(|other| ("gear", *other)));
            calibration.categories["gear"].warnings[before..].join("; ")
        };
        assert_eq!(warnings(&[None, Some("plate"), Some("plate"), None]), "");
        let found = warnings(&[Some("cup"), Some("plate"), Some("plate"), None]);
        assert!(found.contains("3 of its 4 good images") && found.contains("such as plate"), "{found}");
    }
}
