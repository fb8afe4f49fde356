//! The plan of ranges of scores that are sorted one at a time, so that memory stays within a budget for any scores.

use std::ops::RangeInclusive;

use rayon::prelude::*;

use super::input::Prepared;
use super::order;

/// The bytes of memory that each pixel to be sorted takes.
pub(super) const NORMAL_BYTES: usize = 8;
pub(super) const ANOMALOUS_BYTES: usize = 12;

/// Ranks are counted by their upper half first, then by the lower half where one upper half exceeds the budget.
const BITS: u32 = 16;

/// The number of pixels that a job counts, large enough that its histogram costs little.
const JOB: usize = 1 << 21;

/// Returns ascending ranges of ranks that cover every pixel. Each needs at most `budget` bytes, or is a single rank.
pub(super) fn ranges(images: &[&Prepared<'_>], budget: usize) -> Vec<RangeInclusive<u32>> {
    let budget = budget as u64;
    let mut ranges = Ranges { budget, found: Vec::new(), open: None };
    let upper = histogram(images, |rank| (rank >> BITS) as u16, |_| true);
    for (half, &bytes) in (0_u32..).zip(&upper) {
        let first = half << BITS;
        if bytes <= budget {
            ranges.add(first..=first | 0xffff, bytes);
            continue;
        }
        let lower = histogram(images, |rank| rank as u16, |rank| rank >> BITS == half);
        for (rank, &bytes) in (first..=first | 0xffff).zip(&lower) {
            ranges.add(rank..=rank, bytes);
        }
    }
    ranges.found.extend(ranges.open.map(|(range, _)| range));
    ranges.found
}

struct Ranges {
    budget: u64,
    found: Vec<RangeInclusive<u32>>,
    open: Option<(RangeInclusive<u32>, u64)>,
}

impl Ranges {
    /// Adds the next ranks to the open range, or to a new one if they do not fit.
    fn add(&mut self, ranks: RangeInclusive<u32>, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.open = Some(match self.open.take() {
            Some((range, before)) if before + bytes <= self.budget => (*range.start()..=*ranks.end(), before + bytes),
            before => {
                self.found.extend(before.map(|(range, _)| range));
                (ranks, bytes)
            }
        });
    }
}

/// Returns the bytes that the pixels of each digit need.
fn histogram(
    images: &[&Prepared<'_>],
    digit: impl Fn(u32) -> u16 + Sync,
    counts: impl Fn(u32) -> bool + Sync,
) -> Vec<u64> {
    let pixels: usize = images.iter().map(|image| image.map.len()).sum();
    let job = images.len() / (pixels / JOB + 1) + 1;
    images
        .par_chunks(job)
        .map(|images| {
            let mut histogram = vec![0; 1 << BITS];
            for image in images {
                image.stretches(|scores, area| {
                    let bytes = if area.is_some() { ANOMALOUS_BYTES } else { NORMAL_BYTES } as u64;
                    for &score in scores {
                        let rank = order::rank(score);
                        if counts(rank) {
                            histogram[usize::from(digit(rank))] += bytes;
                        }
                    }
                });
            }
            histogram
        })
        .reduce(Vec::new, |mut sum, other| {
            if sum.is_empty() {
                return other;
            }
            sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
            sum
        })
}
