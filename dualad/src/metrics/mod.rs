//! The metrics of anomaly scores (docs/method.md, section 7): image and pixel AUROC, AP, F1-max and AUPRO, as fractions in `[0,
//! 1]`. This module takes scores, labels and masks, and does not depend on the network.
//!
//! Every metric except the sampled AUPRO is exact, ties included. All are the same with any number of threads. A metric is undefined if images for it are
//! missing:
//!
//! - Image metrics need a normal and an anomalous image, pixel metrics a normal and an anomalous pixel.
//! - An anomalous image without a mask leaves the pixel metrics of its category, and the pooled ones, undefined. If this
//!   image were skipped, pixel and image metrics would measure different test sets.
//! - The paper's sampled AUPRO needs two thresholds with different false-positive rates below 0.3.

mod aupro;
mod curve;
mod error;
mod evaluate;
mod input;
mod list;
mod order;
#[cfg(test)]
mod plain;
mod plan;
mod ranking;
mod regions;
mod saturated;
mod single;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use error::Error;
pub use evaluate::evaluate;
pub use input::ScoredImage;
pub use saturated::{SaturatedImage, SaturatedRegion, saturated_pro};
pub use single::{aupro, auroc, average_precision, f1_max};

/// A metric's value as a fraction in `[0, 1]`, or the reason that it is undefined.
pub type Metric = Result<f64, Undefined>;

/// The reason that a metric is undefined. Undefined metrics are null in JSON and left out of means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Undefined {
    /// No image (or pixel) is normal.
    #[error("no normal {0}")]
    NoNormal(Unit),
    /// No image (or pixel) is anomalous.
    #[error("no anomalous {0}")]
    NoAnomalous(Unit),
    /// An anomalous image has no mask.
    #[error("an anomalous image has no mask")]
    NoMask,
    /// No two of the paper's 200 thresholds have different false-positive rates below 0.3: too many normal pixels have the
    /// highest scores.
    #[error("no two of the 200 thresholds have different false-positive rates under 0.3")]
    FewRates,
    /// The metric is undefined in every category.
    #[error("undefined in every category")]
    NoCategory,
}

/// The unit that is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Whole images, by image score.
    Image,
    /// Pixels, by the anomaly map.
    Pixel,
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Pixel => "pixel",
        })
    }
}

/// The metrics of a set of images.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// The area under the ROC curve over image scores; ties count half.
    pub image_auroc: Metric,
    /// The average precision over image scores: the precision at each distinct score, weighted by the recall it adds.
    pub image_ap: Metric,
    /// The best F1 over all thresholds on the image score.
    pub image_f1_max: Metric,
    /// The area under the ROC curve over pixels.
    pub pixel_auroc: Metric,
    /// The average precision over pixels.
    pub pixel_ap: Metric,
    /// The best F1 over all thresholds on the anomaly map.
    pub pixel_f1_max: Metric,
    /// The area under the curve of mean overlap of 8-connected regions against the false-positive rate, up to a rate of 0.3,
    /// divided by 0.3, with every distinct pixel score as a threshold.
    pub pixel_aupro: Metric,
    /// AUPRO as the paper's published code computes it: with 200 evenly spaced thresholds between the lowest and the highest
    /// pixel score, and the false-positive rates below 0.3 scaled to `[0, 1]`.
    pub pixel_aupro_200: Metric,
}

/// A point of a curve, and its threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// The false-positive rate, in `[0, 1]`.
    pub x: f64,
    /// The true-positive rate (ROC) or mean region overlap (PRO), in `[0, 1]`.
    pub y: f64,
    /// The score from which on an image or pixel counts as anomalous; infinite at the origin.
    pub threshold: f32,
}

/// The curves for drawing, from `(0, 0)` to `(1, 1)`, thinned to a few hundred points that keep every jump. Empty if the metric
/// is undefined.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Curves {
    /// The ROC curve over image scores.
    pub image_roc: Vec<Point>,
    /// The ROC curve over pixels.
    pub pixel_roc: Vec<Point>,
    /// The mean region overlap against the false-positive rate, over the whole range of rates.
    pub pixel_pro: Vec<Point>,
}

/// The metrics and curves of one set of images: a category, or all categories together.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Measured {
    /// The metrics.
    pub metrics: Metrics,
    /// The curves.
    pub curves: Curves,
    /// The highest image score with the best F1; `None` if it is undefined.
    pub image_threshold: Option<f32>,
    /// The highest pixel score with the best F1; `None` if it is undefined.
    pub pixel_threshold: Option<f32>,
    /// The number of images.
    pub images: usize,
    /// The number of anomalous images.
    pub anomalous: usize,
}

/// The metrics of a test set.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The metrics of each category.
    pub categories: BTreeMap<String, Measured>,
    /// The mean of each metric over the categories in which it is defined.
    pub mean: Metrics,
    /// The metrics over the scores of all categories together: the result of one threshold for all.
    pub pooled: Measured,
}
