//! The encoder and decoder layers of both branches (docs/method.md, section 4.4): transformer layers that normalize after each
//! residual sum ("post-norm").

use candle_core::{Result, Tensor};
use dualad_kernels::NeighborMask;

use crate::cdbn::attention::MultiHeadAttention;
use crate::cdbn::dropout::Dropout;
use crate::cdbn::linear::Linear;
use crate::cdbn::scope::{Init, Scope};
use crate::ops;

/// The term added to the variance in a layer norm.
pub(crate) const NORM_EPS: f64 = 1e-5;

/// Layer norm over a token's channels.
#[derive(Debug, Clone)]
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn new(width: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        Ok(Self { weight: scope.get("weight", &[width], Init::Ones)?, bias: scope.get("bias", &[width], Init::Zeros)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, NORM_EPS)
    }
}

/// The feed-forward network: linear, ReLU, dropout, linear, dropout.
#[derive(Debug, Clone)]
struct FeedForward {
    fc1: Linear,
    fc2: Linear,
}

impl FeedForward {
    fn new(width: usize, hidden: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        Ok(Self {
            fc1: Linear::new(width, hidden, &scope.pp("fc1"))?,
            fc2: Linear::new(hidden, width, &scope.pp("fc2"))?,
        })
    }

    fn forward(&self, x: &Tensor, dropout: &mut Dropout<'_>) -> Result<Tensor> {
        let hidden = dropout.apply(self.fc1.forward(x)?.relu()?)?;
        dropout.apply(self.fc2.forward(&hidden)?)
    }
}

/// The sizes of a branch's layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerSizes {
    /// Channels of a token.
    pub(super) channels: usize,
    /// Hidden channels of the feed-forward network.
    pub(super) hidden: usize,
    /// Attention heads.
    pub(super) heads: usize,
    /// The tokens that a token must not attend to, if any.
    pub(super) mask: Option<NeighborMask>,
}

/// An encoder layer.
///
/// x = LN(x + MHA(x + pos, x + pos, x)); x = LN(x + FFN(x))
#[derive(Debug, Clone)]
pub(super) struct EncoderLayer {
    attention: MultiHeadAttention,
    ffn: FeedForward,
    norms: [LayerNorm; 2],
}

impl EncoderLayer {
    pub(super) fn new(sizes: LayerSizes, scope: &Scope<'_>) -> crate::Result<Self> {
        let LayerSizes { channels, hidden, heads, mask } = sizes;
        let attention = |name: &str| MultiHeadAttention::new(channels, heads, mask, &scope.pp(name));
        let norm = |name: &str| LayerNorm::new(channels, &scope.pp(name));
        Ok(Self {
            attention: attention("attn")?,
            ffn: FeedForward::new(channels, hidden, &scope.pp("ffn"))?,
            norms: [norm("norm1")?, norm("norm2")?],
        })
    }

    /// Maps `x`, `[batch, tokens, channels]`, to the same shape. `position` is `[1, tokens, channels]`.
    pub(super) fn forward(&self, x: &Tensor, position: &Tensor, dropout: &mut Dropout<'_>) -> Result<Tensor> {
        let with_position = x.broadcast_add(position)?;
        let x = self.norms[0].forward(&(x + self.attention.forward(&with_position, &with_position, x, dropout)?)?)?;
        self.norms[1].forward(&(&x + self.ffn.forward(&x, dropout)?)?)
    }
}

/// A decoder layer, with the query x, the previous layer's output p and the encoder's output z.
///
/// x = LN(x + MHA_1(x + pos, z + pos, z)); x = LN(x + MHA_2(x + pos, p + pos, p)); x = LN(x + FFN(x))
#[derive(Debug, Clone)]
pub(super) struct DecoderLayer {
    over_encoded: MultiHeadAttention,
    over_previous: MultiHeadAttention,
    ffn: FeedForward,
    norms: [LayerNorm; 3],
}

impl DecoderLayer {
    pub(super) fn new(sizes: LayerSizes, scope: &Scope<'_>) -> crate::Result<Self> {
        let LayerSizes { channels, hidden, heads, mask } = sizes;
        let attention = |name: &str| MultiHeadAttention::new(channels, heads, mask, &scope.pp(name));
        let norm = |name: &str| LayerNorm::new(channels, &scope.pp(name));
        Ok(Self {
            over_encoded: attention("attn1")?,
            over_previous: attention("attn2")?,
            ffn: FeedForward::new(channels, hidden, &scope.pp("ffn"))?,
            norms: [norm("norm1")?, norm("norm2")?, norm("norm3")?],
        })
    }

    /// Maps `x` to the same shape. `x`, `previous` (p) and `encoded` (z) are `[batch, tokens, channels]`; `position` is
    /// `[1, tokens, channels]`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        previous: &Tensor,
        encoded: &Tensor,
        position: &Tensor,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let with_position = |x: &Tensor| x.broadcast_add(position);
        let attended = self.over_encoded.forward(&with_position(x)?, &with_position(encoded)?, encoded, dropout)?;
        let x = self.norms[0].forward(&(x + attended)?)?;
        let attended = self.over_previous.forward(&with_position(&x)?, &with_position(previous)?, previous, dropout)?;
        let x = self.norms[1].forward(&(&x + attended)?)?;
        self.norms[2].forward(&(&x + self.ffn.forward(&x, dropout)?)?)
    }
}
