//! The forward pass of attention for one head: softmax(q k^T / sqrt(width)) v. The scores stay in the cache, because a tile of
//! queries goes from scores to outputs before the next one begins.

use std::ops::Range;

use crate::activation::Activation;
use crate::attention::backward::{self, BackwardScratch};
use crate::attention::shape::{AttentionShape, AttentionStrides};
use crate::gemm::store::TileEpilogue;
use crate::gemm::tile::{Lhs, MAX_ROWS, PanelProduct, multiply_panels};
use crate::memory::Buffer;
use crate::parallel::SharedOut;
use crate::simd::isa::{Isa, kernel};
use crate::simd::math::exp;
use crate::simd::vector::Simd;

/// The buffers of attention, kept from head to head.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    /// The scaled keys in panels of keys, one line for each channel.
    keys: Buffer,
    /// The values in panels of channels, one line for each key.
    values: Buffer,
    /// The scores of a tile, `[rows, padded keys]`.
    scores: Buffer,
    /// The keys that a query must not attend to.
    masked: Vec<Range<usize>>,
    backward: BackwardScratch,
}

/// Computes the output `[queries, width]` of one head. The slices begin at the head's first channel.
///
/// ```
/// use dualad_kernels::{AttentionScratch, AttentionShape, AttentionStrides, attention};
///
/// let shape = AttentionShape { queries: 1, keys: 2, width: 2, strides: AttentionStrides::all(2), mask: None };
/// let (keys, values) = ([1.0, 0.0, 0.0, 1.0], [2.0, 4.0, 6.0, 8.0]);
/// let mut y = [0.0; 2];
/// // The query is equally near to both keys, so the output is the mean of their values.
/// attention(&shape, &[0.5, 0.5], &keys, &values, &mut y, &mut AttentionScratch::default());
/// assert!((y[0] - 4.0).abs() < 1e-5 && (y[1] - 6.0).abs() < 1e-5);
/// ```
///
/// # Panics
/// If a slice is too short for its rows.
pub fn attention(
    shape: &AttentionShape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    y: &mut [f32],
    scratch: &mut AttentionScratch,
) {
    attention_on(Isa::best(), shape, [q, k, v], y, scratch);
}

/// Computes the gradients of q, k and v, `[tokens, width]` with contiguous rows. `inputs` are q, k, v and the gradient of the
/// output.
///
/// # Panics
/// If a slice is too short for its rows.
pub fn attention_backward(
    shape: &AttentionShape,
    inputs: [&[f32]; 4],
    gradients: [&mut [f32]; 3],
    scratch: &mut AttentionScratch,
) {
    backward::attention_backward(shape, inputs, gradients, &mut scratch.backward);
}

pub(crate) fn attention_on(
    isa: Isa,
    shape: &AttentionShape,
    [q, k, v]: [&[f32]; 3],
    y: &mut [f32],
    scratch: &mut AttentionScratch,
) {
    let &AttentionShape { queries, keys, width, strides, mask } = shape;
    let AttentionStrides { query: q_stride, key: k_stride, value: v_stride, output: y_stride } = strides;
    if queries == 0 || keys == 0 || width == 0 {
        return;
    }
    let last = |rows: usize, stride: usize| (rows - 1) * stride + width;
    assert!(last(queries, q_stride) <= q.len() && last(queries, y_stride) <= y.len(), "the queries of an attention");
    assert!(last(keys, k_stride) <= k.len() && last(keys, v_stride) <= v.len(), "the keys of an attention");
    let (panel, tile_rows) = (isa.panel(), isa.rows());
    let padded = keys.next_multiple_of(panel);
    let packed_keys = scratch.keys.resize(padded * width);
    pack_keys(k, k_stride, [keys, width], panel, packed_keys);
    let packed_values = scratch.values.resize(width.next_multiple_of(panel) * keys);
    pack_values(v, v_stride, [keys, width], panel, packed_values);
    let scores = scratch.scores.resize(tile_rows * padded);
    // Whole vectors of keys.
    let last_keys = (keys - (padded - panel)).next_multiple_of(isa.lanes());
    let no_epilogue = TileEpilogue {
        out: std::ptr::null_mut(),
        stride: 0,
        columns: panel,
        accumulate: false,
        bias: std::ptr::null(),
        activation: Activation::Identity,
        residuals: std::ptr::null(),
        residual_last: false,
    };
    let product =
        |lhs: Lhs, depth: usize, rhs: &[f32], [panels, last]: [usize; 2], rows: usize, epilogue| PanelProduct {
            rows,
            lhs,
            depth,
            panel: rhs.as_ptr(),
            panels,
            panel_stride: depth * panel,
            last_columns: last,
            next_panel: std::ptr::null(),
            epilogue,
            residual: std::ptr::null(),
            residual_stride: 0,
            period: 1,
            first: 0,
        };
    let shared = SharedOut::new(y);
    for first in (0..queries).step_by(tile_rows) {
        let rows = tile_rows.min(queries - first);
        let lhs = Lhs::Dense { start: q[first * q_stride..].as_ptr(), stride: q_stride };
        let epilogue = TileEpilogue { out: scores.as_mut_ptr(), stride: padded, ..no_epilogue };
        let of_keys = product(lhs, width, packed_keys, [padded / panel, last_keys], rows, epilogue);
        // SAFETY: the rows have `width` elements each, as asserted above; the panels have a line for each of them; `scores` has a
        // padded row for each row.
        unsafe { multiply_panels(isa, &of_keys) };
        let mut scales = [0.0f32; MAX_ROWS];
        for (row, scores) in scores.chunks_exact_mut(padded).enumerate().take(rows) {
            let masked = &mut scratch.masked;
            masked.clear();
            masked.extend(mask.into_iter().flat_map(|mask| mask.masked(first + row)));
            let scores = &mut scores[..keys.next_multiple_of(2 * isa.lanes())];
            masked.push(keys..scores.len());
            let fill = |scores: &mut [f32], with: f32| masked.iter().for_each(|range| scores[range.clone()].fill(with));
            fill(scores, f32::NEG_INFINITY);
            // SAFETY: its length is a multiple of two vectors.
            unsafe { exponentials(isa, scores) };
            fill(scores, 0.0);
            let mut sum = 0.0;
            // SAFETY: as above.
            unsafe { total(isa, scores, &mut sum) };
            // A query whose keys are all masked gets zeros.
            scales[row] = if sum == 0.0 { 0.0 } else { 1.0 / sum };
        }
        let lhs = Lhs::Dense { start: scores.as_ptr(), stride: padded };
        let out = shared.at(first * y_stride, (rows - 1) * y_stride + width);
        let epilogue = TileEpilogue { out, stride: y_stride, ..no_epilogue };
        let panels = width.div_ceil(panel);
        let of_values = product(lhs, keys, packed_values, [panels, width - (panels - 1) * panel], rows, epilogue);
        // SAFETY: the rows of scores have at least `keys` elements; the panels have a line for each; `out` has the channels of
        // each row.
        unsafe { multiply_panels(isa, &of_values) };
        for (row, scale) in scales.iter().enumerate().take(rows) {
            // SAFETY: inside the part that `at` checked.
            let y = unsafe { std::slice::from_raw_parts_mut(out.add(row * y_stride), width) };
            y.iter_mut().for_each(|y| *y *= scale);
        }
    }
}

/// Packs keys `[keys, width]`, divided by the square root of the width, into panels of keys with one line for each channel.
fn pack_keys(k: &[f32], stride: usize, [keys, width]: [usize; 2], panel: usize, packed: &mut [f32]) {
    /// The channels that are transposed at a time.
    const BLOCK: usize = 8;
    let scale = (width as f32).powf(-0.5);
    for (index, lines) in packed.chunks_exact_mut(panel * width).enumerate() {
        let first = index * panel;
        let here = panel.min(keys - first);
        for (block, lines) in lines.chunks_mut(BLOCK * panel).enumerate() {
            for lane in 0..here {
                let row = &k[(first + lane) * stride..][..width][block * BLOCK..];
                for (line, value) in lines.chunks_exact_mut(panel).zip(row) {
                    line[lane] = value * scale;
                }
            }
            lines.chunks_exact_mut(panel).for_each(|line| line[here..].fill(0.0));
        }
    }
}

/// Packs values `[keys, width]` into panels of channels with one line for each key.
fn pack_values(v: &[f32], stride: usize, [keys, width]: [usize; 2], panel: usize, packed: &mut [f32]) {
    for (index, lines) in packed.chunks_exact_mut(panel * keys).enumerate() {
        let first = index * panel;
        let columns = panel.min(width - first);
        for (key, line) in lines.chunks_exact_mut(panel).enumerate() {
            let (line, padding) = line.split_at_mut(columns);
            line.copy_from_slice(&v[key * stride + first..][..columns]);
            padding.fill(0.0);
        }
    }
}

kernel! {
    /// Replaces each x of a row by e^(x - max). A row in which every element is minus infinity becomes zeros.
    ///
    /// # Safety
    /// The row's length is a multiple of two vectors.
    unsafe fn exponentials(row: &mut [f32]) = exponentials_body
}

#[inline(always)]
unsafe fn exponentials_body<S: Simd>(row: &mut [f32]) {
    let (start, count) = (row.as_mut_ptr(), row.len());
    // SAFETY: the caller's promise.
    unsafe {
        let mut largest = [S::splat(f32::NEG_INFINITY); 2];
        let mut at = 0;
        while at < count {
            largest[0] = S::max(largest[0], S::load(start.add(at)));
            largest[1] = S::max(largest[1], S::load(start.add(at + S::LANES)));
            at += 2 * S::LANES;
        }
        let mut lanes = [f32::NEG_INFINITY; 16];
        S::store(lanes.as_mut_ptr(), S::max(largest[0], largest[1]));
        let largest = lanes.iter().fold(f32::NEG_INFINITY, |largest, &x| if x > largest { x } else { largest });
        if largest == f32::NEG_INFINITY {
            row.fill(0.0);
            return;
        }
        let largest = S::splat(largest);
        let mut at = 0;
        while at < count {
            let low = exp::<S>(S::sub(S::load(start.add(at)), largest));
            let high = exp::<S>(S::sub(S::load(start.add(at + S::LANES)), largest));
            S::store(start.add(at), low);
            S::store(start.add(at + S::LANES), high);
            at += 2 * S::LANES;
        }
    }
}

kernel! {
    /// Computes the sum of a row.
    ///
    /// # Safety
    /// The row's length is a multiple of two vectors.
    unsafe fn total(row: &[f32], sum: &mut f32) = total_body
}

#[inline(always)]
unsafe fn total_body<S: Simd>(row: &[f32], sum: &mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [S::splat(0.0); 2];
        let mut at = 0;
        while at < row.len() {
            sums[0] = S::add(sums[0], S::load(row.as_ptr().add(at)));
            sums[1] = S::add(sums[1], S::load(row.as_ptr().add(at + S::LANES)));
            at += 2 * S::LANES;
        }
        let mut lanes = [0.0f32; 16];
        S::store(lanes.as_mut_ptr(), S::add(sums[0], sums[1]));
        *sum = lanes.iter().sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::mask::NeighborMask;
    use crate::tests::TestValues;

    /// Runs all shapes on every instruction set with one scratch, which keeps values of earlier shapes.
    #[test]
    fn the_output_equals_the_definition() {
        let (mut random, mut scratch) = (TestValues::new(0), AttentionScratch::default());
        let near = |rows, columns, size| Some(NeighborMask { grid: [rows, columns], size });
        for (queries, keys, width, mask) in [
            (1, 1, 1, None),
            (7, 5, 3, None),
            (5, 7, 3, None),
            (6, 8, 16, None),
            (13, 48, 8, None),
            (12, 50, 17, None),
            (30, 30, 9, near(5, 6, [3, 3])),
            (196, 196, 32, near(14, 14, [7, 7])),
            // Every token is masked for every other.
            (4, 4, 5, near(2, 2, [7, 7])),
            (6, 8, 40, None),
        ] {
            let strides = AttentionStrides { query: width + 3, key: width, value: width + 1, output: width + 2 };
            let shape = AttentionShape { queries, keys, width, strides, mask };
            let [q, k, v] = [queries, keys, keys].map(|tokens| random.take(tokens * (width + 3)));
            let scale = (width as f64).powf(-0.5);
            for isa in Isa::available() {
                let mut y = vec![7.0; queries * (width + 2)];
                attention_on(isa, &shape, [&q, &k, &v], &mut y, &mut scratch);
                for query in 0..queries {
                    let at = |x: &[f32], row: usize, stride: usize, i: usize| f64::from(x[row * stride + i]);
                    let masked: Vec<usize> = mask.map_or(Vec::new(), |mask| mask.masked(query).flatten().collect());
                    let score = |key: usize| -> f64 {
                        let products = (0..width).map(|i| at(&q, query, width + 3, i) * at(&k, key, width, i));
                        if masked.contains(&key) { 0.0 } else { (products.sum::<f64>() * scale).exp() }
                    };
                    let scores: Vec<f64> = (0..keys).map(score).collect();
                    let sum: f64 = scores.iter().sum();
                    for i in 0..width {
                        let read: f64 = (0..keys).map(|key| scores[key] * at(&v, key, width + 1, i)).sum();
                        let read = if sum == 0.0 { 0.0 } else { read / sum };
                        let found = f64::from(y[query * (width + 2) + i]);
                        assert!((found - read).abs() < 1e-5, "{isa} {shape:?} {query} {i}: {found} {read}");
                    }
                    // Elements between the output's rows are not written.
                    assert_eq!(y[query * (width + 2) + width..][..2], [7.0, 7.0]);
                }
            }
        }
    }

    #[test]
    fn distant_scores_give_finite_weights() {
        let shape = AttentionShape { queries: 2, keys: 3, width: 1, strides: AttentionStrides::all(1), mask: None };
        for isa in Isa::available() {
            let mut y = [0.0; 2];
            let (q, k, v) = ([1e4, -1e4], [1e4, 0.0, -1e4], [1.0, 2.0, 3.0]);
            attention_on(isa, &shape, [&q, &k, &v], &mut y, &mut AttentionScratch::default());
            assert_eq!(y, [1.0, 3.0], "{isa}");
        }
    }
}
