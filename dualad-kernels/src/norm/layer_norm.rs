//! Layer norm: y = w h + b with h = (s - mean) / sqrt(variance + eps). In a residual block, s = x + r.

use crate::vectorized::{mul_add, sum, vectorized};

/// The default of PyTorch's `LayerNorm`.
const EPS: f32 = 1e-5;
const LANES: usize = 8;

vectorized! {
    /// Computes y = LN(x + r) and leaves the sum x + r in `r`. `stats` receives each row's mean and 1 / sqrt(variance + eps).
    ///
    /// `r` has contiguous rows of `weight.len()` elements. The rows of x and y begin `strides[0]` and `strides[1]` elements apart.
    pub fn add_norm(
        x: &[f32], r: &mut [f32], y: &mut [f32], strides: [usize; 2], weight: &[f32], bias: &[f32], stats: &mut [[f32; 2]],
    ) = add_norm_body
}

#[inline(always)]
fn add_norm_body<const FMA: bool>(
    x: &[f32],
    r: &mut [f32],
    y: &mut [f32],
    [x_stride, y_stride]: [usize; 2],
    weight: &[f32],
    bias: &[f32],
    stats: &mut [[f32; 2]],
) {
    let n = weight.len();
    let rows = r.chunks_exact_mut(n).zip(x.chunks(x_stride)).zip(y.chunks_mut(y_stride)).zip(stats);
    for (((s, x), y), stats) in rows {
        for (s, x) in s.iter_mut().zip(&x[..n]) {
            *s += x;
        }
        *stats = statistics(s, EPS);
        apply::<FMA>(s, *stats, weight, bias, &mut y[..n]);
    }
}

/// The mean and 1 / sqrt(variance + eps) of a row.
#[inline(always)]
fn statistics(row: &[f32], eps: f32) -> [f32; 2] {
    let n = row.len() as f32;
    let mean = sum(row, |value| value) / n;
    let variance = sum(row, |value| (value - mean) * (value - mean)) / n;
    [mean, 1.0 / (variance + eps).sqrt()]
}

#[inline(always)]
fn apply<const FMA: bool>(row: &[f32], [mean, scale]: [f32; 2], weight: &[f32], bias: &[f32], y: &mut [f32]) {
    for (((y, x), weight), bias) in y.iter_mut().zip(row).zip(weight).zip(bias) {
        *y = mul_add::<FMA>((x - mean) * scale, *weight, *bias);
    }
}

vectorized! {
    /// Computes y = LN(x) for contiguous rows of `weight.len()` elements.
    pub fn norm(x: &[f32], y: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) = norm_body
}

#[inline(always)]
fn norm_body<const FMA: bool>(x: &[f32], y: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    for (x, y) in x.chunks_exact(weight.len()).zip(y.chunks_exact_mut(weight.len())) {
        apply::<FMA>(x, statistics(x, eps), weight, bias, y);
    }
}

vectorized! {
    /// Computes the mean and 1 / sqrt(variance + eps) of each row of `columns` elements.
    pub fn norm_statistics(x: &[f32], columns: usize, eps: f32, stats: &mut [[f32; 2]]) = norm_statistics_body
}

#[inline(always)]
fn norm_statistics_body<const FMA: bool>(x: &[f32], columns: usize, eps: f32, stats: &mut [[f32; 2]]) {
    for (x, stats) in x.chunks_exact(columns).zip(stats) {
        *stats = statistics(x, eps);
    }
}

vectorized! {
    /// Replaces `s` by its gradient, scale (w dy - mean(w dy) - h mean(w dy h)), and adds dy h to dw and dy to db. The rows of dy
    /// begin `stride` elements apart; `stats` is what the forward pass returned.
    pub fn add_norm_backward(
        dy: &[f32], stride: usize, s: &mut [f32], weight: &[f32], stats: &[[f32; 2]], dw: &mut [f32], db: &mut [f32],
    ) = add_norm_backward_body
}

#[inline(always)]
fn add_norm_backward_body<const FMA: bool>(
    dy: &[f32],
    stride: usize,
    s: &mut [f32],
    weight: &[f32],
    stats: &[[f32; 2]],
    dw: &mut [f32],
    db: &mut [f32],
) {
    let n = weight.len();
    for ((s, dy), &[mean, scale]) in s.chunks_exact_mut(n).zip(dy.chunks(stride)).zip(stats) {
        let dy = &dy[..n];
        let (mut first, mut second) = ([0.0f32; LANES], [0.0f32; LANES]);
        for at in (0..n).step_by(LANES) {
            for lane in 0..LANES.min(n - at) {
                let i = at + lane;
                s[i] = (s[i] - mean) * scale;
                dw[i] = mul_add::<FMA>(dy[i], s[i], dw[i]);
                db[i] += dy[i];
                let weighted = dy[i] * weight[i];
                first[lane] += weighted;
                second[lane] = mul_add::<FMA>(weighted, s[i], second[lane]);
            }
        }
        let (first, second) = (first.iter().sum::<f32>() / n as f32, second.iter().sum::<f32>() / n as f32);
        for ((s, dy), weight) in s.iter_mut().zip(dy).zip(weight) {
            *s = scale * (dy * weight - first - *s * second);
        }
    }
}
