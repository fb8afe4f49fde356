//! A linear layer.

use candle_core::{Result, Tensor};

use crate::cdbn::scope::{Init, Scope};
use crate::ops;

/// `x W^T + b` over the last axis.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(super) fn new(inputs: usize, outputs: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        Ok(Self {
            weight: scope.get("weight", &[outputs, inputs], Init::Xavier)?,
            bias: scope.get("bias", &[outputs], Init::Zeros)?,
        })
    }

    /// Maps `[batch, tokens, inputs]` to `[batch, tokens, outputs]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::linear(x, &self.weight, &self.bias)
    }
}
