//! The wide-shallow network (WSN): delta_E from features to the wide width, delta_D back.

use candle_core::{Result, Tensor};

use crate::cdbn::dropout::Dropout;
use crate::cdbn::layers::{DecoderLayer, EncoderLayer, LayerSizes};
use crate::cdbn::linear::Linear;
use crate::cdbn::scope::{Init, Scope};
use crate::config::{Branches, DualAdConfig, Variant};

/// delta_E and delta_D of the paper.
#[derive(Debug, Clone)]
pub(super) enum WideShallow {
    /// He: two MLPs.
    Mlp { encoder: Mlp, decoder: Mlp },
    /// Ho: two transformers.
    Transformer(Box<WideTransformer>),
    /// Two linear projections: what is left where the narrow-deep branch stands alone.
    Projections { encoder: Linear, decoder: Linear },
}

/// Linear layers with ReLUs between them.
#[derive(Debug, Clone)]
pub(super) struct Mlp(Vec<Linear>);

/// Encoder layers, then decoder layers whose queries are learned.
#[derive(Debug, Clone)]
pub(super) struct WideTransformer {
    entry: Linear,
    encoder: Vec<EncoderLayer>,
    /// `[tokens, D]` for each decoder layer.
    queries: Vec<Tensor>,
    decoder: Vec<DecoderLayer>,
    exit: Linear,
    /// From the narrow position embedding to the wide one.
    position: Linear,
}

impl WideShallow {
    pub(super) fn new(config: &DualAdConfig, scope: &Scope<'_>) -> crate::Result<Self> {
        let (channels, wide) = (config.channels(), config.wide_width());
        let hidden = wide * config.wide_ffn_ratio;
        let (entry, exit) = (scope.pp("in_proj"), scope.pp("out_proj"));
        Ok(match (config.branches, config.variant) {
            (Branches::NarrowDeep, _) => Self::Projections {
                encoder: Linear::new(channels, wide, &entry)?,
                decoder: Linear::new(wide, channels, &exit)?,
            },
            (_, Variant::Heterogeneous) => Self::Mlp {
                encoder: Mlp::new(channels, hidden, config.wide_layers, wide, &entry)?,
                decoder: Mlp::new(wide, hidden, config.wide_layers, channels, &exit)?,
            },
            (_, Variant::Homogeneous) => {
                let sizes = LayerSizes { channels: wide, hidden, heads: config.heads, mask: config.attention_mask() };
                let (encoder, decoder) = (scope.pp("proj_encoder"), scope.pp("proj_decoder"));
                let layers = 0..config.wide_layers;
                let query = |i: usize| {
                    let scope = decoder.pp("learned_queries").pp(i);
                    scope.get("weight", &[config.tokens(), wide], Init::Normal)
                };
                let encoder_layer = |i: usize| EncoderLayer::new(sizes, &encoder.pp("layers").pp(i));
                let decoder_layer = |i: usize| DecoderLayer::new(sizes, &decoder.pp("layers").pp(i));
                Self::Transformer(Box::new(WideTransformer {
                    entry: Linear::new(channels, wide, &entry)?,
                    encoder: layers.clone().map(encoder_layer).collect::<crate::Result<_>>()?,
                    queries: layers.clone().map(query).collect::<crate::Result<_>>()?,
                    decoder: layers.map(decoder_layer).collect::<crate::Result<_>>()?,
                    exit: Linear::new(wide, channels, &exit)?,
                    // Every wide layer of a published checkpoint has a copy of the embedding and of this projection.
                    position: Linear::new(config.narrow_width, wide, &encoder.pp("layers.0.abs_pos_embed.1"))?,
                }))
            }
        })
    }

    /// delta_E: `[batch, tokens, C]` to `[batch, tokens, D]`; `position` is the narrow one, `[1, tokens, d]`.
    pub(super) fn encode(&self, x: &Tensor, position: Option<&Tensor>, dropout: &mut Dropout<'_>) -> Result<Tensor> {
        match self {
            Self::Mlp { encoder, .. } => encoder.forward(x),
            Self::Projections { encoder, .. } => encoder.forward(x),
            Self::Transformer(transformer) => {
                let position = transformer.position(position)?;
                let mut x = transformer.entry.forward(x)?;
                for layer in &transformer.encoder {
                    x = layer.forward(&x, &position, dropout)?;
                }
                Ok(x)
            }
        }
    }

    /// delta_D: `[batch, tokens, D]` to `[batch, tokens, C]`.
    pub(super) fn decode(&self, x: &Tensor, position: Option<&Tensor>, dropout: &mut Dropout<'_>) -> Result<Tensor> {
        match self {
            Self::Mlp { decoder, .. } => decoder.forward(x),
            Self::Projections { decoder, .. } => decoder.forward(x),
            Self::Transformer(transformer) => {
                let position = transformer.position(position)?;
                let mut previous = x.clone();
                for (layer, query) in transformer.decoder.iter().zip(&transformer.queries) {
                    let query = query.unsqueeze(0)?.broadcast_as(x.shape())?;
                    previous = layer.forward(&query, &previous, x, &position, dropout)?;
                }
                transformer.exit.forward(&previous)
            }
        }
    }
}

impl WideTransformer {
    fn position(&self, narrow: Option<&Tensor>) -> Result<Tensor> {
        let narrow = narrow.ok_or_else(|| candle_core::Error::Msg("the wide transformer needs positions".into()))?;
        self.position.forward(narrow)
    }
}

impl Mlp {
    /// Layers 0, 2, 4, ... : the numbers between belong to the ReLUs.
    fn new(from: usize, hidden: usize, hidden_layers: usize, to: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        let mut widths = vec![from];
        widths.extend(std::iter::repeat_n(hidden, hidden_layers));
        widths.push(to);
        let layers = widths.windows(2).enumerate().map(|(i, pair)| Linear::new(pair[0], pair[1], &scope.pp(2 * i)));
        Ok(Self(layers.collect::<crate::Result<_>>()?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (index, layer) in self.0.iter().enumerate() {
            x = layer.forward(&if index > 0 { x.relu()? } else { x })?;
        }
        Ok(x)
    }
}
