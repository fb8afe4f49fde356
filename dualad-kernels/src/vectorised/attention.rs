//! Attention of one image's head backward, on scores that stay in the cache (forward: [`crate::attention()`]).
//!
//! Every product is made in tiles of some rows by two vectors of columns ([`tile`]), whose sums stay in registers: six
//! queries by all keys, by all channels, and, backward, six keys by all channels. Keys and values are copied so that what a
//! tile reads lies side by side.

use crate::vectorised;
use crate::vectorised::softmax::exponentials;
use crate::vectorised::{Window, lane_sum, mul_add};

/// Rows of a tile: with two vectors of columns, twelve registers of sums.
const ROWS: usize = 6;
const LANES: usize = 8;
/// Columns of a tile; where their number of vectors is odd, the last has one.
const TWO: usize = 2 * LANES;

/// Sizes of one head, in matrices whose rows stand some way apart.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Tokens that ask.
    pub queries: usize,
    /// Tokens that are asked.
    pub keys: usize,
    /// Channels of the head.
    pub width: usize,
    /// Distance of rows of queries, keys and values, output.
    pub strides: [usize; 4],
    /// What a query must not attend to.
    pub window: Option<Window>,
}

impl AttentionShape {
    /// Keys side by side, up to whole tiles and vectors.
    fn padded_keys(&self) -> usize {
        self.keys.next_multiple_of(ROWS).next_multiple_of(LANES)
    }

    /// Channels side by side, up to whole vectors.
    fn padded_width(&self) -> usize {
        self.width.next_multiple_of(LANES)
    }

    fn padded_queries(&self) -> usize {
        self.queries.next_multiple_of(ROWS)
    }
}

/// Buffers that are kept from head to head.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// `[width, padded keys]`: keys, values.
    turned: [Vec<f32>; 2],
    /// `[keys, padded width]`: keys.
    dense: Vec<f32>,
    /// `[queries, padded keys]`: weights before they are divided by their sum, and their gradients.
    weights: Vec<f32>,
    gradients: Vec<f32>,
    /// `[queries, padded width]`: queries, and the output's gradients.
    queries: Vec<f32>,
    outputs: Vec<f32>,
    /// `[ROWS, padded width]`: results.
    results: Vec<f32>,
}

impl Scratch {
    fn fit(&mut self, shape: &AttentionShape) {
        let (keys, width, rows) = (shape.padded_keys(), shape.padded_width(), shape.padded_queries());
        let [turned_keys, turned_values] = &mut self.turned;
        for (buffer, size) in [
            (turned_keys, shape.width * keys),
            (turned_values, shape.width * keys),
            (&mut self.dense, shape.keys * width),
            (&mut self.weights, rows * keys),
            (&mut self.gradients, rows * keys),
            (&mut self.queries, rows * width),
            (&mut self.outputs, rows * width),
            (&mut self.results, ROWS * width),
        ] {
            // What a head leaves behind is overwritten by the next of the same shape, padding by zeros.
            if buffer.len() != size {
                buffer.clear();
                buffer.resize(size, 0.0);
            }
        }
    }
}

/// `[keys, width]` with rows `stride` apart to `[width, padded keys]`.
#[inline(always)]
fn turn(x: &[f32], stride: usize, shape: &AttentionShape, turned: &mut [f32]) {
    let (keys, width, padded) = (shape.keys, shape.width, shape.padded_keys());
    let whole = [keys / LANES * LANES, width / LANES * LANES];
    for token in (0..whole[0]).step_by(LANES) {
        for channel in (0..whole[1]).step_by(LANES) {
            let mut block = [[0.0f32; LANES]; LANES];
            for (row, block) in block.iter_mut().enumerate() {
                block.copy_from_slice(&x[(token + row) * stride + channel..][..LANES]);
            }
            for column in 0..LANES {
                let mut line = [0.0f32; LANES];
                for row in 0..LANES {
                    line[row] = block[row][column];
                }
                turned[(channel + column) * padded + token..][..LANES].copy_from_slice(&line);
            }
        }
    }
    for (token, row) in x.chunks(stride).enumerate().take(keys) {
        let first = if token < whole[0] { whole[1] } else { 0 };
        for (channel, value) in row[..width].iter().enumerate().skip(first) {
            turned[channel * padded + token] = *value;
        }
    }
    for line in turned.chunks_exact_mut(padded) {
        line[keys..].fill(0.0);
    }
}

/// Up to `rows.len() / padded` rows of `x` from `first` on, times `scales` of each; the others, and padding, are zeros.
#[inline(always)]
fn take(
    x: &[f32],
    stride: usize,
    [width, padded]: [usize; 2],
    [first, count]: [usize; 2],
    scale: impl Fn(usize) -> f32,
    rows: &mut [f32],
) {
    for (row, out) in rows.chunks_exact_mut(padded).enumerate() {
        let (out, padding) = out.split_at_mut(width);
        padding.fill(0.0);
        if first + row < count {
            let (x, scale) = (&x[(first + row) * stride..][..width], scale(row));
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x * scale);
        } else {
            out.fill(0.0);
        }
    }
}

type Tile<const COLUMNS: usize> = [[f32; COLUMNS]; ROWS];

/// [`ROWS`] rows of factors times some columns, from `at` on, of the rows of `right`. Zipped: an index would be checked for
/// each factor.
#[inline(always)]
fn tile<const FMA: bool, const COLUMNS: usize>(
    [a, b, c, d, e, f]: [&[f32]; ROWS],
    right: &[f32],
    stride: usize,
    at: usize,
) -> Tile<COLUMNS> {
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    let factors = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f);
    for ((((((a, b), c), d), e), f), right) in factors.zip(right.chunks_exact(stride)) {
        let Some(right) = right[at..].first_chunk::<COLUMNS>() else { return sums };
        add_product::<FMA, COLUMNS>([*a, *b, *c, *d, *e, *f], right, &mut sums);
    }
    sums
}

/// As [`tile`], with the factors side by side in the rows of `left`, from `first` on: a product with the transpose.
#[inline(always)]
fn turned_tile<const FMA: bool, const COLUMNS: usize>(
    (left, left_stride, first): (&[f32], usize, usize),
    right: &[f32],
    stride: usize,
    at: usize,
) -> Tile<COLUMNS> {
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    for (left, right) in left.chunks_exact(left_stride).zip(right.chunks_exact(stride)) {
        let (Some(left), Some(right)) = (left[first..].first_chunk(), right[at..].first_chunk::<COLUMNS>()) else {
            return sums;
        };
        add_product::<FMA, COLUMNS>(*left, right, &mut sums);
    }
    sums
}

#[inline(always)]
fn add_product<const FMA: bool, const COLUMNS: usize>(
    factors: [f32; ROWS],
    right: &[f32; COLUMNS],
    sums: &mut Tile<COLUMNS>,
) {
    for row in 0..ROWS {
        for lane in 0..COLUMNS {
            sums[row][lane] = mul_add::<FMA>(factors[row], right[lane], sums[row][lane]);
        }
    }
}

/// out `[ROWS, columns]` = the first `inner` columns of left `[ROWS, ..]` times right `[inner, columns]`.
#[inline(always)]
fn multiply<const FMA: bool>(left: &[f32], inner: usize, right: &[f32], columns: usize, out: &mut [f32]) {
    let stride = left.len() / ROWS;
    let left: [&[f32]; ROWS] = std::array::from_fn(|row| &left[row * stride..][..inner]);
    let mut at = 0;
    while at + TWO <= columns {
        store(&tile::<FMA, TWO>(left, right, columns, at), columns, &mut out[at..]);
        at += TWO;
    }
    if at < columns {
        store(&tile::<FMA, LANES>(left, right, columns, at), columns, &mut out[at..]);
    }
}

/// out `[ROWS, columns]` = the transpose of [`ROWS`] columns of left, from `first` on, times right `[.., columns]`.
#[inline(always)]
fn multiply_turned<const FMA: bool>(left: (&[f32], usize, usize), right: &[f32], columns: usize, out: &mut [f32]) {
    let mut at = 0;
    while at + TWO <= columns {
        store(&turned_tile::<FMA, TWO>(left, right, columns, at), columns, &mut out[at..]);
        at += TWO;
    }
    if at < columns {
        store(&turned_tile::<FMA, LANES>(left, right, columns, at), columns, &mut out[at..]);
    }
}

#[inline(always)]
fn store<const COLUMNS: usize>(sums: &Tile<COLUMNS>, stride: usize, out: &mut [f32]) {
    for (row, sums) in sums.iter().enumerate() {
        out[row * stride..][..COLUMNS].copy_from_slice(sums);
    }
}

/// e^(score - largest) of each of a tile's rows from query `first` on, zero for the keys that the window hides and for
/// padding; and for each row what makes it a softmax, 1 / its sum. A row that is hidden altogether stays zeros.
#[inline(always)]
fn soften<const FMA: bool>(shape: &AttentionShape, first: usize, weights: &mut [f32]) -> [f32; ROWS] {
    let mut scales = [0.0; ROWS];
    for (row, weights) in weights.chunks_exact_mut(shape.padded_keys()).enumerate() {
        if first + row >= shape.queries {
            weights.fill(0.0);
            continue;
        }
        weights[shape.keys..].fill(f32::NEG_INFINITY);
        if let Some(window) = shape.window {
            for range in window.masked(first + row) {
                weights[range].fill(f32::NEG_INFINITY);
            }
        }
        let sum = exponentials::<FMA>(weights);
        scales[row] = if sum == 0.0 { 0.0 } else { 1.0 / sum };
    }
    scales
}

vectorised! {
    /// The gradients of q, k and v, dense `[tokens, width]`, from the output's. dV = P^T dY, dP = dY V^T,
    /// dS = P * (dP - sum of P * dP in each row), dQ = dS K and dK = dS^T Q, both scaled as S is.
    ///
    /// P is never divided by its rows' sums: the rows of dY are instead, and with them those of dP.
    pub(crate) fn attention_backward(
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
    let Scratch { turned: [keys, values], dense, weights, gradients, queries, outputs, results } = scratch;
    let AttentionShape { queries: tokens, width, strides, .. } = *shape;
    let (padded, wide) = (shape.padded_keys(), shape.padded_width());
    turn(k, strides[1], shape, keys);
    turn(v, strides[2], shape, values);
    take(k, strides[1], [width, wide], [0, shape.keys], |_| 1.0, dense);
    let scale = (width as f32).powf(-0.5);
    take(q, strides[0], [width, wide], [0, tokens], |_| scale, queries);
    for first in (0..tokens).step_by(ROWS) {
        let (scores, wides) = (first * padded..(first + ROWS) * padded, first * wide..(first + ROWS) * wide);
        let (weights, gradients) = (&mut weights[scores.clone()], &mut gradients[scores]);
        let (queries, outputs) = (&queries[wides.clone()], &mut outputs[wides]);
        multiply::<FMA>(queries, width, keys, padded, weights);
        let scales = soften::<FMA>(shape, first, weights);
        take(dy, strides[3], [width, wide], [first, tokens], |row| scales[row], outputs);
        multiply::<FMA>(outputs, width, values, padded, gradients);
        let rows = gradients.chunks_exact_mut(padded).zip(weights.chunks_exact(padded));
        for ((gradients, weights), scale) in rows.zip(scales) {
            through_softmax::<FMA>(gradients, weights, scale);
        }
        multiply::<FMA>(gradients, shape.keys, dense, wide, results);
        for (row, result) in results.chunks_exact(wide).enumerate().take(tokens - first) {
            let dq = &mut dq[(first + row) * width..][..width];
            dq.iter_mut().zip(result).for_each(|(dq, result)| *dq = result * scale);
        }
    }
    // The queries are scaled already, and with them dK.
    for (weights, rows, out) in [(weights, outputs, dv), (gradients, queries, dk)] {
        for first in (0..shape.keys).step_by(ROWS) {
            multiply_turned::<FMA>((weights, padded, first), rows, wide, results);
            for (row, result) in results.chunks_exact(wide).enumerate().take(shape.keys - first) {
                out[(first + row) * width..][..width].copy_from_slice(&result[..width]);
            }
        }
    }
}

/// A row of dS from one of dP / sum, that of P * sum, and `scale` = 1 / sum.
#[inline(always)]
fn through_softmax<const FMA: bool>(gradients: &mut [f32], weights: &[f32], scale: f32) {
    let ((gradients, _), (weights, _)) = (gradients.as_chunks_mut::<LANES>(), weights.as_chunks::<LANES>());
    let mut sums = [[0.0f32; LANES]; 4];
    let ((fours, few), (four_weights, few_weights)) = (gradients.as_chunks::<4>(), weights.as_chunks::<4>());
    for (gradients, weights) in fours.iter().zip(four_weights) {
        for part in 0..4 {
            for lane in 0..LANES {
                sums[part][lane] = mul_add::<FMA>(gradients[part][lane], weights[part][lane], sums[part][lane]);
            }
        }
    }
    for (gradients, weights) in few.iter().zip(few_weights) {
        for lane in 0..LANES {
            sums[0][lane] = mul_add::<FMA>(gradients[lane], weights[lane], sums[0][lane]);
        }
    }
    let mean = lane_sum(sums) * scale;
    for (gradients, weights) in gradients.iter_mut().zip(weights) {
        for lane in 0..LANES {
            gradients[lane] = weights[lane] * (gradients[lane] - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Numbers;

    fn shape(queries: usize, keys: usize, width: usize) -> AttentionShape {
        AttentionShape { queries, keys, width, strides: [width + 3, width, width + 1, width + 2], window: None }
    }

    #[test]
    fn a_scratch_may_come_from_another_shape() {
        let (mut random, mut scratch) = (Numbers::new(0), Scratch::default());
        for (queries, keys, width) in [(12, 50, 17), (6, 8, 16), (7, 5, 3), (5, 7, 3), (1, 1, 1), (12, 50, 17)] {
            let shape = shape(queries, keys, width);
            let [q, k, v, dy] = [queries, keys, keys, queries].map(|t| random.take(t * (width + 3)));
            let run = |scratch: &mut Scratch| {
                let [mut dq, mut dk, mut dv] = [queries, keys, keys].map(|tokens| vec![0.0; tokens * width]);
                attention_backward(&shape, [&q, &k, &v, &dy], [&mut dq, &mut dk, &mut dv], scratch);
                [dq, dk, dv]
            };
            assert_eq!(run(&mut scratch), run(&mut Scratch::default()), "{shape:?}");
        }
    }
}
