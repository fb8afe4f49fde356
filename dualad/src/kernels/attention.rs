//! Attention of one image's head, forward and backward, on scores that stay in the cache.
//!
//! Keys and values are turned so that keys lie side by side: every product is then either a row's combination of such rows
//! ([`combine`]), their weighted sums ([`contract`]), or an outer product added to them ([`spread`]), four queries at a time.

use crate::kernels::softmax::softmax_body;
use crate::kernels::{Window, kernel, mul_add};

/// Queries worked on together.
const ROWS: usize = 4;
const LANES: usize = 8;

/// Sizes of one head, in matrices whose rows stand some way apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionShape {
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Channels of the head.
    pub(crate) width: usize,
    /// Distance of rows of queries, keys and values, output.
    pub(crate) strides: [usize; 4],
    pub(crate) window: Option<Window>,
}

impl AttentionShape {
    /// Keys side by side, up to whole vectors.
    fn padded(&self) -> usize {
        self.keys.next_multiple_of(LANES)
    }
}

/// Buffers that are kept from head to head.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// `[width, padded]` each: keys, values, and their gradients.
    turned: [Vec<f32>; 4],
    /// `[ROWS, padded]`: weights, and their gradients.
    weights: Vec<f32>,
    gradients: Vec<f32>,
    /// `[ROWS, width]`: queries (or the output's gradients), results.
    rows: [Vec<f32>; 3],
}

impl Scratch {
    fn fit(&mut self, shape: &AttentionShape) {
        let padded = shape.padded();
        for turned in &mut self.turned {
            turned.clear();
            turned.resize(shape.width * padded, 0.0);
        }
        self.weights.clear();
        self.weights.resize(ROWS * padded, 0.0);
        self.gradients.clear();
        self.gradients.resize(ROWS * padded, 0.0);
        for rows in &mut self.rows {
            rows.clear();
            rows.resize(ROWS * shape.width, 0.0);
        }
    }
}

/// `[keys, width]` with rows `stride` apart to `[width, padded]`.
#[inline(always)]
fn turn(x: &[f32], stride: usize, shape: &AttentionShape, turned: &mut [f32]) {
    let (width, padded) = (shape.width, shape.padded());
    for (token, row) in x.chunks(stride).enumerate().take(shape.keys) {
        for (channel, value) in row[..width].iter().enumerate() {
            turned[channel * padded + token] = *value;
        }
    }
}

/// Up to [`ROWS`] rows of `x` from `first` on, times `scale`; the others are zeros.
#[inline(always)]
fn take(x: &[f32], stride: usize, width: usize, first: usize, tokens: usize, scale: f32, rows: &mut [f32]) {
    for (row, out) in rows.chunks_exact_mut(width).enumerate() {
        if first + row < tokens {
            let x = &x[(first + row) * stride..][..width];
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x * scale);
        } else {
            out.fill(0.0);
        }
    }
}

/// out `[ROWS, padded]` = rows `[ROWS, width]` times turned `[width, padded]`.
#[inline(always)]
fn combine<const FMA: bool>(rows: &[f32], turned: &[f32], width: usize, padded: usize, out: &mut [f32]) {
    let mut at = 0;
    while at + 24 <= padded {
        combine_block::<FMA, 24>(rows, turned, width, padded, at, out);
        at += 24;
    }
    while at < padded {
        combine_block::<FMA, 8>(rows, turned, width, padded, at, out);
        at += 8;
    }
}

#[inline(always)]
fn combine_block<const FMA: bool, const BLOCK: usize>(
    rows: &[f32],
    turned: &[f32],
    width: usize,
    padded: usize,
    at: usize,
    out: &mut [f32],
) {
    let mut sums = [[0.0f32; BLOCK]; ROWS];
    for channel in 0..width {
        let Some(turned) = turned[channel * padded + at..].first_chunk::<BLOCK>() else { return };
        for row in 0..ROWS {
            let factor = rows[row * width + channel];
            for lane in 0..BLOCK {
                sums[row][lane] = mul_add::<FMA>(factor, turned[lane], sums[row][lane]);
            }
        }
    }
    for row in 0..ROWS {
        out[row * padded + at..][..BLOCK].copy_from_slice(&sums[row]);
    }
}

/// out `[ROWS, width]` = weights `[ROWS, padded]` times the transpose of turned `[width, padded]`.
#[inline(always)]
fn contract<const FMA: bool>(weights: &[f32], turned: &[f32], width: usize, padded: usize, out: &mut [f32]) {
    let mut channel = 0;
    while channel + 2 <= width {
        contract_block::<FMA, 2>(weights, turned, width, padded, channel, out);
        channel += 2;
    }
    if channel < width {
        contract_block::<FMA, 1>(weights, turned, width, padded, channel, out);
    }
}

#[inline(always)]
fn contract_block<const FMA: bool, const CHANNELS: usize>(
    weights: &[f32],
    turned: &[f32],
    width: usize,
    padded: usize,
    channel: usize,
    out: &mut [f32],
) {
    let mut sums = [[[0.0f32; LANES]; CHANNELS]; ROWS];
    for at in (0..padded).step_by(LANES) {
        for offset in 0..CHANNELS {
            let Some(turned) = turned[(channel + offset) * padded + at..].first_chunk::<LANES>() else { return };
            for row in 0..ROWS {
                let Some(weights) = weights[row * padded + at..].first_chunk::<LANES>() else { return };
                for lane in 0..LANES {
                    sums[row][offset][lane] = mul_add::<FMA>(weights[lane], turned[lane], sums[row][offset][lane]);
                }
            }
        }
    }
    for row in 0..ROWS {
        for offset in 0..CHANNELS {
            out[row * width + channel + offset] = sums[row][offset].iter().sum();
        }
    }
}

/// turned `[width, padded]` += the transpose of rows `[ROWS, width]` times weights `[ROWS, padded]`.
#[inline(always)]
fn spread<const FMA: bool>(rows: &[f32], weights: &[f32], width: usize, padded: usize, turned: &mut [f32]) {
    for at in (0..padded).step_by(LANES) {
        let mut block = [[0.0f32; LANES]; ROWS];
        for (row, block) in block.iter_mut().enumerate() {
            block.copy_from_slice(&weights[row * padded + at..][..LANES]);
        }
        for channel in 0..width {
            let Some(turned) = turned[channel * padded + at..].first_chunk_mut::<LANES>() else { return };
            let mut sums = *turned;
            for (row, block) in block.iter().enumerate() {
                let factor = rows[row * width + channel];
                for lane in 0..LANES {
                    sums[lane] = mul_add::<FMA>(factor, block[lane], sums[lane]);
                }
            }
            *turned = sums;
        }
    }
}

/// Softmax of each of the rows from token `first` on, without the tokens that the window hides; padding becomes zeros.
#[inline(always)]
fn soften<const FMA: bool>(shape: &AttentionShape, first: usize, weights: &mut [f32]) {
    let (queries, keys, padded) = (shape.queries, shape.keys, shape.padded());
    for (row, weights) in weights.chunks_exact_mut(padded).enumerate() {
        if first + row >= queries {
            weights.fill(0.0);
            continue;
        }
        weights[keys..].fill(f32::NEG_INFINITY);
        if let Some(window) = shape.window {
            for range in window.masked(first + row) {
                weights[range].fill(f32::NEG_INFINITY);
            }
        }
        softmax_body::<FMA>(weights);
    }
}

kernel! {
    /// One head's output `[tokens, width]`. The slices begin at the head's first channel.
    fn attention(
        shape: &AttentionShape, q: &[f32], k: &[f32], v: &[f32], y: &mut [f32], scratch: &mut Scratch,
    ) = attention_body
}

#[inline(always)]
fn attention_body<const FMA: bool>(
    shape: &AttentionShape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    y: &mut [f32],
    scratch: &mut Scratch,
) {
    scratch.fit(shape);
    let Scratch { turned: [keys, values, ..], weights, rows: [queries, results, _], .. } = scratch;
    let (AttentionShape { queries: tokens, width, strides, .. }, padded) = (*shape, shape.padded());
    turn(k, strides[1], shape, keys);
    turn(v, strides[2], shape, values);
    let scale = (width as f32).powf(-0.5);
    for first in (0..tokens).step_by(ROWS) {
        take(q, strides[0], width, first, tokens, scale, queries);
        combine::<FMA>(queries, keys, width, padded, weights);
        soften::<FMA>(shape, first, weights);
        contract::<FMA>(weights, values, width, padded, results);
        for (row, result) in results.chunks_exact(width).enumerate().take(tokens - first) {
            y[(first + row) * strides[3]..][..width].copy_from_slice(result);
        }
    }
}

kernel! {
    /// The gradients of q, k and v, dense `[tokens, width]`, from the output's. dV = P^T dY, dP = dY V^T,
    /// dS = P * (dP - sum of P * dP in each row), dQ = dS K and dK = dS^T Q, both scaled as S is.
    fn attention_backward(
        shape: &AttentionShape, inputs: [&[f32]; 4], gradients: [&mut [f32]; 3], scratch: &mut Scratch,
    ) = attention_backward_body
}

#[inline(always)]
fn attention_backward_body<const FMA: bool>(
    shape: &AttentionShape,
    [q, k, v, dy]: [&[f32]; 4],
    [dq, dk, dv]: [&mut [f32]; 3],
    scratch: &mut Scratch,
) {
    scratch.fit(shape);
    let Scratch { turned: [keys, values, d_keys, d_values], weights, gradients, rows: [queries, results, d_results] } =
        scratch;
    let (AttentionShape { queries: tokens, width, strides, .. }, padded) = (*shape, shape.padded());
    turn(k, strides[1], shape, keys);
    turn(v, strides[2], shape, values);
    let scale = (width as f32).powf(-0.5);
    for first in (0..tokens).step_by(ROWS) {
        take(q, strides[0], width, first, tokens, scale, queries);
        take(dy, strides[3], width, first, tokens, 1.0, d_results);
        combine::<FMA>(queries, keys, width, padded, weights);
        soften::<FMA>(shape, first, weights);
        combine::<FMA>(d_results, values, width, padded, gradients);
        spread::<FMA>(d_results, weights, width, padded, d_values);
        for (gradients, weights) in gradients.chunks_exact_mut(padded).zip(weights.chunks_exact(padded)) {
            let mut sums = [0.0f32; LANES];
            let ((gradients, _), (weights, _)) = (gradients.as_chunks_mut::<LANES>(), weights.as_chunks::<LANES>());
            for (gradients, weights) in gradients.iter().zip(weights) {
                for lane in 0..LANES {
                    sums[lane] = mul_add::<FMA>(gradients[lane], weights[lane], sums[lane]);
                }
            }
            let mean = sums.iter().sum::<f32>();
            for (gradients, weights) in gradients.iter_mut().zip(weights) {
                for lane in 0..LANES {
                    gradients[lane] = weights[lane] * (gradients[lane] - mean);
                }
            }
        }
        // The queries are scaled already, and with them dK.
        spread::<FMA>(queries, gradients, width, padded, d_keys);
        contract::<FMA>(gradients, keys, width, padded, results);
        for (row, result) in results.chunks_exact(width).enumerate().take(tokens - first) {
            let dq = &mut dq[(first + row) * width..][..width];
            dq.iter_mut().zip(result).for_each(|(dq, result)| *dq = result * scale);
        }
    }
    for (turned, out) in [(d_keys, dk), (d_values, dv)] {
        for token in 0..shape.keys {
            for channel in 0..width {
                out[token * width + channel] = turned[channel * padded + token];
            }
        }
    }
}
