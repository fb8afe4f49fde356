//! What else is done to maps `[batch, rows, columns, channels]`: maxima, means, gates, and their way from and to planes.

use crate::convolution::Size;
use crate::math::sigmoid;
use crate::memory::{Target, part, run_tasks};
use crate::simd::{Isa, Simd, kernel};
use crate::vectorised;

/// The maximum of each `kernel` x `kernel` window, in steps; cells beyond the map do not count. Each window must hold a cell.
///
/// ```
/// use dualad_kernels::{Isa, Size, max_pool};
///
/// let (size, half) = (Size { batch: 1, rows: 2, columns: 4 }, Size { batch: 1, rows: 1, columns: 2 });
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// let mut y = [0.0; 2];
/// // Windows of 2 x 2 in steps of 2, without padding.
/// max_pool(Isa::best(), &x, size, 1, [2, 2, 0], &mut y, half);
/// assert_eq!(y, [6.0, 8.0]);
/// ```
///
/// # Panics
/// If a buffer's length is not what the sizes make it.
#[allow(clippy::too_many_arguments)]
pub fn max_pool(
    isa: Isa,
    x: &[f32],
    size: Size,
    channels: usize,
    [kernel, stride, padding]: [usize; 3],
    y: &mut [f32],
    out: Size,
) {
    assert_eq!(x.len(), size.cells() * channels, "a pool's input");
    assert!(y.len() == out.cells() * channels && size.batch == out.batch, "a pool's output");
    let line = out.columns * channels;
    let target = Target::new(y);
    run_tasks(out.batch * out.rows, |task| {
        let (image, row) = (task / out.rows, task % out.rows);
        let rows = window(row * stride, padding, kernel, size.rows);
        for column in 0..out.columns {
            let columns = window(column * stride, padding, kernel, size.columns);
            let first = ((image * size.rows + rows.start) * size.columns + columns.start) * channels;
            let to = target.at(task * line + column * channels, channels);
            let cells = [rows.len(), columns.len()];
            let last = first + (cells[0].max(1) - 1) * size.columns * channels + cells[1].max(1) * channels;
            assert!(last <= x.len(), "a pool's window");
            // SAFETY: the window's first and last cell lie within `x`, as was just asserted, and each task writes a row of its
            // own.
            unsafe { maximum(isa, x[first..].as_ptr(), channels, size.columns * channels, cells, to) };
        }
    });
}

fn window(start: usize, padding: usize, kernel: usize, length: usize) -> std::ops::Range<usize> {
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(length)
}

kernel! {
    /// # Safety
    /// `x` is good for `channels` numbers in each of `cells` rows, `line` apart, and columns; `y` for `channels`.
    unsafe fn maximum(x: *const f32, channels: usize, line: usize, cells: [usize; 2], y: *mut f32) = maximum_body
}

#[inline(always)]
unsafe fn maximum_body<S: Simd>(x: *const f32, channels: usize, line: usize, cells: [usize; 2], y: *mut f32) {
    let whole = channels / S::LANES * S::LANES;
    // SAFETY: the caller's promise; the channels that make no vector are taken one by one.
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

/// Each image's mean over all cells, `[batch, channels]`.
///
/// # Panics
/// If a buffer's length is not what the sizes make it.
pub fn mean_of_cells(x: &[f32], size: Size, channels: usize, mean: &mut [f32]) {
    assert!(x.len() == size.cells() * channels && mean.len() == size.batch * channels, "a mean's buffers");
    let cells = size.rows * size.columns;
    /// Channels that a task has at least: whole cache lines.
    const CHANNELS: usize = 64;
    /// Numbers that are added in the time that it takes to wake a thread up.
    const WORTH_SHARING: usize = 64 << 10;
    let shared = if size.cells() * channels < WORTH_SHARING { 1 } else { rayon::current_num_threads() };
    let parts = channels.div_ceil(CHANNELS).min(shared);
    let target = Target::new(mean);
    run_tasks(size.batch * parts, |task| {
        let (image, range) = (task / parts, part(channels, CHANNELS, parts, task % parts));
        // SAFETY: `at` made sure of the channels, and each task has channels of its own.
        let mean = unsafe {
            std::slice::from_raw_parts_mut(target.at(image * channels + range.start, range.len()), range.len())
        };
        mean_of_columns(&x[image * cells * channels..][..cells * channels], channels, range.start, mean);
    });
}

vectorised! {
    /// The mean of each of some columns, from `first` on, of rows of `stride` numbers.
    fn mean_of_columns(x: &[f32], stride: usize, first: usize, mean: &mut [f32]) = mean_of_columns_body
}

#[inline(always)]
fn mean_of_columns_body<const FMA: bool>(x: &[f32], stride: usize, first: usize, mean: &mut [f32]) {
    /// Rows that are summed before the sum is added to the others: f32's rounding stays small.
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

vectorised! {
    /// Rows times one row.
    fn multiply_rows(x: &[f32], factors: &[f32], y: &mut [f32]) = multiply_rows_body
}

#[inline(always)]
fn multiply_rows_body<const FMA: bool>(x: &[f32], factors: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(factors.len()).zip(y.chunks_exact_mut(factors.len())) {
        x.iter().zip(factors).zip(y).for_each(|((x, factor), y)| *y = x * factor);
    }
}

vectorised! {
    /// Each of some columns' mean over a square of cells, `cells` wide and high, of rows of cells `line` numbers apart.
    fn mean_of_square(x: &[f32], line: usize, cells: usize, y: &mut [f32]) = mean_of_square_body
}

#[inline(always)]
fn mean_of_square_body<const FMA: bool>(x: &[f32], line: usize, cells: usize, y: &mut [f32]) {
    y.fill(0.0);
    for row in x.chunks(line).take(cells) {
        for cell in row.chunks(y.len()).take(cells) {
            y.iter_mut().zip(cell).for_each(|(y, x)| *y += x);
        }
    }
    let scale = 1.0 / (cells * cells) as f32;
    y.iter_mut().for_each(|y| *y *= scale);
}

/// Each channel of each image times the sigmoid of its gate, `[batch, channels]`.
///
/// # Panics
/// If a buffer's length is not what the sizes make it.
pub fn apply_gate(isa: Isa, x: &[f32], size: Size, gate: &mut [f32], y: &mut [f32]) {
    assert!(size.batch > 0 && gate.len().is_multiple_of(size.batch), "a gate's length");
    let channels = gate.len() / size.batch;
    assert!(x.len() == size.cells() * channels && y.len() == x.len(), "a gate's buffers");
    // SAFETY: the slice is good for its own length.
    unsafe { sigmoids(isa, gate.as_mut_ptr(), gate.len()) };
    let (line, gate, target) = (size.columns * channels, &*gate, Target::new(y));
    run_tasks(size.batch * size.rows, |task| {
        let gate = &gate[task / size.rows * channels..][..channels];
        // SAFETY: `at` made sure of the row, and each task has one of its own.
        let y = unsafe { std::slice::from_raw_parts_mut(target.at(task * line, line), line) };
        multiply_rows(&x[task * line..][..line], gate, y);
    });
}

kernel! {
    /// # Safety
    /// `x` is good for `count` numbers.
    unsafe fn sigmoids(x: *mut f32, count: usize) = sigmoids_body
}

#[inline(always)]
unsafe fn sigmoids_body<S: Simd>(x: *mut f32, count: usize) {
    let whole = count / S::LANES * S::LANES;
    // SAFETY: the caller's promise; what makes no vector goes through a buffer.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            S::store(x.add(at), sigmoid::<S>(S::load(x.add(at))));
        }
        let mut lanes = [0.0f32; 16];
        std::ptr::copy_nonoverlapping(x.add(whole), lanes.as_mut_ptr(), count - whole);
        let y = sigmoid::<S>(S::load(lanes.as_ptr()));
        S::store(lanes.as_mut_ptr(), y);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), x.add(whole), count - whole);
    }
}

/// Cells whose way between planes and maps is made at a time.
const CELLS: usize = 512;

/// `[batch, channels, cells]` to `[batch, cells, channels]`.
///
/// # Panics
/// If the buffers' lengths are not equal, or not whole images'.
pub fn from_planes(x: &[f32], batch: usize, channels: usize, y: &mut [f32]) {
    let cells = cells_of(x, batch, channels, y);
    let (parts, target) = (cells.div_ceil(CELLS), Target::new(y));
    run_tasks(batch * parts, |task| {
        let (image, range) = (task / parts, part(cells, 1, parts, task % parts));
        let (x, length) = (&x[image * cells * channels..][..cells * channels], range.len() * channels);
        // SAFETY: `at` made sure of the cells, and each task has cells of its own.
        let y = unsafe {
            std::slice::from_raw_parts_mut(target.at((image * cells + range.start) * channels, length), length)
        };
        for channel in 0..channels {
            let plane = &x[channel * cells + range.start..][..range.len()];
            y[channel..].iter_mut().step_by(channels).zip(plane).for_each(|(y, x)| *y = *x);
        }
    });
}

/// `[batch, cells, channels]` to `[batch, channels, cells]`.
///
/// # Panics
/// As [`from_planes`].
pub fn to_planes(x: &[f32], batch: usize, channels: usize, y: &mut [f32]) {
    /// Channels that a task writes: their lines of a block of cells stay in the cache.
    const CHANNELS: usize = 16;
    let cells = cells_of(x, batch, channels, y);
    let (parts, target) = (channels.div_ceil(CHANNELS), Target::new(y));
    run_tasks(batch * parts, |task| {
        let (image, range) = (task / parts, part(channels, CHANNELS, parts, task % parts));
        let x = &x[image * cells * channels..][..cells * channels];
        let length = range.len() * cells;
        // SAFETY: `at` made sure of the planes, and each task has planes of its own.
        let y = unsafe {
            std::slice::from_raw_parts_mut(target.at((image * channels + range.start) * cells, length), length)
        };
        for (cell, x) in x.chunks_exact(channels).enumerate() {
            for (index, &value) in x[range.clone()].iter().enumerate() {
                y[index * cells + cell] = value;
            }
        }
    });
}

fn cells_of(x: &[f32], batch: usize, channels: usize, y: &[f32]) -> usize {
    assert!(batch > 0 && channels > 0 && x.len() == y.len(), "planes' lengths");
    assert!(x.len().is_multiple_of(batch * channels), "planes' lengths");
    x.len() / (batch * channels)
}

/// Cells of a map in squares of `side`, their mean, into the columns of rows that are `stride` apart: feature aggregation
/// (method, section 2) of a map whose stride is 16 / `side`.
///
/// # Panics
/// If a buffer is too small, or the map's sides are not whole squares.
pub fn pool_into(x: &[f32], size: Size, channels: usize, side: usize, y: &mut [f32], first: usize, stride: usize) {
    assert_eq!(x.len(), size.cells() * channels, "an aggregation's input");
    assert!(
        side > 0 && size.rows.is_multiple_of(side) && size.columns.is_multiple_of(side),
        "an aggregation's squares"
    );
    let [rows, columns] = [size.rows / side, size.columns / side];
    let target = Target::new(y);
    run_tasks(size.batch * rows, |task| {
        let (image, row) = (task / rows, task % rows);
        for column in 0..columns {
            let at = (task * columns + column) * stride + first;
            // SAFETY: `at` made sure of the channels, and each task has rows of its own.
            let y = unsafe { std::slice::from_raw_parts_mut(target.at(at, channels), channels) };
            let from = ((image * size.rows + row * side) * size.columns + column * side) * channels;
            mean_of_square(&x[from..], size.columns * channels, side, y);
        }
    });
}
