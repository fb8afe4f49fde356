//! The cells of maps as bytes, as they pass from one convolution to the next.

use crate::int8::isa::DotIsa;
use crate::int8::quantize::{Scale, restore_row, row_length, store_rows};
use crate::memory::Buffer;
use crate::parallel::{SharedOut, map_tasks, part};
use crate::simd::isa::Isa;

/// The cells of maps `[batch, rows, columns, channels]` as bytes, with one scale for each cell.
///
/// ```
/// use dualad_kernels::{
///     Activation, Buffer, ByteCells, Cells, ConvArgs, ConvShape, Convolution, Isa, MapSize, Padding, Precision,
/// };
///
/// // Two cells of 32 channels, and a convolution that adds up the channels of each.
/// let (isa, size) = (Isa::best(), MapSize { batch: 1, rows: 1, columns: 2 });
/// let mut bytes = ByteCells::new(isa, 2, 32, Buffer::zeros(ByteCells::length(isa, 2, 32)));
/// bytes.quantize(&[[1.0; 32], [2.0; 32]].concat());
/// let shape = ConvShape { inputs: 32, outputs: 1, kernel: 1, stride: 1, groups: 1 };
/// let sum = Convolution::new(isa, Precision::Int8, shape, &[1.0; 32], &[0.0], size);
/// let (x, padding, activation) = (Cells::Bytes(&bytes), Padding::default(), Activation::Identity);
/// let mut y = [0.0; 2];
/// sum.run_cells(&ConvArgs { x, input: size, padding, output: size, residual: None, activation }, Some(&mut y), None);
/// assert!((y[0] - 32.0).abs() < 0.1 && (y[1] - 64.0).abs() < 0.1);
/// ```
#[derive(Debug)]
pub struct ByteCells {
    isa: DotIsa,
    channels: usize,
    /// The stored cells. Four bytes are one element.
    elements: Buffer,
    scales: Vec<Scale>,
}

/// The cells that a task stores.
const CELLS: usize = 512;

impl ByteCells {
    /// Returns the length of the buffer that holds `count` cells.
    pub fn length(isa: Isa, count: usize, channels: usize) -> usize {
        count * row_length(DotIsa::of(isa), channels)
    }

    /// Makes place for `count` cells in a buffer of the length that [`Self::length`] returns. Their content is arbitrary.
    ///
    /// # Panics
    /// If the buffer is too short.
    pub fn new(isa: Isa, count: usize, channels: usize, elements: Buffer) -> Self {
        Self::with_isa(DotIsa::of(isa), count, channels, elements)
    }

    pub(crate) fn with_isa(isa: DotIsa, count: usize, channels: usize, elements: Buffer) -> Self {
        assert!(elements.len() >= count * row_length(isa, channels), "the buffer of bytes");
        Self { isa, channels, elements, scales: vec![Scale::default(); count] }
    }

    /// Stores cells of f32, `[cells, channels]`.
    ///
    /// # Panics
    /// If there is not one for each place.
    pub fn quantize(&mut self, cells: &[f32]) {
        assert_eq!(cells.len(), self.len() * self.channels, "the cells to store");
        let (count, places) = (self.len(), self.places());
        let tasks = count.div_ceil(CELLS);
        let scales = map_tasks(tasks, |task| {
            let range = part(count, 1, tasks, task);
            // SAFETY: each task has cells of its own.
            unsafe { places.store(range.start, &cells[range.start * self.channels..range.end * self.channels]) }
        });
        self.scales = scales.concat();
    }

    /// Returns the buffer, for other uses.
    pub fn into_buffer(self) -> Buffer {
        self.elements
    }

    /// Returns the number of cells.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    pub(crate) fn isa(&self) -> DotIsa {
        self.isa
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the scale of each cell.
    pub(crate) fn scales(&self) -> &[Scale] {
        &self.scales
    }

    pub(crate) fn set_scales(&mut self, scales: Vec<Scale>) {
        assert_eq!(scales.len(), self.len(), "the scales of the cells");
        self.scales = scales;
    }

    /// Returns a cell's bytes, with their padding.
    pub(crate) fn cell(&self, index: usize) -> *const u8 {
        let stride = row_length(self.isa, self.channels);
        self.elements[index * stride..][..stride].as_ptr().cast()
    }

    /// Returns some cells to f32, `[cells, channels]`, from cell `first` on.
    pub(crate) fn restore(&self, first: usize, to: &mut [f32]) {
        for (index, to) in to.chunks_exact_mut(self.channels).enumerate() {
            // SAFETY: the cell holds an element for each channel, stored for the same instructions.
            unsafe { restore_row(self.isa, self.cell(first + index), self.scales[first + index], to) };
        }
    }

    /// Returns the places of the cells, for several tasks.
    pub(crate) fn places(&mut self) -> Places {
        Places { isa: self.isa, channels: self.channels, out: SharedOut::new(&mut self.elements) }
    }
}

/// The places that several tasks store cells in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    isa: DotIsa,
    channels: usize,
    out: SharedOut,
}

impl Places {
    /// Stores cells of f32 from cell `first` on, and returns their scales.
    ///
    /// # Safety
    /// No other thread uses these cells.
    pub(crate) unsafe fn store(self, first: usize, cells: &[f32]) -> Vec<Scale> {
        let stride = row_length(self.isa, self.channels);
        let to = self.out.at(first * stride, cells.len() / self.channels * stride);
        // SAFETY: `at` checked the places of the cells, which no other thread uses, as the caller promises.
        unsafe { store_rows(self.isa, cells, self.channels, to) }
    }
}
