//! The memory module (docs/method.md, section 4.2): its output is a convex combination of slots that it has learned from normal
//! features.

use candle_core::{Result, Tensor};

use crate::cdbn::scope::{Init, Scope};
use crate::ops;

/// A dictionary of slots, read by cosine similarity ([`crate::ops::memory_read`]).
#[derive(Debug, Clone)]
pub(super) struct MemoryModule {
    /// `[slots, d]`, not normalized.
    slots: Tensor,
    pub(super) temperature: f64,
    /// The share of the readout in the output: query + share * (readout - query). 1 by default, less only at the start of training.
    pub(super) share: f64,
}

impl MemoryModule {
    pub(super) fn new(slots: usize, width: usize, temperature: f64, scope: &Scope<'_>) -> crate::Result<Self> {
        Ok(Self { slots: scope.get("weight", &[slots, width], Init::UnitRows)?, temperature, share: 1.0 })
    }

    /// Reads the memory for each token of `[batch, tokens, d]`; the result has the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.share <= 0.0 {
            return Ok(x.clone());
        }
        let readout = ops::memory_read(x, &self.slots, self.temperature)?;
        if self.share >= 1.0 { Ok(readout) } else { (readout * self.share)? + (x * (1.0 - self.share))? }
    }
}
