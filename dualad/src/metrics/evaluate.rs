//! The computation of the metrics of every category and of all categories together.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::input::{Prepared, ScoredImage, check_sizes};
use super::ranking::{Ranked, Totals, rank_all};
use super::sweep::{Contents, Swept, sweep};
use super::{Curves, Error, Evaluation, Measured, Metric, Metrics, Undefined, Unit, order};

/// The memory for sorting pixels, as a divisor of the memory of the maps.
const SORT_SHARE: usize = 4;

/// The minimum memory for sorting pixels, in bytes.
const SORT_MINIMUM: usize = 1 << 20;

/// Computes the metrics of scores for each category and for all categories together.
///
/// Takes `n log n` time for `n` pixels. Beside the maps it needs less than half of their memory and a few MiB, for any scores.
/// Each thread looks at one mask at a time, which takes up to 18 bytes for each pixel of the image if every second pixel of a row
/// is marked.
///
/// Without images, no metric is defined.
///
/// # Errors
///
/// For a map or a mask of another size than the image's, a score that is NaN or infinite, and a normal image whose mask marks
/// pixels.
///
/// ```
/// use dualad::metrics::{ScoredImage, evaluate};
///
/// let normal = ScoredImage {
///     category: "bottle",
///     anomalous: false,
///     image_score: 0.3,
///     height: 2,
///     width: 3,
///     map: &[0.1, 0.2, 0.1, 0.3, 0.2, 0.1],
///     mask: None,
/// };
/// let broken = ScoredImage {
///     anomalous: true,
///     image_score: 0.8,
///     map: &[0.1, 0.7, 0.8, 0.1, 0.2, 0.6],
///     mask: Some(&[0, 1, 1, 0, 0, 1]),
///     ..normal
/// };
/// let evaluation = evaluate(&[normal, broken])?;
/// let bottle = &evaluation.categories["bottle"].metrics;
/// assert_eq!(bottle.image_auroc, Ok(1.0));
/// assert_eq!(bottle.pixel_aupro, Ok(1.0));
/// # Ok::<(), dualad::metrics::Error>(())
/// ```
pub fn evaluate(images: &[ScoredImage<'_>]) -> Result<Evaluation, Error> {
    let pixels: usize = images.iter().map(|image| image.map.len()).sum();
    evaluate_within(images, (pixels * size_of::<f32>() / SORT_SHARE).max(SORT_MINIMUM))
}

/// Computes the metrics as [`evaluate`] does, with this number of bytes for sorting pixels.
pub(super) fn evaluate_within(images: &[ScoredImage<'_>], budget: usize) -> Result<Evaluation, Error> {
    for (index, image) in images.iter().enumerate() {
        check_sizes(index, image)?;
    }
    let mut names: BTreeMap<&str, u32> = images.iter().map(|image| (image.category, 0)).collect();
    names.values_mut().zip(0..).for_each(|(number, next)| *number = next);
    let number = |image: &ScoredImage<'_>| names.get(image.category).copied().unwrap_or_default();
    // Not collected into a Result directly: which of several errors that returns depends on the threads.
    let prepared: Vec<_> =
        images.par_iter().enumerate().map(|(index, image)| Prepared::new(index, image, number(image))).collect();
    let prepared = prepared.into_iter().collect::<Result<Vec<_>, _>>()?;

    let mut sets = vec![Set::default(); names.len() + 1];
    for (image, prepared) in images.iter().zip(&prepared) {
        // The last set is all images.
        for set in [prepared.category as usize, names.len()] {
            if let Some(set) = sets.get_mut(set) {
                set.add(image, prepared);
            }
        }
    }
    let contents: Vec<Option<Contents>> = sets.iter().map(|set| set.pixels().ok()).collect();
    let pooled = contents.last().is_some_and(Option::is_some);
    let wanted = |image: &&Prepared<'_>| pooled || contents.get(image.category as usize).is_some_and(Option::is_some);
    let wanted: Vec<&Prepared<'_>> = prepared.iter().filter(wanted).collect();
    let swept = if wanted.is_empty() { sets.iter().map(|_| None).collect() } else { sweep(&wanted, &contents, budget) };

    let mut measured: Vec<Measured> = sets.into_iter().zip(swept).map(|(set, swept)| set.measured(swept)).collect();
    let pooled = measured.pop().unwrap_or_else(|| Set::default().measured(None));
    let categories: BTreeMap<String, Measured> = names.into_keys().map(str::to_owned).zip(measured).collect();
    let mean = Metrics::mean(categories.values().map(|category| &category.metrics));
    Ok(Evaluation { categories, mean, pooled })
}

/// The content of a set of images: of a category, or of all.
#[derive(Debug, Clone)]
struct Set {
    images: Totals,
    scores: Vec<(u32, bool)>,
    contents: Contents,
    unmasked: bool,
}

impl Default for Set {
    fn default() -> Self {
        let (pixels, lowest, highest) = (Totals::default(), f32::INFINITY, f32::NEG_INFINITY);
        let contents = Contents { pixels, regions: 0, lowest, highest };
        Self { images: Totals::default(), scores: Vec::new(), contents, unmasked: false }
    }
}

impl Set {
    fn add(&mut self, image: &ScoredImage<'_>, prepared: &Prepared<'_>) {
        *(if image.anomalous { &mut self.images.anomalous } else { &mut self.images.normal }) += 1;
        self.scores.push((order::rank(image.image_score), image.anomalous));
        let Contents { pixels, regions, lowest, highest } = &mut self.contents;
        pixels.anomalous += prepared.anomalous;
        pixels.normal += image.map.len() as u64 - prepared.anomalous;
        *regions += prepared.regions;
        *lowest = lowest.min(prepared.lowest);
        *highest = highest.max(prepared.highest);
        self.unmasked |= image.anomalous && image.mask.is_none();
    }

    /// Returns the content of the maps, if it can be measured.
    fn pixels(&self) -> Result<Contents, Undefined> {
        if self.unmasked {
            return Err(Undefined::NoMask);
        }
        both(self.contents.pixels, Unit::Pixel)?;
        Ok(self.contents)
    }

    fn measured(self, swept: Option<Swept>) -> Measured {
        let why = self.pixels().err();
        let Self { images, scores, .. } = self;
        let mut curves = Curves::default();
        let ranked = both(images, Unit::Image).map(|()| rank_all(scores, images));
        let image = Ranking::new(ranked.as_ref());
        // A set is swept unless a metric is undefined.
        let swept = swept.ok_or(why.unwrap_or(Undefined::NoAnomalous(Unit::Pixel)));
        let pixel = Ranking::new(swept.as_ref().map(|swept| &swept.ranked));
        let aupro = swept.as_ref().map(|swept| &swept.aupro).map_err(|why| *why);
        let metrics = Metrics {
            image_auroc: image.auroc,
            image_ap: image.ap,
            image_f1_max: image.f1_max,
            pixel_auroc: pixel.auroc,
            pixel_ap: pixel.ap,
            pixel_f1_max: pixel.f1_max,
            pixel_aupro: aupro.map(|aupro| aupro.exact),
            pixel_aupro_200: aupro.and_then(|aupro| aupro.sampled),
        };
        if let Ok(ranked) = ranked {
            curves.image_roc = ranked.roc;
        }
        if let Ok(Swept { ranked, aupro }) = swept {
            (curves.pixel_roc, curves.pixel_pro) = (ranked.roc, aupro.pro);
        }
        Measured {
            metrics,
            curves,
            image_threshold: image.threshold,
            pixel_threshold: pixel.threshold,
            images: (images.normal + images.anomalous) as usize,
            anomalous: images.anomalous as usize,
        }
    }
}

/// The metrics of a ranking, or the reason that they are undefined.
struct Ranking {
    auroc: Metric,
    ap: Metric,
    f1_max: Metric,
    threshold: Option<f32>,
}

impl Ranking {
    fn new(ranked: Result<&Ranked, &Undefined>) -> Self {
        let ranked = ranked.map_err(|why| *why);
        Self {
            auroc: ranked.map(|ranked| ranked.auroc),
            ap: ranked.map(|ranked| ranked.ap),
            f1_max: ranked.map(|ranked| ranked.f1_max),
            threshold: ranked.ok().map(|ranked| ranked.threshold),
        }
    }
}

/// Checks that both labels are present.
fn both(totals: Totals, unit: Unit) -> Result<(), Undefined> {
    if totals.normal == 0 {
        Err(Undefined::NoNormal(unit))
    } else if totals.anomalous == 0 {
        Err(Undefined::NoAnomalous(unit))
    } else {
        Ok(())
    }
}
