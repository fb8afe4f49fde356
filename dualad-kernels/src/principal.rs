//! Principal components by subspace iteration (Halko et al., "Finding Structure with Randomness", SIAM Review 53(2), 2011).

use crate::gemm::{Epilogue, Packed, Rows, product};
use crate::simd::isa::Isa;

/// The iterations. More change the subspace little: the spectrum of features falls fast.
const ITERATIONS: usize = 12;
/// The components that are computed beside those returned, for their accuracy.
const EXTRA: usize = 8;
/// The rotations of each pair of components in the last step.
const SWEEPS: usize = 8;

/// Returns the number of values that [`principal_components`] starts from.
pub fn principal_start(width: usize, count: usize) -> usize {
    (count.min(width) + EXTRA).min(width) * width
}

/// Returns the mean of rows `[rows, width]`, and their first `count` principal components, `[count, width]`, largest variance
/// first. There are no more components than elements of a row, and none without a row.
///
/// `start` are [`principal_start`] values without structure, such as random ones; missing ones are 0. The result does not depend on
/// the number of threads.
///
/// ```
/// use dualad_kernels::{Isa, principal_components, principal_start};
///
/// let rows = [0.0, 0.0, 2.0, 1.0, 4.0, 2.0];
/// let start = vec![0.3, -0.7, 0.9, 0.2];
/// assert_eq!(start.len(), principal_start(2, 1));
/// let (mean, components) = principal_components(Isa::best(), &rows, 2, 1, &start);
/// assert_eq!(mean, [2.0, 1.0]);
/// assert!((components[0] / components[1] - 2.0).abs() < 1e-5);
/// ```
pub fn principal_components(isa: Isa, rows: &[f32], width: usize, count: usize, start: &[f32]) -> (Vec<f32>, Vec<f32>) {
    if width == 0 || rows.len() < width {
        return (vec![0.0; width], Vec::new());
    }
    let number = rows.len() / width;
    let mut sums = vec![0.0f64; width];
    rows.chunks_exact(width).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x)));
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / number as f64) as f32).collect();
    let centered: Vec<f32> =
        rows.chunks_exact(width).flat_map(|row| row.iter().zip(&mean).map(|(x, m)| x - m)).collect();
    let mut begin = start.to_vec();
    begin.resize(principal_start(width, count), 0.0);
    let size = begin.len() / width;
    let covariance = covariance(isa, &centered, width);
    let mut basis = iterated(isa, &covariance, width, &begin, ITERATIONS);
    // The covariance within the subspace.
    let image = multiplied(isa, &basis, &covariance, width);
    let mut small = multiplied(isa, &image, &basis, width);
    let order = rotate(&mut small, &mut basis, size, width);
    let components =
        order.into_iter().take(count.min(width)).flat_map(|row| basis[row * width..][..width].to_vec()).collect();
    (mean, components)
}

/// Returns orthonormal directions that hold about the most variance of centered rows `[rows, width]`: as many as `start` has,
/// `[directions, width]`. Directions that the rows do not need are zeros.
pub(crate) fn principal_subspace(isa: Isa, centered: &[f32], width: usize, start: &[f32], steps: usize) -> Vec<f32> {
    if centered.len() < width {
        return orthonormal(start, width);
    }
    iterated(isa, &covariance(isa, centered, width), width, start, steps)
}

/// Returns the sums of products of the columns of rows `[rows, width]`, `[width, width]`.
fn covariance(isa: Isa, rows: &[f32], width: usize) -> Vec<f32> {
    let count = rows.len() / width;
    let columns: Vec<f32> = (0..width * count).map(|at| rows[at % count * width + at / count]).collect();
    multiplied(isa, &columns, &columns, count)
}

/// Returns the products of the rows of two matrices `[rows, width]`.
fn multiplied(isa: Isa, left: &[f32], right: &[f32], width: usize) -> Vec<f32> {
    let (rows, columns) = (left.len() / width, right.len() / width);
    let packed = Packed::new(isa, right, width, None);
    let mut result = vec![0.0; rows * columns];
    product(left, Rows::Dense { stride: width }, rows, &packed, &mut result, columns, Epilogue::NONE);
    result
}

/// Orthogonal iteration with a symmetric matrix `[width, width]`.
fn iterated(isa: Isa, matrix: &[f32], width: usize, start: &[f32], steps: usize) -> Vec<f32> {
    let mut directions = orthonormal(start, width);
    for _ in 0..steps {
        directions = orthonormal(&multiplied(isa, &directions, matrix, width), width);
    }
    directions
}

/// Makes each row orthogonal to those before it and gives it the length 1 (the modified Gram-Schmidt method). A row that depends on
/// them becomes zeros.
pub(crate) fn orthonormal(rows: &[f32], dims: usize) -> Vec<f32> {
    /// The part of a row that is left if it depends on the rows before it: rounding errors.
    const DEPENDENT: f64 = 1e-6;
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(rows.len() / dims.max(1));
    for row in rows.chunks_exact(dims.max(1)) {
        let mut row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let before = dot(&row, &row).sqrt();
        // The second time removes the rounding errors of the first.
        for _ in 0..2 {
            for other in &done {
                let along = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(x, other)| *x -= along * other);
            }
        }
        let length = dot(&row, &row).sqrt();
        let kept = length > DEPENDENT * before && length.is_finite();
        row.iter_mut().for_each(|x| *x = if kept { *x / length } else { 0.0 });
        done.push(row);
    }
    done.concat().into_iter().map(|x| x as f32).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
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

    /// Values from a normal distribution, about.
    fn normal(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        // The sum of 12 uniform values has variance 1.
        (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
    }

    fn components(rows: &[f32], width: usize, count: usize) -> (Vec<f32>, Vec<f32>) {
        principal_components(Isa::best(), rows, width, count, &normal(9, principal_start(width, count)))
    }

    #[test]
    fn components_are_those_of_a_known_distribution() {
        let width = 40;
        // Channel c has standard deviation 40 - c; two channels are mixed by 45 degrees.
        let rows: Vec<f32> = normal(1, 4000 * width)
            .chunks(width)
            .flat_map(|row| {
                let mut row: Vec<f32> = row.iter().enumerate().map(|(c, x)| x * (40 - c) as f32 + 3.0).collect();
                let (a, b) = (row[0], row[20]);
                (row[0], row[20]) = ((a - b) * 0.5f32.sqrt(), (a + b) * 0.5f32.sqrt());
                row
            })
            .collect();
        let (mean, components) = components(&rows, width, 3);
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
                let product: f32 = first.iter().zip(second).map(|(x, y)| x * y).sum();
                assert!((product - f32::from(u8::from(a == b))).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn odd_rows_give_finite_components() {
        // Fewer rows than components, constant rows, one element, more components than elements.
        for (rows, width, count) in [
            (vec![1.0, 2.0, 3.0, 4.0], 4, 3),
            (vec![5.0; 60], 6, 4),
            (vec![1.0, 2.0, 4.0], 1, 1),
            (normal(2, 300), 3, 9),
        ] {
            let (mean, components) = components(&rows, width, count);
            assert_eq!(mean.len(), width);
            assert_eq!(components.len(), count.min(width) * width);
            assert!(components.iter().chain(&mean).all(|x| x.is_finite()));
        }
        assert_eq!(principal_components(Isa::best(), &[], 3, 2, &[]), (vec![0.0; 3], vec![]));
    }
}
