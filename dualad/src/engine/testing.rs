//! Networks and tokens for the tests of both engines.

use candle_core::{Device, Tensor};

use crate::backbones::Backbone;
use crate::config::{Branches, DualAdConfig, Jitter, JitterKind};
use crate::{DualAd, Random, Variant};

/// Returns the configuration that the cases vary.
pub(crate) fn base() -> DualAdConfig {
    DualAdConfig {
        stage_channels: vec![5, 3, 6],
        grid: [5, 6],
        levels: 3,
        narrow_width: 12,
        chunk_width: 12,
        heads: 2,
        ffn_width: 20,
        encoder_layers: 2,
        wide_ffn_ratio: 2,
        memory_slots: 7,
        memory_temperature: 0.3,
        neighbor_mask: Some([3, 3]),
        ..DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18)
    }
}

/// Returns configurations that can be trained, with odd sizes.
pub(crate) fn cases() -> Vec<DualAdConfig> {
    let channel = Some(Jitter { kind: JitterKind::Channel, scale: 2.0 });
    vec![
        base(),
        DualAdConfig { chunk_width: 7, wide_layers: 2, ..base() },
        DualAdConfig { memory_slots: 0, neighbor_mask: None, dropout: 0.0, ..base() },
        DualAdConfig { branches: Branches::WideShallow, ..base() },
        DualAdConfig { standardize: true, jitter: channel, ..base() },
        DualAdConfig { levels: 1, encoder_layers: 1, jitter: None, grid: [7, 7], heads: 3, ..base() },
        // Heads wider than a block of channels, and more tokens than a block of keys; both odd.
        DualAdConfig { narrow_width: 18, chunk_width: 18, heads: 2, grid: [5, 9], ..base() },
    ]
}

/// Returns a network with random parameters, and with a standardization if the configuration has one.
pub(crate) fn random_network(config: &DualAdConfig) -> DualAd {
    let network = DualAd::new(config.clone(), &Random::new(3), &Device::Cpu).unwrap();
    if !config.standardize {
        return network;
    }
    let channels = config.channels();
    let mean: Vec<f32> = (0..channels).map(|channel| channel as f32 - 3.0).collect();
    let std: Vec<f32> = (0..channels).map(|channel| 0.5 + channel as f32).collect();
    network.with_standardization(&mean, &std).unwrap()
}

/// Returns random tokens, `[batch, tokens, channels]`.
pub(crate) fn random_tokens(config: &DualAdConfig, batch: usize) -> Tensor {
    let shape = (batch, config.tokens(), config.channels());
    let values = Random::new(9).stream().normal(batch * config.tokens() * config.channels());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}
