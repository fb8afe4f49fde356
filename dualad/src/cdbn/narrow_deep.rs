//! The narrow-deep network (NDN): a transformer of the narrow width, one decoder layer for each level.

use candle_core::{Result, Tensor};

use crate::cdbn::build::Scope;
use crate::cdbn::layers::{DecoderLayer, EncoderLayer, Pass, Width};
use crate::config::DualAdConfig;

/// psi_E and psi_D of the paper.
#[derive(Debug, Clone)]
pub(crate) struct NarrowDeep {
    encoder: Vec<EncoderLayer>,
    decoder: Vec<DecoderLayer>,
}

impl NarrowDeep {
    pub(crate) fn new(config: &DualAdConfig, scope: &Scope<'_>) -> crate::Result<Self> {
        let width = Width {
            channels: config.narrow_width,
            hidden: config.ffn_width,
            heads: config.heads,
            window: config.attention_mask(),
        };
        let (encoder, decoder) = (scope.pp("encoder").pp("layers"), scope.pp("decoder").pp("layers"));
        Ok(Self {
            encoder: (0..config.encoder_layers)
                .map(|i| EncoderLayer::new(width, &encoder.pp(i)))
                .collect::<crate::Result<_>>()?,
            decoder: (0..config.levels)
                .map(|i| DecoderLayer::new(width, &decoder.pp(i)))
                .collect::<crate::Result<_>>()?,
        })
    }

    /// The levels m_1 .. m_L, each `[batch, tokens, d]`, to as many outputs; `position` `[1, tokens, d]`.
    pub(crate) fn forward(&self, levels: &[Tensor], position: &Tensor, pass: &mut Pass<'_>) -> Result<Vec<Tensor>> {
        let mut levels_left = levels.iter();
        let Some(first) = levels_left.next() else { return Ok(Vec::new()) };
        let mut encoded = levels_left.try_fold(first.clone(), |sum, level| sum + level)?;
        for layer in &self.encoder {
            encoded = layer.forward(&encoded, position, pass)?;
        }
        let mut outputs: Vec<Tensor> = Vec::with_capacity(levels.len());
        for (layer, level) in self.decoder.iter().zip(levels) {
            let previous = outputs.last().unwrap_or(&encoded);
            outputs.push(layer.forward(level, previous, &encoded, position, pass)?);
        }
        Ok(outputs)
    }
}
