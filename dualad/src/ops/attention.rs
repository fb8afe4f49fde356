//! Multi-head attention with the neighbour mask (method, section 4).
//!
//! The scores of one image and head stay in the cache of the thread that works on them: no `[batch, heads, tokens, tokens]`
//! tensor is made, and none is kept for the backward pass, which makes them again. The mask is arithmetic on rows and columns.

use candle_core::{CpuStorage, CustomOp3, D, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::ops::matrix::{Shape as MatrixShape, Target, multiply, multiply_into};
use crate::ops::{is_fast, values, widened, with_values};

const NAME: &str = "attention";

/// The neighbours that a token must not attend to: those within half of `rows` and `columns` of it, itself included,
/// on a grid read row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Rows and columns of tokens.
    pub(crate) grid: [usize; 2],
    /// Rows and columns of the window; an even number counts as the odd one above it.
    pub(crate) size: [usize; 2],
}

impl Window {
    /// Ranges of tokens, one for each row of the window, that the token must not attend to.
    pub(crate) fn masked(self, token: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let [rows, columns] = self.grid;
        let [above, beside] = self.size.map(|side| side / 2);
        let (row, column) = (token / columns, token % columns);
        let from = column.saturating_sub(beside);
        let to = (column + beside + 1).min(columns);
        let window_rows = row.saturating_sub(above)..(row + above + 1).min(rows);
        window_rows.map(move |row| row * columns + from..row * columns + to)
    }

    /// Whether every token is left something to attend to.
    pub(crate) fn leaves_something(self) -> bool {
        let covers = |axis: usize| self.grid[axis] <= 2 * (self.size[axis] / 2) + 1;
        !(covers(0) && covers(1))
    }

    /// The mask as a tensor to add to scores, `[tokens, tokens]`: for the plain form.
    fn tensor(self, dtype: DType, device: &Device) -> Result<Tensor> {
        let tokens = self.grid[0] * self.grid[1];
        let mut mask = vec![0f32; tokens * tokens];
        for token in 0..tokens {
            for range in self.masked(token) {
                mask[token * tokens..][range].fill(f32::NEG_INFINITY);
            }
        }
        Tensor::from_vec(mask, (tokens, tokens), device)?.to_dtype(dtype)
    }
}

/// Softmax attention of `query` `[batch, tokens, channels]` over `key` and `value` `[batch, tokens, channels]`, whose
/// channels are those of all heads side by side.
pub(crate) fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    window: Option<Window>,
) -> Result<Tensor> {
    let (_, queries, _) = query.dims3()?;
    if key.dims() != value.dims() || query.dim(0)? != key.dim(0)? || query.dim(2)? != key.dim(2)? {
        candle_core::bail!("{NAME}: query {:?}, key {:?}, value {:?}", query.dims(), key.dims(), value.dims());
    }
    if heads == 0 || query.dim(2)? % heads != 0 {
        candle_core::bail!("{NAME}: {} channels in {heads} heads", query.dim(2)?);
    }
    let keys = key.dim(1)?;
    if let Some(Window { grid: [rows, columns], .. }) = window
        && (queries != rows * columns || keys != queries)
    {
        candle_core::bail!("{NAME}: {queries} and {keys} tokens on a grid of {rows} x {columns}");
    }
    if is_fast(&[query, key, value]) {
        let op = Attention { heads, window };
        return query.contiguous()?.apply_op3(&key.contiguous()?, &value.contiguous()?, op);
    }
    if let Some([wide_query, wide_key, wide_value]) = widened([query, key, value])? {
        return attention(&wide_query, &wide_key, &wide_value, heads, window)?.to_dtype(query.dtype());
    }
    plain(query, key, value, heads, window)
}

/// In candle's operations, with every score in memory.
pub(super) fn plain(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    window: Option<Window>,
) -> Result<Tensor> {
    let (batch, tokens, channels) = query.dims3()?;
    let width = channels / heads;
    let split = |x: &Tensor| x.reshape((batch, (), heads, width))?.transpose(1, 2)?.contiguous();
    let query = (split(query)? * (width as f64).powf(-0.5))?;
    // Scores and their softmax in f32 also for half precision.
    let mut scores = query.matmul(&split(key)?.t()?.contiguous()?)?.to_dtype(DType::F32)?;
    if let Some(window) = window {
        scores = scores.broadcast_add(&window.tensor(DType::F32, scores.device())?)?;
    }
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?.to_dtype(value.dtype())?;
    weights.matmul(&split(value)?)?.transpose(1, 2)?.reshape((batch, tokens, channels))
}

struct Attention {
    heads: usize,
    window: Option<Window>,
}

/// One image's part of one head, in buffers `[batch, tokens, channels]`.
#[derive(Clone, Copy)]
struct Head {
    queries: usize,
    keys: usize,
    channels: usize,
    width: usize,
    query_offset: usize,
    key_offset: usize,
}

impl Head {
    /// Every image's every head.
    fn all(query: &[usize], key: &[usize], heads: usize) -> Vec<Self> {
        let (batch, queries, keys, channels) = (query[0], query[1], key[1], query[2]);
        let width = channels / heads;
        let images = 0..batch;
        let heads = images.flat_map(|image| (0..heads).map(move |head| (image, head)));
        let head = |(image, head): (usize, usize)| Self {
            queries,
            keys,
            channels,
            width,
            query_offset: image * queries * channels + head * width,
            key_offset: image * keys * channels + head * width,
        };
        heads.map(head).collect()
    }

    /// This head's part of the queries, or of anything of the queries' shape.
    fn of_queries<'a>(&self, x: &'a [f32]) -> (&'a [f32], MatrixShape) {
        (&x[self.query_offset..], self.query_shape())
    }

    /// This head's part of the keys, or of anything of the keys' shape.
    fn of_keys<'a>(&self, x: &'a [f32]) -> (&'a [f32], MatrixShape) {
        (&x[self.key_offset..], self.key_shape())
    }

    fn query_shape(&self) -> MatrixShape {
        MatrixShape::strided(self.queries, self.width, self.channels)
    }

    fn key_shape(&self) -> MatrixShape {
        MatrixShape::strided(self.keys, self.width, self.channels)
    }

    fn scores_shape(&self) -> MatrixShape {
        MatrixShape::dense(self.queries, self.keys)
    }

    /// The softmax of the scores, into `[queries, keys]`.
    fn weights(&self, query: &[f32], key: &[f32], window: Option<Window>, weights: &mut Vec<f32>) {
        weights.clear();
        weights.resize(self.queries * self.keys, 0.0);
        let scale = (self.width as f32).powf(-0.5);
        let (key, key_shape) = self.of_keys(key);
        let operands = (self.of_queries(query), (key, key_shape.transposed()));
        multiply_into(weights, self.scores_shape(), false, scale, operands.0, operands.1);
        for (token, row) in weights.chunks_mut(self.keys.max(1)).enumerate() {
            if let Some(window) = window {
                for range in window.masked(token) {
                    row[range].fill(f32::NEG_INFINITY);
                }
            }
            softmax(row);
        }
    }
}

/// In place. A row of nothing but minus infinity becomes zeros: a token that may attend to nothing reads nothing.
pub(super) fn softmax(row: &mut [f32]) {
    let largest = row.iter().fold(f32::NEG_INFINITY, |largest, &x| largest.max(x));
    if largest == f32::NEG_INFINITY {
        row.fill(0.0);
        return;
    }
    for x in row.iter_mut() {
        *x = exp(*x - largest);
    }
    let mut sums = [0.0f32; 8];
    let (whole, rest) = row.as_chunks::<8>();
    for chunk in whole {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    let sum = sums.iter().sum::<f32>() + rest.iter().sum::<f32>();
    let scale = 1.0 / sum;
    row.iter_mut().for_each(|x| *x *= scale);
}

/// e^x for x <= 0, within 2 units in the last place, in a form that compilers turn into vector instructions: x = n ln 2 +
/// r, a polynomial for e^r (Cephes' `expf`), and n straight into the exponent. Below e^-87 it is zero, NaN stays NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    /// Adding and subtracting it rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let n = (clamped * LOG2_E + ROUND) - ROUND;
    let r = (clamped - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    let y = (p * r * r + r + 1.0) * power;
    if x < -87.0 { 0.0 } else { y }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        query: &CpuStorage,
        query_layout: &Layout,
        key: &CpuStorage,
        key_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let heads = Head::all(query_layout.dims(), key_layout.dims(), self.heads);
        let query = values(query, query_layout, NAME)?;
        let key = values(key, key_layout, NAME)?;
        let value = values(value, value_layout, NAME)?;
        let mut output = vec![0.0; query.len()];
        let target = Target::new(&mut output);
        heads.par_iter().for_each_init(Vec::new, |weights, head| {
            head.weights(query, key, self.window, weights);
            let operands = ((weights.as_slice(), head.scores_shape()), head.of_keys(value));
            // SAFETY: heads are disjoint in `output`, which outlives this loop and which nothing else touches in it.
            unsafe { multiply(target, head.query_offset, head.query_shape(), false, 1.0, operands.0, operands.1) };
        });
        Ok((CpuStorage::F32(output), query_layout.shape().clone()))
    }

    /// With P the softmax and S the scores before it: dV = P^T dO, dP = dO V^T, dS = P * (dP - sum of P * dP in each row),
    /// dQ = dS K and dK = dS^T Q, both scaled as S is.
    fn bwd(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let heads = Head::all(query.dims(), key.dims(), self.heads);
        let gradient = gradient.contiguous()?;
        let op = |[query, key, value, gradient]: [&[f32]; 4]| {
            let mut d_query = vec![0.0; query.len()];
            let mut d_key = vec![0.0; key.len()];
            let mut d_value = vec![0.0; value.len()];
            let targets = [&mut d_query, &mut d_key, &mut d_value].map(|buffer| Target::new(buffer));
            heads.par_iter().for_each_init(Default::default, |(weights, scores): &mut (Vec<f32>, Vec<f32>), head| {
                head.weights(query, key, self.window, weights);
                scores.clear();
                scores.resize(weights.len(), 0.0);
                let (shape, gradient) = (head.scores_shape(), head.of_queries(gradient));
                let (value, value_shape) = head.of_keys(value);
                multiply_into(scores, shape, false, 1.0, gradient, (value, value_shape.transposed()));
                let keys = head.keys.max(1);
                for (d_scores, weights) in scores.chunks_mut(keys).zip(weights.chunks(keys)) {
                    let mean: f32 = d_scores.iter().zip(weights).map(|(d, w)| d * w).sum();
                    d_scores.iter_mut().zip(weights).for_each(|(d, w)| *d = w * (*d - mean));
                }
                let scale = (head.width as f32).powf(-0.5);
                let [d_query, d_key, d_value] = targets;
                let across = (scores.as_slice(), shape.transposed());
                let weights = (weights.as_slice(), shape.transposed());
                let scores = (scores.as_slice(), shape);
                let (query, key) = (head.of_queries(query), head.of_keys(key));
                // SAFETY: heads are disjoint in each of the three buffers, which outlive this loop and which nothing else
                // touches in it.
                unsafe {
                    multiply(d_query, head.query_offset, head.query_shape(), false, scale, scores, key);
                    multiply(d_key, head.key_offset, head.key_shape(), false, scale, across, query);
                    multiply(d_value, head.key_offset, head.key_shape(), false, 1.0, weights, gradient);
                }
            });
            Ok([d_query, d_key, d_value])
        };
        let [d_query, d_key, d_value] = with_values([query, key, value, &gradient], NAME, op)?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((Some(tensor(d_query, query)?), Some(tensor(d_key, key)?), Some(tensor(d_value, value)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{check_finite_differences, check_gradients, variable};
    use proptest::prelude::*;

    fn window(grid: [usize; 2], size: [usize; 2]) -> Option<Window> {
        Some(Window { grid, size })
    }

    #[test]
    fn equals_the_plain_form_forward_and_backward() {
        let cases = [
            (1, [1, 2], 1, 1, None),
            (2, [3, 4], 2, 3, None),
            (2, [6, 6], 4, 4, window([6, 6], [3, 3])),
            (1, [5, 8], 3, 5, window([5, 8], [5, 3])),
            (3, [5, 8], 2, 8, window([5, 8], [2, 4])),
            (1, [1, 9], 2, 2, window([1, 9], [1, 5])),
            (2, [14, 14], 8, 4, window([14, 14], [7, 7])),
        ];
        for (batch, [rows, columns], heads, width, window) in cases {
            let shape = [batch, rows * columns, heads * width];
            let tensors = [variable(&shape, 1, 1.0), variable(&shape, 2, 1.0), variable(&shape, 3, 1.0)];
            check_gradients(
                &tensors.each_ref(),
                |t| attention(t[0], t[1], t[2], heads, window),
                |t| plain(t[0], t[1], t[2], heads, window),
            );
        }
    }

    #[test]
    fn queries_and_keys_may_differ_in_number() {
        let (query, key, value) =
            (variable(&[2, 3, 6], 1, 1.0), variable(&[2, 5, 6], 2, 1.0), variable(&[2, 5, 6], 3, 1.0));
        check_gradients(
            &[&query, &key, &value],
            |t| attention(t[0], t[1], t[2], 2, None),
            |t| plain(t[0], t[1], t[2], 2, None),
        );
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let shape = [1, 6, 4];
        let tensors = [variable(&shape, 1, 1.0), variable(&shape, 2, 1.0), variable(&shape, 3, 1.0)];
        for window in [None, window([2, 3], [1, 1]), window([2, 3], [3, 1])] {
            check_finite_differences(&tensors.each_ref(), |t| attention(t[0], t[1], t[2], 2, window));
        }
    }

    proptest! {
        /// What a token reads does not depend on the keys and values it must not see, to the bit, and does on the others.
        #[test]
        fn masked_tokens_are_not_read(
            seed in any::<u64>(), rows in 2usize..7, columns in 4usize..7, token in 0usize..36, changed in 0usize..36,
        ) {
            let (tokens, window) = (rows * columns, Window { grid: [rows, columns], size: [3, 3] });
            let (token, changed) = (token % tokens, changed % tokens);
            let shape = [1, tokens, 4];
            let [query, key, value] = [1, 2, 3].map(|part| variable(&shape, seed ^ part, 1.0));
            let read = |key: &Tensor, value: &Tensor| -> Vec<f32> {
                let read = attention(&query, key, value, 2, Some(window)).unwrap();
                read.get(0).unwrap().get(token).unwrap().to_vec1().unwrap()
            };
            let change = |x: &Tensor| {
                let mut values: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
                values[changed * 4..][..4].iter_mut().for_each(|x| *x += 3.0);
                Tensor::from_vec(values, x.shape(), x.device()).unwrap()
            };
            let before = read(&key, &value);
            let after = read(&change(&key), &change(&value));
            let masked = window.masked(token).any(|range| range.contains(&changed));
            prop_assert_eq!(before == after, masked, "token {} and {}", token, changed);
        }
    }

    #[test]
    fn the_mask_is_the_methods() {
        let window = Window { grid: [14, 14], size: [7, 7] };
        for token in 0..196usize {
            let masked: Vec<usize> = window.masked(token).flatten().collect();
            let near = |other: &usize| (token / 14).abs_diff(other / 14) <= 3 && (token % 14).abs_diff(other % 14) <= 3;
            assert_eq!(masked, (0..196).filter(near).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_window_that_leaves_nothing_is_recognised() {
        for rows in 1..9 {
            for columns in 1..9 {
                for size in [[1, 1], [3, 3], [7, 7], [3, 7], [2, 4], [1, 7]] {
                    let window = Window { grid: [rows, columns], size };
                    let leaves =
                        (0..rows * columns).all(|t| window.masked(t).map(|r| r.len()).sum::<usize>() < rows * columns);
                    assert_eq!(window.leaves_something(), leaves, "{window:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_to_attend_to_is_zeros_and_not_nan() {
        let x = variable(&[1, 4, 2], 1, 1.0);
        let y = attention(&x, &x, &x, 1, window([2, 2], [3, 3])).unwrap();
        assert!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|&y| y == 0.0));
    }

    #[test]
    fn exp_is_exact_to_rounding() {
        for step in 0..1_000_000 {
            let x = -step as f32 * 87.0e-6;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found - expected).abs() <= 2.5e-7 * expected, "{x}: {found} {expected}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp(-88.0), exp(-1e30), exp(f32::NEG_INFINITY)), (0.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }
}
