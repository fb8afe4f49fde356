//! Attention of one image's head: softmax(q k^T / sqrt(width)) v, the neighbours that a window hides left out. Scores stay in the
//! cache: a tile of queries at a time goes from scores to the result.

use crate::Activation;
use crate::math::exp;
use crate::memory::{Buffer, Target};
use crate::simd::{Isa, Simd, kernel};
use crate::tile::{Column, Finish, LeftColumn, column};
use crate::vectorised::{self, AttentionShape};

/// Buffers that are kept from head to head.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Panels of keys, `[width]` lines each, scaled; panels of channels of the values, `[keys]` lines each.
    keys: Buffer,
    values: Buffer,
    /// A tile's scores, `[rows, padded keys]`.
    scores: Buffer,
    /// Keys that a query must not attend to.
    hidden: Vec<std::ops::Range<usize>>,
    backward: vectorised::Scratch,
}

/// One head's output `[queries, width]`. The slices begin at the head's first channel.
///
/// ```
/// use dualad_kernels::{AttentionShape, Scratch, attention};
///
/// let shape = AttentionShape { queries: 1, keys: 2, width: 2, strides: [2; 4], window: None };
/// let (keys, values) = ([1.0, 0.0, 0.0, 1.0], [2.0, 4.0, 6.0, 8.0]);
/// let mut y = [0.0; 2];
/// // A query that is no nearer to one key than to the other reads the mean of their values.
/// attention(&shape, &[0.5, 0.5], &keys, &values, &mut y, &mut Scratch::default());
/// assert!((y[0] - 4.0).abs() < 1e-5 && (y[1] - 6.0).abs() < 1e-5);
/// ```
///
/// # Panics
/// If a slice is too short for its rows.
pub fn attention(shape: &AttentionShape, q: &[f32], k: &[f32], v: &[f32], y: &mut [f32], scratch: &mut Scratch) {
    attention_on(Isa::best(), shape, [q, k, v], y, scratch);
}

/// The gradients of q, k and v, dense `[tokens, width]`, from q, k, v and the output's gradient.
///
/// # Panics
/// As [`attention`].
pub fn attention_backward(
    shape: &AttentionShape,
    inputs: [&[f32]; 4],
    gradients: [&mut [f32]; 3],
    scratch: &mut Scratch,
) {
    vectorised::attention_backward(shape, inputs, gradients, &mut scratch.backward);
}

/// Room in a buffer, of any content.
fn room(buffer: &mut Buffer, length: usize) -> &mut [f32] {
    if buffer.capacity() < length {
        *buffer = Buffer::zeros(length);
    }
    buffer.set_length(length);
    buffer
}

pub(crate) fn attention_on(
    isa: Isa,
    shape: &AttentionShape,
    [q, k, v]: [&[f32]; 3],
    y: &mut [f32],
    scratch: &mut Scratch,
) {
    let &AttentionShape { queries, keys, width, strides: [q_stride, k_stride, v_stride, y_stride], window } = shape;
    if queries == 0 || keys == 0 || width == 0 {
        return;
    }
    let last = |rows: usize, stride: usize| (rows - 1) * stride + width;
    assert!(last(queries, q_stride) <= q.len() && last(queries, y_stride) <= y.len(), "attention's queries");
    assert!(last(keys, k_stride) <= k.len() && last(keys, v_stride) <= v.len(), "attention's keys");
    let (panel, tile_rows) = (isa.panel(), isa.rows());
    let padded = keys.next_multiple_of(panel);
    let packed_keys = room(&mut scratch.keys, padded * width);
    pack_keys(k, k_stride, [keys, width], panel, packed_keys);
    let packed_values = room(&mut scratch.values, width.next_multiple_of(panel) * keys);
    pack_values(v, v_stride, [keys, width], panel, packed_values);
    let scores = room(&mut scratch.scores, tile_rows * padded);
    let none = Finish {
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
        |left: LeftColumn, depth: usize, right: &[f32], [panels, last]: [usize; 2], rows: usize, finish| Column {
            rows,
            left,
            depth,
            panel: right.as_ptr(),
            panels,
            panel_stride: depth * panel,
            last_columns: last,
            next_panel: std::ptr::null(),
            finish,
            residual: std::ptr::null(),
            residual_stride: 0,
            period: 1,
            first: 0,
        };
    let target = Target::new(y);
    let hidden = &mut scratch.hidden;
    for first in (0..queries).step_by(tile_rows) {
        let rows = tile_rows.min(queries - first);
        let left = LeftColumn::Dense { start: q[first * q_stride..].as_ptr(), stride: q_stride };
        let finish = Finish { out: scores.as_mut_ptr(), stride: padded, ..none };
        let of_keys = product(left, width, packed_keys, [padded / panel, panel], rows, finish);
        // SAFETY: the rows have `width` numbers each, as was asserted, the panels a line for each of them, and there is a padded
        // row of scores for each.
        unsafe { column(isa, &of_keys) };
        let mut scales = [0.0f32; crate::tile::MOST_ROWS];
        for (row, scores) in scores.chunks_exact_mut(padded).enumerate().take(rows) {
            hidden.clear();
            hidden.extend(window.into_iter().flat_map(|window| window.masked(first + row)));
            hidden.push(keys..padded);
            let hide = |scores: &mut [f32], with: f32| hidden.iter().for_each(|range| scores[range.clone()].fill(with));
            hide(scores, f32::NEG_INFINITY);
            // SAFETY: a row has whole vectors: panels of them.
            unsafe { exponentials(isa, scores) };
            hide(scores, 0.0);
            let mut sum = 0.0;
            // SAFETY: as above.
            unsafe { total(isa, scores, &mut sum) };
            // A query that may attend to nothing reads nothing.
            scales[row] = if sum == 0.0 { 0.0 } else { 1.0 / sum };
        }
        let left = LeftColumn::Dense { start: scores.as_ptr(), stride: padded };
        let out = target.at(first * y_stride, (rows - 1) * y_stride + width);
        let finish = Finish { out, stride: y_stride, ..none };
        let panels = width.div_ceil(panel);
        let of_values = product(left, keys, packed_values, [panels, width - (panels - 1) * panel], rows, finish);
        // SAFETY: the rows of scores have `keys` numbers at least, the panels a line for each, and `out` the channels of each row.
        unsafe { column(isa, &of_values) };
        for (row, scale) in scales.iter().enumerate().take(rows) {
            // SAFETY: within what `at` made sure of.
            let y = unsafe { std::slice::from_raw_parts_mut(out.add(row * y_stride), width) };
            y.iter_mut().for_each(|y| *y *= scale);
        }
    }
}

/// `[keys, width]` to panels of keys, a line for each channel, divided by the root of the width.
fn pack_keys(k: &[f32], stride: usize, [keys, width]: [usize; 2], panel: usize, packed: &mut [f32]) {
    /// Channels that are turned at a time.
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

/// `[keys, width]` to panels of channels, a line for each key.
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
    /// Makes each x of a row e^(x - largest); a row of nothing but minus infinity becomes zeros.
    ///
    /// # Safety
    /// The row has whole vectors.
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
    /// The sum of a row.
    ///
    /// # Safety
    /// The row has whole pairs of vectors.
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
    use crate::Window;
    use crate::tests::Numbers;

    /// On every instruction set, on one scratch whatever shape left something in it, against the definition.
    #[test]
    fn the_output_is_the_definition() {
        let (mut numbers, mut scratch) = (Numbers::new(0), Scratch::default());
        let window = |rows, columns, size| Some(Window { grid: [rows, columns], size });
        for (queries, keys, width, window) in [
            (1, 1, 1, None),
            (7, 5, 3, None),
            (5, 7, 3, None),
            (6, 8, 16, None),
            (13, 48, 8, None),
            (12, 50, 17, None),
            (30, 30, 9, window(5, 6, [3, 3])),
            (196, 196, 32, window(14, 14, [7, 7])),
            // Every token is hidden from every other.
            (4, 4, 5, window(2, 2, [7, 7])),
            (6, 8, 40, None),
        ] {
            let shape =
                AttentionShape { queries, keys, width, strides: [width + 3, width, width + 1, width + 2], window };
            let [q, k, v] = [queries, keys, keys].map(|tokens| numbers.take(tokens * (width + 3)));
            let scale = (width as f64).powf(-0.5);
            for isa in Isa::available() {
                let mut y = vec![7.0; queries * (width + 2)];
                attention_on(isa, &shape, [&q, &k, &v], &mut y, &mut scratch);
                for query in 0..queries {
                    let at = |x: &[f32], row: usize, stride: usize, i: usize| f64::from(x[row * stride + i]);
                    let hidden: Vec<usize> =
                        window.map_or(Vec::new(), |window| window.masked(query).flatten().collect());
                    let score = |key: usize| -> f64 {
                        let products = (0..width).map(|i| at(&q, query, width + 3, i) * at(&k, key, width, i));
                        if hidden.contains(&key) { 0.0 } else { (products.sum::<f64>() * scale).exp() }
                    };
                    let scores: Vec<f64> = (0..keys).map(score).collect();
                    let sum: f64 = scores.iter().sum();
                    for i in 0..width {
                        let read: f64 = (0..keys).map(|key| scores[key] * at(&v, key, width + 1, i)).sum();
                        let read = if sum == 0.0 { 0.0 } else { read / sum };
                        let found = f64::from(y[query * (width + 2) + i]);
                        assert!((found - read).abs() < 1e-5, "{isa} {shape:?} {query} {i}: {found} {read}");
                    }
                    // What is not the output's is not touched.
                    assert_eq!(y[query * (width + 2) + width..][..2], [7.0, 7.0]);
                }
            }
        }
    }

    #[test]
    fn scores_far_apart_are_not_infinite() {
        let shape = AttentionShape { queries: 2, keys: 3, width: 1, strides: [1; 4], window: None };
        for isa in Isa::available() {
            let mut y = [0.0; 2];
            let (q, k, v) = ([1e4, -1e4], [1e4, 0.0, -1e4], [1.0, 2.0, 3.0]);
            attention_on(isa, &shape, [&q, &k, &v], &mut y, &mut Scratch::default());
            assert_eq!(y, [1.0, 3.0], "{isa}");
        }
    }
}
