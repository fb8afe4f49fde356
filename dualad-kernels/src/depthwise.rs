//! Depthwise convolutions: each channel with a kernel of its own, vectors over channels.

use std::sync::Arc;

use crate::Activation;
use crate::convolution::{Shape, Size};
use crate::math::activate;
use crate::memory::{Buffer, Target, run_tasks};
use crate::simd::{Isa, Simd, kernel};

/// Lanes that channels are padded to: the widest vector's.
const LANES: usize = 16;

/// Weights by kernel cell, then channel.
#[derive(Debug, Clone)]
pub(crate) struct Depthwise {
    isa: Isa,
    channels: usize,
    padded: usize,
    kernel: usize,
    stride: usize,
    weights: Arc<Buffer>,
    bias: Arc<Buffer>,
}

impl Depthwise {
    pub(crate) fn new(isa: Isa, shape: Shape, weight: &[f32], bias: &[f32]) -> Self {
        let Shape { inputs: channels, kernel, stride, .. } = shape;
        let (padded, cells) = (channels.next_multiple_of(LANES), kernel * kernel);
        let mut weights = Buffer::zeros(cells * padded);
        for (cell, line) in weights.chunks_exact_mut(padded).enumerate() {
            for (channel, value) in line.iter_mut().enumerate().take(channels) {
                *value = weight[channel * cells + cell];
            }
        }
        let mut padded_bias = Buffer::zeros(padded);
        padded_bias[..channels].copy_from_slice(bias);
        Self { isa, channels, padded, kernel, stride, weights: weights.into(), bias: padded_bias.into() }
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn run(
        &self,
        x: &[f32],
        size: Size,
        padding: [usize; 2],
        y: &mut [f32],
        out: Size,
        residual: Option<&[f32]>,
        activation: Activation,
    ) {
        let line = out.columns * self.channels;
        let target = Target::new(y);
        run_tasks(out.batch * out.rows, |task| {
            let (image, row) = (task / out.rows, task % out.rows);
            // The kernel's rows that lie within the map.
            let top = (row * self.stride) as isize - padding[0] as isize;
            let [first, last] = within(top, self.kernel, size.rows);
            let start = target.at(task * line, line);
            let mut column = 0;
            while column < out.columns {
                let left = (column * self.stride) as isize - padding[1] as isize;
                let [first_column, last_column] = within(left, self.kernel, size.columns);
                // Neighbours whose kernels lie within the map altogether share their weights.
                let inner = |column: usize| {
                    let left = (column * self.stride) as isize - padding[1] as isize;
                    left >= 0 && left as usize + self.kernel <= size.columns
                };
                let together = [8, 4, 2]
                    .into_iter()
                    .find(|&count| column + count <= out.columns && inner(column) && inner(column + count - 1));
                let together = together.unwrap_or(1);
                let cell = Cell {
                    bias: self.bias.as_ptr(),
                    channels: self.channels,
                    activation,
                    rows: last.saturating_sub(first),
                    columns: last_column.saturating_sub(first_column),
                    weights: [self.kernel * self.padded, self.padded],
                    input: [size.columns * self.channels, self.channels],
                    step: self.stride * self.channels,
                };
                let (y0, x0) = ((top + first as isize).max(0) as usize, (left + first_column as isize).max(0) as usize);
                let at = ((image * size.rows + y0.min(size.rows - 1)) * size.columns + x0.min(size.columns - 1))
                    * self.channels;
                let weights = self.weights[(first * self.kernel + first_column) * self.padded..].as_ptr();
                let (to, length) = (column * self.channels, together * self.channels);
                let residual =
                    residual.map_or(std::ptr::null(), |residual| residual[task * line + to..][..length].as_ptr());
                // SAFETY: the kernel's cells from the first to the last lie within the map, as `within` and `inner` say, so that
                // every input is one of `x`, whose length the caller checked; the row of `y` is this task's alone.
                unsafe { depthwise(self.isa, &x[at..], weights, start.add(to), residual, &cell, together) };
                column += together;
            }
        });
    }
}

/// Which of `kernel` cells from `start` on lie within `length`: the first, and one past the last.
fn within(start: isize, kernel: usize, length: usize) -> [usize; 2] {
    let first = (-start).max(0) as usize;
    let last = (length as isize - start).clamp(0, kernel as isize) as usize;
    [first.min(kernel.saturating_sub(1)), last]
}

/// One cell of the output.
struct Cell {
    bias: *const f32,
    channels: usize,
    activation: Activation,
    /// Of the kernel, as far as they lie within the map.
    rows: usize,
    columns: usize,
    /// From a row, and from a column, to the next.
    weights: [usize; 2],
    input: [usize; 2],
    /// In the input, from an output's cells to the next one's.
    step: usize,
}

kernel! {
    /// One cell of the output, or several side by side: 1, 2, 4 or 8.
    ///
    /// # Safety
    /// `x` begins at the first cell of the kernel that lies within the map, and the others are `cell.input` apart; `weights`
    /// likewise, padded to whole vectors; `y` and the residual, where it is not null, are good for the channels of all cells.
    unsafe fn depthwise(
        x: &[f32], weights: *const f32, y: *mut f32, residual: *const f32, cell: &Cell, together: usize,
    ) = depthwise_body
}

#[inline(always)]
unsafe fn depthwise_body<S: Simd>(
    x: &[f32],
    weights: *const f32,
    y: *mut f32,
    residual: *const f32,
    cell: &Cell,
    together: usize,
) {
    // SAFETY: the caller's promise; the channels that make no vector are taken one by one.
    unsafe {
        match together {
            8 => vectors::<S, 8>(x.as_ptr(), weights, y, residual, cell),
            4 => vectors::<S, 4>(x.as_ptr(), weights, y, residual, cell),
            2 => vectors::<S, 2>(x.as_ptr(), weights, y, residual, cell),
            _ => vectors::<S, 1>(x.as_ptr(), weights, y, residual, cell),
        }
        let whole = cell.channels / S::LANES * S::LANES;
        for index in 0..together {
            for channel in whole..cell.channels {
                let mut sum = *cell.bias.add(channel);
                for row in 0..cell.rows {
                    for column in 0..cell.columns {
                        let at = row * cell.input[0] + column * cell.input[1] + index * cell.step;
                        sum +=
                            x[at + channel] * *weights.add(row * cell.weights[0] + column * cell.weights[1] + channel);
                    }
                }
                let to = index * cell.channels + channel;
                if !residual.is_null() {
                    sum += *residual.add(to);
                }
                let mut lanes = [0.0f32; LANES];
                S::store(lanes.as_mut_ptr(), activate::<S>(S::splat(sum), cell.activation));
                *y.add(to) = lanes[0];
            }
        }
    }
}

#[inline(always)]
unsafe fn vectors<S: Simd, const TOGETHER: usize>(
    x: *const f32,
    weights: *const f32,
    y: *mut f32,
    residual: *const f32,
    cell: &Cell,
) {
    let whole = cell.channels / S::LANES * S::LANES;
    for channel in (0..whole).step_by(S::LANES) {
        // SAFETY: the caller's promise; whole vectors of channels.
        unsafe {
            let mut sums = [S::load(cell.bias.add(channel)); TOGETHER];
            for row in 0..cell.rows {
                for column in 0..cell.columns {
                    let weight = S::load(weights.add(row * cell.weights[0] + column * cell.weights[1] + channel));
                    let from = x.add(row * cell.input[0] + column * cell.input[1] + channel);
                    for (index, sum) in sums.iter_mut().enumerate() {
                        *sum = S::mul_add(S::load(from.add(index * cell.step)), weight, *sum);
                    }
                }
            }
            for (index, mut sum) in sums.into_iter().enumerate() {
                let to = index * cell.channels + channel;
                if !residual.is_null() {
                    sum = S::add(sum, S::load(residual.add(to)));
                }
                S::store(y.add(to), activate::<S>(sum, cell.activation));
            }
        }
    }
}
