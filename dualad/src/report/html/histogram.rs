//! The histogram of image scores: normal images above the line and anomalous ones below it.

use std::collections::BTreeMap;

use super::axis::{drawable, spread};
use super::number::{counted, score};
use super::svg::{Plot, Size, bar, chart, line, text};
use crate::report::ImageResult;

const SIZE: Size = Size { width: 380.0, height: 240.0 };
const PLOT: Plot = Plot { left: 34.0, right: 372.0, top: 30.0, bottom: 200.0 };
const BINS: usize = 32;
/// The minimum height of a bar, so that a single image is visible among thousands.
const MIN_BAR_HEIGHT: f64 = 1.5;

/// Returns the chart. `id` is unique in the page; `shown` names the images in a sentence.
pub(super) fn histogram(id: &str, shown: &str, images: &[&ImageResult], threshold: Option<f32>) -> String {
    let scores = |anomalous: bool| -> Vec<f64> {
        let images = images.iter().filter(|image| image.anomalous == anomalous);
        images.map(|image| f64::from(image.image_score)).filter(|&score| drawable(score)).collect()
    };
    let (normal, anomalous) = (scores(false), scores(true));
    let threshold = threshold.map(f64::from).filter(|&threshold| drawable(threshold));
    let ends = normal.iter().chain(&anomalous).fold(None, |ends: Option<[f64; 2]>, &score| {
        Some(ends.map_or([score; 2], |[low, high]| [low.min(score), high.max(score)]))
    });
    let Some([low, high]) = ends else { return String::new() };
    // The threshold is in the range even if no score is near it.
    let (low, high) = threshold.map_or((low, high), |threshold| (low.min(threshold), high.max(threshold)));
    let [low, high] = spread([low, high]);

    // Bins start at the threshold, so that none has scores of both sides.
    let width = (high - low) / BINS as f64;
    let origin = threshold.unwrap_or(low);
    let bins = |scores: &[f64]| {
        let mut bins = BTreeMap::new();
        for score in scores {
            *bins.entry(((score - origin) / width).floor() as i64).or_insert(0usize) += 1;
        }
        bins
    };
    let (above, below) = (bins(&normal), bins(&anomalous));
    let most = |bins: &BTreeMap<i64, usize>| bins.values().copied().max().unwrap_or(0) as f64;
    let (highest, lowest) = (most(&above), most(&below));
    // Each side is high enough for its label.
    let room = 0.18 * (highest + lowest);
    // The first and the last bin extend beyond the scores.
    let x = PLOT.x([low - width, high + width]);
    let (up, down) = (highest.max(room), lowest.max(room));
    let y = PLOT.y([-down, up]);
    let (zero, unit) = (y.at(0.0), (PLOT.bottom - PLOT.top) / (up + down));

    let mut content = PLOT.axis_below(&x, 5, "image score");
    // Counts are integers, with the same scale above and below the line.
    for tick in y.ticks(5).iter().filter(|tick| tick.value.fract() == 0.0) {
        let place = y.at(tick.value);
        content += &line("grid", [PLOT.left, place], [PLOT.right, place]);
        content += &text("tick end", [PLOT.left - 7.0, place + 3.5], &format!("{}", tick.value.abs()));
    }
    content += &text("axis", [0.0, 10.0], "images");
    for (class, one, many, bins, is_above) in [
        ("normal", "normal image", "normal images", above, true),
        ("anomalous", "anomalous image", "anomalous images", below, false),
    ] {
        for (bin, count) in bins {
            let (from, to) = (origin + bin as f64 * width, origin + (bin + 1) as f64 * width);
            let (left, right) = (x.at(from), x.at(to));
            let height = (count as f64 * unit).max(MIN_BAR_HEIGHT);
            let top = if is_above { zero - height } else { zero };
            let title = format!("{} to {}: {}", score(from), score(to), counted(count, one, many));
            content += &bar(class, [left + 0.5, top], [(right - left - 1.0).max(1.0), height], &title);
        }
    }
    content += &line("base", [PLOT.left, zero], [PLOT.right, zero]);
    if let Some(threshold) = threshold {
        let place = x.at(threshold);
        content += &line("threshold", [place, PLOT.top - 4.0], [place, PLOT.bottom]);
        // Clamped to the chart.
        let middle = place.clamp(PLOT.left + 62.0, PLOT.right - 54.0);
        content += &text("label middle", [middle, PLOT.top - 9.0], &format!("threshold {}", score(threshold)));
    }
    // Normal images have low scores and anomalous ones high scores, so these corners are empty.
    content += &text("label normal end halo", [PLOT.right - 2.0, PLOT.top + 12.0], &format!("{} normal", normal.len()));
    content +=
        &text("label anomalous halo", [PLOT.left + 4.0, PLOT.bottom - 5.0], &format!("{} anomalous", anomalous.len()));
    let range = |scores: &[f64]| {
        let low = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if scores.is_empty() { String::new() } else { format!(" from {} to {}", score(low), score(high)) }
    };
    let title = format!(
        "Image scores of {shown}: {}{}; {}{}{}.",
        counted(normal.len(), "normal image", "normal images"),
        range(&normal),
        counted(anomalous.len(), "anomalous image", "anomalous images"),
        range(&anomalous),
        threshold.map(|threshold| format!("; threshold {}", score(threshold))).unwrap_or_default(),
    );
    chart(SIZE, id, &title, &content)
}
