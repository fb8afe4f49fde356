//! The 8-connected components of the marked pixels of a map.

use std::ops::Range;

/// Consecutive marked pixels of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) row: u32,
    /// The first column.
    pub(crate) start: u32,
    /// The column after the last one.
    pub(crate) end: u32,
    /// The index of the first run of the same component.
    pub(crate) root: u32,
}

impl Run {
    pub(crate) fn len(&self) -> u32 {
        self.end - self.start
    }
}

/// Returns the runs of marked pixels in raster order.
///
/// The map has rows of `width` values and at most [`u32::MAX`] values in all. `may_mark` is a fast test of a whole row: a row
/// for which it is false has no marked pixels.
pub(crate) fn runs<T: Copy>(
    map: &[T],
    width: usize,
    may_mark: impl Fn(&[T]) -> bool,
    is_marked: impl Fn(T) -> bool,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut above = 0..0;
    for (row, values) in map.chunks_exact(width.max(1)).enumerate() {
        let first = runs.len();
        let mut at = if may_mark(values) { 0 } else { width };
        while let Some(skipped) = values[at..].iter().position(|&value| is_marked(value)) {
            let start = at + skipped;
            let length = values[start..].iter().position(|&value| !is_marked(value));
            at = length.map_or(width, |length| start + length);
            let [row, start, end, root] = [row, start, at, runs.len()].map(|number| number as u32);
            runs.push(Run { row, start, end, root });
        }
        let here = first..runs.len();
        join(&mut runs, above, here.clone());
        above = here;
    }
    for index in 0..runs.len() {
        // Parents come first, so each already points to its root.
        runs[index].root = runs[runs[index].root as usize].root;
    }
    runs
}

/// Joins the runs of a row with the runs of the row above that they touch, also at a corner. Until all rows are joined, `root`
/// is a parent in a forest.
fn join(runs: &mut [Run], above: Range<usize>, here: Range<usize>) {
    let (mut upper, mut lower) = (above.start, here.start);
    while upper < above.end && lower < here.end {
        let [up, low] = [runs[upper], runs[lower]];
        // An end is one past the last pixel: equality is a shared corner.
        if up.start <= low.end && low.start <= up.end {
            let [a, b] = [root(runs, upper), root(runs, lower)];
            runs[a.max(b)].root = a.min(b) as u32;
        }
        if up.end < low.end {
            upper += 1;
        } else {
            lower += 1;
        }
    }
}

/// Returns the root of a run's tree and halves the path to it.
fn root(runs: &mut [Run], mut index: usize) -> usize {
    loop {
        let parent = runs[index].root as usize;
        if parent == index {
            return index;
        }
        let grandparent = runs[parent].root;
        runs[index].root = grandparent;
        index = grandparent as usize;
    }
}
