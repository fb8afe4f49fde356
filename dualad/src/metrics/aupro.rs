//! The area under the curve of mean region overlap (AUPRO): exact, and by the paper's sampled thresholds.

use super::curve::Thinned;
use super::ranking::Tie;
use super::{Point, Undefined, order};

/// The false-positive rate up to which the area is measured.
const LIMIT: f64 = 0.3;

/// The number of thresholds that the paper samples.
pub(super) const THRESHOLDS: u32 = 200;

/// A sum of overlaps in units of 2^-96. As an integer it does not depend on the order of the terms, and it is fine enough for an
/// `f64` without a visible error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Overlap(u128);

impl Overlap {
    pub(super) const ZERO: Self = Self(0);

    /// Returns the overlap that this number of pixels adds to a region.
    pub(super) fn pixels(count: u64, area: u32) -> Self {
        // Division by parts: the digits of (2^64 - 1) / area, then 32 more bits. u64 divides far faster than u128.
        let area = u64::from(area.max(1));
        let (whole, rest) = (u64::MAX / area, u64::MAX % area);
        Self(u128::from(count) * ((u128::from(whole) << 32) + u128::from((rest << 32) / area)))
    }

    fn regions(self) -> f64 {
        self.0 as f64 / 2.0_f64.powi(96)
    }
}

impl std::ops::AddAssign for Overlap {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

/// The state of a sweep over a set of maps, in descending order of scores.
#[derive(Debug)]
pub(super) struct Overlaps {
    normal: u64,
    regions: u64,
    overlap: Overlap,
    normal_above: u64,
    /// The number of regions times the number of normal pixels.
    area: f64,
    curve: Thinned,
    /// The normal pixels and the overlap above each of the paper's thresholds, from the highest.
    samples: Vec<(u64, Overlap)>,
}

/// The result of a sweep.
#[derive(Debug)]
pub(super) struct Aupro {
    pub(super) exact: f64,
    pub(super) sampled: Result<f64, Undefined>,
    pub(super) pro: Vec<Point>,
}

impl Overlaps {
    /// Starts a sweep over maps with these numbers of normal pixels and regions, each at least one.
    pub(super) fn new(normal: u64, regions: u64) -> Self {
        let (overlap, curve, samples) = (Overlap::ZERO, Thinned::new(), Vec::new());
        Self { normal, regions, overlap, normal_above: 0, area: 0.0, curve, samples }
    }

    /// Adds the next lower score of anomalous pixels, with the overlap that its pixels add.
    pub(super) fn step(&mut self, tie: &Tie, overlap: Overlap) {
        self.advance(tie.normal_above, Overlap::ZERO);
        self.curve.push(self.point(tie.rank_above));
        self.advance(tie.normal_above + tie.normal, overlap);
        self.curve.push(self.point(tie.rank));
    }

    /// Moves to a number of normal pixels above, and adds the area on the way, up to the limit.
    fn advance(&mut self, normal_above: u64, overlap: Overlap) {
        let limit = LIMIT * self.normal as f64;
        let (x0, y0) = (self.normal_above as f64, self.overlap.regions());
        self.overlap += overlap;
        self.normal_above = normal_above;
        let (x1, y1) = (normal_above as f64, self.overlap.regions());
        if x1 <= limit {
            self.area += (x1 - x0) * (y0 + y1) / 2.0;
        } else if x0 < limit {
            let at_limit = y0 + (y1 - y0) * (limit - x0) / (x1 - x0);
            self.area += (limit - x0) * (y0 + at_limit) / 2.0;
        }
    }

    fn point(&self, rank: u32) -> Point {
        Point {
            x: self.normal_above as f64 / self.normal as f64,
            y: self.overlap.regions() / self.regions as f64,
            threshold: if self.normal_above == 0 && self.overlap == Overlap::ZERO {
                f32::INFINITY
            } else {
                order::score(rank)
            },
        }
    }

    /// Adds a sample at the next lower of the paper's thresholds, with this number of normal pixels above it.
    pub(super) fn sample(&mut self, normal_above: u64) {
        self.samples.push((normal_above, self.overlap));
    }

    /// Returns the areas at the end of the sweep; `lowest` is the rank of the lowest score.
    pub(super) fn finish(mut self, lowest: u32) -> Aupro {
        let sampled = self.sampled();
        self.advance(self.normal, Overlap::ZERO);
        self.curve.push(self.point(lowest));
        let exact = self.area / (LIMIT * self.normal as f64 * self.regions as f64);
        Aupro { exact, sampled, pro: self.curve.finish() }
    }

    /// Returns the area as the published code computes it: between the sampled rates below the limit, scaled so that the lowest
    /// is 0 and the highest 1.
    fn sampled(&self) -> Result<f64, Undefined> {
        let rate = |normal_above: u64| normal_above as f64 / self.normal as f64;
        let under: Vec<(f64, f64)> = self
            .samples
            .iter()
            .map(|&(normal_above, overlap)| (rate(normal_above), overlap.regions() / self.regions as f64))
            .take_while(|&(rate, _)| rate < LIMIT)
            .collect();
        let (Some(&(lowest, _)), Some(&(highest, _))) = (under.first(), under.last()) else {
            return Err(Undefined::FewRates);
        };
        if lowest == highest {
            return Err(Undefined::FewRates);
        }
        let area: f64 = under.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0).sum();
        Ok(area / (highest - lowest))
    }
}

/// Returns the ranks of the paper's thresholds, from the highest. They are spaced by a 200th of the range, and the last is the
/// lowest score. Scores above a threshold have smaller ranks.
pub(super) fn thresholds(lowest: f32, highest: f32) -> impl Iterator<Item = u32> {
    let (lowest, highest) = (f64::from(lowest), f64::from(highest));
    let step = (highest - lowest) / f64::from(THRESHOLDS);
    (0..THRESHOLDS).rev().map(move |index| order::rank_of_threshold(lowest + f64::from(index) * step))
}
