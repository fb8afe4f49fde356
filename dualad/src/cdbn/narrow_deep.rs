//! The narrow-deep network (NDN): a transformer of the narrow width, one decoder layer for each level.

use candle_core::{Result, Tensor};

use crate::cdbn::dropout::Dropout;
use crate::cdbn::layers::{DecoderLayer, EncoderLayer, LayerSizes};
use crate::cdbn::scope::Scope;
use crate::config::DualAdConfig;

/// psi_E and psi_D of the paper.
#[derive(Debug, Clone)]
pub(super) struct NarrowDeep {
    encoder: Vec<EncoderLayer>,
    decoder: Vec<DecoderLayer>,
}

impl NarrowDeep {
    pub(super) fn new(config: &DualAdConfig, scope: &Scope<'_>) -> crate::Result<Self> {
        let sizes = LayerSizes {
            channels: config.narrow_width,
            hidden: config.ffn_width,
            heads: config.heads,
            mask: config.attention_mask(),
        };
        let (encoder, decoder) = (scope.pp("encoder").pp("layers"), scope.pp("decoder").pp("layers"));
        Ok(Self {
            encoder: (0..config.encoder_layers)
                .map(|i| EncoderLayer::new(sizes, &encoder.pp(i)))
                .collect::<crate::Result<_>>()?,
            decoder: (0..config.levels)
                .map(|i| DecoderLayer::new(sizes, &decoder.pp(i)))
                .collect::<crate::Result<_>>()?,
        })
    }

    /// The levels m_1 .. m_L, each `[batch, tokens, d]`, to as many outputs; `position` `[1, tokens, d]`.
    pub(super) fn forward(
        &self,
        levels: &[Tensor],
        position: &Tensor,
        dropout: &mut Dropout<'_>,
    ) -> Result<Vec<Tensor>> {
        let mut levels_left = levels.iter();
        let Some(first) = levels_left.next() else { return Ok(Vec::new()) };
        let mut encoded = levels_left.try_fold(first.clone(), |sum, level| sum + level)?;
        for layer in &self.encoder {
            encoded = layer.forward(&encoded, position, dropout)?;
        }
        let mut outputs: Vec<Tensor> = Vec::with_capacity(levels.len());
        for (layer, level) in self.decoder.iter().zip(levels) {
            let previous = outputs.last().unwrap_or(&encoded);
            outputs.push(layer.forward(level, previous, &encoded, position, dropout)?);
        }
        Ok(outputs)
    }
}
