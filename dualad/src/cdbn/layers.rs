//! The layers that both branches are made of (method, section 4): post-norm encoder and decoder layers.

use candle_core::{Result, Tensor};

use crate::Random;
use crate::cdbn::attention::MultiHeadAttention;
use crate::cdbn::build::{Init, Scope};
use crate::kernels::Window;
use crate::ops;

/// One pass through the network: with dropout (training) or without.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    dropout: Option<(f32, &'a mut Random)>,
}

impl<'a> Pass<'a> {
    pub(crate) fn evaluation() -> Self {
        Self { dropout: None }
    }

    pub(crate) fn training(dropout: f64, random: &'a mut Random) -> Self {
        Self { dropout: Some((dropout as f32, random)) }
    }

    pub(crate) fn dropout(&mut self, x: Tensor) -> Result<Tensor> {
        match &mut self.dropout {
            None => Ok(x),
            Some((probability, random)) => ops::dropout(&x, *probability, random.stream()),
        }
    }
}

/// `x W^T + b` over the last axis.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(from: usize, to: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        Ok(Self {
            weight: scope.get("weight", &[to, from], Init::Xavier)?,
            bias: scope.get("bias", &[to], Init::Zeros)?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, channels) = x.dims3()?;
        // One product for all tokens: a batch of products would take the weight's transpose once an image.
        let flat = x.reshape((batch * tokens, channels))?;
        let y = flat.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?;
        y.reshape((batch, tokens, ()))
    }
}

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
        ops::layer_norm(x, &self.weight, &self.bias, 1e-5)
    }
}

/// Linear, ReLU, dropout, linear, dropout.
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

    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let hidden = pass.dropout(self.fc1.forward(x)?.relu()?)?;
        pass.dropout(self.fc2.forward(&hidden)?)
    }
}

/// Sizes of a branch's layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Width {
    pub(crate) channels: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) window: Option<Window>,
}

/// x <- LN(x + MHA(x + pos, x + pos, x)); x <- LN(x + FFN(x)).
#[derive(Debug, Clone)]
pub(crate) struct EncoderLayer {
    attention: MultiHeadAttention,
    ffn: FeedForward,
    norms: [LayerNorm; 2],
}

impl EncoderLayer {
    pub(crate) fn new(width: Width, scope: &Scope<'_>) -> crate::Result<Self> {
        let norm = |name: &str| LayerNorm::new(width.channels, &scope.pp(name));
        Ok(Self {
            attention: MultiHeadAttention::new(width, &scope.pp("attn"))?,
            ffn: FeedForward::new(width.channels, width.hidden, &scope.pp("ffn"))?,
            norms: [norm("norm1")?, norm("norm2")?],
        })
    }

    /// `x` `[batch, tokens, channels]`, `position` `[1, tokens, channels]`.
    pub(crate) fn forward(&self, x: &Tensor, position: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let placed = x.broadcast_add(position)?;
        let x = self.norms[0].forward(&(x + self.attention.forward(&placed, &placed, x, pass)?)?)?;
        self.norms[1].forward(&(&x + self.ffn.forward(&x, pass)?)?)
    }
}

/// x <- LN(x + MHA1(x + pos, z + pos, z)); x <- LN(x + MHA2(x + pos, p + pos, p)); x <- LN(x + FFN(x)).
#[derive(Debug, Clone)]
pub(crate) struct DecoderLayer {
    over_encoded: MultiHeadAttention,
    over_previous: MultiHeadAttention,
    ffn: FeedForward,
    norms: [LayerNorm; 3],
}

impl DecoderLayer {
    pub(crate) fn new(width: Width, scope: &Scope<'_>) -> crate::Result<Self> {
        let norm = |name: &str| LayerNorm::new(width.channels, &scope.pp(name));
        Ok(Self {
            over_encoded: MultiHeadAttention::new(width, &scope.pp("attn1"))?,
            over_previous: MultiHeadAttention::new(width, &scope.pp("attn2"))?,
            ffn: FeedForward::new(width.channels, width.hidden, &scope.pp("ffn"))?,
            norms: [norm("norm1")?, norm("norm2")?, norm("norm3")?],
        })
    }

    /// Query `x`, `previous` p and `encoded` z, all `[batch, tokens, channels]`; `position` `[1, tokens, channels]`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        previous: &Tensor,
        encoded: &Tensor,
        position: &Tensor,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let place = |x: &Tensor| x.broadcast_add(position);
        let read = self.over_encoded.forward(&place(x)?, &place(encoded)?, encoded, pass)?;
        let x = self.norms[0].forward(&(x + read)?)?;
        let read = self.over_previous.forward(&place(&x)?, &place(previous)?, previous, pass)?;
        let x = self.norms[1].forward(&(&x + read)?)?;
        self.norms[2].forward(&(&x + self.ffn.forward(&x, pass)?)?)
    }
}
