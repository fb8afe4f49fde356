//! Multi-head attention: projections around [`crate::ops::attention`].

use candle_core::{Result, Tensor};

use crate::cdbn::build::Scope;
use crate::cdbn::layers::{Linear, Pass, Width};
use crate::kernels::Window;
use crate::ops;

/// q, k, v and output projections with bias; dropout on the output, none on the attention weights.
#[derive(Debug, Clone)]
pub(crate) struct MultiHeadAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
    window: Option<Window>,
}

impl MultiHeadAttention {
    pub(crate) fn new(Width { channels, heads, window, .. }: Width, scope: &Scope<'_>) -> crate::Result<Self> {
        let linear = |name: &str| Linear::new(channels, channels, &scope.pp(name));
        Ok(Self {
            query: linear("q_proj")?,
            key: linear("k_proj")?,
            value: linear("v_proj")?,
            output: linear("out_proj")?,
            heads,
            window,
        })
    }

    /// All `[batch, tokens, channels]`.
    pub(crate) fn forward(&self, query: &Tensor, key: &Tensor, value: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let (query, key, value) = (self.query.forward(query)?, self.key.forward(key)?, self.value.forward(value)?);
        let read = ops::attention(&query, &key, &value, self.heads, self.window)?;
        pass.dropout(self.output.forward(&read)?)
    }
}
