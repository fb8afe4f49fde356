//! Multi-head attention (docs/method.md, section 4.4): projections around the softmax attention of [`crate::ops`]. The
//! neighbor mask is applied there in the plain form, and in `dualad-kernels/src/attention/forward.rs` on the CPU.

use candle_core::{Result, Tensor};
use dualad_kernels::NeighborMask;

use crate::cdbn::dropout::Dropout;
use crate::cdbn::linear::Linear;
use crate::cdbn::scope::Scope;
use crate::ops;

/// Query, key, value and output projections with bias; dropout on the output, none on the attention weights.
#[derive(Debug, Clone)]
pub(super) struct MultiHeadAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
    mask: Option<NeighborMask>,
}

impl MultiHeadAttention {
    pub(super) fn new(
        channels: usize,
        heads: usize,
        mask: Option<NeighborMask>,
        scope: &Scope<'_>,
    ) -> crate::Result<Self> {
        let linear = |name: &str| Linear::new(channels, channels, &scope.pp(name));
        Ok(Self {
            query: linear("q_proj")?,
            key: linear("k_proj")?,
            value: linear("v_proj")?,
            output: linear("out_proj")?,
            heads,
            mask,
        })
    }

    /// Attends from `query` to `key` and `value`. All tensors, the result included, are `[batch, tokens, channels]`.
    pub(super) fn forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let (query, key, value) = (self.query.forward(query)?, self.key.forward(key)?, self.value.forward(value)?);
        let attended = ops::attention(&query, &key, &value, self.heads, self.mask)?;
        dropout.apply(self.output.forward(&attended)?)
    }
}
