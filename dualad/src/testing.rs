//! Helpers that the unit tests of several modules share.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use dualad_backbones::Backbone;
use dualad_data::Dataset;
use dualad_data::synthetic::{self, Category, Options};

use crate::error::Result;
use crate::features::{Identity, TokenSource};
use crate::{DualAdConfig, Random, Variant};

/// Returns the configuration of a small network: 12 tokens of 2 stages.
pub(crate) fn small() -> DualAdConfig {
    DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
        .with_narrow_width(8)
        .with_chunk_width(8)
        .with_ffn_width(16)
        .with_heads(2)
        .with_levels(2)
        .with_encoder_layers(1)
        .with_memory_slots(6)
        .with_stage_channels(vec![3, 4])
        .with_grid([3, 4])
        .with_neighbor_mask(Some([1, 1]))
        .with_standardize(true)
}

/// Returns random tokens, `[batch, tokens, channels]`.
pub(crate) fn tokens(config: &DualAdConfig, batch: usize, seed: u64) -> Tensor {
    let shape = (batch, config.tokens(), config.channels());
    let values = Random::new(seed).stream().normal(shape.0 * shape.1 * shape.2);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Returns the bits of every tensor's values, by name.
pub(crate) fn bits(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Vec<u32>> {
    let bits = |tensor: &Tensor| {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    tensors.iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

/// Writes and opens a small dataset of 64 x 64 pixels with 4 training images.
pub(crate) fn dataset(folder: &Path) -> Dataset {
    let categories = vec![Category::Fabric, Category::Gear];
    let options = Options { size: 64, train: 2, test_good: 1, test_per_defect: 1, categories, seed: 3 };
    synthetic::write(&folder.join("parts"), &options, |_, _| ()).unwrap();
    Dataset::open(folder.join("parts")).unwrap()
}

/// Random tokens of any number of images.
#[derive(Debug)]
pub(crate) struct RandomTokens {
    pub(crate) tokens: Tensor,
    pub(crate) identity: Identity,
}

impl RandomTokens {
    pub(crate) fn new(config: &DualAdConfig, images: usize) -> Self {
        let names = (0..images).map(|index| (format!("{index:032x}"), format!("part/{index}.png")));
        let identity = Identity { extraction: vec![("backbone".into(), "random".into())], images: names.collect() };
        Self { tokens: tokens(config, images, 11), identity }
    }
}

impl TokenSource for RandomTokens {
    fn images(&self) -> usize {
        self.identity.images.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Tensor> {
        let indices: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
        Ok(self.tokens.index_select(&Tensor::new(indices, &Device::Cpu)?, 0)?)
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}
