//! The metrics as they are defined, one set at a time, by sorting all of it: what the fast form is held to, in tests and in the
//! benchmark. Knows nothing of the rest of the module.

/// AUROC, AP, F1-max.
pub(crate) struct Ranked {
    pub(crate) auroc: f64,
    pub(crate) ap: f64,
    pub(crate) f1_max: f64,
    pub(crate) f1_threshold: f32,
}

/// A curve over thresholds, from the highest: what is at or above each distinct score.
struct Step {
    score: f32,
    normal: f64,
    anomalous: f64,
    /// The sum over regions of the share that is covered.
    overlap: f64,
}

/// Returns the steps of the curve. `scores` are pairs (score, weight): weight 0 for a normal pixel, 1 / region size for an anomalous
/// one.
fn steps(scores: &mut [(f32, f64)]) -> Vec<Step> {
    scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut normal, mut anomalous, mut overlap) = (0.0, 0.0, 0.0);
    let mut steps = vec![Step { score: f32::INFINITY, normal, anomalous, overlap }];
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        for &(_, weight) in tied {
            if weight > 0.0 {
                anomalous += 1.0;
                overlap += weight;
            } else {
                normal += 1.0;
            }
        }
        steps.push(Step { score: tied[0].0, normal, anomalous, overlap });
    }
    steps
}

/// Returns AUROC, AP and F1-max of scores of which some are normal and some anomalous.
pub(crate) fn ranked(scores: &mut [(f32, f64)]) -> Ranked {
    let steps = steps(scores);
    let last = &steps[steps.len() - 1];
    let (normal, anomalous) = (last.normal, last.anomalous);
    let mut ranked = Ranked { auroc: 0.0, ap: 0.0, f1_max: -1.0, f1_threshold: 0.0 };
    for pair in steps.windows(2) {
        let (before, step) = (&pair[0], &pair[1]);
        ranked.auroc += (step.normal - before.normal) / normal * (step.anomalous + before.anomalous) / anomalous / 2.0;
        let precision = step.anomalous / (step.anomalous + step.normal);
        let recall = step.anomalous / anomalous;
        ranked.ap += precision * (step.anomalous - before.anomalous) / anomalous;
        let f1 = 2.0 * step.anomalous / (step.anomalous + step.normal + anomalous);
        debug_assert!(recall == 0.0 || (f1 - 2.0 * precision * recall / (precision + recall)).abs() < 1e-9);
        if f1 > ranked.f1_max {
            (ranked.f1_max, ranked.f1_threshold) = (f1, step.score);
        }
    }
    ranked
}

/// Exact AUPRO up to a false-positive rate of 0.3.
pub(crate) fn aupro(scores: &mut [(f32, f64)], regions: usize) -> f64 {
    let steps = steps(scores);
    let normal = steps[steps.len() - 1].normal;
    let mut area = 0.0;
    for pair in steps.windows(2) {
        let [(x0, y0), (x1, y1)] =
            [&pair[0], &pair[1]].map(|step| (step.normal / normal, step.overlap / regions as f64));
        let end = x1.min(0.3);
        if x0 < end {
            let at_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0);
            area += (end - x0) * (y0 + at_end) / 2.0;
        }
    }
    area / 0.3
}

/// AUPRO as the published code computes it; NaN where that divides 0 by 0.
pub(crate) fn aupro_200(scores: &[(f32, f64)], regions: usize) -> f64 {
    let lowest = scores.iter().map(|score| f64::from(score.0)).fold(f64::INFINITY, f64::min);
    let highest = scores.iter().map(|score| f64::from(score.0)).fold(f64::NEG_INFINITY, f64::max);
    let normal = scores.iter().filter(|score| score.1 == 0.0).count() as f64;
    let mut points = Vec::new();
    for index in 0..200 {
        let threshold = lowest + f64::from(index) * ((highest - lowest) / 200.0);
        let above = scores.iter().filter(|score| f64::from(score.0) > threshold);
        let (mut positives, mut overlap) = (0.0, 0.0);
        for &(_, weight) in above {
            positives += f64::from(u8::from(weight == 0.0));
            overlap += weight;
        }
        if positives / normal < 0.3 {
            points.push((positives / normal, overlap / regions as f64));
        }
    }
    let least = points.iter().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
    let x = |point: (f64, f64)| (point.0 - least) / (most - least);
    points.windows(2).map(|pair| (x(pair[0]) - x(pair[1])) * (pair[0].1 + pair[1].1) / 2.0).sum()
}

/// The pixels of a map as `(score, weight)`, and how many regions there are, found by flooding each.
pub(crate) fn pixels(map: &[f32], mask: Option<&[u8]>, width: usize) -> (Vec<(f32, f64)>, usize) {
    let mut pixels: Vec<(f32, f64)> = map.iter().map(|&score| (score, 0.0)).collect();
    let Some(mask) = mask else { return (pixels, 0) };
    let mut seen = vec![false; mask.len()];
    let mut regions = 0;
    for first in 0..mask.len() {
        if mask[first] == 0 || seen[first] {
            continue;
        }
        regions += 1;
        seen[first] = true;
        let mut region = vec![first];
        let mut next = 0;
        while next < region.len() {
            let (row, column) = (region[next] / width, region[next] % width);
            for row in row.saturating_sub(1)..(row + 2).min(mask.len() / width) {
                for column in column.saturating_sub(1)..(column + 2).min(width) {
                    let pixel = row * width + column;
                    if mask[pixel] != 0 && !seen[pixel] {
                        seen[pixel] = true;
                        region.push(pixel);
                    }
                }
            }
            next += 1;
        }
        for &pixel in &region {
            pixels[pixel].1 = 1.0 / region.len() as f64;
        }
    }
    (pixels, regions)
}
