//! The sizes of convolutions and maps, and the arguments of a convolution.

use crate::activation::Activation;
use crate::int8::ByteCells;

/// The shape of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// The channels of the input.
    pub inputs: usize,
    /// The channels of the output.
    pub outputs: usize,
    /// The side of the square kernel.
    pub kernel: usize,
    /// The stride in both directions.
    pub stride: usize,
    /// 1, or the number of channels (depthwise).
    pub groups: usize,
}

/// The size of a batch of maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSize {
    /// The number of images.
    pub batch: usize,
    /// The rows of a map.
    pub rows: usize,
    /// The columns of a map.
    pub columns: usize,
}

impl MapSize {
    /// Returns the cells of all maps.
    pub fn cells(self) -> usize {
        self.batch * self.rows * self.columns
    }
}

/// The zeros before a map's first row and first column. Behind the last ones there are as many as the output needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// The rows of zeros above a map.
    pub top: usize,
    /// The columns of zeros to the left of a map.
    pub left: usize,
}

impl Padding {
    /// Returns the same padding in both directions.
    pub fn both(cells: usize) -> Self {
        Self { top: cells, left: cells }
    }
}

/// The cells of maps, `[batch, rows, columns, channels]`.
#[derive(Debug, Clone, Copy)]
pub enum Cells<'a> {
    /// In f32.
    F32(&'a [f32]),
    /// As bytes.
    Bytes(&'a ByteCells),
}

impl Cells<'_> {
    /// Returns `true` if there are this many cells of this many channels.
    pub(crate) fn are(self, count: usize, channels: usize) -> bool {
        match self {
            Self::F32(cells) => cells.len() == count * channels,
            Self::Bytes(cells) => cells.len() == count && cells.channels() == channels,
        }
    }
}

/// The input of a convolution and the operations that follow it: `activation(conv(x) + bias + residual)`. Maps are of type `M`:
/// `&[f32]` or [`Cells`](crate::Cells).
#[derive(Debug, Clone, Copy)]
pub struct ConvArgs<M> {
    /// The input maps, `[batch, rows, columns, inputs]`.
    pub x: M,
    /// The size of the input.
    pub input: MapSize,
    /// The zeros around the input.
    pub padding: Padding,
    /// The size of the output.
    pub output: MapSize,
    /// Maps of the output's shape that are added before the activation.
    pub residual: Option<M>,
    /// The activation function.
    pub activation: Activation,
}

impl<M: Copy> ConvArgs<M> {
    /// Returns the arguments with maps of another type.
    pub(crate) fn map<N>(&self, maps: impl Fn(M) -> N) -> ConvArgs<N> {
        let &Self { x, input, padding, output, residual, activation } = self;
        ConvArgs { x: maps(x), input, padding, output, residual: residual.map(maps), activation }
    }
}
