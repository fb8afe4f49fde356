//! The metrics of whole objects, of which a test set has several views.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::evaluate::{ImageScores, TestSet};
use crate::metrics::{self, Evaluation, ScoredImage};

impl TestSet {
    /// Returns the metrics of whole objects, for a dataset with several views of each ([`Sample::object`](dualad_data::Sample)):
    /// the score of an object is the largest image score of its views, and it is anomalous if any view is. Pixel metrics are
    /// undefined. Returns `None` if no image names its object; images that do not are left out.
    ///
    /// # Errors
    /// The errors of [`Self::evaluate`].
    pub fn evaluate_objects(&self, scores: &[ImageScores]) -> Result<Option<Evaluation>> {
        self.check_count(scores)?;
        let mut objects = BTreeMap::<(&str, &str), (bool, f32)>::new();
        for (sample, scores) in self.samples().iter().zip(scores) {
            let Some(object) = &sample.object else { continue };
            let found =
                objects.entry((sample.category.as_str(), object.as_str())).or_insert((false, f32::NEG_INFINITY));
            found.0 |= sample.label.is_anomalous();
            // NaN is kept, and is an error below.
            if scores.image_score.total_cmp(&found.1).is_gt() {
                found.1 = scores.image_score;
            }
        }
        if objects.is_empty() {
            return Ok(None);
        }
        let image = |((category, _), (anomalous, image_score))| ScoredImage {
            category,
            anomalous,
            image_score,
            height: 0,
            width: 0,
            map: &[],
            mask: None,
        };
        Ok(Some(metrics::evaluate(&objects.into_iter().map(image).collect::<Vec<_>>())?))
    }
}

#[cfg(test)]
mod tests {
    use dualad_backbones::Backbone;
    use dualad_data::image::Preprocess;
    use dualad_data::{Label, Sample, Split};

    use super::*;
    use crate::features::Features;
    use crate::testing::dataset;

    #[test]
    fn an_object_has_the_largest_score_of_its_views() {
        let folder = tempfile::tempdir().unwrap();
        let mut samples: Vec<Sample> = dataset(folder.path()).samples(Split::Test).take(4).cloned().collect();
        for (sample, (object, label)) in samples.iter_mut().zip([
            ("OK/S1", Label::Normal),
            ("OK/S1", Label::Normal),
            ("NG/S1", Label::Normal),
            ("NG/S1", Label::Anomalous("dent".into())),
        ]) {
            (sample.object, sample.label, sample.category) = (Some(object.into()), label, "nut".into());
        }
        let test_set = |samples: Vec<Sample>| {
            let extractor = Backbone::FilterBank.extractor().build().unwrap().into();
            let features = Features::of(samples, extractor, Preprocess::new(64, 64).unwrap()).compute().unwrap();
            TestSet::new(features).unwrap()
        };
        let scores =
            |values: [f32; 4]| values.map(|image_score| ImageScores { image_score, map: vec![0.0; 64 * 64] }).to_vec();
        let views = test_set(samples.clone());
        // The defect is seen in one view, and a normal view scores more than the other view of that object.
        let found = views.evaluate_objects(&scores([0.3, 0.5, 0.1, 0.9])).unwrap().unwrap();
        let measured = &found.categories["nut"];
        assert_eq!((measured.images, measured.anomalous, measured.metrics.image_auroc), (2, 1, Ok(1.0)));
        assert!(measured.metrics.pixel_auroc.is_err());
        let found = views.evaluate_objects(&scores([0.3, 0.95, 0.1, 0.9])).unwrap().unwrap();
        assert_eq!(found.categories["nut"].metrics.image_auroc, Ok(0.0));
        assert!(views.evaluate_objects(&scores([0.3, 0.5, f32::NAN, 0.9])).is_err());
        assert!(views.evaluate_objects(&scores([0.3; 4])[1..]).is_err());
        samples.iter_mut().for_each(|sample| sample.object = None);
        assert_eq!(test_set(samples).evaluate_objects(&scores([0.1; 4])).unwrap(), None);
    }
}
