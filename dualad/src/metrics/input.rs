//! What is measured: images with their scores, and what one look at each tells.

use std::borrow::Cow;

use super::regions::{Span, spans};
use super::{Error, order};

/// An image with its scores and what they should have been.
///
/// Nothing is copied: maps and masks are borrowed, and left as they are.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// What the metrics are grouped by.
    pub category: &'a str,
    /// The image's label.
    pub anomalous: bool,
    /// The image score, finite.
    pub image_score: f32,
    /// Rows of the anomaly map. Images need not have the same size; without a map, 0.
    pub height: usize,
    /// Columns of the anomaly map.
    pub width: usize,
    /// The anomaly map, `height * width` finite scores, row by row.
    pub map: &'a [f32],
    /// The mask, as large as the map; what is not 0 is anomalous. A normal image needs none. The pixels of an anomalous
    /// image whose mask marks nothing (the defect vanished when the mask was resized) count as normal pixels, and the
    /// image stays anomalous.
    pub mask: Option<&'a [u8]>,
}

/// An image that can be measured.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub(super) map: &'a [f32],
    mask: Option<&'a [u8]>,
    width: usize,
    pub(super) category: u32,
    /// The mask's spans, where keeping them costs next to nothing beside the map.
    kept: Option<Vec<Span>>,
    pub(super) anomalous: u64,
    pub(super) regions: u64,
    /// The lowest and the highest score; infinite in this order where there is no pixel.
    pub(super) lowest: f32,
    pub(super) highest: f32,
}

/// Spans are kept for as long as the metrics are computed up to this many per pixel: an eighth of the map's memory. Real
/// masks need far fewer. Others are made again whenever they are needed.
const KEPT_SPANS: usize = 24;

/// Refuses what can be refused without a look at the pixels.
pub(super) fn check_sizes(index: usize, image: &Scored<'_>) -> Result<(), Error> {
    let category = || image.category.to_owned();
    let &Scored { height, width, .. } = image;
    let values = image.map.len();
    if height.checked_mul(width) != Some(values) {
        return Err(Error::MapSize { image: index, category: category(), height, width, values });
    }
    if values > u32::MAX as usize {
        return Err(Error::TooLarge { image: index, category: category(), pixels: values });
    }
    if let Some(mask) = image.mask.map(<[u8]>::len)
        && mask != values
    {
        return Err(Error::MaskSize { image: index, category: category(), mask, map: values });
    }
    if !image.image_score.is_finite() {
        return Err(Error::ImageScore { image: index, category: category(), score: image.image_score });
    }
    Ok(())
}

impl<'a> Prepared<'a> {
    /// Looks at every pixel once.
    pub(super) fn new(index: usize, image: &Scored<'a>, category: u32) -> Result<Self, Error> {
        let category_name = || image.category.to_owned();
        let (mut lowest, mut highest, mut finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
        for &score in image.map {
            finite &= score.is_finite();
            lowest = if score < lowest { score } else { lowest };
            highest = if score > highest { score } else { highest };
        }
        if !finite && let Some(at) = image.map.iter().position(|score| !score.is_finite()) {
            let (row, column) = (at / image.width, at % image.width);
            let score = image.map[at];
            return Err(Error::PixelScore { image: index, category: category_name(), row, column, score });
        }
        let (spans, regions) = image.mask.map_or_else(Default::default, |mask| spans(mask, image.width));
        let anomalous = spans.iter().map(|span| u64::from(span.end - span.start)).sum();
        if !image.anomalous && anomalous > 0 {
            return Err(Error::MarkedNormal { image: index, category: category_name(), pixels: anomalous });
        }
        let kept = (spans.len() <= image.map.len() / KEPT_SPANS).then(|| {
            let mut spans = spans;
            spans.shrink_to_fit();
            spans
        });
        let &Scored { map, mask, width, .. } = image;
        Ok(Self { map, mask, width, category, kept, anomalous, regions, lowest, highest })
    }

    /// The marked pixels.
    pub(super) fn spans(&self) -> Cow<'_, [Span]> {
        match (&self.kept, self.mask) {
            (Some(kept), _) => Cow::Borrowed(kept),
            (None, mask) => Cow::Owned(mask.map_or_else(Vec::new, |mask| spans(mask, self.width).0)),
        }
    }

    /// Every pixel, as stretches of scores in raster order with the area of their region, which normal ones have not.
    pub(super) fn stretches(&self, mut each: impl FnMut(&'a [f32], Option<u32>)) {
        let mut at = 0;
        for span in self.spans().iter() {
            let [start, end] = [span.start, span.end].map(|pixel| pixel as usize);
            // In range: spans lie within the mask, which is as large as the map.
            each(self.map.get(at..start).unwrap_or_default(), None);
            each(self.map.get(start..end).unwrap_or_default(), Some(span.area));
            at = end;
        }
        each(self.map.get(at..).unwrap_or_default(), None);
    }

    /// The ranks that lie in a range, in batches, with the area of their pixels' region.
    pub(super) fn ranks(&self, range: std::ops::RangeInclusive<u32>, mut each: impl FnMut(&[u32], Option<u32>)) {
        const BATCH: usize = 128;
        let (first, span) = (*range.start(), range.end() - range.start());
        let (mut ranks, mut inside) = ([0; BATCH], [0; BATCH]);
        self.stretches(|scores, area| {
            for scores in scores.chunks(BATCH) {
                // Many at a time, and scores that are neighbours are alike: most batches have nothing in the range.
                let mut any = 0;
                for (rank, &score) in ranks.iter_mut().zip(scores) {
                    *rank = order::rank(score);
                    any += u32::from(rank.wrapping_sub(first) <= span);
                }
                if any == 0 {
                    continue;
                }
                // No branch on whether a score is in the range: nothing predicts it.
                let mut filled = 0;
                for &rank in ranks.iter().take(scores.len()) {
                    inside[filled % BATCH] = rank;
                    filled += usize::from(rank.wrapping_sub(first) <= span);
                }
                each(&inside[..filled.min(BATCH)], area);
            }
        });
    }

    /// How many normal and anomalous pixels have a rank in a range.
    pub(super) fn count(&self, range: std::ops::RangeInclusive<u32>) -> (usize, usize) {
        let (first, span) = (*range.start(), range.end() - range.start());
        let (mut normal, mut anomalous) = (0, 0);
        self.stretches(|scores, area| {
            let inside = |score: &f32| u32::from(order::rank(*score).wrapping_sub(first) <= span);
            let count = scores.iter().map(inside).sum::<u32>() as usize;
            *(if area.is_some() { &mut anomalous } else { &mut normal }) += count;
        });
        (normal, anomalous)
    }
}
