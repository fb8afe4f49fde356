//! Principal components by subspace iteration (Halko et al., "Finding Structure with Randomness", SIAM Review 53(2), 2011).

use crate::Stream;
use crate::ops::matrix::{MatrixShape, multiply_into};

/// The iterations. More change the subspace little: the spectrum of features falls fast.
const ITERATIONS: usize = 12;
/// The components that are computed beside those returned, for their accuracy.
const EXTRA: usize = 8;
/// The rotations of each pair of components in the last step.
const SWEEPS: usize = 8;

/// Returns the mean of rows `[rows, width]`, and their first `count` principal components, `[count, width]`, largest variance
/// first. There are no more components than elements of a row.
pub(crate) fn principal_components(rows: &[f32], width: usize, count: usize, stream: Stream) -> (Vec<f32>, Vec<f32>) {
    if width == 0 || rows.len() < width {
        return (vec![0.0; width], Vec::new());
    }
    let number = rows.len() / width;
    let mut sums = vec![0.0f64; width];
    rows.chunks_exact(width).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x)));
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / number as f64) as f32).collect();
    let centered: Vec<f32> =
        rows.chunks_exact(width).flat_map(|row| row.iter().zip(&mean).map(|(x, m)| x - m)).collect();
    let shape = MatrixShape::dense(number, width);
    let mut covariance = vec![0.0; width * width];
    let square = MatrixShape::dense(width, width);
    multiply_into(
        &mut covariance,
        square,
        false,
        1.0 / number as f32,
        (&centered, shape.transposed()),
        (&centered, shape),
    );
    let kept = count.min(width);
    let size = (kept + EXTRA).min(width);
    // Rows are the components so far.
    let mut basis = stream.normal(size * width);
    let flat = MatrixShape::dense(size, width);
    orthonormalize(&mut basis, width);
    let mut image = vec![0.0; size * width];
    for _ in 0..ITERATIONS {
        multiply_into(&mut image, flat, false, 1.0, (&basis, flat), (&covariance, square));
        std::mem::swap(&mut basis, &mut image);
        orthonormalize(&mut basis, width);
    }
    multiply_into(&mut image, flat, false, 1.0, (&basis, flat), (&covariance, square));
    let mut small = vec![0.0; size * size];
    multiply_into(&mut small, MatrixShape::dense(size, size), false, 1.0, (&image, flat), (&basis, flat.transposed()));
    let order = rotate(&mut small, &mut basis, size, width);
    let components = order.into_iter().take(kept).flat_map(|row| basis[row * width..][..width].to_vec()).collect();
    (mean, components)
}

/// Makes rows orthonormal, from the first to the last (the modified Gram-Schmidt method). A row that depends on those before it
/// becomes zeros.
fn orthonormalize(rows: &mut [f32], width: usize) {
    let mut rest = rows;
    let mut done: Vec<&mut [f32]> = Vec::new();
    while rest.len() >= width {
        let (row, after) = std::mem::take(&mut rest).split_at_mut(width);
        rest = after;
        let before = dot(row, row).sqrt();
        // Twice: after one pass, rounding errors leave a row not quite orthogonal to those that it was nearly parallel to.
        for _ in 0..2 {
            for other in &done {
                let along = dot(row, other) as f32;
                row.iter_mut().zip(other.iter()).for_each(|(x, o)| *x -= along * o);
            }
        }
        let length = dot(row, row).sqrt();
        let scale = if length > 1e-6 * before { (1.0 / length) as f32 } else { 0.0 };
        row.iter_mut().for_each(|x| *x *= scale);
        done.push(row);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (head, tail) = a.as_chunks::<8>();
    let (other_head, other_tail) = b.as_chunks::<8>();
    for (a, b) in head.iter().zip(other_head) {
        for lane in 0..8 {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    sums.iter().sum::<f64>() + tail.iter().zip(other_tail).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
}

/// Diagonalizes a symmetric matrix `[size, size]` by Jacobi rotations, and rotates the rows of `basis` alike. Returns the rows in
/// the order of falling eigenvalues.
fn rotate(matrix: &mut [f32], basis: &mut [f32], size: usize, width: usize) -> Vec<usize> {
    let mut values: Vec<f64> = matrix.iter().map(|&x| f64::from(x)).collect();
    let mut turned: Vec<f64> = basis.iter().map(|&x| f64::from(x)).collect();
    for _ in 0..SWEEPS {
        for first in 0..size {
            for second in first + 1..size {
                let off = values[first * size + second];
                let (a, b) = (values[first * size + first], values[second * size + second]);
                if off.abs() <= 1e-12 * (a.abs() + b.abs()) {
                    continue;
                }
                let half = (b - a) / (2.0 * off);
                let tangent = half.signum() / (half.abs() + (half * half + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for k in 0..size {
                    let (x, y) = (values[k * size + first], values[k * size + second]);
                    values[k * size + first] = cosine * x - sine * y;
                    values[k * size + second] = sine * x + cosine * y;
                }
                let mix = |rows: &mut [f64], width: usize| {
                    let (low, high) = rows.split_at_mut(second * width);
                    for (x, y) in low[first * width..][..width].iter_mut().zip(&mut high[..width]) {
                        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                    }
                };
                mix(&mut values, size);
                mix(&mut turned, width);
            }
        }
    }
    basis.iter_mut().zip(turned).for_each(|(x, turned)| *x = turned as f32);
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| values[b * size + b].total_cmp(&values[a * size + a]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn components_are_those_of_a_known_distribution() {
        let width = 40;
        let mut random = Random::new(1);
        // Channel c has standard deviation 40 - c; two channels are mixed by 45 degrees.
        let rows: Vec<f32> = random
            .stream()
            .normal(4000 * width)
            .chunks(width)
            .flat_map(|row| {
                let mut row: Vec<f32> = row.iter().enumerate().map(|(c, x)| x * (40 - c) as f32 + 3.0).collect();
                let (a, b) = (row[0], row[20]);
                (row[0], row[20]) = ((a - b) * 0.5f32.sqrt(), (a + b) * 0.5f32.sqrt());
                row
            })
            .collect();
        let (mean, components) = principal_components(&rows, width, 3, random.stream());
        assert!(mean.iter().enumerate().filter(|(c, _)| ![0, 20].contains(c)).all(|(_, m)| (m - 3.0).abs() < 2.0));
        assert_eq!(components.len(), 3 * width);
        let variance = |component: &[f32]| {
            let along = |row: &[f32]| row.iter().zip(&mean).zip(component).map(|((x, m), c)| (x - m) * c).sum::<f32>();
            rows.chunks(width).map(|row| f64::from(along(row)).powi(2)).sum::<f64>() / 4000.0
        };
        let variances: Vec<f64> = components.chunks(width).map(variance).collect();
        assert!(variances.windows(2).all(|pair| pair[0] >= pair[1]), "{variances:?}");
        assert!(variances[0] > 39.0 * 39.0 && variances[2] > 36.0 * 36.0, "{variances:?}");
        // The mixed direction is found.
        assert!(
            (components[0].abs() - 0.5f32.sqrt()).abs() < 0.2 || (components[width].abs() - 0.5f32.sqrt()).abs() < 0.2
        );
        for (a, first) in components.chunks(width).enumerate() {
            for (b, second) in components.chunks(width).enumerate() {
                assert!((dot(first, second) - f64::from(u8::from(a == b))).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn odd_rows_give_finite_components() {
        let stream = Random::new(2).stream();
        // Fewer rows than components, constant rows, one element, more components than elements.
        for (rows, width, count) in [
            (vec![1.0, 2.0, 3.0, 4.0], 4, 3),
            (vec![5.0; 60], 6, 4),
            (vec![1.0, 2.0, 4.0], 1, 1),
            (stream.normal(300), 3, 9),
        ] {
            let (mean, components) = principal_components(&rows, width, count, stream);
            assert_eq!(mean.len(), width);
            assert_eq!(components.len(), count.min(width) * width);
            assert!(components.iter().chain(&mean).all(|x| x.is_finite()));
        }
        assert_eq!(principal_components(&[], 3, 2, stream), (vec![0.0; 3], vec![]));
    }
}
