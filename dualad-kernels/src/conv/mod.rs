//! Convolutions.

mod convolution;
mod depthwise;
mod patches;
pub(crate) mod shape;
mod winograd;

pub use convolution::Convolution;
pub(crate) use patches::{Patches, positions};
pub use shape::{Cells, ConvArgs, ConvShape, MapSize, Padding};
