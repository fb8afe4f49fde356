//! `backbones.json`: whole networks with weights and input made by rule.

use std::collections::BTreeMap;
use std::path::Path;

use dualad::backbones::weights::synthetic;
use dualad::backbones::{Backbone, Weights, aggregate};
use dualad::candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use crate::Errors;
use dualad_cli::Result;

#[derive(Deserialize)]
struct Goldens {
    seed: u64,
    batch: usize,
    models: BTreeMap<String, Model>,
}

#[derive(Deserialize)]
struct Model {
    parameters: usize,
    stages: Vec<Summary>,
    aggregated: Summary,
}

#[derive(Deserialize)]
struct Summary {
    shape: Vec<usize>,
    mean: f64,
    std: f64,
    index: Vec<usize>,
    value: Vec<f64>,
}

/// The goldens use torchvision's and timm's names.
const NAMES: [(&str, Backbone); 7] = [
    ("resnet18", Backbone::ResNet18),
    ("resnet34", Backbone::ResNet34),
    ("resnet50", Backbone::ResNet50),
    ("wide_resnet50_2", Backbone::WideResNet50x2),
    ("tf_efficientnet_b4", Backbone::EfficientNetB4),
    ("efficientnet_b4", Backbone::EfficientNetB4Timm),
    ("vit_small_patch16_224.dino", Backbone::VitSmallDino),
];

pub(crate) fn tolerance(tensor: &str) -> f64 {
    if tensor.ends_with(".parameters") { 0.0 } else { 1e-4 }
}

pub(crate) fn check(path: &Path, device: &Device, progress: &dyn Fn(&str)) -> Result<Errors> {
    let goldens: Goldens = serde_json::from_slice(&std::fs::read(path)?)?;
    let shape = [goldens.batch, 3, 224, 224];
    let images = Tensor::from_vec(synthetic::tensor("input", &shape, goldens.seed), &shape, device)?;
    let mut errors = Errors::new();
    for (name, model) in &goldens.models {
        progress(&format!("{name} ..."));
        let backbone = NAMES.iter().find(|(known, _)| known == name).map(|(_, backbone)| *backbone);
        let backbone = backbone.ok_or_else(|| format!("the goldens hold a model \"{name}\" that is not known"))?;
        let difference = backbone.parameter_count().abs_diff(model.parameters);
        errors.insert(format!("{name}.parameters"), difference as f64);

        let every: Vec<usize> = backbone.stages().iter().map(|stage| stage.index).collect();
        let weights = Weights::synthetic(goldens.seed);
        let extractor = backbone.extractor().weights(weights).stages(&every).device(device).build()?;
        let maps = extractor.extract(&images)?;
        for ((map, stage), golden) in maps.iter().zip(extractor.stages()).zip(&model.stages) {
            errors.insert(format!("{name}.stage{}", stage.index), golden.error(map)?);
        }
        if maps.len() != model.stages.len() {
            return Err(format!("{name} has {} stages, the goldens {}", maps.len(), model.stages.len()).into());
        }
        let used = backbone.default_stages();
        let tokens = aggregate(&maps[..used.len()], &used, [224, 224], backbone.token_stride())?;
        // The goldens keep the paper's [batch, channels, 14, 14].
        let aggregated = tokens.transpose(1, 2)?.reshape((goldens.batch, (), 14, 14))?;
        errors.insert(format!("{name}.aggregated"), model.aggregated.error(&aggregated)?);
    }
    progress("");
    Ok(errors)
}

impl Summary {
    /// The largest error of the samples, the mean and the deviation, relative to the samples' largest magnitude.
    fn error(&self, tensor: &Tensor) -> Result<f64> {
        if tensor.dims() != self.shape {
            return Err(format!("shape {:?}, the goldens have {:?}", tensor.dims(), self.shape).into());
        }
        let values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        let mut worst = (mean - self.mean).abs().max((variance.sqrt() - self.std).abs());
        let mut scale = 0.0f64;
        for (&index, expected) in self.index.iter().zip(&self.value) {
            let found = f64::from(*values.get(index).ok_or("an index beyond the tensor's end")?);
            let error = (found - expected).abs();
            if error.is_nan() {
                return Ok(f64::NAN);
            }
            worst = worst.max(error);
            scale = scale.max(expected.abs());
        }
        Ok(worst / scale)
    }
}
