//! Matrix products with packed weights: `act(x W^T + bias + residual)`.

use std::ops::Range;

use crate::activation::Activation;
use crate::gemm::epilogue::{Epilogue, Residual};
use crate::gemm::packed::Packed;
use crate::gemm::store::TileEpilogue;
use crate::gemm::tile::{Lhs, MAX_ROWS, PanelProduct, multiply_panels};
use crate::memory::with_scratch;
use crate::parallel::{SharedOut, part, run_tasks};

/// The elements of the left rows that are multiplied before the next panel's turn. The sums of a tile stay in registers meanwhile,
/// and both operands are read in long contiguous runs, which the processor prefetches. Smaller blocks, which the first-level cache
/// would hold, are slower by a tenth. A panel of this depth still fits the second-level cache.
pub(crate) const DEPTH: usize = 2048;
/// The left rows that a task packs at a time.
const TASK_ROWS: usize = 240;
/// The weights that a tile of rows is multiplied by before the next tile's turn, where rows are read in place.
const JOINT_WEIGHTS: usize = 48 << 10;
/// The fewest outputs for which packing the left rows costs less than it gains, even if they could be read in place.
const MIN_PACK_OUTPUTS: usize = 768;
/// The fewest multiply-adds that take longer than waking up a thread.
const MIN_PARALLEL_PRODUCTS: usize = 64 << 10;

/// The positions of the left rows in a buffer.
#[derive(Debug, Clone, Copy)]
pub enum Rows {
    /// Rows that begin `stride` elements apart.
    Dense {
        /// The distance between two rows, in elements.
        stride: usize,
    },
    /// Every `step`th cell, in both directions, of maps `[rows, columns, stride]`.
    Subsampled {
        /// The elements of a cell.
        stride: usize,
        /// The rows and columns of a map.
        map: [usize; 2],
        /// The distance between two taken cells, in cells.
        step: usize,
    },
}

impl Rows {
    #[inline(always)]
    pub(crate) fn offset(self, row: usize) -> usize {
        match self {
            Self::Dense { stride } => row * stride,
            Self::Subsampled { stride, map: [rows, columns], step } => {
                let taken = [rows.div_ceil(step), columns.div_ceil(step)];
                let (image, cell) = (row / (taken[0] * taken[1]), row % (taken[0] * taken[1]));
                let (y, x) = (cell / taken[1] * step, cell % taken[1] * step);
                ((image * rows + y) * columns + x) * stride
            }
        }
    }
}

/// Multiplies `count` rows of `x` by the weights, into rows of `y` that begin `stride` elements apart: y = act(x W^T + bias +
/// residual). Runs on the current thread pool; the result does not depend on the number of threads.
///
/// ```
/// use dualad_kernels::{Epilogue, Isa, Packed, Rows, product};
///
/// // The sum and the difference of two values, through a ReLU.
/// let weights = Packed::new(Isa::best(), &[1.0, 1.0, 1.0, -1.0], 2, None);
/// let mut y = [0.0; 4];
/// product(&[1.0, 2.0, 5.0, 3.0], Rows::Dense { stride: 2 }, 2, &weights, &mut y, 2, Epilogue::RELU);
/// assert_eq!(y, [3.0, 0.0, 8.0, 2.0]);
/// ```
///
/// # Panics
/// If a buffer is too small for its rows.
pub fn product(
    x: &[f32],
    rows: Rows,
    count: usize,
    weights: &Packed,
    y: &mut [f32],
    stride: usize,
    epilogue: Epilogue<'_>,
) {
    if count == 0 {
        return;
    }
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    assert!(rows.offset(count - 1) + inputs <= x.len(), "the left rows of a product");
    assert!(stride >= outputs && (count - 1) * stride + outputs <= y.len(), "the result of a product");
    if let Some(Residual { values, stride, period, .. }) = epilogue.residual {
        assert!(period > 0 && (period.min(count) - 1) * stride + outputs <= values.len(), "the residual of a product");
    }
    let tile_rows = weights.isa().rows();
    let is_small = count * inputs * outputs < MIN_PARALLEL_PRODUCTS;
    let [heights, widths] = divide(count, tile_rows, outputs.div_ceil(weights.isa().panel()), is_small);
    let shared_out = SharedOut::new(y);
    run_tasks(heights * widths, |task| {
        let height = part(count, tile_rows, heights, task / widths);
        let width = weights.panels(widths, task % widths);
        let block = Block { x, rows, weights, out: shared_out, stride, epilogue, height, panels: width, chain: DEPTH };
        match rows {
            Rows::Dense { stride } if inputs <= DEPTH && outputs < MIN_PACK_OUTPUTS => block.dense(stride),
            _ => block.packed(),
        }
    });
}

/// Returns the numbers of parts into which `count` rows, in tiles of `tile_rows`, and the panels of a product are divided, such that the
/// threads finish together. A small product is not worth several threads.
pub(crate) fn divide(count: usize, tile_rows: usize, panels: usize, is_small: bool) -> [usize; 2] {
    let threads = rayon::current_num_threads();
    let (heights, tiles) = (count.div_ceil(TASK_ROWS).max(1), count.div_ceil(tile_rows));
    if is_small {
        return [heights, 1];
    }
    // Not more parts than tiles: none is empty.
    let heights_for = |widths: usize| heights.next_multiple_of(threads.div_ceil(widths)).min(tiles);
    let divisions = (1..=panels.min(threads)).map(|widths| [heights_for(widths), widths]);
    // By the work of the thread that has the most, and then by the number of tasks: each packs its rows itself.
    let work = |[heights, widths]: [usize; 2]| {
        (heights * widths).div_ceil(threads) * tiles.div_ceil(heights) * panels.div_ceil(widths)
    };
    divisions.min_by_key(|&parts| (work(parts), parts[0] * parts[1])).unwrap_or([heights, 1])
}

/// Computes a small [`product`] on the calling thread: y = x W^T + bias. `x` has rows of `weights.inputs()` elements, and those of
/// `y` begin `stride` elements apart. At most `chain` products are added up before the sum is added to the previous ones, which
/// bounds the rounding error: by (`chain` + inputs / `chain` + 2) u |x| |w|, with the unit roundoff u.
///
/// # Panics
/// If `chain` is 0 or `y` is too small.
pub(crate) fn product_here(x: &[f32], weights: &Packed, y: &mut [f32], stride: usize, chain: usize) {
    let count = x.len() / weights.inputs();
    if count == 0 {
        return;
    }
    assert!(chain > 0 && stride >= weights.outputs() && (count - 1) * stride + weights.outputs() <= y.len());
    let block = Block {
        x,
        rows: Rows::Dense { stride: weights.inputs() },
        weights,
        out: SharedOut::new(y),
        stride,
        epilogue: Epilogue::NONE,
        height: 0..count,
        panels: weights.panels(1, 0),
        chain: chain.min(DEPTH),
    };
    block.packed();
}

/// The part of a product that one task computes: some rows and some panels.
struct Block<'a> {
    x: &'a [f32],
    rows: Rows,
    weights: &'a Packed,
    out: SharedOut,
    stride: usize,
    epilogue: Epilogue<'a>,
    height: Range<usize>,
    panels: Range<usize>,
    /// The most elements of a left row that are multiplied before the other panels' turn.
    chain: usize,
}

impl Block<'_> {
    /// Returns nearly equal parts of the depth.
    fn depths(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let inputs = self.weights.inputs();
        let parts = inputs.div_ceil(self.chain);
        (0..parts).map(move |index| part(inputs, 1, parts, index))
    }

    /// Packs the left rows, tile by tile, before they are multiplied.
    fn packed(&self) {
        let tile_rows = self.weights.isa().rows();
        let deepest = self.weights.inputs().min(self.chain);
        let tiles = self.height.len().div_ceil(tile_rows);
        with_scratch(tiles * tile_rows * deepest, |scratch| {
            for depth in self.depths() {
                let size = tile_rows * depth.len();
                for (index, packed) in scratch.chunks_exact_mut(size).take(tiles).enumerate() {
                    self.pack(self.height.start + index * tile_rows, &depth, packed);
                }
                for panel in self.panels.clone() {
                    let lhs = Lhs::Packed(scratch[..tiles * size].as_ptr());
                    self.multiply(lhs, panel..panel + 1, &depth);
                }
            }
        });
    }

    /// Packs the rows of a tile: the first element of every row, then the second of every row, and so on.
    fn pack(&self, first: usize, depth: &Range<usize>, packed: &mut [f32]) {
        /// The elements of a row that are moved at a time.
        const BLOCK: usize = 8;
        let tile_rows = self.weights.isa().rows();
        // Rows past the end are clamped to the last one.
        let row = |row: usize| {
            let row = (first + row).min(self.height.end - 1);
            &self.x[self.rows.offset(row) + depth.start..][..depth.len()]
        };
        let rows: [&[f32]; MAX_ROWS] = std::array::from_fn(|index| if index < tile_rows { row(index) } else { &[] });
        let rows = &rows[..tile_rows];
        let mut blocks = packed.chunks_exact_mut(BLOCK * tile_rows);
        for (index, block) in blocks.by_ref().enumerate() {
            for (row, from) in rows.iter().enumerate() {
                let Some(from) = from[index * BLOCK..].first_chunk::<BLOCK>() else { continue };
                for (k, from) in from.iter().enumerate() {
                    block[k * tile_rows + row] = *from;
                }
            }
        }
        let done = depth.len() / BLOCK * BLOCK;
        for (k, block) in (done..).zip(blocks.into_remainder().chunks_exact_mut(tile_rows)) {
            block.iter_mut().zip(rows).for_each(|(to, row)| *to = row[k]);
        }
    }

    /// Multiplies all rows of the block by some panels.
    fn multiply(&self, lhs: Lhs, panels: Range<usize>, depth: &Range<usize>) {
        let panel = panels.start;
        let weights = self.weights;
        let width = weights.isa().panel();
        let last_columns = weights.columns(panels.end - 1);
        let columns = (panels.len() - 1) * width + last_columns;
        let (first, rows) = (self.height.start, self.height.len());
        let last = depth.end == weights.inputs();
        let lines = |panel: usize| weights.panel(panel)[depth.start * width..].as_ptr();
        let (mut residual, mut period, mut residual_stride) = (std::ptr::null(), 1, 0);
        if let (Some(added), true) = (self.epilogue.residual, last) {
            (period, residual_stride) = (added.period, added.stride);
            residual = added.pointer([first, rows], [panel * width, columns]);
        }
        let job = PanelProduct {
            rows,
            lhs,
            depth: depth.len(),
            panel: lines(panel),
            panels: panels.len(),
            panel_stride: width * weights.inputs(),
            last_columns,
            next_panel: if panels.end < self.panels.end { lines(panels.end) } else { std::ptr::null() },
            epilogue: self.tile_epilogue([first, rows], [panel, columns], depth),
            residual,
            residual_stride,
            period,
            first: first % period,
        };
        // SAFETY: `lhs` has the rows, packed in whole tiles or in place, with `depth` elements each, and the panel has a line for
        // each element; `out` and the residual have the columns in each row, as checked above; each task writes its own rows and
        // panels.
        unsafe { multiply_panels(weights.isa(), &job) };
    }

    /// Returns the epilogue of some rows, for the columns from a panel on, without the residual.
    fn tile_epilogue(
        &self,
        [first, rows]: [usize; 2],
        [panel, columns]: [usize; 2],
        depth: &Range<usize>,
    ) -> TileEpilogue {
        let weights = self.weights;
        let width = weights.isa().panel();
        let last = depth.end == weights.inputs();
        TileEpilogue {
            out: self.out.at(first * self.stride + panel * width, (rows - 1) * self.stride + columns),
            stride: self.stride,
            columns: width,
            accumulate: depth.start > 0,
            bias: if depth.start == 0 { weights.bias(panel) } else { std::ptr::null() },
            activation: if last { self.epilogue.activation } else { Activation::Identity },
            residuals: std::ptr::null(),
            residual_last: self.epilogue.residual.is_some_and(|residual| residual.last),
        }
    }

    /// Reads the left rows in place.
    fn dense(&self, stride: usize) {
        let (first, inputs) = (self.height.start * stride, self.weights.inputs());
        let rows = &self.x[first..][..(self.height.len() - 1) * stride + inputs];
        let lhs = Lhs::Dense { start: rows.as_ptr(), stride };
        // As many panels at a time as the cache holds: longer parts of the rows are read and written in one go.
        let joint = (JOINT_WEIGHTS / (inputs * self.weights.isa().panel())).max(1);
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            let end = self.panels.end.min(panel + joint);
            self.multiply(lhs, panel..end, &(0..inputs));
            panel = end;
        }
    }
}
