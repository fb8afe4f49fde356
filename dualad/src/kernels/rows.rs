//! What works on rows and elements: rectifiers, dropout, noise, errors, sums, the optimiser.

use dualad_kernels::{mul_add, vectorised};

use crate::random::{Stream, unit};
use crate::recipe::AdamWConfig;

vectorised! {
    /// max(x, 0), NaN kept.
    pub(crate) fn rectify(x: &mut [f32]) = rectify_body
}

#[inline(always)]
fn rectify_body<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x = if *x < 0.0 { 0.0 } else { *x };
    }
}

vectorised! {
    /// dy times `scale` where y is above zero, and 0 elsewhere: what rectifying (and dropping, which leaves zeros too) does.
    pub(crate) fn rectify_backward(dy: &mut [f32], y: &[f32], scale: f32) = rectify_backward_body
}

#[inline(always)]
fn rectify_backward_body<const FMA: bool>(dy: &mut [f32], y: &[f32], scale: f32) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = if *y > 0.0 { *dy * scale } else { 0.0 };
    }
}

vectorised! {
    /// Adds each column's sum to `sums`.
    pub(crate) fn add_to_columns(rows: &[f32], sums: &mut [f32]) = add_to_columns_body
}

#[inline(always)]
fn add_to_columns_body<const FMA: bool>(rows: &[f32], sums: &mut [f32]) {
    for row in rows.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

vectorised! {
    /// (y - x)^2 of some columns summed in f64, and `scale` (y - x) as y's gradient. Rows stand `stride` apart.
    pub(crate) fn stage_errors(
        x: &[f32], y: &[f32], dy: &mut [f32], columns: [usize; 2], stride: usize, scale: f32,
    ) -> f64 = stage_errors_body
}

#[inline(always)]
fn stage_errors_body<const FMA: bool>(
    x: &[f32],
    y: &[f32],
    dy: &mut [f32],
    [start, end]: [usize; 2],
    stride: usize,
    scale: f32,
) -> f64 {
    let mut total = 0.0f64;
    let rows = x.chunks_exact(stride).zip(y.chunks_exact(stride)).zip(dy.chunks_exact_mut(stride));
    for ((x, y), dy) in rows {
        let mut sums = [0.0f32; 8];
        for (index, ((x, y), dy)) in x[start..end].iter().zip(&y[start..end]).zip(&mut dy[start..end]).enumerate() {
            let error = y - x;
            *dy = scale * error;
            sums[index % 8] = mul_add::<FMA>(error, error, sums[index % 8]);
        }
        total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
    }
    total
}

vectorised! {
    /// The sum of squares, in f64.
    pub(crate) fn sum_squares(values: &[f32]) -> f64 = sum_squares_body
}

#[inline(always)]
fn sum_squares_body<const FMA: bool>(values: &[f32]) -> f64 {
    let mut total = 0.0;
    for chunk in values.chunks(1024) {
        let mut sums = [0.0f32; 16];
        let (whole, rest) = chunk.as_chunks::<16>();
        for values in whole {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = mul_add::<FMA>(*value, *value, *sum);
            }
        }
        total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        total += rest.iter().map(|&value| f64::from(value * value)).sum::<f64>();
    }
    total
}

vectorised! {
    /// Sets each element to zero with `probability` and divides the others by what is left of one; `first` is the first
    /// element's number in the stream. `kept`, where given, is 1 for those that stay.
    pub(crate) fn drop_out(
        x: &mut [f32], probability: f32, stream: Stream, first: usize, kept: Option<&mut [u8]>,
    ) = drop_out_body
}

/// Elements that eight blocks of the stream are for.
const DROPPED: usize = 32;

#[inline(always)]
fn drop_out_body<const FMA: bool>(
    x: &mut [f32],
    probability: f32,
    stream: Stream,
    first: usize,
    mut kept: Option<&mut [u8]>,
) {
    let scale = 1.0 / (1.0 - probability);
    let mut at = 0;
    while at < x.len() {
        // From a block's first element on; before the first whole one there are up to three.
        let (block, skipped) = ((first + at) / 4, (first + at) % 4);
        let words = stream.bits_of_eight(block as u64);
        let mut keep = [false; DROPPED];
        for lane in 0..DROPPED / 4 {
            for word in 0..4 {
                keep[4 * lane + word] = unit(words[word][lane]) >= probability;
            }
        }
        let keep = &keep[skipped..];
        let end = x.len().min(at + keep.len());
        for (x, keep) in x[at..end].iter_mut().zip(keep) {
            *x = if *keep { *x * scale } else { 0.0 };
        }
        if let Some(kept) = &mut kept {
            for (kept, keep) in kept[at..end].iter_mut().zip(keep) {
                *kept = u8::from(*keep);
            }
        }
        at = end;
    }
}

/// `x + sigma * noise`, sigma for each column of the row; noise is overwritten.
pub(crate) fn disturb(x: &[f32], sigma: &[f32], noise: &mut [f32]) {
    for (x, noise) in x.chunks_exact(sigma.len()).zip(noise.chunks_exact_mut(sigma.len())) {
        for ((x, sigma), noise) in x.iter().zip(sigma).zip(noise) {
            *noise = x + sigma * *noise;
        }
    }
}

vectorised! {
    /// One step of AdamW on some of the parameters: gradient times `scale`, moments, parameters.
    pub(crate) fn fused_adamw(
        config: &AdamWConfig, bias: [f64; 2], scale: f32, parameters: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32],
    ) = fused_adamw_body
}

#[inline(always)]
fn fused_adamw_body<const FMA: bool>(
    config: &AdamWConfig,
    [bias1, bias2]: [f64; 2],
    scale: f32,
    parameters: &mut [f32],
    gradient: &[f32],
    mean: &mut [f32],
    square: &mut [f32],
) {
    let (beta1, beta2) = (config.beta1 as f32, config.beta2 as f32);
    let (rest1, rest2) = ((1.0 - config.beta1) as f32, (1.0 - config.beta2) as f32);
    let decay = (1.0 - config.learning_rate * config.weight_decay) as f32;
    let (size, unbias, eps) = ((config.learning_rate / bias1) as f32, (1.0 / bias2) as f32, config.eps as f32);
    for (((p, g), m), v) in parameters.iter_mut().zip(gradient).zip(mean).zip(square) {
        let g = g * scale;
        *m = mul_add::<FMA>(*m, beta1, g * rest1);
        *v = mul_add::<FMA>(*v, beta2, g * g * rest2);
        *p = *p * decay - size * *m / ((*v * unbias).sqrt() + eps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn what_is_dropped_is_what_the_stream_says() {
        let stream = Random::new(2).named("mask");
        let uniform = stream.uniform(300);
        for first in [0, 1, 2, 3, 4, 31, 32, 37] {
            for count in [0, 1, 2, 3, 31, 32, 33, 100, 200] {
                let values: Vec<f32> = (0..count).map(|index| 1.0 + index as f32).collect();
                let (mut found, mut alone, mut kept) = (values.clone(), values.clone(), vec![2; count]);
                drop_out(&mut found, 0.3, stream, first, Some(&mut kept));
                drop_out(&mut alone, 0.3, stream, first, None);
                assert_eq!(found, alone);
                for (index, value) in values.iter().enumerate() {
                    let keep = uniform[first + index] >= 0.3;
                    let expected = if keep { value * (1.0 / (1.0 - 0.3)) } else { 0.0 };
                    assert_eq!((found[index], kept[index]), (expected, u8::from(keep)), "{first} {index}");
                }
            }
        }
    }
}
