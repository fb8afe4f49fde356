//! The metric of MVTec LOCO on a test set: the saturated per-region overlap.

use std::collections::{BTreeMap, BTreeSet};

use dualad_data::image::Picture;
use dualad_data::{Label, Sample, SaturatedDefect, Saturations};

use crate::error::Result;
use crate::evaluate::{ImageScores, TestSet};
use crate::metrics::{Metric, SaturatedImage, SaturatedRegion, Undefined, saturated_pro};

/// The area under the curve of the saturated per-region overlap of a category ([`saturated_pro`]).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SaturatedPro {
    /// The metric of each type of test images, with all normal ones: of the structural and the logical anomalies.
    pub by_type: BTreeMap<String, Metric>,
    /// The mean over the types in which it is defined: the metric of MVTec LOCO.
    pub mean: Metric,
}

impl TestSet {
    /// Returns the saturated per-region overlap of each category that has saturations, up to this false-positive rate, in `(0,
    /// 1]`; usually 0.05. Masks are resized to the anomaly maps, and each defect keeps the share of its area that saturates it.
    ///
    /// # Errors
    /// The errors of [`Self::evaluate`], of [`Saturations::defects`] and of [`saturated_pro`].
    pub fn saturated_pro(
        &self,
        scores: &[ImageScores],
        saturations: &BTreeMap<String, Saturations>,
        limit: f64,
    ) -> Result<BTreeMap<String, SaturatedPro>> {
        self.check_count(scores)?;
        let mut found = BTreeMap::new();
        for (category, saturations) in saturations {
            let own = || self.samples().iter().zip(scores).filter(move |(sample, _)| sample.category == *category);
            let mut regions = Vec::new();
            for (sample, _) in own() {
                regions.push(self.regions(sample, saturations)?);
            }
            let types: BTreeSet<&str> = own()
                .filter_map(|(sample, _)| match &sample.label {
                    Label::Anomalous(kind) => Some(kind.as_str()),
                    Label::Normal => None,
                })
                .collect();
            let mut by_type = BTreeMap::new();
            for kind in types {
                let is_wanted =
                    |label: &Label| matches!(label, Label::Normal) || *label == Label::Anomalous(kind.into());
                let images: Vec<SaturatedImage<'_>> = own()
                    .zip(&regions)
                    .filter(|((sample, _), _)| is_wanted(&sample.label))
                    .map(|((_, scores), regions)| SaturatedImage { category, map: &scores.map, regions })
                    .collect();
                by_type.insert(kind.to_owned(), saturated_pro(&images, limit)?);
            }
            let defined: Vec<f64> = by_type.values().filter_map(|metric| metric.as_ref().ok().copied()).collect();
            let mean = if defined.is_empty() {
                Err(Undefined::NoCategory)
            } else {
                Ok(defined.iter().sum::<f64>() / defined.len() as f64)
            };
            found.insert(category.clone(), SaturatedPro { by_type, mean });
        }
        Ok(found)
    }

    /// Reads the defects of an image, resized to its anomaly map.
    fn regions(&self, sample: &Sample, saturations: &Saturations) -> Result<Vec<SaturatedRegion>> {
        if sample.defect_masks().is_empty() {
            return Ok(Vec::new());
        }
        let (preprocess, limits) = (self.features().preprocess(), self.features().limits());
        let size = Picture::read_size(&sample.path, limits)?;
        let defects = saturations.defects(sample, size, limits)?;
        let resized = |defect: SaturatedDefect| -> Result<SaturatedRegion> {
            let mask = preprocess.mask(&defect.mask)?.pixels().to_vec();
            Ok(SaturatedRegion { mask, share: defect.share })
        };
        defects.into_iter().map(resized).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dualad_backbones::Backbone;
    use dualad_data::image::Preprocess;
    use dualad_data::{Dataset, Split};
    use image::{GrayImage, Luma, RgbImage};

    use super::*;
    use crate::features::Features;

    fn save(path: &Path, image: impl Into<image::DynamicImage>) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.into().save(path).unwrap();
    }

    #[test]
    fn loco_is_measured_by_its_saturations() {
        let folder = tempfile::tempdir().unwrap();
        let box_of = folder.path().join("breakfast_box");
        for name in ["train/good/0", "test/good/0", "test/logical_anomalies/0", "test/structural_anomalies/0"] {
            save(&box_of.join(name).with_extension("png"), RgbImage::from_pixel(32, 32, [name.len() as u8; 3].into()));
        }
        // The upper half and the left half, with the values of two kinds of defects.
        let half = |value: u8, upper: bool| {
            GrayImage::from_fn(32, 32, |x, y| Luma([if (if upper { y } else { x }) < 16 { value } else { 0 }]))
        };
        save(&box_of.join("ground_truth/logical_anomalies/0/000.png"), half(255, true));
        save(&box_of.join("ground_truth/structural_anomalies/0/000.png"), half(250, false));
        let config = |threshold: &str| {
            let text = format!(
                r#"[{{"defect_name": "missing_almonds", "pixel_value": 255, "saturation_threshold": 256, "relative_saturation": false}},
                    {{"defect_name": "damage", "pixel_value": 250, "saturation_threshold": {threshold}, "relative_saturation": true}}]"#
            );
            std::fs::write(box_of.join("defects_config.json"), text).unwrap();
        };
        config("1.0");
        let dataset = Dataset::open(folder.path()).unwrap();
        let saturations = Saturations::of_dataset(&dataset).unwrap();
        let samples: Vec<Sample> = dataset.samples(Split::Test).cloned().collect();
        let extractor = Backbone::FilterBank.extractor().build().unwrap().into();
        let test_set =
            TestSet::new(Features::of(samples, extractor, Preprocess::new(64, 64).unwrap()).compute().unwrap())
                .unwrap();
        // Each map finds a quarter of its image: the upper left one, half of the defect.
        let quarter: Vec<f32> = (0..64 * 64).map(|at| f32::from(u8::from(at / 64 < 32 && at % 64 < 32))).collect();
        let scores: Vec<ImageScores> = test_set
            .samples()
            .iter()
            .map(|sample| ImageScores {
                image_score: 1.0,
                map: if sample.label.is_anomalous() { quarter.clone() } else { vec![0.0; 64 * 64] },
            })
            .collect();
        let found = test_set.saturated_pro(&scores, &saturations, 0.05).unwrap();
        let found = &found["breakfast_box"];
        // Half of the missing almonds is enough: 256 of 512 pixels. All of the damage is needed: from 0.5 at the rate 0 to 1 at
        // the rate 1, so 0.5125 on average up to 0.05.
        let near = |metric: &Metric, expected: f64| (metric.as_ref().unwrap() - expected).abs() < 1e-9;
        assert!(near(&found.by_type["logical_anomalies"], 1.0), "{found:?}");
        assert!(near(&found.by_type["structural_anomalies"], 0.5125), "{found:?}");
        assert!(near(&found.mean, 0.75625), "{found:?}");

        config("1.5");
        let error = Saturations::of_dataset(&dataset).unwrap_err().to_string();
        assert!(error.contains("pixel_value 250 is 1.5") && error.contains("defects_config.json"), "{error}");
        std::fs::write(box_of.join("defects_config.json"), "[]").unwrap();
        let saturations = Saturations::of_dataset(&dataset).unwrap();
        let error = test_set.saturated_pro(&scores, &saturations, 0.05).unwrap_err().to_string();
        assert!(error.contains("no defect in it has the pixel_value 255"), "{error}");
    }
}
