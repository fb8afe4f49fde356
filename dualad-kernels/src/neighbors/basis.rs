//! The directions along which the tokens of a bank vary most, and the coordinates of vectors along them.

use crate::elementwise::sum_squares;
use crate::gemm::{Packed, product_here};
use crate::memory::with_scratch;
use crate::neighbors::rows::{Coordinates, Sizes};
use crate::principal::{orthonormal, principal_subspace};
use crate::simd::isa::Isa;

/// The unit roundoff of f32.
pub(crate) const ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;
/// The most coordinates. One more is the length of the rest.
pub(crate) const MAX_COORDINATES: usize = 127;
/// The products of a coordinate that are added up in a row.
const CHAIN: usize = 64;
/// The most tokens that the directions are computed from.
const SAMPLE: usize = 4096;
/// The steps of orthogonal iteration. More of them hardly change how much of the variance the first directions hold.
const STEPS: usize = 8;
/// The squared length from which on a vector is not handled: products with it might overflow.
const TOO_LONG: f64 = 1e37;

/// A point, and orthonormal directions from there.
///
/// The coordinates of a vector and the length of the rest (`tail`), which is orthogonal to all directions, are a map that no
/// distance grows under: the reverse triangle inequality gives it for the tail. So the distance of the coordinates and tails of two
/// vectors is a lower bound of their distance.
#[derive(Debug)]
pub(crate) struct Basis {
    center: Vec<f32>,
    directions: Packed,
    /// True if the directions span the whole space.
    complete: bool,
}

impl Basis {
    /// Computes the mean of the tokens and their principal directions (about: by a few steps of orthogonal iteration). The first
    /// `mixed` directions are replaced by others of the same span, so that none of these coordinates is much larger than another.
    /// The result does not depend on the number of threads.
    pub(crate) fn new(isa: Isa, tokens: &[f32], dims: usize, mixed: usize) -> Self {
        let usable = |token: &&[f32]| sum_squares(token) < TOO_LONG;
        let count = tokens.len() / dims;
        let (mut mean, mut used) = (vec![0.0f64; dims], 0u32);
        for token in tokens.chunks_exact(dims).filter(usable) {
            mean.iter_mut().zip(token).for_each(|(sum, &x)| *sum += f64::from(x));
            used += 1;
        }
        let center: Vec<f32> = mean.iter().map(|sum| (sum / f64::from(used.max(1))) as f32).collect();
        let step = count.div_ceil(SAMPLE).max(1);
        let mut sample: Vec<f32> = Vec::new();
        for token in tokens.chunks_exact(dims).step_by(step).filter(usable) {
            sample.extend(token.iter().zip(&center).map(|(x, center)| x - center));
        }
        let largest = sample.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        sample.iter_mut().for_each(|x| *x /= largest);
        let outputs = dims.min(MAX_COORDINATES);
        let directions = principal_subspace(isa, &sample, dims, &without_structure(outputs * dims), STEPS);
        let rows = mix(directions, dims, mixed.min(outputs));
        let complete = outputs == dims && rows.chunks_exact(dims).all(|row| row.iter().any(|&x| x != 0.0));
        Self { center, directions: Packed::new(isa, &rows, dims, None), complete }
    }

    /// The number of coordinates, without the tail.
    pub(crate) fn len(&self) -> usize {
        self.directions.outputs()
    }

    /// Writes the coordinates and tails of some vectors to rows, and returns their descriptions.
    pub(crate) fn coordinates(&self, vectors: &[f32], rows: &mut [f32], sizes: Sizes) -> Vec<Coordinates> {
        let dims = self.center.len();
        with_scratch(vectors.len(), |centered| {
            for (to, from) in centered.chunks_exact_mut(dims).zip(vectors.chunks_exact(dims)) {
                to.iter_mut().zip(from).zip(&self.center).for_each(|((to, from), center)| *to = from - center);
            }
            product_here(centered, &self.directions, rows, sizes.row, CHAIN);
            let complete = |(vector, row): (&[f32], &mut [f32])| {
                let described = self.describe(sum_squares(vector), sum_squares(&row[..self.len()]));
                sizes.complete(row, described);
                described
            };
            centered.chunks_exact(dims).zip(rows.chunks_mut(sizes.row)).map(complete).collect()
        })
    }

    /// Bounds the errors. Each coordinate is a sum of products, within (chain + chains + 2) u |x| of the exact one. The directions
    /// are rounded to u, and so is the difference to the center. The squared tail is a difference of squared lengths.
    fn describe(&self, squared: f64, of_coordinates: f64) -> Coordinates {
        let (outputs, dims) = (self.len() as f64, self.center.len());
        let relative = (CHAIN + dims.div_ceil(CHAIN) + 8) as f64 * outputs.sqrt() * ROUNDOFF;
        let length = squared.sqrt();
        let (mut tail, mut error) = (0.0, relative * length + f64::from(f32::MIN_POSITIVE));
        if !self.complete {
            tail = (squared - of_coordinates).max(0.0).sqrt();
            // The coordinates' squared length is within (2 relative + relative^2) squared, both sums within 100 u.
            let of_square = (3.0 * relative + 200.0 * ROUNDOFF) * squared;
            error += of_square / tail.max(of_square.sqrt()).max(f64::MIN_POSITIVE);
        }
        if squared >= TOO_LONG {
            error = f64::INFINITY;
        }
        Coordinates { squared, tail, error }
    }
}

/// Returns fixed values between -1 and 1 without any structure.
fn without_structure(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Multiplies the first rows by an orthogonal matrix.
fn mix(rows: Vec<f32>, dims: usize, count: usize) -> Vec<f32> {
    let (first, rest) = rows.split_at(count * dims);
    let mut mixed = Vec::with_capacity(rows.len());
    for weights in orthonormal(&without_structure(count * count), count).chunks_exact(count.max(1)) {
        let mut sums = vec![0.0f32; dims];
        for (weight, row) in weights.iter().zip(first.chunks_exact(dims)) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
        }
        mixed.extend(sums);
    }
    mixed.extend(rest);
    orthonormal(&mixed, dims)
}
