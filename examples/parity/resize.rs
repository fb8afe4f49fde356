//! `resize.*` in `metrics.safetensors`: what OpenCV makes of an 8-bit picture and a mask.

use std::path::Path;

use dualad::candle_core::Device;
use dualad::data::MaskRule;
use dualad::data::image::{Mask, Picture, Preprocess};
use safetensors::SafeTensors;

use crate::Errors;
use dualad_cli::Result;

/// Bilinear may differ by one level of 255, nearest by nothing.
pub(crate) fn tolerance(tensor: &str) -> f64 {
    if tensor.starts_with("bilinear") { 1.0 / 255.0 } else { 0.0 }
}

pub(crate) fn check(path: &Path, _device: &Device, _progress: &dyn Fn(&str)) -> Result<Errors> {
    let bytes = std::fs::read(path)?;
    let goldens = SafeTensors::deserialize(&bytes)?;
    let mut errors = Errors::new();
    let source = |name: &str| -> Result<(u32, u32, Vec<u8>)> {
        let view = goldens.tensor(name)?;
        let [height, width] = [view.shape()[0], view.shape()[1]].map(|side| side as u32);
        Ok((width, height, view.data().to_vec()))
    };
    let (width, height, pixels) = source("resize.image")?;
    let picture = Picture::new(width, height, pixels)?;
    let (width, height, mask) = source("resize.mask")?;
    let mask =
        Mask::new(width, height, mask.into_iter().map(|value| u8::from(MaskRule::NonZero.marks(value))).collect())?;
    for (name, view) in goldens.tensors() {
        // resize.METHOD_WIDTHxHEIGHT
        let Some((method, size)) = name.strip_prefix("resize.").and_then(|rest| rest.split_once('_')) else { continue };
        let Some((width, height)) = size.split_once('x') else { continue };
        let preprocess = Preprocess::new(height.parse()?, width.parse()?)?;
        let found = match method {
            "bilinear" => preprocess.picture(&picture)?.pixels().to_vec(),
            "nearest" => preprocess.mask(&mask)?.pixels().iter().map(|&value| value * 255).collect(),
            other => return Err(format!("an unknown method of resizing, {other}").into()),
        };
        let expected: Vec<u8> = match method {
            "nearest" => view.data().iter().map(|&value| if value == 0 { 0 } else { 255 }).collect(),
            _ => view.data().to_vec(),
        };
        if found.len() != expected.len() {
            return Err(format!("{name}: {} values, the goldens have {}", found.len(), expected.len()).into());
        }
        let worst = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        errors.insert(format!("{method}_{size}"), f64::from(worst) / 255.0);
    }
    Ok(errors)
}
