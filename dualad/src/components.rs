//! The 8-connected components of the marked pixels of a map.

use std::ops::Range;

/// The marked pixels `start..end` of a map in raster order, all in one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) start: u32,
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
        let offset = row * width;
        let mut at = if may_mark(values) { 0 } else { width };
        while let Some(skipped) = values[at..].iter().position(|&value| is_marked(value)) {
            let start = at + skipped;
            let length = values[start..].iter().position(|&value| !is_marked(value));
            at = length.map_or(width, |length| start + length);
            let [start, end, root] = [offset + start, offset + at, runs.len()].map(|number| number as u32);
            runs.push(Run { start, end, root });
        }
        let here = first..runs.len();
        join(&mut runs, above, here.clone(), width as u32);
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
fn join(runs: &mut [Run], above: Range<usize>, here: Range<usize>, width: u32) {
    let (mut upper, mut lower) = (above.start, here.start);
    while upper < above.end && lower < here.end {
        // The place of the upper run in the row below. It does not overflow: that row is a part of the map.
        let [up_start, up_end] = [runs[upper].start, runs[upper].end].map(|pixel| pixel + width);
        let low = runs[lower];
        // An end is one past the last pixel: equality is a shared corner.
        if up_start <= low.end && low.start <= up_end {
            let [a, b] = [root(runs, upper), root(runs, lower)];
            runs[a.max(b)].root = a.min(b) as u32;
        }
        if up_end < low.end {
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
