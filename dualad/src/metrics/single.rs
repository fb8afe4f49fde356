//! Single metrics of plain lists, for scores that do not come from this library.

use super::ranking::{Ranked, Totals, rank_all};
use super::{Error, ScoredImage, Undefined, Unit, evaluate, order};

/// Returns the area under the ROC curve of scores, in `[0, 1]`; ties count half. `anomalous` has a label for each score.
///
/// ```
/// use dualad::metrics::auroc;
///
/// // One of the two anomalous images scores below one of the three normal ones.
/// let area = auroc(&[0.1, 0.4, 0.2, 0.3, 0.9], &[false, false, false, true, true])?;
/// assert_eq!(area, 5.0 / 6.0);
/// assert!(auroc(&[0.1, 0.4], &[true, true]).unwrap_err().to_string().contains("no normal"));
/// # Ok::<(), dualad::metrics::Error>(())
/// ```
///
/// # Errors
/// [`Error::Labels`] if the numbers of scores and labels differ, [`Error::Score`] for a score that is not finite,
/// [`Error::Undefined`] without a normal or without an anomalous score.
pub fn auroc(scores: &[f32], anomalous: &[bool]) -> Result<f64, Error> {
    Ok(ranked(scores, anomalous)?.auroc)
}

/// Returns the average precision of scores, in `[0, 1]`: the precision at each distinct score, weighted by the recall it adds.
/// `anomalous` has a label for each score.
///
/// # Errors
/// As [`auroc`].
pub fn average_precision(scores: &[f32], anomalous: &[bool]) -> Result<f64, Error> {
    Ok(ranked(scores, anomalous)?.ap)
}

/// Returns the best F1 of scores over all thresholds, in `[0, 1]`, and the highest threshold that gives it: an item at or above it
/// counts as anomalous. `anomalous` has a label for each score.
///
/// # Errors
/// As [`auroc`].
pub fn f1_max(scores: &[f32], anomalous: &[bool]) -> Result<(f64, f32), Error> {
    let ranked = ranked(scores, anomalous)?;
    Ok((ranked.f1_max, ranked.threshold))
}

/// Returns the area under the curve of mean overlap of 8-connected defect regions against the false-positive rate, up to a rate of
/// 0.3 and divided by 0.3, in `[0, 1]`. All maps are measured together. Each has `size` rows and columns, row by row, and a mask of
/// the same size: values other than 0 mark defects, and the mask of a normal image holds zeros.
///
/// ```
/// use dualad::metrics::aupro;
///
/// // Maps of 2 x 3 pixels: a normal image, and one with a defect in a corner that the map finds.
/// let maps: [&[f32]; 2] = [&[0.1, 0.2, 0.1, 0.3, 0.1, 0.2], &[0.2, 0.1, 0.9, 0.1, 0.3, 0.1]];
/// let masks: [&[u8]; 2] = [&[0; 6], &[0, 0, 1, 0, 0, 0]];
/// assert_eq!(aupro(&maps, &masks, [2, 3])?, 1.0);
/// # Ok::<(), dualad::metrics::Error>(())
/// ```
///
/// # Errors
/// [`Error::Labels`] if the numbers of maps and masks differ, [`Error::MapSize`] and [`Error::MaskSize`] for one of another size,
/// [`Error::PixelScore`] for a value that is not finite, [`Error::Undefined`] without a normal or without an anomalous pixel.
pub fn aupro(maps: &[&[f32]], masks: &[&[u8]], [height, width]: [usize; 2]) -> Result<f64, Error> {
    if maps.len() != masks.len() {
        return Err(Error::Labels { scores: maps.len(), labels: masks.len() });
    }
    let images = maps.iter().zip(masks).map(|(map, mask)| ScoredImage {
        category: "",
        anomalous: mask.iter().any(|&value| value != 0),
        image_score: 0.0,
        height,
        width,
        map,
        mask: Some(mask),
    });
    let images: Vec<ScoredImage<'_>> = images.collect();
    if images.is_empty() {
        return Err(Undefined::NoNormal(Unit::Pixel).into());
    }
    Ok(evaluate(&images)?.pooled.metrics.pixel_aupro?)
}

fn ranked(scores: &[f32], anomalous: &[bool]) -> Result<Ranked, Error> {
    if scores.len() != anomalous.len() {
        return Err(Error::Labels { scores: scores.len(), labels: anomalous.len() });
    }
    if let Some((index, &score)) = scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        return Err(Error::Score { index, score });
    }
    let found = anomalous.iter().filter(|&&anomalous| anomalous).count() as u64;
    let totals = Totals { normal: scores.len() as u64 - found, anomalous: found };
    if totals.normal == 0 {
        return Err(Undefined::NoNormal(Unit::Image).into());
    }
    if totals.anomalous == 0 {
        return Err(Undefined::NoAnomalous(Unit::Image).into());
    }
    let ranks = scores.iter().map(|&score| order::rank(score));
    Ok(rank_all(ranks.zip(anomalous.iter().copied()).collect(), totals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::metrics::plain;

    /// Random scores with ties, and labels.
    fn drawn(seed: u64, count: usize) -> (Vec<f32>, Vec<bool>) {
        let values = Random::new(seed).stream().uniform(2 * count);
        let scores = values[..count].iter().map(|value| (value * 12.0).floor() - 5.0).collect();
        let mut labels: Vec<bool> = values[count..].iter().map(|&value| value < 0.4).collect();
        (labels[0], labels[1]) = (false, true);
        (scores, labels)
    }

    #[test]
    fn lists_have_the_metrics_of_their_definition() {
        for (seed, count) in [(0, 2), (1, 3), (2, 17), (3, 400)] {
            let (scores, labels) = drawn(seed, count);
            let mut weighted: Vec<(f32, f64)> =
                scores.iter().zip(&labels).map(|(&score, &label)| (score, f64::from(u8::from(label)))).collect();
            let expected = plain::ranked(&mut weighted);
            let near = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
            assert!(near(auroc(&scores, &labels).unwrap(), expected.auroc), "{count}");
            assert!(near(average_precision(&scores, &labels).unwrap(), expected.ap), "{count}");
            let (f1, threshold) = f1_max(&scores, &labels).unwrap();
            assert!(near(f1, expected.f1_max) && threshold == expected.f1_threshold, "{count}");
        }
    }

    #[test]
    fn maps_have_the_area_of_its_definition() {
        let (height, width) = (5, 7);
        let drawn: Vec<(Vec<f32>, Vec<bool>)> = (0..3).map(|seed| drawn(seed, height * width)).collect();
        let mut masks: Vec<Vec<u8>> =
            drawn.iter().map(|(_, labels)| labels.iter().map(|&label| 255 * u8::from(label)).collect()).collect();
        masks[1].fill(0);
        let (mut pixels, mut regions) = (Vec::new(), 0);
        for ((map, _), mask) in drawn.iter().zip(&masks) {
            let (found, count) = plain::pixels(map, Some(mask), width);
            pixels.extend(found);
            regions += count;
        }
        let maps: Vec<&[f32]> = drawn.iter().map(|(map, _)| map.as_slice()).collect();
        let masks: Vec<&[u8]> = masks.iter().map(Vec::as_slice).collect();
        let (found, expected) = (aupro(&maps, &masks, [height, width]).unwrap(), plain::aupro(&mut pixels, regions));
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        assert!(matches!(aupro(&maps, &masks, [height, 8]), Err(Error::MapSize { .. })));
        assert!(matches!(aupro(&maps, &masks[1..], [height, width]), Err(Error::Labels { scores: 3, labels: 2 })));
        assert!(matches!(aupro(&maps[1..2], &masks[1..2], [height, width]), Err(Error::Undefined(_))));
        assert!(matches!(aupro(&[], &[], [height, width]), Err(Error::Undefined(_))));
    }

    #[test]
    fn lists_that_cannot_be_ranked_are_errors() {
        assert_eq!(auroc(&[1.0], &[]), Err(Error::Labels { scores: 1, labels: 0 }));
        assert_eq!(auroc(&[], &[]), Err(Undefined::NoNormal(Unit::Image).into()));
        assert_eq!(auroc(&[1.0], &[false]), Err(Undefined::NoAnomalous(Unit::Image).into()));
        let error = auroc(&[1.0, f32::INFINITY], &[false, true]).unwrap_err();
        assert_eq!(error, Error::Score { index: 1, score: f32::INFINITY });
    }
}
