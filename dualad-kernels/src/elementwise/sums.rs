//! Sums over rows and elements.

use std::ops::Range;

use crate::vectorized::{mul_add, vectorized};

vectorized! {
    /// Adds the sum of each column to `sums`. The rows are contiguous, with `sums.len()` elements each.
    pub fn add_to_columns(rows: &[f32], sums: &mut [f32]) = add_to_columns_body
}

#[inline(always)]
fn add_to_columns_body<const FMA: bool>(rows: &[f32], sums: &mut [f32]) {
    for row in rows.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

vectorized! {
    /// Returns the sum of (y - x)^2 over some columns, added up in f64, and writes the gradient `scale` * (y - x) to these columns
    /// of `dy`. Rows begin `stride` elements apart.
    pub fn squared_errors(
        x: &[f32], y: &[f32], dy: &mut [f32], columns: Range<usize>, stride: usize, scale: f32,
    ) -> f64 = squared_errors_body
}

#[inline(always)]
fn squared_errors_body<const FMA: bool>(
    x: &[f32],
    y: &[f32],
    dy: &mut [f32],
    columns: Range<usize>,
    stride: usize,
    scale: f32,
) -> f64 {
    let Range { start, end } = columns;
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

vectorized! {
    /// Returns the sum of squares, added up in f64.
    pub fn sum_squares(values: &[f32]) -> f64 = sum_squares_body
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
