//! The thresholds of a detector.

use dualad::calibration::{ThresholdSource, Thresholds};

use crate::failure::Failure;

/// The origin of thresholds.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DualadThresholdSource {
    /// There are no thresholds.
    None = 0,
    /// The category has thresholds of its own.
    Category = 1,
    /// The thresholds of all categories together; no category was named.
    Pooled = 2,
    /// The thresholds of all categories together: the category that was named has none of its own, or is not known.
    PooledInstead = 3,
}

/// Thresholds. An image is accepted if its score is below `review`, rejected if it is at least `reject`, and otherwise has to be
/// reviewed by a person.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DualadThresholds {
    /// The image score from which on an image is reviewed. NaN if there are no thresholds.
    pub review: f32,
    /// The image score from which on an image is rejected; at least `review`. NaN if there are no thresholds.
    pub reject: f32,
    /// The value of the anomaly map from which on a pixel belongs to a defect region. NaN if there are no thresholds.
    pub region: f32,
    /// The origin.
    pub source: DualadThresholdSource,
}

impl DualadThresholds {
    /// No thresholds.
    pub(crate) const NONE: Self =
        Self { review: f32::NAN, reject: f32::NAN, region: f32::NAN, source: DualadThresholdSource::None };

    pub(crate) fn new(review: f32, reject: f32, region: f32, source: &ThresholdSource) -> Self {
        let source = match source {
            ThresholdSource::Category { .. } => DualadThresholdSource::Category,
            ThresholdSource::Pooled { instead_of: Some(_) } => DualadThresholdSource::PooledInstead,
            _ => DualadThresholdSource::Pooled,
        };
        Self { review, reject, region, source }
    }
}

/// Returns thresholds of the caller's. A `region` that is NaN is the same as `review`.
pub(crate) fn given(review: f32, reject: f32, region: f32) -> Result<Thresholds, Failure> {
    let mut thresholds = Thresholds::new(review, reject)?;
    if region.is_infinite() || region < 0.0 {
        let advice = "give a finite number of at least 0, or NaN for review";
        return Err(Failure::argument("region", format_args!("is {region}; {advice}")));
    }
    if !region.is_nan() {
        thresholds.region = region;
    }
    Ok(thresholds)
}
