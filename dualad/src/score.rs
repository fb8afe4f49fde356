//! From a reconstruction to scores (method, section 6), and to the loss (section 5).

use candle_core::{D, Device, Result, Tensor};

use crate::bilinear;
use crate::config::Combination;
use crate::ops::{combined_errors, squared_errors};

/// Side of the square whose mean anomaly is largest gives the image score, in pixels.
pub(crate) const POOL: usize = 16;
/// Pixels of a token's side.
const STRIDE: usize = 16;

/// Larger anomalies are all as large: beyond it, products of stages would be infinite, and their mixtures NaN.
pub(crate) const LARGEST: f64 = 1e18;

/// How anomalous images are, and where.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Scores {
    /// `[batch, 1, rows, columns]` at the input's size, from 0 to 1e18: larger is more anomalous. Raw, not a probability.
    pub anomaly_map: Tensor,
    /// `[batch]`: the largest mean of a 16 x 16 square of the map.
    pub image_score: Tensor,
}

/// Sum over stages of the mean squared error between `[batch, tokens, channels]` tokens.
pub(crate) fn reconstruction_loss(clean: &Tensor, reconstruction: &Tensor, stage_channels: &[usize]) -> Result<Tensor> {
    let errors = squared_errors(clean, reconstruction, stage_channels)?;
    let mut means = errors.iter().map(Tensor::mean_all);
    let Some(first) = means.next() else { candle_core::bail!("a loss of no stages") };
    means.try_fold(first?, |sum, mean| sum + mean?)
}

/// The product (or sum) over stages of the root mean squared error, up-sampled, and its largest pooled mean.
pub(crate) fn score(
    clean: &Tensor,
    reconstruction: &Tensor,
    stage_channels: &[usize],
    combination: Combination,
    [rows, columns]: [usize; 2],
) -> Result<Scores> {
    let batch = clean.dim(0)?;
    let (clean, reconstruction) = (clean.detach(), reconstruction.detach());
    let tokens = combined_errors(&clean, &reconstruction, stage_channels, combination, LARGEST)?;
    Enlargement::new([rows, columns], clean.device())?.scores(&tokens.reshape((batch, rows, columns))?)
}

/// From a value for each token to a map for each pixel: matrices for the rows and the columns.
#[derive(Debug, Clone)]
pub(crate) struct Enlargement {
    upsample: [Tensor; 2],
    pool: [Tensor; 2],
}

impl Enlargement {
    pub(crate) fn new([rows, columns]: [usize; 2], device: &Device) -> Result<Self> {
        let (vertical, horizontal) = (Axis::new(rows), Axis::new(columns));
        let tensor = |matrix: &Matrix| Tensor::from_slice(&matrix.values, (matrix.rows, matrix.columns), device);
        let pair = |vertical: &Matrix, horizontal: &Matrix| {
            Ok::<_, candle_core::Error>([tensor(vertical)?, tensor(horizontal)?.t()?.contiguous()?])
        };
        Ok(Self {
            upsample: pair(&vertical.upsample, &horizontal.upsample)?,
            pool: pair(&vertical.pool, &horizontal.pool)?,
        })
    }

    /// `[batch, rows, columns]` to maps and image scores.
    pub(crate) fn scores(&self, map: &Tensor) -> Result<Scores> {
        let apply = |[vertical, horizontal]: &[Tensor; 2]| vertical.broadcast_matmul(map)?.broadcast_matmul(horizontal);
        let anomaly_map = apply(&self.upsample)?.unsqueeze(1)?;
        // Up-sampling and pooling are both linear and separable: pooled straight from the tokens, the full-size pooled map
        // costs next to nothing.
        let pooled = apply(&self.pool)?;
        let image_score = pooled.flatten_from(1)?.max(D::Minus1)?;
        Ok(Scores { anomaly_map, image_score })
    }
}

/// A linear map from token cells to pixels along one axis.
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

/// Bilinear up-sampling by [`STRIDE`] with aligned corners, and the same followed by the mean of [`POOL`] pixels.
struct Axis {
    upsample: Matrix,
    pool: Matrix,
}

impl Axis {
    fn new(cells: usize) -> Self {
        let pixels = cells * STRIDE;
        let mut upsample = vec![0.0f64; pixels * cells];
        for pixel in 0..pixels {
            // PyTorch's align_corners = true: the outermost centres stay where they are.
            let position = pixel as f64 * (cells - 1) as f64 / (pixels - 1) as f64;
            let (first, second, share) = bilinear::tap(position, cells);
            upsample[pixel * cells + first] += 1.0 - share;
            upsample[pixel * cells + second] += share;
        }
        let windows = pixels - POOL + 1;
        let mut pool = vec![0.0f64; windows * cells];
        for window in 0..windows {
            for pixel in window..window + POOL {
                for cell in 0..cells {
                    pool[window * cells + cell] += upsample[pixel * cells + cell] / POOL as f64;
                }
            }
        }
        let narrow = |rows: usize, values: Vec<f64>| Matrix {
            rows,
            columns: cells,
            values: values.into_iter().map(|value| value as f32).collect(),
        };
        Self { upsample: narrow(pixels, upsample), pool: narrow(windows, pool) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// The method's words, cell by cell: up-sample each map, then average every 16 x 16 square of it.
    #[test]
    fn equals_the_textbook() {
        for (rows, columns) in [(1, 1), (1, 4), (3, 2), (5, 8), (14, 14)] {
            let stages = [2, 3];
            let shape = (2, rows * columns, 5);
            let mut random = Random::new(rows as u64);
            let mut tokens =
                || Tensor::from_vec(random.stream().normal(2 * rows * columns * 5), shape, &Device::Cpu).unwrap();
            let (clean, reconstruction) = (tokens(), tokens());
            let combination = if rows == 3 { Combination::Sum } else { Combination::Product };
            let scores = score(&clean, &reconstruction, &stages, combination, [rows, columns]).unwrap();
            let maps: Vec<Vec<Vec<f32>>> = scores.anomaly_map.squeeze(1).unwrap().to_vec3().unwrap();
            let found: Vec<f32> = scores.image_score.to_vec1().unwrap();
            let [clean, reconstruction] = [clean, reconstruction].map(|tokens| tokens.to_vec3::<f32>().unwrap());
            for image in 0..2 {
                let cell = |row: usize, column: usize| {
                    let token = row * columns + column;
                    let error = |channel: usize| {
                        let difference = clean[image][token][channel] - reconstruction[image][token][channel];
                        f64::from(difference).powi(2)
                    };
                    let first = ((error(0) + error(1)) / 2.0).sqrt();
                    let second = ((error(2) + error(3) + error(4)) / 3.0).sqrt();
                    if combination == Combination::Sum { first + second } else { first * second }
                };
                let at = |pixel: usize, cells: usize| {
                    let position = pixel as f64 * (cells as f64 - 1.0) / (cells as f64 * 16.0 - 1.0);
                    (position.floor() as usize, position - position.floor())
                };
                let mut map = vec![vec![0.0; columns * 16]; rows * 16];
                for (y, line) in map.iter_mut().enumerate() {
                    for (x, pixel) in line.iter_mut().enumerate() {
                        let ((row, down), (column, right)) = (at(y, rows), at(x, columns));
                        let (below, beside) = ((row + 1).min(rows - 1), (column + 1).min(columns - 1));
                        *pixel = (1.0 - down) * ((1.0 - right) * cell(row, column) + right * cell(row, beside))
                            + down * ((1.0 - right) * cell(below, column) + right * cell(below, beside));
                        assert!((*pixel - f64::from(maps[image][y][x])).abs() < 1e-5);
                    }
                }
                let mut largest = 0.0f64;
                for y in 0..=rows * 16 - 16 {
                    for x in 0..=columns * 16 - 16 {
                        let sum: f64 = map[y..y + 16].iter().map(|line| line[x..x + 16].iter().sum::<f64>()).sum();
                        largest = largest.max(sum / 256.0);
                    }
                }
                assert!((largest - f64::from(found[image])).abs() < 1e-5, "{largest} {}", found[image]);
            }
        }
    }
}
