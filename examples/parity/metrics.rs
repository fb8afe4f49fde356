//! Scores with labels and maps with masks in `metrics.safetensors`: what scikit-learn makes of them, and two AUPROs.

use std::path::Path;

use dualad::candle_core::Device;
use dualad::metrics::{Measured, ScoredImage, evaluate};
use safetensors::SafeTensors;

use crate::Errors;
use dualad_cli::Result;

/// All are exact; the sampled AUPRO depends on how its thresholds are rounded.
pub(crate) fn tolerance(tensor: &str) -> f64 {
    if tensor.ends_with(".aupro_200") { 1e-4 } else { 1e-6 }
}

pub(crate) fn check(path: &Path, _device: &Device, _progress: &dyn Fn(&str)) -> Result<Errors> {
    let bytes = std::fs::read(path)?;
    let goldens = SafeTensors::deserialize(&bytes)?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
    let expected = metadata.metadata().as_ref().and_then(|metadata| metadata.get("expected"));
    let expected: serde_json::Value = serde_json::from_str(expected.ok_or("the metadata has no `expected`")?)?;
    let mut errors = Errors::new();
    for (set, expected) in expected.as_object().ok_or("`expected` is no object")? {
        let score = goldens.tensor(&format!("{set}.score"))?;
        let scores: Vec<f32> = score.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let (measured, images) = match score.shape() {
            [_] => (labelled(&scores, goldens.tensor(&format!("{set}.label"))?.data())?, true),
            &[_, height, width] => {
                (masked(&scores, goldens.tensor(&format!("{set}.mask"))?.data(), [height, width])?, false)
            }
            shape => return Err(format!("{set}.score has shape {shape:?}").into()),
        };
        for (name, value) in expected.as_object().ok_or("a set of `expected` is no object")? {
            let metric = match (name.as_str(), images) {
                ("auroc", true) => measured.metrics.image_auroc,
                ("ap", true) => measured.metrics.image_ap,
                ("f1_max", true) => measured.metrics.image_f1_max,
                ("auroc", false) => measured.metrics.pixel_auroc,
                ("ap", false) => measured.metrics.pixel_ap,
                ("f1_max", false) => measured.metrics.pixel_f1_max,
                ("aupro_exact", false) => measured.metrics.pixel_aupro,
                ("aupro_200", false) => measured.metrics.pixel_aupro_200,
                // The number of regions shows in the AUPRO.
                ("regions", false) => continue,
                _ => return Err(format!("{set}: an unknown metric, {name}").into()),
            };
            let value = value.as_f64().ok_or_else(|| format!("{set}.{name} is no number"))?;
            // An undefined metric is over every tolerance.
            errors.insert(format!("{set}.{name}"), metric.map_or(f64::NAN, |metric| (metric - value).abs()));
        }
    }
    Ok(errors)
}

fn labelled(scores: &[f32], labels: &[u8]) -> Result<Measured> {
    let images: Vec<ScoredImage<'_>> = scores
        .iter()
        .zip(labels)
        .map(|(&image_score, &label)| ScoredImage {
            category: "",
            anomalous: label != 0,
            image_score,
            height: 0,
            width: 0,
            map: &[],
            mask: None,
        })
        .collect();
    Ok(evaluate(&images)?.pooled)
}

fn masked(scores: &[f32], masks: &[u8], [height, width]: [usize; 2]) -> Result<Measured> {
    let maps = scores.chunks_exact(height * width).zip(masks.chunks_exact(height * width));
    let images: Vec<ScoredImage<'_>> = maps
        .map(|(map, mask)| ScoredImage {
            category: "",
            anomalous: mask.iter().any(|&value| value != 0),
            image_score: 0.0,
            height,
            width,
            map,
            mask: Some(mask),
        })
        .collect();
    Ok(evaluate(&images)?.pooled)
}
