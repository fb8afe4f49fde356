//! K-means by cosine similarity, the similarity that a memory module uses.

use rayon::prelude::*;

use crate::ops::matrix::{MatrixShape, multiply_into};
use crate::random::Stream;

/// The number of rows whose cosines a task computes at a time.
const ROWS: usize = 256;

/// Returns `count` centers of `rows` `[rows, width]`. The initial centers are a sample of the rows. Each iteration replaces a
/// center by the mean of the rows that have their largest cosine with it. A center without rows does not change.
///
/// Initial centers repeat if there are fewer rows than centers. The result is empty if there are no rows or no centers.
pub(crate) fn k_means(rows: &[f32], width: usize, count: usize, iterations: usize, stream: Stream) -> Vec<f32> {
    if width == 0 || count == 0 || rows.len() < width {
        return Vec::new();
    }
    let order = stream.permutation(rows.len() / width);
    let first = order.iter().cycle().take(count);
    let mut centers: Vec<f32> = first.flat_map(|&row| &rows[row * width..][..width]).copied().collect();
    for _ in 0..iterations {
        let units: Vec<f32> = centers.chunks_exact(width).flat_map(unit).collect();
        let nearest: Vec<usize> = rows
            .par_chunks(ROWS * width)
            .flat_map_iter(|rows| {
                let row_count = rows.len() / width;
                // The length of a row scales all its cosines: it does not change which is largest.
                let mut cosines = vec![0.0; row_count * count];
                multiply_into(
                    &mut cosines,
                    MatrixShape::dense(row_count, count),
                    false,
                    1.0,
                    (rows, MatrixShape::dense(row_count, width)),
                    (&units, MatrixShape::dense(count, width).transposed()),
                );
                cosines.chunks_exact(count).map(largest).collect::<Vec<_>>()
            })
            .collect();
        let (mut sums, mut counts) = (vec![0.0f64; centers.len()], vec![0usize; count]);
        for (row, center) in rows.chunks_exact(width).zip(nearest) {
            counts[center] += 1;
            sums[center * width..][..width].iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let sums = sums.chunks_exact(width).zip(counts);
        for (center, (sum, count)) in centers.chunks_exact_mut(width).zip(sums) {
            if count > 0 {
                center.iter_mut().zip(sum).for_each(|(x, sum)| *x = (sum / count as f64) as f32);
            }
        }
    }
    centers
}

/// Returns a row divided by its norm; zeros stay zeros.
fn unit(row: &[f32]) -> impl Iterator<Item = f32> {
    let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 };
    row.iter().map(move |x| x * scale)
}

/// Returns the index of the first largest value.
fn largest(values: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &value) in values.iter().enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn centers_are_found() {
        // Rows around four directions of different lengths.
        let directions = [[4.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [-3.0, -3.0, 0.0f32]];
        let noise = Random::new(1).stream().normal(400 * 3);
        let rows: Vec<f32> = noise.iter().enumerate().map(|(i, n)| directions[i / 3 % 4][i % 3] + 0.05 * n).collect();
        // Some seed has initial centers in all four groups: k-means does not recover from other initial centers.
        let found = (0..20).any(|seed| {
            let centers = k_means(&rows, 3, 4, 10, Random::new(seed).stream());
            directions.iter().all(|direction| {
                centers.chunks(3).any(|center| center.iter().zip(direction).all(|(a, b)| (a - b).abs() < 0.05))
            })
        });
        assert!(found);
    }

    #[test]
    fn is_a_function_of_rows_and_seed_and_survives_odd_rows() {
        let rows = Random::new(2).stream().normal(1000 * 5);
        let stream = Random::new(3).stream();
        let centers = k_means(&rows, 5, 7, 4, stream);
        assert_eq!(centers, k_means(&rows, 5, 7, 4, stream));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(centers, pool.install(|| k_means(&rows, 5, 7, 4, stream)));
        assert_eq!(centers.len(), 35);
        assert!(k_means(&[], 5, 7, 4, stream).is_empty() && k_means(&rows, 5, 0, 4, stream).is_empty());
        assert_eq!(k_means(&[1.0, 2.0], 2, 3, 4, stream), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        assert!(k_means(&[0.0; 20], 2, 3, 4, stream).iter().all(|&x| x == 0.0));
    }
}
