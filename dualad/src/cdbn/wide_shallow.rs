//! The wide-shallow network (WSN; docs/method.md, section 4.1): the encoder maps C to D channels, the decoder D to C.

use candle_core::{Result, Tensor};

use crate::cdbn::dropout::Dropout;
use crate::cdbn::layers::{DecoderLayer, EncoderLayer, LayerSizes};
use crate::cdbn::linear::Linear;
use crate::cdbn::scope::{Init, Scope};
use crate::config::{Branches, DualAdConfig, Variant};

/// The WSN encoder and the WSN decoder.
#[derive(Debug, Clone)]
pub(super) enum WideShallow {
    /// Heterogeneous (He): two MLPs.
    Mlp { encoder: Mlp, decoder: Mlp },
    /// Homogeneous (Ho): two transformers.
    Transformer(Box<WideTransformer>),
    /// Two linear projections, for the narrow-deep branch alone.
    Projections { encoder: Linear, decoder: Linear },
}

/// Linear layers with ReLU between them.
#[derive(Debug, Clone)]
pub(super) struct Mlp(Vec<Linear>);

/// Encoder layers, and decoder layers with learned queries.
#[derive(Debug, Clone)]
pub(super) struct WideTransformer {
    input_projection: Linear,
    encoder: Vec<EncoderLayer>,
    /// One `[tokens, D]` per decoder layer.
    queries: Vec<Tensor>,
    decoder: Vec<DecoderLayer>,
    output_projection: Linear,
    /// The projection of the position embedding from d to D channels.
    position: Linear,
}

impl WideShallow {
    pub(super) fn new(config: &DualAdConfig, scope: &Scope<'_>) -> crate::Result<Self> {
        let (channels, wide) = (config.channels(), config.wide_width());
        let hidden = wide * config.wide_ffn_ratio;
        let (in_proj, out_proj) = (scope.pp("in_proj"), scope.pp("out_proj"));
        Ok(match (config.branches, config.variant) {
            (Branches::NarrowDeep, _) => Self::Projections {
                encoder: Linear::new(channels, wide, &in_proj)?,
                decoder: Linear::new(wide, channels, &out_proj)?,
            },
            (_, Variant::Heterogeneous) => Self::Mlp {
                encoder: Mlp::new(channels, hidden, config.wide_layers, wide, &in_proj)?,
                decoder: Mlp::new(wide, hidden, config.wide_layers, channels, &out_proj)?,
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
                    input_projection: Linear::new(channels, wide, &in_proj)?,
                    encoder: layers.clone().map(encoder_layer).collect::<crate::Result<_>>()?,
                    queries: layers.clone().map(query).collect::<crate::Result<_>>()?,
                    decoder: layers.map(decoder_layer).collect::<crate::Result<_>>()?,
                    output_projection: Linear::new(wide, channels, &out_proj)?,
                    // A published checkpoint has a copy of the embedding and of this projection under every wide layer.
                    position: Linear::new(config.narrow_width, wide, &encoder.pp("layers.0.abs_pos_embed.1"))?,
                }))
            }
        })
    }

    /// Applies the WSN encoder to `[batch, tokens, C]`; the result is `[batch, tokens, D]`. `position` is the narrow branch's
    /// embedding, `[1, tokens, d]`.
    pub(super) fn encode(&self, x: &Tensor, position: Option<&Tensor>, dropout: &mut Dropout<'_>) -> Result<Tensor> {
        match self {
            Self::Mlp { encoder, .. } => encoder.forward(x),
            Self::Projections { encoder, .. } => encoder.forward(x),
            Self::Transformer(transformer) => {
                let position = transformer.position(position)?;
                let mut x = transformer.input_projection.forward(x)?;
                for layer in &transformer.encoder {
                    x = layer.forward(&x, &position, dropout)?;
                }
                Ok(x)
            }
        }
    }

    /// Applies the WSN decoder to `[batch, tokens, D]`; the result is `[batch, tokens, C]`.
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
                transformer.output_projection.forward(&previous)
            }
        }
    }
}

impl WideTransformer {
    /// Projects the narrow branch's position embedding to `[1, tokens, D]`.
    fn position(&self, narrow: Option<&Tensor>) -> Result<Tensor> {
        let narrow =
            narrow.ok_or_else(|| candle_core::Error::Msg("the wide transformer needs a position embedding".into()))?;
        self.position.forward(narrow)
    }
}

impl Mlp {
    /// The layers are named 0, 2, 4, ..., as in the published checkpoint, which counts the ReLUs too.
    fn new(
        inputs: usize,
        hidden: usize,
        hidden_layers: usize,
        outputs: usize,
        scope: &Scope<'_>,
    ) -> crate::Result<Self> {
        let mut widths = vec![inputs];
        widths.extend(std::iter::repeat_n(hidden, hidden_layers));
        widths.push(outputs);
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
