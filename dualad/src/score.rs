//! The scores (docs/method.md, section 6) and the loss (section 5) of a reconstruction.
//!
//! a_s = sqrt(mean over the channels of stage s of (r_s - x_s)^2); A = upsample(product over s of a_s)

use candle_core::{D, Device, Result, Tensor};

use crate::bilinear;
use crate::config::Combination;
use crate::ops::{combined_errors, squared_errors};

/// The side of the average pool of the image score, in pixels.
pub(crate) const POOL: usize = 16;

/// The limit of every error and partial product: beyond it, a product of stages could be infinite, and its upsampling NaN.
pub(crate) const MAX_ERROR: f64 = 1e18;

/// The anomaly maps and image scores of a batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Scores {
    /// The anomaly of each pixel, `[batch, 1, height, width]` at the input's size, from 0 to 1e18. Larger is more anomalous; not a
    /// probability.
    pub anomaly_map: Tensor,
    /// The anomaly of each image, `[batch]`: the largest mean of a square of 16 x 16 pixels of the map.
    pub image_score: Tensor,
}

/// Returns the sum over stages of the mean squared error between tokens `[batch, tokens, channels]`, a scalar.
pub(crate) fn reconstruction_loss(clean: &Tensor, reconstruction: &Tensor, stage_channels: &[usize]) -> Result<Tensor> {
    let errors = squared_errors(clean, reconstruction, stage_channels)?;
    let mut means = errors.iter().map(Tensor::mean_all);
    let Some(first) = means.next() else { candle_core::bail!("a loss needs at least one stage") };
    means.try_fold(first?, |sum, mean| sum + mean?)
}

/// Returns the scores of clean tokens and their reconstruction, `[batch, rows * columns, channels]`. A token has `token_stride` pixels
/// a side.
pub(crate) fn score(
    clean: &Tensor,
    reconstruction: &Tensor,
    stage_channels: &[usize],
    combination: Combination,
    [rows, columns]: [usize; 2],
    token_stride: usize,
) -> Result<Scores> {
    let batch = clean.dim(0)?;
    let (clean, reconstruction) = (clean.detach(), reconstruction.detach());
    let tokens = combined_errors(&clean, &reconstruction, stage_channels, combination, MAX_ERROR)?;
    Upsampling::new([rows, columns], token_stride, clean.device())?.scores(&tokens.reshape((batch, rows, columns))?)
}

/// The upsampling of token values to pixels and the pooling of the image score, as products with a matrix for each axis.
#[derive(Debug, Clone)]
pub(crate) struct Upsampling {
    upsample: [Tensor; 2],
    pool: [Tensor; 2],
}

impl Upsampling {
    pub(crate) fn new([rows, columns]: [usize; 2], token_stride: usize, device: &Device) -> Result<Self> {
        let (vertical, horizontal) = (Axis::new(rows, token_stride), Axis::new(columns, token_stride));
        let tensor = |matrix: &Matrix| Tensor::from_slice(&matrix.values, (matrix.rows, matrix.columns), device);
        let pair = |vertical: &Matrix, horizontal: &Matrix| {
            Ok::<_, candle_core::Error>([tensor(vertical)?, tensor(horizontal)?.t()?.contiguous()?])
        };
        Ok(Self {
            upsample: pair(&vertical.upsample, &horizontal.upsample)?,
            pool: pair(&vertical.pool, &horizontal.pool)?,
        })
    }

    /// Returns the scores of token values `[batch, rows, columns]`.
    pub(crate) fn scores(&self, map: &Tensor) -> Result<Scores> {
        let apply = |[vertical, horizontal]: &[Tensor; 2]| vertical.broadcast_matmul(map)?.broadcast_matmul(horizontal);
        let anomaly_map = apply(&self.upsample)?.unsqueeze(1)?;
        // Upsampling and pooling are linear and separable, so one matrix per axis does both: far cheaper than to pool the
        // upsampled map.
        let pooled = apply(&self.pool)?;
        let image_score = pooled.flatten_from(1)?.max(D::Minus1)?;
        Ok(Scores { anomaly_map, image_score })
    }
}

/// A linear map along one axis, `[rows, columns]` row by row.
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

/// The matrices of one axis: bilinear upsampling by the token stride with aligned corners, and the same followed by the mean of
/// [`POOL`] pixels, or of all if there are fewer.
struct Axis {
    upsample: Matrix,
    pool: Matrix,
}

impl Axis {
    fn new(cells: usize, token_stride: usize) -> Self {
        let pixels = cells * token_stride;
        let side = POOL.min(pixels);
        let mut upsample = vec![0.0f64; pixels * cells];
        for pixel in 0..pixels {
            // Aligned corners: the centers of the outermost cells and pixels coincide.
            let position = pixel as f64 * (cells - 1) as f64 / (pixels - 1).max(1) as f64;
            let (first, second, share) = bilinear::tap(position, cells);
            upsample[pixel * cells + first] += 1.0 - share;
            upsample[pixel * cells + second] += share;
        }
        let windows = pixels - side + 1;
        let mut pool = vec![0.0f64; windows * cells];
        for window in 0..windows {
            for pixel in window..window + side {
                for cell in 0..cells {
                    pool[window * cells + cell] += upsample[pixel * cells + cell] / side as f64;
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

    /// Compares with the definition, pixel by pixel: upsample each map, then average every square of 16 x 16 pixels (a smaller map's
    /// whole side).
    #[test]
    fn scores_equal_the_definition() {
        let sizes = [(1, 1), (1, 4), (3, 2), (5, 8), (14, 14)];
        let cases = sizes.into_iter().flat_map(|size| [(size, 16), (size, 14)]).chain([((3, 2), 1), ((20, 1), 1)]);
        for ((rows, columns), stride) in cases {
            let stages = [2, 3];
            let shape = (2, rows * columns, 5);
            let mut random = Random::new(rows as u64);
            let mut tokens =
                || Tensor::from_vec(random.stream().normal(2 * rows * columns * 5), shape, &Device::Cpu).unwrap();
            let (clean, reconstruction) = (tokens(), tokens());
            let combination = if rows == 3 { Combination::Sum } else { Combination::Product };
            let scores = score(&clean, &reconstruction, &stages, combination, [rows, columns], stride).unwrap();
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
                    let last = ((cells * stride) as f64 - 1.0).max(1.0);
                    let position = pixel as f64 * (cells as f64 - 1.0) / last;
                    (position.floor() as usize, position - position.floor())
                };
                let mut map = vec![vec![0.0; columns * stride]; rows * stride];
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
                let (height, width) = (16.min(rows * stride), 16.min(columns * stride));
                for y in 0..=rows * stride - height {
                    for x in 0..=columns * stride - width {
                        let lines = map[y..y + height].iter();
                        let sum: f64 = lines.map(|line| line[x..x + width].iter().sum::<f64>()).sum();
                        largest = largest.max(sum / (height * width) as f64);
                    }
                }
                assert!((largest - f64::from(found[image])).abs() < 1e-5, "{largest} {}", found[image]);
            }
        }
    }
}
