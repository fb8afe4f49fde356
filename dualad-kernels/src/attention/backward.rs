//! The backward pass of attention for one head. The scores stay in the cache. (Forward: [`crate::attention()`].)
//!
//! Every matrix product is made in tiles ([`tile`]) of six rows and two vectors of columns, whose sums stay in registers. Keys and
//! values are copied first, so that a tile reads contiguous memory.

use crate::attention::shape::AttentionShape;
use crate::norm::softmax::exponentials;
use crate::vectorized::{lane_sum, mul_add, vectorized};

/// The rows of a tile: with two vectors of columns, its sums take twelve registers.
const ROWS: usize = 6;
const LANES: usize = 8;
/// The columns of a tile. If the number of vectors is odd, the last tile has one vector.
const TILE_COLUMNS: usize = 2 * LANES;

/// Sizes rounded up to whole tiles and vectors.
#[derive(Debug, Clone, Copy)]
struct Padded {
    queries: usize,
    keys: usize,
    width: usize,
}

impl Padded {
    fn new(shape: &AttentionShape) -> Self {
        Self {
            queries: shape.queries.next_multiple_of(ROWS),
            keys: shape.keys.next_multiple_of(ROWS).next_multiple_of(LANES),
            width: shape.width.next_multiple_of(LANES),
        }
    }
}

/// The buffers of the backward pass, kept from head to head.
#[derive(Debug, Default)]
pub(crate) struct BackwardScratch {
    /// The transposed keys and values, `[width, padded keys]`.
    transposed: [Vec<f32>; 2],
    /// The keys, `[keys, padded width]`.
    dense: Vec<f32>,
    /// The attention weights before the division by their sum, `[padded queries, padded keys]`, and their gradients.
    weights: Vec<f32>,
    gradients: Vec<f32>,
    /// The queries and the gradients of the output, `[padded queries, padded width]`.
    queries: Vec<f32>,
    outputs: Vec<f32>,
    /// The results of one tile row, `[ROWS, padded width]`.
    results: Vec<f32>,
}

impl BackwardScratch {
    fn resize(&mut self, shape: &AttentionShape) {
        let Padded { queries: rows, keys, width } = Padded::new(shape);
        let [transposed_keys, transposed_values] = &mut self.transposed;
        for (buffer, size) in [
            (transposed_keys, shape.width * keys),
            (transposed_values, shape.width * keys),
            (&mut self.dense, shape.keys * width),
            (&mut self.weights, rows * keys),
            (&mut self.gradients, rows * keys),
            (&mut self.queries, rows * width),
            (&mut self.outputs, rows * width),
            (&mut self.results, ROWS * width),
        ] {
            // A head of the same shape overwrites everything, and the padding by zeros.
            if buffer.len() != size {
                buffer.clear();
                buffer.resize(size, 0.0);
            }
        }
    }
}

/// Transposes `[keys, width]`, whose rows begin `stride` elements apart, to `[width, padded keys]`.
#[inline(always)]
fn transpose(x: &[f32], stride: usize, shape: &AttentionShape, transposed: &mut [f32]) {
    let (keys, width, padded) = (shape.keys, shape.width, Padded::new(shape).keys);
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
                transposed[(channel + column) * padded + token..][..LANES].copy_from_slice(&line);
            }
        }
    }
    for (token, row) in x.chunks(stride).enumerate().take(keys) {
        let first = if token < whole[0] { whole[1] } else { 0 };
        for (channel, value) in row[..width].iter().enumerate().skip(first) {
            transposed[channel * padded + token] = *value;
        }
    }
    for line in transposed.chunks_exact_mut(padded) {
        line[keys..].fill(0.0);
    }
}

/// Copies rows `first`, `first` + 1, ... of the `count` rows of `x` into `rows`, each multiplied by its `scale`. Rows are padded
/// from `width` to `padded` elements with zeros; rows from `count` on are zeros.
#[inline(always)]
fn copy_scaled_rows(
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

/// Multiplies [`ROWS`] rows of factors by the columns of `right` from `at` on. The factors are zipped, because an index would be
/// bounds-checked for each factor.
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

/// [`tile`] with the transpose of `left`: the factors are columns of `left` from `first` on.
#[inline(always)]
fn transposed_tile<const FMA: bool, const COLUMNS: usize>(
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

/// out `[ROWS, columns]` = the first `inner` columns of `left` `[ROWS, ..]` times `right` `[inner, columns]`.
#[inline(always)]
fn multiply<const FMA: bool>(left: &[f32], inner: usize, right: &[f32], columns: usize, out: &mut [f32]) {
    let stride = left.len() / ROWS;
    let left: [&[f32]; ROWS] = std::array::from_fn(|row| &left[row * stride..][..inner]);
    let mut at = 0;
    while at + TILE_COLUMNS <= columns {
        store(&tile::<FMA, TILE_COLUMNS>(left, right, columns, at), columns, &mut out[at..]);
        at += TILE_COLUMNS;
    }
    if at < columns {
        store(&tile::<FMA, LANES>(left, right, columns, at), columns, &mut out[at..]);
    }
}

/// out `[ROWS, columns]` = the transpose of [`ROWS`] columns of `left`, from `first` on, times `right` `[.., columns]`.
#[inline(always)]
fn multiply_transposed<const FMA: bool>(left: (&[f32], usize, usize), right: &[f32], columns: usize, out: &mut [f32]) {
    let mut at = 0;
    while at + TILE_COLUMNS <= columns {
        store(&transposed_tile::<FMA, TILE_COLUMNS>(left, right, columns, at), columns, &mut out[at..]);
        at += TILE_COLUMNS;
    }
    if at < columns {
        store(&transposed_tile::<FMA, LANES>(left, right, columns, at), columns, &mut out[at..]);
    }
}

#[inline(always)]
fn store<const COLUMNS: usize>(sums: &Tile<COLUMNS>, stride: usize, out: &mut [f32]) {
    for (row, sums) in sums.iter().enumerate() {
        out[row * stride..][..COLUMNS].copy_from_slice(sums);
    }
}

/// Replaces the scores of a tile's rows, from query `first` on, by e^(score - max). Masked keys and padding become zeros. Returns
/// the factor that makes each row a softmax, 1 / its sum; it is 0 for a row whose keys are all masked.
#[inline(always)]
fn exponentials_of_rows<const FMA: bool>(shape: &AttentionShape, first: usize, weights: &mut [f32]) -> [f32; ROWS] {
    let mut scales = [0.0; ROWS];
    for (row, weights) in weights.chunks_exact_mut(Padded::new(shape).keys).enumerate() {
        if first + row >= shape.queries {
            weights.fill(0.0);
            continue;
        }
        weights[shape.keys..].fill(f32::NEG_INFINITY);
        if let Some(mask) = shape.mask {
            for range in mask.masked(first + row) {
                weights[range].fill(f32::NEG_INFINITY);
            }
        }
        let sum = exponentials::<FMA>(weights);
        scales[row] = if sum == 0.0 { 0.0 } else { 1.0 / sum };
    }
    scales
}

vectorized! {
    /// Computes the gradients of q, k and v, `[tokens, width]` with contiguous rows: dV = P^T dY, dP = dY V^T,
    /// dS = P * (dP - sum of P * dP in each row), dQ = dS K and dK = dS^T Q, the last two scaled like S.
    ///
    /// The rows of P are never divided by their sums. The rows of dY are divided instead, and with them those of dP.
    pub(crate) fn attention_backward(
        shape: &AttentionShape, inputs: [&[f32]; 4], gradients: [&mut [f32]; 3], scratch: &mut BackwardScratch,
    ) = attention_backward_body
}

#[inline(always)]
fn attention_backward_body<const FMA: bool>(
    shape: &AttentionShape,
    [q, k, v, dy]: [&[f32]; 4],
    [dq, dk, dv]: [&mut [f32]; 3],
    scratch: &mut BackwardScratch,
) {
    scratch.resize(shape);
    let BackwardScratch { transposed: [keys, values], dense, weights, gradients, queries, outputs, results } = scratch;
    let AttentionShape { queries: tokens, width, strides, .. } = *shape;
    let Padded { keys: padded, width: wide, .. } = Padded::new(shape);
    transpose(k, strides.key, shape, keys);
    transpose(v, strides.value, shape, values);
    copy_scaled_rows(k, strides.key, [width, wide], [0, shape.keys], |_| 1.0, dense);
    let scale = (width as f32).powf(-0.5);
    copy_scaled_rows(q, strides.query, [width, wide], [0, tokens], |_| scale, queries);
    for first in (0..tokens).step_by(ROWS) {
        let (scores, wides) = (first * padded..(first + ROWS) * padded, first * wide..(first + ROWS) * wide);
        let (weights, gradients) = (&mut weights[scores.clone()], &mut gradients[scores]);
        let (queries, outputs) = (&queries[wides.clone()], &mut outputs[wides]);
        multiply::<FMA>(queries, width, keys, padded, weights);
        let scales = exponentials_of_rows::<FMA>(shape, first, weights);
        copy_scaled_rows(dy, strides.output, [width, wide], [first, tokens], |row| scales[row], outputs);
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
    // The queries are already scaled, so dK is too.
    for (weights, rows, out) in [(weights, outputs, dv), (gradients, queries, dk)] {
        for first in (0..shape.keys).step_by(ROWS) {
            multiply_transposed::<FMA>((weights, padded, first), rows, wide, results);
            for (row, result) in results.chunks_exact(wide).enumerate().take(shape.keys - first) {
                out[(first + row) * width..][..width].copy_from_slice(&result[..width]);
            }
        }
    }
}

/// Computes a row of dS in place from the row of dP / sum, given the row of P * sum and `scale` = 1 / sum.
#[inline(always)]
fn through_softmax<const FMA: bool>(gradients: &mut [f32], weights: &[f32], scale: f32) {
    let ((gradients, _), (weights, _)) = (gradients.as_chunks_mut::<LANES>(), weights.as_chunks::<LANES>());
    let mut sums = [[0.0f32; LANES]; 4];
    let ((fours, rest), (four_weights, rest_weights)) = (gradients.as_chunks::<4>(), weights.as_chunks::<4>());
    for (gradients, weights) in fours.iter().zip(four_weights) {
        for part in 0..4 {
            for lane in 0..LANES {
                sums[part][lane] = mul_add::<FMA>(gradients[part][lane], weights[part][lane], sums[part][lane]);
            }
        }
    }
    for (gradients, weights) in rest.iter().zip(rest_weights) {
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
    use crate::attention::shape::AttentionStrides;
    use crate::tests::TestValues;

    fn shape(queries: usize, keys: usize, width: usize) -> AttentionShape {
        let strides = AttentionStrides { query: width + 3, key: width, value: width + 1, output: width + 2 };
        AttentionShape { queries, keys, width, strides, mask: None }
    }

    #[test]
    fn gradients_do_not_depend_on_an_earlier_shape() {
        let (mut random, mut scratch) = (TestValues::new(0), BackwardScratch::default());
        for (queries, keys, width) in [(12, 50, 17), (6, 8, 16), (7, 5, 3), (5, 7, 3), (1, 1, 1), (12, 50, 17)] {
            let shape = shape(queries, keys, width);
            let [q, k, v, dy] = [queries, keys, keys, queries].map(|t| random.take(t * (width + 3)));
            let run = |scratch: &mut BackwardScratch| {
                let [mut dq, mut dk, mut dv] = [queries, keys, keys].map(|tokens| vec![0.0; tokens * width]);
                attention_backward(&shape, [&q, &k, &v, &dy], [&mut dq, &mut dk, &mut dv], scratch);
                [dq, dk, dv]
            };
            assert_eq!(run(&mut scratch), run(&mut BackwardScratch::default()), "{shape:?}");
        }
    }
}
