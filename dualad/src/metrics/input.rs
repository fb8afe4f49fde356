//! The input of the metrics, and its checks.

use std::borrow::Cow;

use super::regions::{Span, spans};
use super::{Error, order};

/// An image with its scores, its label and its mask.
///
/// Maps and masks are borrowed, not copied.
#[derive(Debug, Clone, Copy)]
pub struct ScoredImage<'a> {
    /// The category, by which the metrics are grouped.
    pub category: &'a str,
    /// The label: `true` for an anomalous image.
    pub anomalous: bool,
    /// The image score; it must be finite.
    pub image_score: f32,
    /// The rows of the anomaly map; 0 without a map. Images may differ in size.
    pub height: usize,
    /// The columns of the anomaly map.
    pub width: usize,
    /// The anomaly map: `height * width` finite scores, row by row.
    pub map: &'a [f32],
    /// The mask, of the map's size; values other than 0 mark defects. A normal image needs none. If the mask of an anomalous
    /// image marks nothing, because the defect vanished when the mask was resized, its pixels count as normal and the image as
    /// anomalous.
    pub mask: Option<&'a [u8]>,
}

/// An image that has passed the checks.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub(super) map: &'a [f32],
    mask: Option<&'a [u8]>,
    width: usize,
    pub(super) category: u32,
    /// The mask's spans, if they need little memory beside the map.
    kept: Option<Vec<Span>>,
    pub(super) anomalous: u64,
    pub(super) regions: u64,
    /// The lowest and the highest score; plus and minus infinity for an image without pixels.
    pub(super) lowest: f32,
    pub(super) highest: f32,
}

/// The minimum number of pixels for each span to keep the spans: they then take at most an eighth of the map's memory. Real
/// masks have far fewer. Otherwise spans are computed again when they are needed.
const KEPT_SPANS: usize = 24;

/// Does the checks that do not look at pixels.
pub(super) fn check_sizes(index: usize, image: &ScoredImage<'_>) -> Result<(), Error> {
    let category = || image.category.to_owned();
    let &ScoredImage { height, width, .. } = image;
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
    /// Checks every pixel.
    pub(super) fn new(index: usize, image: &ScoredImage<'a>, category: u32) -> Result<Self, Error> {
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
        let &ScoredImage { map, mask, width, .. } = image;
        Ok(Self { map, mask, width, category, kept, anomalous, regions, lowest, highest })
    }

    /// Returns the marked pixels.
    pub(super) fn spans(&self) -> Cow<'_, [Span]> {
        match (&self.kept, self.mask) {
            (Some(kept), _) => Cow::Borrowed(kept),
            (None, mask) => Cow::Owned(mask.map_or_else(Vec::new, |mask| spans(mask, self.width).0)),
        }
    }

    /// Calls `each` for every run of pixels in raster order: its scores, and for anomalous pixels the area of their region.
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

    /// Calls `each` for the ranks in a range, in batches: the ranks, and for anomalous pixels the area of their region.
    pub(super) fn ranks(&self, range: std::ops::RangeInclusive<u32>, mut each: impl FnMut(&[u32], Option<u32>)) {
        const BATCH: usize = 128;
        let (first, span) = (*range.start(), range.end() - range.start());
        let (mut ranks, mut inside) = ([0; BATCH], [0; BATCH]);
        self.stretches(|scores, area| {
            for scores in scores.chunks(BATCH) {
                // In batches, because neighboring scores are alike: most batches have no score in the range.
                let mut any = 0;
                for (rank, &score) in ranks.iter_mut().zip(scores) {
                    *rank = order::rank(score);
                    any += u32::from(rank.wrapping_sub(first) <= span);
                }
                if any == 0 {
                    continue;
                }
                // Without a branch on the score, which could not be predicted.
                let mut filled = 0;
                for &rank in ranks.iter().take(scores.len()) {
                    inside[filled % BATCH] = rank;
                    filled += usize::from(rank.wrapping_sub(first) <= span);
                }
                each(&inside[..filled.min(BATCH)], area);
            }
        });
    }

    /// Counts the normal and the anomalous pixels with a rank in a range.
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
