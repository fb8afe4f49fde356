//! How well scores separate normal from anomalous (method, section 7): image and pixel AUROC, AP, F1-max, AUPRO. Knows no
//! model: scores, labels and masks in, fractions in `[0, 1]` out.
//!
//! Every metric is exact, ties included, and the same on any number of threads. It is undefined rather than guessed:
//!
//! - Image metrics need a normal and an anomalous image, pixel metrics a normal and an anomalous pixel.
//! - An anomalous image without a mask leaves the pixel metrics of its category, and the pooled ones, undefined. To leave it
//!   out would measure the pixels of another test set than the images.
//! - The paper's sampled AUPRO needs two thresholds with different false-positive rates under 0.3.

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
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use error::Error;
pub use evaluate::evaluate;
pub use input::Scored;

/// A metric's value as a fraction in `[0, 1]`, or why it has none.
pub type Metric = Result<f64, Undefined>;

/// Why a metric has no value. It is null in JSON and left out of means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Undefined {
    /// There is no normal image (or pixel).
    #[error("no normal {0}")]
    NoNormal(Unit),
    /// There is no anomalous image (or pixel).
    #[error("no anomalous {0}")]
    NoAnomalous(Unit),
    /// An anomalous image has no mask.
    #[error("an anomalous image has no mask")]
    NoMask,
    /// Of the paper's 200 thresholds, no two have different false-positive rates under 0.3: too many normal pixels share the
    /// highest scores.
    #[error("no two of the 200 thresholds have different false-positive rates under 0.3")]
    FewRates,
    /// No category has a value to take the mean of.
    #[error("undefined in every category")]
    NoCategory,
}

/// What is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Whole images, by their image score.
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
    /// Area under the ROC curve over image scores; ties count half.
    pub image_auroc: Metric,
    /// Average precision over image scores: precision at each distinct score, weighted by the recall it adds.
    pub image_ap: Metric,
    /// The best F1 over all thresholds on the image score.
    pub image_f1_max: Metric,
    /// Area under the ROC curve over pixels.
    pub pixel_auroc: Metric,
    /// Average precision over pixels.
    pub pixel_ap: Metric,
    /// The best F1 over all thresholds on the anomaly map.
    pub pixel_f1_max: Metric,
    /// Area under the mean overlap of 8-connected regions against the false-positive rate up to 0.3, every distinct pixel
    /// score a threshold.
    pub pixel_aupro: Metric,
    /// The same as the paper's published code computes it: 200 thresholds in even steps from the smallest pixel score towards
    /// the largest, and the false-positive rates under 0.3 stretched to `[0, 1]`.
    pub pixel_aupro_200: Metric,
}

/// A point of a curve and the score from which on up something counts as anomalous there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// False-positive rate, in `[0, 1]`.
    pub x: f64,
    /// True-positive rate (ROC) or mean region overlap (PRO), in `[0, 1]`.
    pub y: f64,
    /// The threshold; infinite at the origin.
    pub threshold: f32,
}

/// Curves to draw, from `(0, 0)` to `(1, 1)`, thinned to at most some hundreds of points, with every jump left where it is;
/// empty where the metric is undefined.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Curves {
    /// ROC over image scores.
    pub image_roc: Vec<Point>,
    /// ROC over pixels.
    pub pixel_roc: Vec<Point>,
    /// Mean region overlap against the false-positive rate, over the whole range of rates.
    pub pixel_pro: Vec<Point>,
}

/// What was measured on one set of images: a category's, or all categories' together.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Measured {
    /// The metrics.
    pub metrics: Metrics,
    /// Their curves.
    pub curves: Curves,
    /// The image score at which F1 is best, the highest of them, if defined.
    pub image_threshold: Option<f32>,
    /// The pixel score at which F1 is best, the highest of them, if defined.
    pub pixel_threshold: Option<f32>,
    /// Images measured.
    pub images: usize,
    /// Anomalous ones among them.
    pub anomalous: usize,
}

/// The metrics of a test set.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Per category.
    pub categories: BTreeMap<String, Measured>,
    /// The plain mean over the categories in which a metric is defined.
    pub mean: Metrics,
    /// Over all categories' scores together: what one threshold for all would see.
    pub pooled: Measured,
}
