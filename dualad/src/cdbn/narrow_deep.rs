//! The narrow-deep network (NDN; docs/method.md, section 4.3): a transformer of width d, with one decoder layer per chunk.
//!
//! z = encoder(m_1 + ... + m_L); output_i = decoder layer i (m_i, output_(i - 1), z); output_0 = z

use candle_core::{Result, Tensor};

use crate::cdbn::dropout::Dropout;
use crate::cdbn::layers::{DecoderLayer, EncoderLayer, LayerSizes};
use crate::cdbn::scope::Scope;
use crate::config::DualAdConfig;

/// The NDN encoder and the NDN decoder.
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

    /// Maps the chunks m_1 .. m_L, each `[batch, tokens, d]`, to one output per chunk. `position` is `[1, tokens, d]`.
    pub(super) fn forward(
        &self,
        levels: &[Tensor],
        position: &Tensor,
        dropout: &mut Dropout<'_>,
    ) -> Result<Vec<Tensor>> {
        let Some((first, others)) = levels.split_first() else { return Ok(Vec::new()) };
        let mut encoded = others.iter().try_fold(first.clone(), |sum, level| sum + level)?;
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
