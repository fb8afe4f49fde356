//! A bank as tensors of the model's safetensors file.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use dualad_backbones::weights::SafetensorsReader;

use crate::bank::config::BankConfig;
use crate::bank::group::{Group, Tokens};
use crate::bank::level::{Level, Scale};
use crate::bank::projection::Projection;
use crate::bank::{Bank, Normal};
use crate::error::{Error, Result};
use crate::model::ModelBank;

const PREFIX: &str = "bank.";
const NORMAL: &str = "bank.normal";

/// The largest position scale. Distances stay finite in f32.
const MAX_POSITION_SCALE: f32 = 1e6;

/// The tensors of a scale.
const TENSORS: [&str; 8] =
    ["mean", "components", "tokens", "positions", "position_scales", "categories", "held_out", "weights"];

/// Returns whether a tensor of a model's file belongs to a bank of this configuration.
pub(crate) fn is_bank_key(config: &BankConfig, name: &str) -> bool {
    let of_scale = |&scale: &Scale| TENSORS.iter().any(|tensor| key(scale, tensor) == name);
    name == NORMAL || Scale::of(config).iter().any(of_scale)
}

/// The shapes of a bank's tensors, by the model's configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BankFile<'a> {
    pub(crate) bank: &'a ModelBank,
    /// The channels of each stage of the bank.
    pub(crate) stage_channels: &'a [usize],
    pub(crate) categories: usize,
    /// The number of the model's held-out images.
    pub(crate) held_out: usize,
}

/// Returns the name of a tensor of a scale.
fn key(scale: Scale, tensor: &str) -> String {
    format!("{PREFIX}{}.{tensor}", scale.name())
}

impl Bank {
    /// Returns the tensors of a file, by name. `held_out` is the number of the model's held-out images: the file has their numbers, and not
    /// those of the training images.
    pub(crate) fn tensors(&self, held_out: usize) -> Result<BTreeMap<String, Tensor>> {
        let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu);
        let scores = |normal: &Normal| [&[normal.sum, normal.reconstruction], normal.levels.as_slice()].concat();
        let normal: Vec<f32> = self.normal.iter().flat_map(scores).collect();
        let mut tensors = BTreeMap::new();
        tensors.insert(NORMAL.into(), tensor(&normal, &[self.normal.len(), 2 + self.levels.len()])?);
        for level @ Level { scale, projection, groups, .. } in self.levels.iter() {
            let (count, dims, channels) = (level.count(), projection.dims(), projection.mean().len());
            let of = |values: fn(&Tokens) -> &Vec<f32>| {
                groups.iter().flat_map(|group| values(&group.tokens)).copied().collect::<Vec<f32>>()
            };
            // Indices below 2^24 are exact in f32.
            let owner = |(category, group): (usize, &Group)| vec![category as f32; group.tokens.count()];
            let categories: Vec<f32> = groups.iter().enumerate().flat_map(owner).collect();
            let numbers = groups.iter().flat_map(|group| &group.tokens.images);
            let numbers: Vec<f32> =
                numbers.map(|&image| if image as usize <= held_out { image as f32 } else { 0.0 }).collect();
            let scales: Vec<f32> = groups.iter().map(|group| group.tokens.position_scale).collect();
            tensors.insert(key(*scale, "mean"), tensor(projection.mean(), &[channels])?);
            tensors.insert(key(*scale, "components"), tensor(projection.components(), &[dims, channels])?);
            tensors.insert(key(*scale, "tokens"), tensor(&of(|tokens| &tokens.values), &[count, dims])?);
            tensors.insert(key(*scale, "positions"), tensor(&of(|tokens| &tokens.positions), &[count, 2])?);
            tensors.insert(key(*scale, "position_scales"), tensor(&scales, &[groups.len()])?);
            tensors.insert(key(*scale, "categories"), tensor(&categories, &[count])?);
            tensors.insert(key(*scale, "held_out"), tensor(&numbers, &[count])?);
            tensors.insert(key(*scale, "weights"), tensor(&of(|tokens| &tokens.weights), &[count])?);
        }
        Ok(tensors)
    }

    /// Returns the number of tokens of each scale.
    pub(crate) fn tokens_of_scales(&self) -> Vec<usize> {
        self.levels.iter().map(Level::count).collect()
    }

    /// Reads the bank that a configuration describes.
    ///
    /// # Errors
    /// [`Error::Weights`] for a tensor that is missing, or of another shape or dtype; [`Error::Format`] for values out of range.
    /// `model` is the model's name in errors.
    pub(crate) fn read(model: &Path, reader: &SafetensorsReader<'_>, file: BankFile<'_>) -> Result<Self> {
        let BankFile { bank: ModelBank { tokens, alone, config }, stage_channels, categories, held_out } = file;
        config.validate()?;
        let scales = Scale::of(config);
        if tokens.len() != scales.len() || tokens.contains(&0) {
            let reason = format!("its bank has {tokens:?} tokens, and must have some of {} scales", scales.len());
            return Err(Error::model(model, reason));
        }
        let positive = |key: &str, values: &[f32]| {
            if values.iter().all(|&value| value > 0.0) {
                return Ok(());
            }
            Err(Error::model(model, format!("a value of its tensor {key} is not positive")))
        };
        let indices = |key: &str, values: &[f32], below: usize, wanted: &str| {
            if values.iter().all(|&value| value >= 0.0 && value < below as f32 && value.fract() == 0.0) {
                return Ok(());
            }
            Err(Error::model(
                model,
                format!("a value of its tensor {key} is not the number of {wanted}, below {below}"),
            ))
        };
        let within = |key: &str, values: &[f32], most: f32| {
            if values.iter().all(|value| (0.0..=most).contains(value)) {
                return Ok(());
            }
            Err(Error::model(model, format!("a value of its tensor {key} is not from 0 to {most:e}")))
        };
        let level = |(&scale, &count): (&Scale, &usize)| {
            let stages = scale.stages_of(stage_channels);
            let channels: usize = stages.iter().sum();
            let dims = config.dims.min(channels);
            let mean = reader.read(&key(scale, "mean"), &[channels])?;
            let components = reader.read(&key(scale, "components"), &[dims, channels])?;
            let projection = Projection::new(mean, components, stages);
            let tokens = reader.read(&key(scale, "tokens"), &[count, dims])?;
            let owners = reader.read(&key(scale, "categories"), &[count])?;
            indices(&key(scale, "categories"), &owners, categories, "one of the categories")?;
            let images = reader.read(&key(scale, "held_out"), &[count])?;
            indices(&key(scale, "held_out"), &images, held_out + 1, "0 or one of the held-out images")?;
            let weights = reader.read(&key(scale, "weights"), &[count])?;
            positive(&key(scale, "weights"), &weights)?;
            let positions = reader.read(&key(scale, "positions"), &[count, 2])?;
            within(&key(scale, "positions"), &positions, 1.0)?;
            let position_scales = reader.read(&key(scale, "position_scales"), &[categories])?;
            within(&key(scale, "position_scales"), &position_scales, MAX_POSITION_SCALE)?;
            let mut own = vec![Vec::new(); categories];
            for (token, &owner) in owners.iter().enumerate() {
                own[owner as usize].push(token);
            }
            let group = |(own, &position_scale): (&Vec<usize>, &f32)| {
                let rows = |values: &[f32], width: usize| -> Vec<f32> {
                    own.iter().flat_map(|&token| &values[token * width..][..width]).copied().collect()
                };
                Group::new(Tokens {
                    values: rows(&tokens, dims),
                    positions: rows(&positions, 2),
                    weights: rows(&weights, 1),
                    images: own.iter().map(|&token| images[token] as u32).collect(),
                    position_scale,
                })
            };
            let groups = own.iter().zip(&position_scales).map(group).collect();
            Ok(Level { scale, neighborhood: scale.neighborhood(config), projection, groups })
        };
        let levels = scales.iter().zip(tokens).map(level).collect::<Result<_>>()?;
        let normal = reader.read(NORMAL, &[categories, 2 + scales.len()])?;
        positive(NORMAL, &normal)?;
        let scores =
            |scores: &[f32]| Normal { sum: scores[0], reconstruction: scores[1], levels: scores[2..].to_vec() };
        let normal = normal.chunks_exact(2 + scales.len()).map(scores).collect();
        Ok(Self {
            config: config.clone(),
            levels,
            stage_channels: stage_channels.into(),
            normal,
            alone: *alone,
            without: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tensors_that_a_bank_has_are_its_own() {
        let config = BankConfig::default();
        assert!(is_bank_key(&config, "bank.normal") && is_bank_key(&config, "bank.local.position_scales"));
        for other in ["bank.extra", "bank.context.tokens", "bank.local.token", "normal"] {
            assert!(!is_bank_key(&config, other), "{other}");
        }
        assert!(is_bank_key(&config.with_context(0.1), "bank.context.tokens"));
    }
}
