//! The memory module: what leaves it is always a mix of what it has learned from normal features.

use candle_core::{Result, Tensor};

use crate::cdbn::scope::{Init, Scope};
use crate::ops;

/// A dictionary of `slots` vectors, read by cosine ([`crate::ops::memory_read`]).
#[derive(Debug, Clone)]
pub(crate) struct MemoryModule {
    /// `[slots, d]`.
    slots: Tensor,
    temperature: f64,
    /// What is passed on: 0 what was asked, 1 what was read, mixed in between. Below 1 only while training starts.
    pub(crate) share: f64,
}

impl MemoryModule {
    pub(crate) fn new(slots: usize, width: usize, temperature: f64, scope: &Scope<'_>) -> crate::Result<Self> {
        Ok(Self { slots: scope.get("weight", &[slots, width], Init::UnitRows)?, temperature, share: 1.0 })
    }

    /// `[batch, tokens, d]` to the same.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.share <= 0.0 {
            return Ok(x.clone());
        }
        let read = ops::memory_read(x, &self.slots, self.temperature)?;
        if self.share >= 1.0 { Ok(read) } else { (read * self.share)? + (x * (1.0 - self.share))? }
    }
}
