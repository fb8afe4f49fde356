//! Maxima and means over the cells of maps `[batch, rows, columns, channels]`.

use std::ops::Range;

use crate::conv::shape::MapSize;
use crate::parallel::{SharedOut, part, run_tasks};
use crate::simd::isa::{Isa, kernel};
use crate::simd::vector::Simd;
use crate::vectorized::vectorized;

/// The windows of a pooling layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// The side of the square window.
    pub kernel: usize,
    /// The stride in both directions.
    pub stride: usize,
    /// The cells of padding above a map and to its left.
    pub padding: usize,
}

/// Computes the maximum of each window. Cells outside the map do not count; every window must contain a cell of the map.
///
/// ```
/// use dualad_kernels::{Isa, MapSize, Pool, max_pool};
///
/// let (size, half) = (MapSize { batch: 1, rows: 2, columns: 4 }, MapSize { batch: 1, rows: 1, columns: 2 });
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// let mut y = [0.0; 2];
/// max_pool(Isa::best(), Pool { kernel: 2, stride: 2, padding: 0 }, &x, size, &mut y, half);
/// assert_eq!(y, [6.0, 8.0]);
/// ```
///
/// # Panics
/// If the sizes have different batches, or if the length of a buffer does not fit its size.
pub fn max_pool(isa: Isa, pool: Pool, x: &[f32], size: MapSize, y: &mut [f32], out: MapSize) {
    let Pool { kernel, stride, padding } = pool;
    let channels = x.len() / size.cells().max(1);
    assert_eq!(x.len(), size.cells() * channels, "the input of a pool");
    assert!(y.len() == out.cells() * channels && size.batch == out.batch, "the output of a pool");
    let line = out.columns * channels;
    let shared = SharedOut::new(y);
    run_tasks(out.batch * out.rows, |task| {
        let (image, row) = (task / out.rows, task % out.rows);
        let rows = window(row * stride, padding, kernel, size.rows);
        for column in 0..out.columns {
            let columns = window(column * stride, padding, kernel, size.columns);
            let first = ((image * size.rows + rows.start) * size.columns + columns.start) * channels;
            let to = shared.at(task * line + column * channels, channels);
            let cells = [rows.len(), columns.len()];
            let last = first + (cells[0].max(1) - 1) * size.columns * channels + cells[1].max(1) * channels;
            assert!(last <= x.len(), "the window of a pool");
            // SAFETY: the first and the last cell of the window lie inside `x`, as asserted above; each task writes its own row.
            unsafe { maximum(isa, x[first..].as_ptr(), channels, size.columns * channels, cells, to) };
        }
    });
}

/// Returns the part of a window that lies inside the map, along one axis.
fn window(start: usize, padding: usize, kernel: usize, length: usize) -> Range<usize> {
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(length)
}

kernel! {
    /// Computes the maximum of each channel over `cells[0]` rows and `cells[1]` columns of cells.
    ///
    /// # Safety
    /// `x` is valid for `channels` elements in each of these cells, whose rows are `line` elements apart; `y` is valid for
    /// `channels` elements.
    unsafe fn maximum(x: *const f32, channels: usize, line: usize, cells: [usize; 2], y: *mut f32) = maximum_body
}

#[inline(always)]
unsafe fn maximum_body<S: Simd>(x: *const f32, channels: usize, line: usize, cells: [usize; 2], y: *mut f32) {
    let whole = channels / S::LANES * S::LANES;
    // SAFETY: the caller's promise; channels that do not fill a vector are computed one by one.
    unsafe {
        for channel in (0..whole).step_by(S::LANES) {
            let mut largest = S::splat(f32::NEG_INFINITY);
            for row in 0..cells[0] {
                for column in 0..cells[1] {
                    largest = S::max(largest, S::load(x.add(row * line + column * channels + channel)));
                }
            }
            S::store(y.add(channel), largest);
        }
        for channel in whole..channels {
            let mut largest = f32::NEG_INFINITY;
            for row in 0..cells[0] {
                for column in 0..cells[1] {
                    let value = *x.add(row * line + column * channels + channel);
                    largest = if largest > value { largest } else { value };
                }
            }
            *y.add(channel) = largest;
        }
    }
}

/// Computes the mean of each image over all cells, `[batch, channels]`.
///
/// # Panics
/// If the length of a buffer does not fit its size.
pub fn mean_of_cells(x: &[f32], size: MapSize, channels: usize, mean: &mut [f32]) {
    assert!(x.len() == size.cells() * channels && mean.len() == size.batch * channels, "the buffers of a mean");
    let cells = size.rows * size.columns;
    /// The fewest channels of a task: whole cache lines.
    const MIN_CHANNELS: usize = 64;
    /// The fewest elements whose sum takes longer than waking up a thread.
    const MIN_PARALLEL_ELEMENTS: usize = 64 << 10;
    let tasks = if size.cells() * channels < MIN_PARALLEL_ELEMENTS { 1 } else { rayon::current_num_threads() };
    let parts = channels.div_ceil(MIN_CHANNELS).min(tasks);
    let shared = SharedOut::new(mean);
    run_tasks(size.batch * parts, |task| {
        let (image, range) = (task / parts, part(channels, MIN_CHANNELS, parts, task % parts));
        // SAFETY: `at` checked the channels, and each task writes its own.
        let mean = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * channels + range.start, range.len()), range.len())
        };
        mean_of_columns(&x[image * cells * channels..][..cells * channels], channels, range.start, mean);
    });
}

vectorized! {
    /// Computes the means of `mean.len()` columns, from `first` on, of rows that begin `stride` elements apart.
    fn mean_of_columns(x: &[f32], stride: usize, first: usize, mean: &mut [f32]) = mean_of_columns_body
}

#[inline(always)]
fn mean_of_columns_body<const FMA: bool>(x: &[f32], stride: usize, first: usize, mean: &mut [f32]) {
    /// The rows that are summed before their sum is added to the total, which keeps the rounding errors of f32 small.
    const ROWS: usize = 64;
    let count = x.len() / stride;
    let mut sums = vec![0.0f32; mean.len()];
    mean.fill(0.0);
    for block in x.chunks(ROWS * stride) {
        sums.fill(0.0);
        for row in block.chunks_exact(stride) {
            let row = &row[first..first + sums.len()];
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        mean.iter_mut().zip(&sums).for_each(|(mean, sum)| *mean += sum);
    }
    mean.iter_mut().for_each(|mean| *mean /= count as f32);
}

vectorized! {
    /// Computes the means of `y.len()` channels over `cells` x `cells` cells, whose rows begin `line` elements apart.
    fn mean_of_block(x: &[f32], line: usize, cells: usize, y: &mut [f32]) = mean_of_block_body
}

#[inline(always)]
fn mean_of_block_body<const FMA: bool>(x: &[f32], line: usize, cells: usize, y: &mut [f32]) {
    y.fill(0.0);
    for row in x.chunks(line).take(cells) {
        for cell in row.chunks(y.len()).take(cells) {
            y.iter_mut().zip(cell).for_each(|(y, x)| *y += x);
        }
    }
    let scale = 1.0 / (cells * cells) as f32;
    y.iter_mut().for_each(|y| *y *= scale);
}

/// Computes the mean of each `side` x `side` block of cells, `[batch, rows / side, columns / side, channels]`. The mean of a block
/// is written to `channels` elements of one row of `y`, from element `first` on; the rows begin `stride` elements apart.
///
/// # Panics
/// If a buffer is too small, or if `side` does not divide the sides of the map.
pub fn mean_pool_into(
    x: &[f32],
    size: MapSize,
    channels: usize,
    side: usize,
    y: &mut [f32],
    first: usize,
    stride: usize,
) {
    assert_eq!(x.len(), size.cells() * channels, "the input of a mean pool");
    assert!(
        side > 0 && size.rows.is_multiple_of(side) && size.columns.is_multiple_of(side),
        "the blocks of a mean pool"
    );
    let [rows, columns] = [size.rows / side, size.columns / side];
    let shared = SharedOut::new(y);
    run_tasks(size.batch * rows, |task| {
        let (image, row) = (task / rows, task % rows);
        for column in 0..columns {
            let at = (task * columns + column) * stride + first;
            // SAFETY: `at` checked the channels, and each task writes its own rows.
            let y = unsafe { std::slice::from_raw_parts_mut(shared.at(at, channels), channels) };
            let from = ((image * size.rows + row * side) * size.columns + column * side) * channels;
            mean_of_block(&x[from..], size.columns * channels, side, y);
        }
    });
}
