//! The moduli of four Morlet wavelets.
//!
//! Let w(x, y) be the Gaussian of standard deviation 1.6 over 7 x 7 taps, scaled to the sum 1. The filter of orientation k of 0..4 is
//!
//! w(x, y) (exp(i p) - c), p = (2 pi / 4) (x cos(pi k / 4) + y sin(pi k / 4)), c = sum of w exp(i p),
//!
//! Its response to a constant is zero and its peak response is about 1. The wavelength is 4 pixels of the plane's own level. Both w
//! and exp(i p) are products of a function of x and one of y, so each filter is a horizontal and a vertical pass: 98
//! multiplications per pixel for all four filters instead of 392.

use std::f64::consts::{PI, TAU};

use crate::filter_bank::plane::Plane;

pub(super) const ORIENTATIONS: usize = 4;
const RADIUS: usize = 3;
const TAPS: usize = 2 * RADIUS + 1;
const STD: f64 = 1.6;
const WAVELENGTH: f64 = 4.0;

type Taps = [f32; TAPS];

/// The one-dimensional factors of the filters.
#[derive(Debug)]
pub(super) struct Morlet {
    gaussian: Taps,
    /// The Gaussian times cosine and sine at the full frequency (orientations 0 and 2).
    straight: [Taps; 2],
    /// The Gaussian times cosine and sine at the frequency's projection on an axis (orientations 1 and 3).
    diagonal: [Taps; 2],
    /// The constant c of the straight and of the diagonal filters. It is real.
    constants: [f32; 2],
}

impl Morlet {
    pub(super) fn new() -> Self {
        let offset = |tap: usize| tap as f64 - RADIUS as f64;
        let weights: [f64; TAPS] = std::array::from_fn(|tap| (-offset(tap).powi(2) / (2.0 * STD.powi(2))).exp());
        let sum: f64 = weights.iter().sum();
        let modulated = |frequency: f64, wave: fn(f64) -> f64| -> [f64; TAPS] {
            std::array::from_fn(|tap| weights[tap] / sum * wave(frequency * offset(tap)))
        };
        let (full, projected) = (TAU / WAVELENGTH, TAU / WAVELENGTH * (PI / 4.0).cos());
        let narrow = |taps: [f64; TAPS]| taps.map(|tap| tap as f32);
        let response = |frequency: f64| modulated(frequency, f64::cos).iter().sum::<f64>();
        Self {
            gaussian: narrow(modulated(0.0, f64::cos)),
            straight: [narrow(modulated(full, f64::cos)), narrow(modulated(full, f64::sin))],
            diagonal: [narrow(modulated(projected, f64::cos)), narrow(modulated(projected, f64::sin))],
            constants: [response(full) as f32, response(projected).powi(2) as f32],
        }
    }

    /// Returns the modulus of each orientation's response. It has the plane's size.
    pub(super) fn moduli(&self, plane: &Plane) -> [Plane; ORIENTATIONS] {
        let (rows, columns) = (plane.rows(), plane.columns());
        let across = |taps: &Taps| horizontal(plane, taps);
        let smooth = across(&self.gaussian);
        let straight = self.straight.each_ref().map(across);
        let diagonal = self.diagonal.each_ref().map(across);
        let mut moduli: [Vec<f32>; ORIENTATIONS] = std::array::from_fn(|_| Vec::with_capacity(rows * columns));
        let mut sums = [const { Vec::new() }; 9];
        for row in 0..rows {
            let mut down = |index: usize, passed: &Padded, taps: &Taps| vertical(&mut sums[index], passed, row, taps);
            down(0, &smooth, &self.gaussian);
            // Orientation 0 has its wave along x and the Gaussian along y; orientation 2 has them exchanged.
            down(1, &straight[0], &self.gaussian);
            down(2, &straight[1], &self.gaussian);
            down(3, &smooth, &self.straight[0]);
            down(4, &smooth, &self.straight[1]);
            // The diagonals are products of two waves: (a + ib)(c + id), and (a - ib)(c + id) with x reversed.
            down(5, &diagonal[0], &self.diagonal[0]);
            down(6, &diagonal[1], &self.diagonal[1]);
            down(7, &diagonal[0], &self.diagonal[1]);
            down(8, &diagonal[1], &self.diagonal[0]);
            let [mean, re0, im0, re2, im2, cc, ss, cs, sc] = &sums;
            let [straight, diagonal] = self.constants;
            let modulus = |re: f32, im: f32| (re * re + im * im).sqrt();
            for column in 0..columns {
                let mean = mean[column];
                moduli[0].push(modulus(re0[column] - straight * mean, im0[column]));
                moduli[1].push(modulus(cc[column] - ss[column] - diagonal * mean, cs[column] + sc[column]));
                moduli[2].push(modulus(re2[column] - straight * mean, im2[column]));
                moduli[3].push(modulus(cc[column] + ss[column] - diagonal * mean, cs[column] - sc[column]));
            }
        }
        moduli.map(|values| Plane::new(rows, columns, values))
    }
}

/// Rows that are filtered along x, with the border rows replicated.
struct Padded {
    columns: usize,
    values: Vec<f32>,
}

fn horizontal(plane: &Plane, taps: &Taps) -> Padded {
    let columns = plane.columns();
    let mut values = vec![0.0; (plane.rows() + 2 * RADIUS) * columns];
    let mut extended = vec![0.0; columns + 2 * RADIUS];
    for (index, sums) in values.chunks_exact_mut(columns).enumerate() {
        let row = plane.row(index as isize - RADIUS as isize);
        extended[..RADIUS].fill(row[0]);
        extended[RADIUS..RADIUS + columns].copy_from_slice(row);
        extended[RADIUS + columns..].fill(row[columns - 1]);
        for (offset, tap) in taps.iter().enumerate() {
            accumulate(sums, &extended[offset..offset + columns], *tap);
        }
    }
    Padded { columns, values }
}

/// Filters one row along y.
fn vertical(sums: &mut Vec<f32>, passed: &Padded, row: usize, taps: &Taps) {
    sums.clear();
    sums.resize(passed.columns, 0.0);
    for (offset, tap) in taps.iter().enumerate() {
        accumulate(sums, &passed.values[(row + offset) * passed.columns..][..passed.columns], *tap);
    }
}

fn accumulate(sums: &mut [f32], values: &[f32], factor: f32) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}
