//! Positions of tokens: embeddings that were learned for a square grid, and rotations.

use std::sync::{Arc, Mutex, PoisonError};

use crate::network::{Learned, Resampling};
use crate::weights::LayerWeights;

/// The tokens before the grid, and the position embedding of its cells.
#[derive(Debug)]
pub(crate) struct Embedding {
    channels: usize,
    /// The class token, with its position if it has one, and the registers: `[prefix, channels]`.
    prefix: Vec<f32>,
    /// The position embedding of the cells that it was learned for, row by row: `[grid * grid, channels]`.
    learned: Option<(Learned, Vec<f32>)>,
}

impl Embedding {
    /// Takes the weights of an [`crate::network::Op::Embed`].
    pub(crate) fn new(
        channels: usize,
        registers: usize,
        position: Option<Learned>,
        weights: &mut LayerWeights,
    ) -> Self {
        let mut prefix = weights.tensor();
        let registers = if registers > 0 { weights.tensor() } else { Vec::new() };
        let learned = position.map(|learned| {
            let mut cells = weights.tensor();
            if learned.class {
                let rest = cells.split_off(channels.min(cells.len()));
                prefix.iter_mut().zip(&cells).for_each(|(token, position)| *token += position);
                cells = rest;
            }
            (learned, cells)
        });
        prefix.extend(registers);
        Self { channels, prefix, learned }
    }

    /// Returns the tokens before the grid, `[prefix, channels]`.
    pub(crate) fn prefix(&self) -> &[f32] {
        &self.prefix
    }

    /// Returns the position embedding of the cells of a grid, `[rows * columns, channels]`, or `None` if none was learned.
    pub(crate) fn cells(&self, grid: [usize; 2]) -> Option<Vec<f32>> {
        let (learned, cells) = self.learned.as_ref()?;
        if grid == [learned.grid; 2] {
            return Some(cells.clone());
        }
        Some(resample(cells, self.channels, learned.grid, grid, learned.resampling))
    }
}

/// Interpolates cells `[from * from, channels]` to `[rows * columns, channels]`, in f64.
fn resample(
    cells: &[f32],
    channels: usize,
    from: usize,
    [rows, columns]: [usize; 2],
    resampling: Resampling,
) -> Vec<f32> {
    let taps = |to: usize| match resampling {
        Resampling::Dino => dino_taps(from, to),
        Resampling::Antialiased => antialiased_taps(from, to),
    };
    let (vertical, horizontal) = (taps(rows), taps(columns));
    let mut resampled = Vec::with_capacity(rows * columns * channels);
    let (mut line, mut sums) = (vec![0.0f64; from * channels], vec![0.0f64; channels]);
    for taps in &vertical {
        line.fill(0.0);
        for &(row, weight) in taps {
            let cells = &cells[row * from * channels..][..from * channels];
            line.iter_mut().zip(cells).for_each(|(sum, &cell)| *sum += weight * f64::from(cell));
        }
        for taps in &horizontal {
            sums.fill(0.0);
            for &(column, weight) in taps {
                let cell = &line[column * channels..][..channels];
                sums.iter_mut().zip(cell).for_each(|(sum, &cell)| *sum += weight * cell);
            }
            resampled.extend(sums.iter().map(|&sum| sum as f32));
        }
    }
    resampled
}

/// The cells that an interpolated cell depends on, and their weights.
type Taps = Vec<(usize, f64)>;

/// Returns the taps of each of `to` cells among `from` as [`Resampling::Dino`] defines them.
fn dino_taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = (to as f64 + 0.1) / from as f64;
    let taps = |cell: usize| {
        let position = (cell as f64 + 0.5) / scale - 0.5;
        let first = position.floor() as isize - 1;
        let tap = |tap: isize| {
            let index = (first + tap).clamp(0, from as isize - 1) as usize;
            (index, cubic((first + tap) as f64 - position, -0.75))
        };
        (0..4).map(tap).collect()
    };
    (0..to).map(taps).collect()
}

/// Returns the taps of each of `to` cells among `from` as [`Resampling::Antialiased`] defines them.
fn antialiased_taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let widening = scale.max(1.0);
    let taps = |cell: usize| {
        let center = scale * (cell as f64 + 0.5);
        let first = (center - 2.0 * widening + 0.5).max(0.0) as usize;
        let end = ((center + 2.0 * widening + 0.5) as usize).min(from);
        let weight = |index: usize| cubic((index as f64 - center + 0.5) / widening, -0.5);
        let sum: f64 = (first..end).map(weight).sum();
        (first..end).map(|index| (index, weight(index) / sum)).collect()
    };
    (0..to).map(taps).collect()
}

/// Returns the cubic convolution kernel at a distance.
fn cubic(distance: f64, a: f64) -> f64 {
    let t = distance.abs();
    if t < 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    } else {
        0.0
    }
}

/// The rotations of the cells of a grid: of every head, channel `i` and channel `i + pairs` are a pair that is rotated by the cell's
/// angle `i`.
#[derive(Debug)]
pub(crate) struct Rotations {
    /// Half the width of a head.
    pub(crate) pairs: usize,
    /// The cosines, `[rows * columns, pairs]`.
    pub(crate) cosines: Vec<f32>,
    /// The sines, `[rows * columns, pairs]`.
    pub(crate) sines: Vec<f32>,
}

impl Rotations {
    /// Computes the rotations of DINOv3 for heads of `width` channels. The first half of the angles is the row's, the second half the
    /// column's: `2 pi p / temperature^(4 i / width)` for a center p, which the grid's size scales to -1..1 in each direction.
    pub(crate) fn new([rows, columns]: [usize; 2], width: usize, temperature: f64) -> Self {
        let periods: Vec<f64> = (0..width / 4).map(|i| temperature.powf(4.0 * i as f64 / width as f64)).collect();
        let pairs = 2 * periods.len();
        let mut rotations = Self { pairs, cosines: Vec::new(), sines: Vec::new() };
        let center = |index: usize, count: usize| 2.0 * (index as f64 + 0.5) / count as f64 - 1.0;
        for row in 0..rows {
            for column in 0..columns {
                for center in [center(row, rows), center(column, columns)] {
                    for period in &periods {
                        let (sine, cosine) = (std::f64::consts::TAU * center / period).sin_cos();
                        rotations.cosines.push(cosine as f32);
                        rotations.sines.push(sine as f32);
                    }
                }
            }
        }
        rotations
    }

    /// Rotates every head of a cell's q or k.
    pub(crate) fn rotate(&self, cell: usize, token: &mut [f32]) {
        let range = cell * self.pairs..(cell + 1) * self.pairs;
        let (cosines, sines) = (&self.cosines[range.clone()], &self.sines[range]);
        for head in token.chunks_exact_mut(2 * self.pairs) {
            let (first, second) = head.split_at_mut(self.pairs);
            let pairs = first.iter_mut().zip(second).zip(cosines.iter().zip(sines));
            for ((first, second), (cosine, sine)) in pairs {
                (*first, *second) = (*first * cosine - *second * sine, *second * cosine + *first * sine);
            }
        }
    }
}

/// A value that depends on the grid alone. The last one is kept: images mostly have one size.
#[derive(Debug)]
pub(crate) struct PerGrid<T>(Mutex<Option<([usize; 2], Arc<T>)>>);

impl<T> Default for PerGrid<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> PerGrid<T> {
    /// The cells of the largest grid whose value is kept: 128 x 128.
    const MAX_CELLS: usize = 1 << 14;

    /// Returns the grid's value, which `compute` returns.
    ///
    /// # Errors
    /// That of `compute`.
    pub(crate) fn get<E>(&self, grid: [usize; 2], compute: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        // The lock is not held while computing, and no value is ever half written.
        let last = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, value)) = &*last()
            && *of == grid
        {
            return Ok(value.clone());
        }
        let value = Arc::new(compute()?);
        if grid[0].saturating_mul(grid[1]) <= Self::MAX_CELLS {
            *last() = Some((grid, value.clone()));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_every_size_sum_to_one() {
        for (from, to) in
            [(37, 1), (37, 4), (37, 16), (37, 36), (37, 37), (37, 38), (37, 100), (14, 3), (14, 15), (1, 1)]
        {
            for (name, taps) in [("antialiased", antialiased_taps(from, to)), ("dino", dino_taps(from, to))] {
                assert_eq!(taps.len(), to);
                for taps in taps {
                    let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
                    assert!(
                        (sum - 1.0).abs() < 1e-12 && taps.iter().all(|tap| tap.0 < from),
                        "{name} {from} {to}: {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_antialiased_grid_of_the_same_size_stays() {
        let cells: Vec<f32> = (0..5 * 5 * 3).map(|i| (i * i % 31) as f32).collect();
        assert_eq!(resample(&cells, 3, 5, [5, 5], Resampling::Antialiased), cells);
        // A larger grid, and one that is larger in one direction only.
        assert_eq!(resample(&cells, 3, 5, [7, 2], Resampling::Antialiased).len(), 7 * 2 * 3);
    }

    #[test]
    fn rotations_keep_lengths_and_the_center() {
        let rotations = Rotations::new([3, 5], 8, 100.0);
        assert_eq!((rotations.pairs, rotations.cosines.len(), rotations.sines.len()), (4, 15 * 4, 15 * 4));
        let token: Vec<f32> = (1..=16).map(|i| i as f32).collect();
        for cell in 0..15 {
            let mut rotated = token.clone();
            rotations.rotate(cell, &mut rotated);
            let length = |token: &[f32]| token.iter().map(|x| x * x).sum::<f32>();
            assert!((length(&rotated) - length(&token)).abs() < 1e-3);
            // The middle of an odd grid is the origin.
            assert_eq!(rotated == token, cell == 7, "cell {cell}");
        }
    }

    #[test]
    fn the_last_grid_is_computed_once() {
        let (values, mut calls) = (PerGrid::default(), 0);
        let mut get = |grid: [usize; 2]| {
            let value = values.get(grid, || {
                calls += 1;
                if grid[0] == 0 { Err("none") } else { Ok(grid) }
            });
            (value.map(|value| *value), calls)
        };
        assert_eq!(get([2, 3]), (Ok([2, 3]), 1));
        assert_eq!(get([2, 3]), (Ok([2, 3]), 1));
        assert_eq!(get([0, 3]), (Err("none"), 2));
        assert_eq!(get([3, 2]), (Ok([3, 2]), 3));
        assert_eq!(get([2, 3]), (Ok([2, 3]), 4));
        let large = [usize::MAX, 2];
        assert_eq!([get(large), get(large)], [(Ok(large), 5), (Ok(large), 6)]);
        assert_eq!(get([2, 3]), (Ok([2, 3]), 6));
    }
}
