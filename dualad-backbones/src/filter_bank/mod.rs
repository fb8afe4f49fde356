//! The filter bank, a backbone without weights: oriented, multi-scale band-pass energies and local color statistics.
//!
//! A windowed scattering transform of two orders (Bruna and Mallat, "Invariant Scattering Convolution Networks", IEEE
//! TPAMI 35(8), 2013) with Morlet wavelets on a Gaussian pyramid (Burt and Adelson, "The Laplacian Pyramid as a Compact
//! Image Code", IEEE Trans. Communications 31(4), 1983). `docs/filter-bank.md` compares it with about 55 other designs.
//!
//! # Definition
//! The planes are, from normalized red, green and blue: luminance (r + g + b) / 3, and the opponent colors 4 (r - g) and
//! r + g - 2 b. Each is halved four times (levels 0 to 4) by the taps \[1 3 3 1\] / 8 in both directions. The first order is
//! the modulus M of four Morlet wavelets at each level ([`morlet`]). The second order filters a luminance modulus once more, an
//! octave coarser. Every border is replicated. Energies pass through f(m) = 2 ln(1 + m / 0.05), where 0.05 is about 3 of 255
//! gray levels. The spectra of natural images fall as 1 / f, so filters of unit peak response have about the same energy in every
//! octave: one knee and one gain suffice for all scales.
//!
//! The stages 1, 2, 3 have stride n = 4, 8, 16. The channels of a stage are, in this order:
//!
//! | channels | content |
//! |---|---|
//! | 8 | f(mean of M) in n x n blocks: luminance, levels (0, 1), (2, 3), (3, 4) of the three stages, 4 orientations each |
//! | 4 | the same levels of the two opponent colors, M's mean over orientations |
//! | 3 | the mean of each plane |
//! | 3 | f(standard deviation) of each plane within the block, at full resolution |
//! | 32, 16, 16 | 2 f(mean of the second order) for luminance moduli of levels (0, 1), (2), (3), 4 x 4 orientations |

mod morlet;
mod plane;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::engine::Engine;
use crate::error::Result;
use crate::input::prepare;
use crate::stage::{Stage, TOKEN_STRIDE};
use morlet::{Morlet, ORIENTATIONS};
use plane::Plane;

/// The stages. Their channels are 8 + 4 + 3 + 3 of the first order, and 16 for every level of the second.
pub(crate) const STAGES: [Stage; 3] =
    [Stage::new(1, 18 + 32, 4), Stage::new(2, 18 + 16, 8), Stage::new(3, 18 + 16, 16)];

/// The levels of each stage's first-order moduli.
const FIRST_ORDER: [[usize; 2]; 3] = [[0, 1], [2, 3], [3, 4]];
/// The levels of each stage's luminance moduli that are filtered once more.
const SECOND_ORDER: [&[usize]; 3] = [&[0, 1], &[2], &[3]];
/// The pyramid level of each stage's plane means, whose stride is the stage's.
const MEAN_LEVEL: [usize; 3] = [2, 3, 4];

const KNEE: f32 = 0.05;
const GAIN: f32 = 2.0;
/// The ratio between the first order's energy and the second's, approximately.
const SECOND_ORDER_GAIN: f32 = 2.0;

/// The engine of the filter bank.
#[derive(Debug)]
pub(crate) struct FilterBank {
    stages: Vec<Stage>,
    device: Device,
    dtype: DType,
    morlet: Morlet,
}

impl FilterBank {
    /// Creates the engine. `device` and `dtype` are those of the maps.
    pub(crate) fn new(stages: Vec<Stage>, device: Device, dtype: DType) -> Self {
        Self { stages, device, dtype, morlet: Morlet::new() }
    }

    /// Computes one image's stage maps, each `[channels, rows, columns]`, row-major.
    fn maps(&self, image: &[f32], [rows, columns]: [usize; 2]) -> Vec<Vec<f32>> {
        let last = self.stages.iter().map(|stage| stage.index).max().unwrap_or(1);
        let pyramids = pyramids(image, [rows, columns], MEAN_LEVEL[last - 1]);
        let levels = FIRST_ORDER[last - 1][1] + 1;
        let jobs: Vec<(usize, usize)> = (0..levels).flat_map(|level| (0..3).map(move |plane| (level, plane))).collect();
        // The modulus of each orientation, at index level * 3 + plane.
        let first: Vec<[Plane; ORIENTATIONS]> =
            jobs.par_iter().map(|&(level, plane)| self.morlet.moduli(&pyramids[plane][level])).collect();
        let stages = self.stages.par_iter();
        stages.map(|stage| self.map(stage, &pyramids, &first)).collect()
    }

    fn map(&self, stage: &Stage, pyramids: &[Vec<Plane>; 3], first: &[[Plane; ORIENTATIONS]]) -> Vec<f32> {
        let (index, n) = (stage.index - 1, stage.stride);
        let mut map = Vec::new();
        for level in FIRST_ORDER[index] {
            for modulus in &first[level * 3] {
                append(&mut map, &modulus.pool(n >> level), compress);
            }
        }
        for level in FIRST_ORDER[index] {
            for opponent in [1, 2] {
                append(&mut map, &Plane::mean(&first[level * 3 + opponent]).pool(n >> level), compress);
            }
        }
        for pyramid in pyramids {
            append(&mut map, &pyramid[MEAN_LEVEL[index]], |mean| mean);
        }
        for pyramid in pyramids {
            append(&mut map, &pyramid[0].std(n), compress);
        }
        for &level in SECOND_ORDER[index] {
            for modulus in &first[level * 3] {
                for second in self.morlet.moduli(&modulus.halve()) {
                    append(&mut map, &second.pool(n >> (level + 1)), |m| SECOND_ORDER_GAIN * compress(m));
                }
            }
        }
        map
    }
}

/// Computes the pyramids of the luminance and of the two opponent colors, with the levels 0 to `last`.
fn pyramids(image: &[f32], [rows, columns]: [usize; 2], last: usize) -> [Vec<Plane>; 3] {
    let (red, rest) = image.split_at(rows * columns);
    let (green, blue) = rest.split_at(rows * columns);
    let mix = |mix: fn(f32, f32, f32) -> f32| {
        let values = red.iter().zip(green).zip(blue).map(|((&r, &g), &b)| mix(r, g, b)).collect();
        let mut pyramid = vec![Plane::new(rows, columns, values)];
        for level in 0..last {
            pyramid.push(pyramid[level].halve());
        }
        pyramid
    };
    [mix(|r, g, b| (r + g + b) / 3.0), mix(|r, g, _| 4.0 * (r - g)), mix(|r, g, b| r + g - 2.0 * b)]
}

fn compress(energy: f32) -> f32 {
    GAIN * (energy / KNEE).ln_1p()
}

fn append(map: &mut Vec<f32>, plane: &Plane, f: impl Fn(f32) -> f32) {
    map.extend(plane.values().iter().map(|&value| f(value)));
}

impl Engine for FilterBank {
    fn run(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let images = prepare(images, &Device::Cpu, DType::F32, TOKEN_STRIDE)?;
        let (batch, channels, rows, columns) = images.dims4()?;
        let values: Vec<f32> = images.flatten_all()?.to_vec1()?;
        let images = values.par_chunks_exact(channels * rows * columns);
        let maps: Vec<Vec<Vec<f32>>> = images.map(|image| self.maps(image, [rows, columns])).collect();
        let stages = self.stages.iter().enumerate().map(|(index, stage)| {
            let values = maps.iter().flat_map(|maps| &maps[index]).copied().collect();
            let [channels, rows, columns] = stage.map_shape(rows, columns);
            let map = Tensor::from_vec::<_, f32>(values, (batch, channels, rows, columns), &Device::Cpu)?;
            Ok(map.to_dtype(self.dtype)?.to_device(&self.device)?)
        });
        stages.collect()
    }
}
