//! `cdbn_*.safetensors`: the coupled dual-branch network at toy widths, its gradients and three steps of AdamW.

use std::collections::BTreeMap;
use std::path::Path;

use dualad::candle_core::{DType, Device, Tensor};
use dualad::recipe::AdamWConfig;
use dualad::train::AdamW;
use dualad::{DualAd, DualAdConfig};
use safetensors::SafeTensors;
use serde::Deserialize;

use crate::Errors;
use dualad_cli::Result;

/// The goldens' own words for the configuration.
#[derive(Deserialize)]
struct Config {
    variant: String,
    stage_channels: Vec<usize>,
    grid: [usize; 2],
    window: Option<[usize; 2]>,
    narrow_width: usize,
    head_width: usize,
    heads: usize,
    ffn: usize,
    enc: usize,
    levels: usize,
    memory_slots: usize,
    wsn_layers: usize,
}

#[derive(Deserialize)]
struct Optimiser {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    clip_norm: f64,
    steps: usize,
}

pub(crate) fn tolerance(tensor: &str) -> f64 {
    if tensor.starts_with("grad.") && tensor.ends_with("k_proj.bias") {
        // Zero in exact arithmetic (softmax ignores a shift common to all keys), so compared absolutely.
        1e-6
    } else if tensor.starts_with("eval.") {
        1e-4
    } else {
        1e-3
    }
}

/// The library's name for a golden's parameter: the goldens keep the shared position embedding by itself.
fn own_name(name: &str) -> String {
    match name {
        "pos.row" => "encoder.layers.0.abs_pos_embed.row_embed".into(),
        "pos.col" => "encoder.layers.0.abs_pos_embed.col_embed".into(),
        "pos_proj.weight" => "proj_encoder.layers.0.abs_pos_embed.1.weight".into(),
        "pos_proj.bias" => "proj_encoder.layers.0.abs_pos_embed.1.bias".into(),
        _ => name.into(),
    }
}

/// The largest difference, relative to the expected tensor's largest magnitude (or absolute).
fn error(found: &Tensor, expected: &Tensor, relative: bool) -> Result<f64> {
    if found.dims() != expected.dims() {
        return Err(format!("shape {:?}, the goldens have {:?}", found.dims(), expected.dims()).into());
    }
    let numbers = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    let (mut worst, mut scale) = (0.0f64, 0.0f64);
    for (found, expected) in numbers(found)?.iter().zip(numbers(expected)?) {
        let difference = f64::from(found - expected).abs();
        if difference.is_nan() {
            return Ok(f64::NAN);
        }
        worst = worst.max(difference);
        scale = scale.max(f64::from(expected.abs()));
    }
    Ok(if relative && scale > 0.0 { worst / scale } else { worst })
}

pub(crate) fn check(path: &Path, device: &Device, progress: &dyn Fn(&str)) -> Result<Errors> {
    progress(&format!("{} ...", path.display()));
    let bytes = std::fs::read(path)?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
    let metadata = metadata.metadata().as_ref().ok_or("the file has no metadata")?;
    let text = |key: &str| metadata.get(key).ok_or_else(|| format!("the metadata has no \"{key}\""));
    let golden: Config = serde_json::from_str(text("config")?)?;
    let optimiser: Optimiser = serde_json::from_str(text("adamw")?)?;
    let config: DualAdConfig = serde_json::from_value(serde_json::json!({
        "variant": golden.variant,
        "stage_channels": golden.stage_channels,
        "grid": golden.grid,
        "levels": golden.levels,
        "narrow_width": golden.narrow_width,
        "chunk_width": golden.head_width,
        "heads": golden.heads,
        "ffn_width": golden.ffn,
        "encoder_layers": golden.enc,
        "wide_layers": golden.wsn_layers,
        "wide_ffn_ratio": 4,
        "memory_slots": golden.memory_slots,
        "neighbor_mask": golden.window,
        "dropout": 0.0,
        "jitter": null,
    }))?;

    let goldens = dualad::candle_core::safetensors::load_buffer(&bytes, device)?;
    let expected = |name: &str| goldens.get(name).ok_or_else(|| format!("the file has no \"{name}\""));
    let parameters: BTreeMap<String, Tensor> = goldens
        .iter()
        .filter_map(|(name, tensor)| Some((own_name(name.strip_prefix("param.")?), tensor.clone())))
        .collect();
    let wanted = config.parameters()?.len();
    if parameters.len() != wanted {
        return Err(format!("{} parameters, the network has {wanted}", parameters.len()).into());
    }
    let network = DualAd::from_parameters(config, parameters)?.trainable()?;
    // [batch, channels, rows, columns] to tokens and back.
    let features = expected("features")?;
    let (batch, channels, rows, columns) = features.dims4()?;
    let tokens = features.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
    let to_map = |tokens: &Tensor| tokens.transpose(1, 2)?.reshape((batch, channels, rows, columns));

    let mut errors = Errors::new();
    let reconstruction = network.reconstruct(&tokens)?;
    let scores = network.score(&tokens, &reconstruction)?;
    let reconstructed = error(&to_map(&reconstruction)?, expected("eval.reconstruction")?, true)?;
    errors.insert("eval.reconstruction".into(), reconstructed);
    errors.insert("eval.anomaly_map".into(), error(&scores.anomaly_map, expected("eval.anomaly_map")?, true)?);
    errors.insert("eval.image_score".into(), error(&scores.image_score, expected("eval.image_score")?, true)?);

    let mut optimizer = AdamW::new(
        network.variables(),
        AdamWConfig {
            learning_rate: optimiser.lr,
            beta1: optimiser.betas[0],
            beta2: optimiser.betas[1],
            eps: optimiser.eps,
            weight_decay: optimiser.weight_decay,
            clip_norm: Some(optimiser.clip_norm),
        },
    )?;
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for step in 0..=optimiser.steps {
        // The goldens' steps have neither noise nor dropout.
        let loss = network.loss(&tokens, &network.reconstruct(&tokens)?)?;
        losses.push(loss.to_scalar::<f32>()?);
        if step == optimiser.steps {
            break;
        }
        let gradients = loss.backward()?;
        if step == 0 {
            for name in goldens.keys() {
                let Some(parameter) = name.strip_prefix("grad.") else { continue };
                let variable =
                    network.variables().get(&own_name(parameter)).ok_or(format!("no variable {parameter}"))?;
                let gradient = gradients.get(variable).ok_or_else(|| format!("{parameter} has no gradient"))?;
                let relative = !name.ends_with("k_proj.bias");
                errors.insert(name.clone(), error(gradient, expected(name)?, relative)?);
            }
        }
        norms.push(optimizer.step(&gradients)? as f32);
    }
    let row = |values: Vec<f32>| Tensor::new(values, device);
    errors.insert("losses".into(), error(&row(losses)?, expected("losses")?, true)?);
    errors.insert("grad_norms".into(), error(&row(norms)?, expected("grad_norms")?, true)?);
    let after = to_map(&network.reconstruct(&tokens)?)?;
    errors.insert("after3.reconstruction".into(), error(&after, expected("after3.reconstruction")?, true)?);
    progress("");
    Ok(errors)
}
