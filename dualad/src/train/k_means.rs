//! Rows that stand for many: k-means by cosine, as a memory is read.

use rayon::prelude::*;

use crate::ops::matrix::{Shape, multiply_into};
use crate::random::Stream;

/// Rows whose cosines a task computes at a time.
const ROWS: usize = 256;

/// `count` centres of `rows` `[.., width]`: rows of a sample to start with; then, `iterations` times, the mean of the
/// rows that have the largest cosine with a centre. A centre without rows stays where it is.
///
/// Fewer rows than centres: the rows, again and again. No rows, or no centres: nothing.
pub(crate) fn k_means(rows: &[f32], width: usize, count: usize, iterations: usize, stream: Stream) -> Vec<f32> {
    if width == 0 || count == 0 || rows.len() < width {
        return Vec::new();
    }
    let order = stream.permutation(rows.len() / width);
    let first = order.iter().cycle().take(count);
    let mut centres: Vec<f32> = first.flat_map(|&row| &rows[row * width..][..width]).copied().collect();
    for _ in 0..iterations {
        let units: Vec<f32> = centres.chunks_exact(width).flat_map(unit).collect();
        let nearest: Vec<usize> = rows
            .par_chunks(ROWS * width)
            .flat_map_iter(|rows| {
                let number = rows.len() / width;
                // A row's length scales all its cosines alike: it need not be a unit.
                let mut cosines = vec![0.0; number * count];
                multiply_into(
                    &mut cosines,
                    Shape::dense(number, count),
                    false,
                    1.0,
                    (rows, Shape::dense(number, width)),
                    (&units, Shape::dense(count, width).transposed()),
                );
                cosines.chunks_exact(count).map(largest).collect::<Vec<_>>()
            })
            .collect();
        let (mut sums, mut numbers) = (vec![0.0f64; centres.len()], vec![0usize; count]);
        for (row, centre) in rows.chunks_exact(width).zip(nearest) {
            numbers[centre] += 1;
            sums[centre * width..][..width].iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let sums = sums.chunks_exact(width).zip(numbers);
        for (centre, (sum, number)) in centres.chunks_exact_mut(width).zip(sums) {
            if number > 0 {
                centre.iter_mut().zip(sum).for_each(|(x, sum)| *x = (sum / number as f64) as f32);
            }
        }
    }
    centres
}

/// A row over its norm; zeros stay.
fn unit(row: &[f32]) -> impl Iterator<Item = f32> {
    let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 };
    row.iter().map(move |x| x * scale)
}

/// The first of the largest.
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
    fn finds_what_the_rows_were_made_around() {
        // Rows around four directions of different lengths.
        let directions = [[4.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [-3.0, -3.0, 0.0f32]];
        let noise = Random::new(1).stream().normal(400 * 3);
        let rows: Vec<f32> = noise.iter().enumerate().map(|(i, n)| directions[i / 3 % 4][i % 3] + 0.05 * n).collect();
        // A seed whose first centres are of all four; k-means does not leave a bad start by itself.
        let found = (0..20).any(|seed| {
            let centres = k_means(&rows, 3, 4, 10, Random::new(seed).stream());
            directions.iter().all(|direction| {
                centres.chunks(3).any(|centre| centre.iter().zip(direction).all(|(a, b)| (a - b).abs() < 0.05))
            })
        });
        assert!(found);
    }

    #[test]
    fn is_a_function_of_rows_and_seed_and_survives_odd_rows() {
        let rows = Random::new(2).stream().normal(1000 * 5);
        let stream = Random::new(3).stream();
        let centres = k_means(&rows, 5, 7, 4, stream);
        assert_eq!(centres, k_means(&rows, 5, 7, 4, stream));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(centres, pool.install(|| k_means(&rows, 5, 7, 4, stream)));
        assert_eq!(centres.len(), 35);
        assert!(k_means(&[], 5, 7, 4, stream).is_empty() && k_means(&rows, 5, 0, 4, stream).is_empty());
        assert_eq!(k_means(&[1.0, 2.0], 2, 3, 4, stream), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        assert!(k_means(&[0.0; 20], 2, 3, 4, stream).iter().all(|&x| x == 0.0));
    }
}
