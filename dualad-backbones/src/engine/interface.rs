//! The interface of engines.

use candle_core::Tensor;

use crate::aggregate::aggregate;
use crate::error::Result;
use crate::stage::{Stage, TOKEN_STRIDE};

/// An engine. It checks the images, and moves and converts them as it needs.
pub(crate) trait Engine: Send + Sync + std::fmt::Debug {
    /// Computes one map `[batch, channels, rows, columns]` per stage from images `[batch, 3, height, width]`.
    fn run(&self, images: &Tensor) -> Result<Vec<Tensor>>;

    /// Returns the side of a token in pixels.
    fn token_stride(&self) -> usize {
        TOKEN_STRIDE
    }

    /// Computes tokens `[batch, tokens, channels]` from images `[batch, 3, height, width]`. `stages` are the engine's own.
    fn tokens(&self, images: &Tensor, stages: &[Stage]) -> Result<Tensor> {
        let (_, _, height, width) = images.dims4()?;
        aggregate(&self.run(images)?, stages, [height, width], self.token_stride())
    }
}
