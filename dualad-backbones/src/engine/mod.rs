//! What executes a network's description.

mod packed;
mod plain;

use candle_core::Tensor;

use crate::aggregate::aggregate;
use crate::error::Result;
use crate::spec::Stage;

pub(crate) use packed::PackedEngine;
pub(crate) use plain::PlainEngine;

/// Runs a [`crate::Network`] on a checked image batch.
pub(crate) trait Engine: Send + Sync + std::fmt::Debug {
    /// `[batch, 3, height, width]`, of the engine's dtype and on its device, to one `[batch, channels, rows, columns]`
    /// map per stage.
    fn run(&self, images: &Tensor) -> Result<Vec<Tensor>>;

    /// The same images to tokens `[batch, tokens, channels]` of these, its own, stages ([`aggregate`]).
    fn tokens(&self, images: &Tensor, stages: &[Stage]) -> Result<Tensor> {
        let (_, _, height, width) = images.dims4()?;
        aggregate(&self.run(images)?, stages, [height, width])
    }
}
