//! Stages of a backbone.

use serde::{Deserialize, Serialize};

/// The usual side of a token in pixels. [`crate::Backbone::token_stride`] gives that of each backbone.
pub const TOKEN_STRIDE: usize = 16;

/// A stage of a backbone, whose output is a feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stage {
    /// The stage's number, from 1, as in the paper's table of backbones.
    pub index: usize,
    /// The channels of the stage's map.
    pub channels: usize,
    /// The input pixels per map cell, in each direction.
    pub stride: usize,
}

impl Stage {
    /// Creates a stage. It may also describe feature maps of other networks.
    pub const fn new(index: usize, channels: usize, stride: usize) -> Self {
        Self { index, channels, stride }
    }

    /// Returns the shape `[channels, rows, columns]` of this stage's map for an input of `height` x `width` pixels.
    ///
    /// A side that the stride does not divide (only possible for strides over 16) is rounded up, as strided
    /// convolutions with padding do.
    pub const fn map_shape(&self, height: usize, width: usize) -> [usize; 3] {
        if self.stride == 0 {
            return [self.channels, 0, 0];
        }
        [self.channels, height.div_ceil(self.stride), width.div_ceil(self.stride)]
    }
}
