//! The scores (docs/method.md, section 6) and the loss (section 5) of a reconstruction.
//!
//! a_s = sqrt(mean over the channels of stage s of (r_s - x_s)^2); A = upsample(product over s of a_s)

use candle_core::{D, Device, Result, Tensor};

use crate::bilinear;
use crate::config::Combination;
use crate::ops::{combined_errors, squared_errors};
use crate::parts;

/// The side of the average pool of the image score, in pixels (docs/method.md, section 6).
pub(crate) const POOL: usize = 16;

/// The side of that pool with a bank, as a share of the input's side: 24 pixels of 224, three tokens of the bank.
const BANK_POOL: f64 = 24.0 / 224.0;

/// The standard deviation of the smoothing of distances to a bank, as a share of the input's side: 4 pixels of 224.
const SMOOTHING: f64 = 4.0 / 224.0;

/// Returns the sides of the average pool of the image score, with a bank, for inputs of `[height, width]` pixels.
pub(crate) fn bank_pool(size: [usize; 2]) -> [usize; 2] {
    size.map(|pixels| ((BANK_POOL * pixels as f64).round() as usize).max(1))
}

/// The limit of every error and partial product: beyond it, a product of stages could be infinite, and its upsampling NaN.
pub(crate) const MAX_ERROR: f64 = 1e18;

/// The anomaly maps and image scores of a batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Scores {
    /// The anomaly of each pixel, `[batch, 1, height, width]` at the input's size, from 0 to 1e18. Larger is more anomalous; not a
    /// probability.
    pub anomaly_map: Tensor,
    /// The anomaly of each image, `[batch]`: the largest mean of a window of the map: 16 x 16 pixels, or the pool of a bank.
    pub image_score: Tensor,
}

/// Returns the sum over stages of the mean squared error between tokens `[batch, tokens, channels]`, a scalar.
pub(crate) fn reconstruction_loss(clean: &Tensor, reconstruction: &Tensor, stage_channels: &[usize]) -> Result<Tensor> {
    let errors = squared_errors(clean, reconstruction, stage_channels)?;
    let mut means = errors.iter().map(Tensor::mean_all);
    let Some(first) = means.next() else { candle_core::bail!("a loss needs at least one stage") };
    means.try_fold(first?, |sum, mean| sum + mean?)
}

/// Returns the combined errors, `[batch, rows, columns]`, of clean tokens and their reconstruction,
/// `[batch, rows * columns, channels]`.
pub(crate) fn token_errors(
    clean: &Tensor,
    reconstruction: &Tensor,
    stage_channels: &[usize],
    combination: Combination,
    [rows, columns]: [usize; 2],
) -> Result<Tensor> {
    let batch = clean.dim(0)?;
    let (clean, reconstruction) = (clean.detach(), reconstruction.detach());
    let errors = combined_errors(&clean, &reconstruction, stage_channels, combination, MAX_ERROR)?;
    errors.reshape((batch, rows, columns))
}

/// The upsampling of token values to pixels and the pooling of the image score, as products with a matrix for each axis.
#[derive(Debug, Clone)]
pub(crate) struct Upsampling {
    upsample: [Tensor; 2],
    pool: [Tensor; 2],
}

impl Upsampling {
    /// Returns the upsampling of a reconstruction's errors (docs/method.md, section 6). A token has `token_stride` pixels a side, and
    /// a pool `[height, width]` pixels.
    pub(crate) fn new(grid: [usize; 2], token_stride: usize, pool: [usize; 2], device: &Device) -> Result<Self> {
        let axis = |axis: usize| Axis::new(grid[axis], token_stride, pool[axis]);
        Self::of_axes([axis(0), axis(1)], device)
    }

    /// Returns the upsampling of distances to a bank on a grid, with smoothing, to `[height, width]` pixels (docs/method.md,
    /// section 9).
    pub(crate) fn smooth(grid: [usize; 2], size: [usize; 2], device: &Device) -> Result<Self> {
        let pool = bank_pool(size);
        let axis = |axis: usize| Axis::smooth(grid[axis], size[axis], pool[axis]);
        Self::of_axes([axis(0), axis(1)], device)
    }

    fn of_axes([vertical, horizontal]: [Axis; 2], device: &Device) -> Result<Self> {
        let tensor = |matrix: &Matrix| Tensor::from_slice(&matrix.values, (matrix.rows, matrix.columns), device);
        let pair = |vertical: &Matrix, horizontal: &Matrix| {
            Ok::<_, candle_core::Error>([tensor(vertical)?, tensor(horizontal)?.t()?.contiguous()?])
        };
        Ok(Self {
            upsample: pair(&vertical.upsample, &horizontal.upsample)?,
            pool: pair(&vertical.pool, &horizontal.pool)?,
        })
    }

    /// Returns the matrices.
    pub(crate) fn parts(&self) -> Result<parts::Upsampling> {
        let matrix = |tensor: &Tensor| {
            let (rows, columns) = tensor.dims2()?;
            Ok::<_, candle_core::Error>(parts::Matrix { rows, columns, values: tensor.flatten_all()?.to_vec1()? })
        };
        let pair = |[left, right]: &[Tensor; 2]| Ok::<_, candle_core::Error>([matrix(left)?, matrix(right)?]);
        Ok(parts::Upsampling { pixels: pair(&self.upsample)?, windows: pair(&self.pool)? })
    }

    /// Returns the scores of token values `[batch, rows, columns]`.
    pub(crate) fn scores(&self, map: &Tensor) -> Result<Scores> {
        let anomaly_map = self.pixels(map)?.unsqueeze(1)?;
        let image_score = self.pooled(map)?.flatten_from(1)?.max(D::Minus1)?;
        Ok(Scores { anomaly_map, image_score })
    }

    /// Returns the values of pixels, `[batch, height, width]`.
    pub(crate) fn pixels(&self, map: &Tensor) -> Result<Tensor> {
        apply(&self.upsample, map)
    }

    /// Returns the mean of each window of the size of the pool, `[batch, height - pool height + 1, width - pool width + 1]`. Upsampling
    /// and pooling are linear and separable, so one matrix per axis does both: far cheaper than to pool the upsampled map.
    pub(crate) fn pooled(&self, map: &Tensor) -> Result<Tensor> {
        apply(&self.pool, map)
    }
}

fn apply([vertical, horizontal]: &[Tensor; 2], map: &Tensor) -> Result<Tensor> {
    vertical.broadcast_matmul(map)?.broadcast_matmul(horizontal)
}

/// A linear map along one axis, `[rows, columns]` row by row.
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

/// The matrices of one axis: an upsampling, and the same followed by the mean of the pixels of a pool, or of all if there are fewer.
struct Axis {
    upsample: Matrix,
    pool: Matrix,
}

impl Axis {
    /// Bilinear upsampling by `token_stride` with aligned corners.
    fn new(cells: usize, token_stride: usize, pool: usize) -> Self {
        let pixels = cells * token_stride;
        let mut upsample = vec![0.0f64; pixels * cells];
        for pixel in 0..pixels {
            // Aligned corners: the centers of the outermost cells and pixels coincide.
            let position = pixel as f64 * (cells - 1) as f64 / (pixels - 1).max(1) as f64;
            let (first, second, share) = bilinear::tap(position, cells);
            upsample[pixel * cells + first] += 1.0 - share;
            upsample[pixel * cells + second] += share;
        }
        Self::of_upsampling(upsample, cells, pool)
    }

    /// Bilinear upsampling to `pixels` with half-pixel centers, then a Gaussian with a standard deviation of [`SMOOTHING`] of the
    /// side. At the borders, the weights of the pixels that there are add up to 1.
    fn smooth(cells: usize, pixels: usize, pool: usize) -> Self {
        let sigma = SMOOTHING * pixels as f64;
        let reach = (4.0 * sigma).ceil() as usize;
        let mut upsample = vec![0.0f64; pixels * cells];
        for (pixel, line) in upsample.chunks_exact_mut(cells.max(1)).enumerate() {
            let neighbors = pixel.saturating_sub(reach)..(pixel + reach + 1).min(pixels);
            let weight = |neighbor: usize| (-0.5 * (neighbor.abs_diff(pixel) as f64 / sigma).powi(2)).exp();
            let total: f64 = neighbors.clone().map(weight).sum();
            for neighbor in neighbors {
                let position = (neighbor as f64 + 0.5) * cells as f64 / pixels as f64 - 0.5;
                let (first, second, share) = bilinear::tap(position, cells);
                let weight = weight(neighbor) / total;
                line[first] += weight * (1.0 - share);
                line[second] += weight * share;
            }
        }
        Self::of_upsampling(upsample, cells, pool)
    }

    fn of_upsampling(upsample: Vec<f64>, cells: usize, pool: usize) -> Self {
        let pixels = upsample.len() / cells.max(1);
        let side = pool.min(pixels);
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
            let errors = token_errors(&clean, &reconstruction, &stages, combination, [rows, columns]).unwrap();
            let scores =
                Upsampling::new([rows, columns], stride, [POOL; 2], &Device::Cpu).unwrap().scores(&errors).unwrap();
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

    /// Compares with the definition: upsample with half-pixel centers, then average with Gaussian weights, pixel by pixel.
    #[test]
    fn smooth_maps_equal_the_definition() {
        for (grid, size) in [([1, 1], [8, 12]), ([3, 4], [24, 32]), ([5, 2], [20, 16]), ([4, 4], [56, 70])] {
            let [rows, columns] = grid;
            let values = Random::new(7).stream().normal(rows * columns);
            let map = Tensor::from_vec(values.clone(), (1, rows, columns), &Device::Cpu).unwrap();
            let upsampling = Upsampling::smooth(grid, size, &Device::Cpu).unwrap();
            let found: Vec<Vec<f32>> = upsampling.pixels(&map).unwrap().squeeze(0).unwrap().to_vec2().unwrap();
            let tap = |pixel: usize, pixels: usize, cells: usize| {
                let position =
                    ((pixel as f64 + 0.5) * cells as f64 / pixels as f64 - 0.5).clamp(0.0, cells as f64 - 1.0);
                let first = position.floor() as usize;
                (first, (first + 1).min(cells - 1), position - position.floor())
            };
            let upsampled = |y: usize, x: usize| {
                let ((top, bottom, below), (left, right, beside)) = (tap(y, size[0], rows), tap(x, size[1], columns));
                let value = |row: usize, column: usize| f64::from(values[row * columns + column]);
                (1.0 - below) * ((1.0 - beside) * value(top, left) + beside * value(top, right))
                    + below * ((1.0 - beside) * value(bottom, left) + beside * value(bottom, right))
            };
            let sigma = size.map(|side| 4.0 / 224.0 * side as f64);
            for (y, line) in found.iter().enumerate() {
                for (x, pixel) in line.iter().enumerate() {
                    let (mut sum, mut total) = (0.0, 0.0);
                    for (v, u) in (0..size[0]).flat_map(|v| (0..size[1]).map(move |u| (v, u))) {
                        let (down, across) = (v.abs_diff(y) as f64 / sigma[0], u.abs_diff(x) as f64 / sigma[1]);
                        let weight = (-0.5 * (down * down + across * across)).exp();
                        (sum, total) = (sum + weight * upsampled(v, u), total + weight);
                    }
                    assert!((f64::from(*pixel) - sum / total).abs() < 2e-3, "{grid:?} {size:?} {y} {x}");
                }
            }
        }
    }
}
