//! AUROC, average precision and best F1 from scores in descending order.

use super::curve::Thinned;
use super::{Point, order};

/// The numbers of items to rank.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) normal: u64,
    pub(super) anomalous: u64,
}

/// The items that share one score: a step of the curves. Scores of normal items alone do not change a curve's height; they are
/// only counted in the next step's `normal_above`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tie {
    pub(super) rank: u32,
    pub(super) normal: u64,
    pub(super) anomalous: u64,
    /// The number of normal items with a higher score.
    pub(super) normal_above: u64,
    /// The next higher score; this one if there is none.
    pub(super) rank_above: u32,
}

/// The state of a sweep over a ranking.
#[derive(Debug)]
pub(super) struct Ranking {
    totals: Totals,
    anomalous_above: u64,
    /// The pairs of an anomalous and a normal item: two for each in the right order, one for each tie.
    pairs: u128,
    /// The sum of precisions, each weighted by the anomalous items that it added.
    precision: f64,
    f1_max: f64,
    f1_rank: u32,
    curve: Thinned,
}

/// The metrics of a ranking.
#[derive(Debug)]
pub(super) struct Ranked {
    pub(super) auroc: f64,
    pub(super) ap: f64,
    pub(super) f1_max: f64,
    /// The highest score with the best F1.
    pub(super) threshold: f32,
    pub(super) roc: Vec<Point>,
}

impl Ranking {
    /// Starts a sweep over `totals`, each at least one.
    pub(super) fn new(totals: Totals) -> Self {
        Self { totals, anomalous_above: 0, pairs: 0, precision: 0.0, f1_max: -1.0, f1_rank: 0, curve: Thinned::new() }
    }

    /// Adds the next lower score of anomalous items.
    pub(super) fn step(&mut self, tie: &Tie) {
        let Totals { normal, anomalous } = self.totals;
        // Normal items below the tie count two, those in it one.
        let twice_passed = u128::from(normal.saturating_sub(tie.normal_above)) * 2;
        self.pairs += u128::from(tie.anomalous) * twice_passed.saturating_sub(u128::from(tie.normal));

        self.curve.push(self.point(tie.normal_above, tie.rank_above));
        self.anomalous_above += tie.anomalous;
        let found = self.anomalous_above as f64;
        let flagged = self.anomalous_above + tie.normal_above + tie.normal;
        self.precision += tie.anomalous as f64 * (found / flagged as f64);
        let f1 = 2.0 * found / (flagged + anomalous) as f64;
        if f1 > self.f1_max {
            (self.f1_max, self.f1_rank) = (f1, tie.rank);
        }
        self.curve.push(self.point(tie.normal_above + tie.normal, tie.rank));
    }

    fn point(&self, normal_above: u64, rank: u32) -> Point {
        Point {
            x: normal_above as f64 / self.totals.normal as f64,
            y: self.anomalous_above as f64 / self.totals.anomalous as f64,
            threshold: if normal_above + self.anomalous_above == 0 { f32::INFINITY } else { order::score(rank) },
        }
    }

    /// Returns the metrics at the end of the sweep; `lowest` is the rank of the lowest score.
    pub(super) fn finish(mut self, lowest: u32) -> Ranked {
        let Totals { normal, anomalous } = self.totals;
        self.curve.push(self.point(normal, lowest));
        Ranked {
            auroc: self.pairs as f64 / (2.0 * normal as f64 * anomalous as f64),
            ap: self.precision / anomalous as f64,
            f1_max: self.f1_max,
            threshold: order::score(self.f1_rank),
            roc: self.curve.finish(),
        }
    }
}

/// Returns the metrics of a list of `(rank, anomalous)` that fits in memory.
pub(super) fn rank_all(mut scores: Vec<(u32, bool)>, totals: Totals) -> Ranked {
    scores.sort_unstable();
    let mut ranking = Ranking::new(totals);
    let (mut normal_above, mut rank_above) = (0, scores.first().map_or(0, |&(rank, _)| rank));
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        let rank = tied.first().map_or(rank_above, |&(rank, _)| rank);
        let anomalous = tied.iter().filter(|(_, anomalous)| *anomalous).count() as u64;
        let normal = tied.len() as u64 - anomalous;
        if anomalous > 0 {
            ranking.step(&Tie { rank, normal, anomalous, normal_above, rank_above });
        }
        normal_above += normal;
        rank_above = rank;
    }
    ranking.finish(rank_above)
}
