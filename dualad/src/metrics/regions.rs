//! The 8-connected regions of a mask, as spans of pixels with their region's area.

use crate::components::{self, Run};

/// The pixels `start..end` of a map in raster order, all of one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The number of pixels of the whole region, which is all that the mean overlap needs of it.
    pub(super) area: u32,
}

/// Returns the marked pixels as spans in raster order, none across the end of a row, and the number of regions. The mask has
/// at most `u32::MAX` pixels.
pub(super) fn spans(mask: &[u8], width: usize) -> (Vec<Span>, u64) {
    // Most rows have no marked pixel; this test looks at many pixels at a time.
    let may_mark = |row: &[u8]| row.iter().fold(0, |any, &value| any | value) != 0;
    let runs = components::runs(mask, width, may_mark, |value| value != 0);
    let mut areas = vec![0; runs.len()];
    for run in &runs {
        areas[run.root as usize] += run.len();
    }
    let regions = areas.iter().filter(|&&area| area > 0).count() as u64;
    // A span is as large as a run, so the standard library collects the spans in the memory of the runs.
    let span = |Run { start, end, root }| Span { start, end, area: areas[root as usize] };
    (runs.into_iter().map(span).collect(), regions)
}
