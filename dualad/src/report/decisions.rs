//! The decisions on images by the report's thresholds.

use crate::report::{ImageResult, Report};

/// The comparison of a decision with the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An anomalous image at or above the threshold.
    Found,
    /// An anomalous image below the threshold.
    Missed,
    /// A normal image at or above the threshold.
    FalseAlarm,
    /// A normal image below the threshold.
    Passed,
}

/// The numbers of images, and of images at or above the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) anomalous: usize,
    pub(super) found: usize,
    pub(super) normal: usize,
    pub(super) false_alarms: usize,
}

impl Report {
    /// Returns the threshold for a category's images.
    pub(super) fn threshold(&self, category: &str) -> Option<f32> {
        let own = self.thresholds.categories.get(category).copied().filter(|threshold| threshold.is_finite());
        own.or_else(|| self.pooled_threshold())
    }

    /// Returns the pooled threshold.
    pub(super) fn pooled_threshold(&self) -> Option<f32> {
        self.thresholds.pooled.filter(|threshold| threshold.is_finite())
    }
}

pub(super) fn verdict(image: &ImageResult, threshold: f32) -> Outcome {
    match (image.anomalous, image.image_score >= threshold) {
        (true, true) => Outcome::Found,
        (true, false) => Outcome::Missed,
        (false, true) => Outcome::FalseAlarm,
        (false, false) => Outcome::Passed,
    }
}

pub(super) fn count<'a>(images: impl IntoIterator<Item = &'a ImageResult>, threshold: f32) -> Counts {
    let mut counts = Counts::default();
    for image in images {
        let verdict = verdict(image, threshold);
        counts.anomalous += usize::from(image.anomalous);
        counts.normal += usize::from(!image.anomalous);
        counts.found += usize::from(verdict == Outcome::Found);
        counts.false_alarms += usize::from(verdict == Outcome::FalseAlarm);
    }
    counts
}

/// Returns the indices of the images whose decision was most wrong, or closest to being wrong.
pub(super) fn worst(report: &Report, anomalous: bool, count: usize) -> Vec<usize> {
    let images = report.images.iter().enumerate();
    let images = images.filter(|(_, image)| image.anomalous == anomalous && image.image_score.is_finite());
    let mut ranked: Vec<(f64, usize)> = images
        .map(|(place, image)| {
            // Without a threshold, images are ranked by score.
            let threshold = report.threshold(&image.category).unwrap_or(0.0);
            let above = f64::from(image.image_score) - f64::from(threshold);
            (if anomalous { above } else { -above }, place)
        })
        .collect();
    ranked.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    ranked.into_iter().take(count).map(|(_, place)| place).collect()
}
