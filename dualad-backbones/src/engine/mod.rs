//! What executes a network's description.

mod plain;

use candle_core::Tensor;

use crate::error::Result;

pub(crate) use plain::PlainEngine;

/// Runs a [`crate::Network`] on a checked image batch.
pub(crate) trait Engine: Send + Sync + std::fmt::Debug {
    /// `[batch, 3, height, width]`, of the engine's dtype and on its device, to one `[batch, channels, rows, columns]`
    /// map per stage.
    fn run(&self, images: &Tensor) -> Result<Vec<Tensor>>;
}
