//! The sweep down the scores of all pixels, for every category and for all categories together.
//!
//! Only anomalous pixels change a curve's height, and few pixels are anomalous. So normal pixels are counted, and the other work
//! is done at anomalous pixels. All sums except those over such steps are of integers, and the steps are in order, so the result
//! does not depend on the threads that gather and sort.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rayon::prelude::*;

use super::aupro::{self, Aupro, Overlap, Overlaps};
use super::input::Prepared;
use super::plan::{self, ANOMALOUS_BYTES, NORMAL_BYTES};
use super::ranking::{Ranked, Ranking, Tie, Totals};

/// The content of a set of images that decides which metrics are defined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents {
    pub(super) pixels: Totals,
    pub(super) regions: u64,
    pub(super) lowest: f32,
    pub(super) highest: f32,
}

/// The metrics of a set's pixels.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) ranked: Ranked,
    pub(super) aupro: Aupro,
}

/// An anomalous pixel. Its order is by rank, then by category.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Anomalous {
    rank: u32,
    category: u32,
    area: u32,
}

/// The state of a sweep over a set: a category, or all categories.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    normal: u64,
    /// The lowest score so far.
    rank: u32,
}

/// The state of a set that has both normal and anomalous pixels.
#[derive(Debug)]
struct Curves {
    ranking: Ranking,
    overlaps: Overlaps,
}

/// The pixels of one category with the same score.
#[derive(Debug, Clone, Copy, Default)]
struct Tied {
    normal: u64,
    anomalous: u64,
    overlap: Overlap,
}

impl std::ops::AddAssign for Tied {
    fn add_assign(&mut self, other: Self) {
        self.normal += other.normal;
        self.anomalous += other.anomalous;
        self.overlap += other.overlap;
    }
}

impl Tied {
    const NORMAL: Self = Self { normal: 1, anomalous: 0, overlap: Overlap::ZERO };
}

struct Sweep {
    /// The sets: each category, and last all of them together.
    seen: Vec<Seen>,
    curves: Vec<Option<Curves>>,
    /// The remaining sampled thresholds, `(rank, set)`, the next one last.
    thresholds: Vec<(u32, usize)>,
}

/// Returns the metrics of each set in `contents`: the categories, and last all of them together. A set without contents has no
/// metrics. Sorts as many pixels at a time as `budget` bytes hold.
pub(super) fn sweep(images: &[&Prepared<'_>], contents: &[Option<Contents>], budget: usize) -> Vec<Option<Swept>> {
    let mut sweep = Sweep::new(contents);
    let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
    for range in plan::ranges(images, budget) {
        if range.start() == range.end() {
            sweep.pass_one_rank(images, *range.start());
            continue;
        }
        gather(images, &range, budget, &mut normal, &mut anomalous);
        rayon::join(|| sort(&mut normal), || sort(&mut anomalous));
        sweep.pass(&normal, &anomalous);
    }
    sweep.finish()
}

/// The pixels with a rank in a range. A normal pixel is its rank and its category in one integer: sorting takes half of the time
/// of a metric.
fn gather(
    images: &[&Prepared<'_>],
    range: &RangeInclusive<u32>,
    budget: usize,
    normal: &mut Vec<u64>,
    anomalous: &mut Vec<Anomalous>,
) {
    let counts: Vec<(usize, usize)> = images.par_iter().map(|image| image.count(range.clone())).collect();
    let (normals, anomalies) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let needed = normals.max(normal.capacity()) * NORMAL_BYTES + anomalies.max(anomalous.capacity()) * ANOMALOUS_BYTES;
    if needed > budget {
        // Frees what earlier ranges needed for one kind, to make room for the other kind.
        (*normal, *anomalous) = (Vec::new(), Vec::new());
    }
    resize(normal, normals);
    resize(anomalous, anomalies);
    let (mut normal, mut anomalous) = (normal.as_mut_slice(), anomalous.as_mut_slice());
    let mut jobs = Vec::with_capacity(images.len());
    for (&image, (normals, anomalies)) in images.iter().zip(counts) {
        let (ours, rest) = normal.split_at_mut(normals);
        normal = rest;
        let (our_anomalies, rest) = anomalous.split_at_mut(anomalies);
        anomalous = rest;
        jobs.push((image, ours, our_anomalies));
    }
    jobs.into_par_iter().for_each(|(image, normal, anomalous)| {
        let category = image.category;
        let (mut normal, mut anomalous) = (normal.iter_mut(), anomalous.iter_mut());
        image.ranks(range.clone(), |ranks, area| match area {
            None => normal.by_ref().zip(ranks).for_each(|(out, &rank)| *out = pack(rank, category)),
            Some(area) => anomalous.by_ref().zip(ranks).for_each(|(out, &rank)| {
                *out = Anomalous { rank, category, area };
            }),
        });
    });
}

/// Sorts in place, a part on each thread: several times as fast as rayon's sort, which does not use the standard library's.
fn sort<T: Ord + Send>(items: &mut [T]) {
    fn parts<T: Ord + Send>(items: &mut [T], threads: usize) {
        if threads < 2 || items.len() < 1 << 14 {
            return items.sort_unstable();
        }
        let (low, _, high) = items.select_nth_unstable(items.len() / 2);
        rayon::join(|| parts(low, threads.div_ceil(2)), || parts(high, threads / 2));
    }
    parts(items, rayon::current_num_threads());
}

/// Reserves exactly the length that is needed, without a copy.
fn resize<T: Clone + Default>(items: &mut Vec<T>, length: usize) {
    if items.capacity() < length {
        *items = Vec::new();
        items.reserve_exact(length);
    }
    items.resize(length, T::default());
}

fn pack(rank: u32, category: u32) -> u64 {
    u64::from(rank) << 32 | u64::from(category)
}

fn unpack(normal: u64) -> (u32, usize) {
    ((normal >> 32) as u32, (normal & 0xffff_ffff) as usize)
}

impl Sweep {
    fn new(contents: &[Option<Contents>]) -> Self {
        let mut thresholds = Vec::new();
        let mut curves = Vec::with_capacity(contents.len());
        for (index, set) in contents.iter().enumerate() {
            curves.push(set.map(|set| Curves {
                ranking: Ranking::new(set.pixels),
                overlaps: Overlaps::new(set.pixels.normal, set.regions),
            }));
            if let Some(set) = set {
                thresholds.extend(aupro::thresholds(set.lowest, set.highest).map(|rank| (rank, index)));
            }
        }
        thresholds.sort_unstable_by(|a, b| b.cmp(a));
        Self { seen: vec![Seen::default(); contents.len()], curves, thresholds }
    }

    /// Takes the sampled thresholds that no pixel from this rank on exceeds.
    #[inline]
    fn sample(&mut self, rank: u32) {
        while let Some((_, set)) = self.thresholds.pop_if(|(threshold, _)| *threshold <= rank) {
            if let (Some(Some(curves)), Some(seen)) = (self.curves.get_mut(set), self.seen.get(set)) {
                curves.overlaps.sample(seen.normal);
            }
        }
    }

    /// Adds a set's pixels of the next rank.
    fn step(&mut self, rank: u32, set: usize, tied: Tied) {
        let Some(seen) = self.seen.get_mut(set) else { return };
        if tied.anomalous > 0
            && let Some(Some(curves)) = self.curves.get_mut(set)
        {
            let Tied { normal, anomalous, overlap } = tied;
            let tie = Tie { rank, normal, anomalous, normal_above: seen.normal, rank_above: seen.rank };
            curves.ranking.step(&tie);
            curves.overlaps.step(&tie, overlap);
        }
        seen.normal += tied.normal;
        seen.rank = rank;
    }

    /// Adds the pixels of all categories with one rank, in groups of a category.
    fn step_all(&mut self, rank: u32, tied: impl Iterator<Item = (usize, Tied)>) {
        self.sample(rank);
        let mut all = Tied::default();
        for (category, tied) in tied {
            self.step(rank, category, tied);
            all += tied;
        }
        self.step(rank, self.seen.len().saturating_sub(1), all);
    }

    /// Adds sorted pixels, all below the earlier ones.
    fn pass(&mut self, normal: &[u64], anomalous: &[Anomalous]) {
        let mut normal = normal.iter().copied().peekable();
        for tied in anomalous.chunk_by(|a, b| a.rank == b.rank) {
            let Some(&Anomalous { rank, .. }) = tied.first() else { continue };
            while let Some(packed) = normal.next_if(|&packed| packed < pack(rank, 0)) {
                self.pass_normal(packed);
            }
            let mut tied = tied.chunk_by(|a, b| a.category == b.category).peekable();
            let each = std::iter::from_fn(|| {
                let anomalous = tied.peek().and_then(|pixels| pixels.first());
                let category = anomalous.map_or(u32::MAX, |pixel| pixel.category);
                if let Some(packed) = normal.next_if(|&packed| packed < pack(rank, category)) {
                    return Some((unpack(packed).1, Tied::NORMAL));
                }
                let mut both = Tied::default();
                for pixel in tied.next()? {
                    both.anomalous += 1;
                    both.overlap += Overlap::pixels(1, pixel.area);
                }
                while normal.next_if_eq(&pack(rank, category)).is_some() {
                    both.normal += 1;
                }
                Some((category as usize, both))
            });
            self.step_all(rank, each);
        }
        normal.for_each(|packed| self.pass_normal(packed));
    }

    /// Adds a normal pixel with a score that no anomalous pixel has.
    #[inline]
    fn pass_normal(&mut self, packed: u64) {
        let (rank, category) = unpack(packed);
        self.sample(rank);
        if let Some(seen) = self.seen.get_mut(category) {
            *seen = Seen { normal: seen.normal + 1, rank };
        }
        if let Some(all) = self.seen.last_mut() {
            *all = Seen { normal: all.normal + 1, rank };
        }
    }

    /// Adds all pixels of one rank, which need no sorting: they are counted in place.
    fn pass_one_rank(&mut self, images: &[&Prepared<'_>], rank: u32) {
        let count = |image: &&Prepared<'_>| {
            let mut tied = Tied::default();
            image.ranks(rank..=rank, |ranks, area| {
                let count = ranks.len() as u64;
                match area {
                    None => tied.normal += count,
                    Some(area) => {
                        tied.anomalous += count;
                        tied.overlap += Overlap::pixels(count, area);
                    }
                }
            });
            tied
        };
        let counted: Vec<Tied> = images.par_iter().map(count).collect();
        let mut categories = BTreeMap::<u32, Tied>::new();
        for (image, tied) in images.iter().zip(counted) {
            if tied.normal + tied.anomalous > 0 {
                *categories.entry(image.category).or_default() += tied;
            }
        }
        self.step_all(rank, categories.into_iter().map(|(category, tied)| (category as usize, tied)));
    }

    fn finish(mut self) -> Vec<Option<Swept>> {
        self.sample(u32::MAX);
        let sets = self.curves.into_iter().zip(self.seen);
        sets.map(|(curves, seen)| {
            let Curves { ranking, overlaps } = curves?;
            Some(Swept { ranked: ranking.finish(seen.rank), aupro: overlaps.finish(seen.rank) })
        })
        .collect()
    }
}
