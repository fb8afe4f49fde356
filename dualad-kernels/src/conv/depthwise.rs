//! Depthwise convolutions: one kernel for each channel. Vectors run over channels.

use std::sync::Arc;

use crate::activation::Activation;
use crate::conv::shape::{ConvArgs, ConvShape};
use crate::memory::Buffer;
use crate::parallel::{SharedOut, run_tasks};
use crate::simd::isa::{Isa, kernel};
use crate::simd::math::activate;
use crate::simd::vector::Simd;

/// The lanes of the widest vector: channels are padded to a multiple of them.
const LANES: usize = 16;

/// The weights, `[kernel, kernel, padded channels]`.
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
    pub(crate) fn new(isa: Isa, shape: ConvShape, weight: &[f32], bias: &[f32]) -> Self {
        let ConvShape { inputs: channels, kernel, stride, .. } = shape;
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

    pub(crate) fn run(&self, args: &ConvArgs<&[f32]>, y: &mut [f32]) {
        let ConvArgs { x, input: size, padding, output: out, residual, activation } = *args;
        let line = out.columns * self.channels;
        let shared = SharedOut::new(y);
        run_tasks(out.batch * out.rows, |task| {
            let (image, row) = (task / out.rows, task % out.rows);
            // The rows of the kernel that lie inside the map.
            let top = (row * self.stride) as isize - padding.top as isize;
            let [first, last] = within(top, self.kernel, size.rows);
            let start = shared.at(task * line, line);
            let mut column = 0;
            while column < out.columns {
                let left = (column * self.stride) as isize - padding.left as isize;
                let [first_column, last_column] = within(left, self.kernel, size.columns);
                // Neighboring cells whose kernels lie entirely inside the map share each load of the weights.
                let inner = |column: usize| {
                    let left = (column * self.stride) as isize - padding.left as isize;
                    left >= 0 && left as usize + self.kernel <= size.columns
                };
                let joint = [8, 4, 2]
                    .into_iter()
                    .find(|&count| column + count <= out.columns && inner(column) && inner(column + count - 1));
                let joint = joint.unwrap_or(1);
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
                let (to, length) = (column * self.channels, joint * self.channels);
                let residual =
                    residual.map_or(std::ptr::null(), |residual| residual[task * line + to..][..length].as_ptr());
                // SAFETY: the cells of the kernel from the first to the last lie inside the map, by `within` and `inner`, so every
                // input is an element of `x`, whose length the caller checked; no other task writes this row of `y`.
                unsafe { depthwise(self.isa, &x[at..], weights, start.add(to), residual, &cell, joint) };
                column += joint;
            }
        });
    }
}

/// Returns the cells of a kernel that lie inside `0..length` if the kernel begins at `start`: the first, and one past the last.
fn within(start: isize, kernel: usize, length: usize) -> [usize; 2] {
    let first = (-start).max(0) as usize;
    let last = (length as isize - start).clamp(0, kernel as isize) as usize;
    [first.min(kernel.saturating_sub(1)), last]
}

/// An output cell.
struct Cell {
    bias: *const f32,
    channels: usize,
    activation: Activation,
    /// The rows and columns of the kernel that lie inside the map.
    rows: usize,
    columns: usize,
    /// The distances from a row, and from a column, to the next: in the weights and in the input.
    weights: [usize; 2],
    input: [usize; 2],
    /// The distance in the input between the patches of neighboring output cells.
    step: usize,
}

kernel! {
    /// Computes `count` neighboring output cells: 1, 2, 4 or 8.
    ///
    /// # Safety
    /// `x` begins at the first cell of the kernel that lies inside the map, and the others are `cell.input` apart; the same holds
    /// for `weights`, which are padded to whole vectors; `y` and the residual, if it is not null, are valid for the channels of all
    /// cells.
    unsafe fn depthwise(
        x: &[f32], weights: *const f32, y: *mut f32, residual: *const f32, cell: &Cell, count: usize,
    ) = depthwise_body
}

#[inline(always)]
unsafe fn depthwise_body<S: Simd>(
    x: &[f32],
    weights: *const f32,
    y: *mut f32,
    residual: *const f32,
    cell: &Cell,
    count: usize,
) {
    // SAFETY: the caller's promise; channels that do not fill a vector are computed one by one.
    unsafe {
        match count {
            8 => vectors::<S, 8>(x.as_ptr(), weights, y, residual, cell),
            4 => vectors::<S, 4>(x.as_ptr(), weights, y, residual, cell),
            2 => vectors::<S, 2>(x.as_ptr(), weights, y, residual, cell),
            _ => vectors::<S, 1>(x.as_ptr(), weights, y, residual, cell),
        }
        let whole = cell.channels / S::LANES * S::LANES;
        for index in 0..count {
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
unsafe fn vectors<S: Simd, const COUNT: usize>(
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
            let mut sums = [S::load(cell.bias.add(channel)); COUNT];
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
