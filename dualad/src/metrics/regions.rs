//! The 8-connected regions of a mask, as spans of pixels that know their region's area.

/// Pixels `start..end` of a map in raster order, all of one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Pixels of the whole region: all that the mean overlap has to know of it.
    pub(super) area: u32,
}

impl Span {
    fn len(&self) -> u32 {
        self.end - self.start
    }
}

/// The marked pixels as spans in raster order, none over the end of a row, and how many regions they form. The mask has
/// at most `u32::MAX` pixels.
pub(super) fn spans(mask: &[u8], width: usize) -> (Vec<Span>, u64) {
    // Until the areas are known, a span's `area` is its parent in a forest whose roots are regions.
    let mut spans: Vec<Span> = Vec::new();
    let mut above = 0..0;
    for (row, pixels) in mask.chunks_exact(width.max(1)).enumerate() {
        let first = spans.len();
        // Most rows mark nothing, and this is many pixels at a time.
        if pixels.iter().fold(0, |any, &value| any | value) != 0 {
            let offset = row * width;
            let mut at = 0;
            while let Some(skipped) = pixels.get(at..).and_then(|rest| rest.iter().position(|&value| value != 0)) {
                let start = at + skipped;
                at = pixels[start..].iter().position(|&value| value == 0).map_or(width, |length| start + length);
                let [start, end] = [offset + start, offset + at].map(|pixel| pixel as u32);
                spans.push(Span { start, end, area: spans.len() as u32 });
            }
        }
        let here = first..spans.len();
        join_rows(&mut spans, above, here.clone(), width as u32);
        above = here;
    }
    let mut areas = vec![0; spans.len()];
    for index in 0..spans.len() {
        let root = root(&mut spans, index);
        areas[root] += spans[index].len();
    }
    let regions = areas.iter().filter(|&&area| area > 0).count() as u64;
    for index in 0..spans.len() {
        // Parents come before their children, so the parent has its root's area already.
        areas[index] = areas[spans[index].area as usize];
    }
    for (span, area) in spans.iter_mut().zip(areas) {
        span.area = area;
    }
    (spans, regions)
}

/// Joins the spans of a row with those of the row above that they touch, corners included.
fn join_rows(spans: &mut [Span], above: std::ops::Range<usize>, here: std::ops::Range<usize>, width: u32) {
    let (mut upper, mut lower) = (above.start, here.start);
    while upper < above.end && lower < here.end {
        // Seen from this row: one row up is `width` pixels back. Ends lie one behind the last pixel, hence the corners.
        let [up, low] = [spans[upper], spans[lower]];
        let [up_start, up_end] = [up.start, up.end].map(|pixel| u64::from(pixel) + u64::from(width));
        let [low_start, low_end] = [low.start, low.end].map(u64::from);
        if up_start <= low_end && low_start <= up_end {
            let [a, b] = [root(spans, upper), root(spans, lower)];
            spans[a.max(b)].area = a.min(b) as u32;
        }
        if up_end < low_end {
            upper += 1;
        } else {
            lower += 1;
        }
    }
}

/// The root of a span's tree, the path to it halved.
fn root(spans: &mut [Span], mut index: usize) -> usize {
    loop {
        let parent = spans[index].area as usize;
        if parent == index {
            return index;
        }
        let grandparent = spans[parent].area;
        spans[index].area = grandparent;
        index = grandparent as usize;
    }
}
