//! The result of an inspection.

use std::mem::MaybeUninit;

use dualad::calibration::Decision;
use dualad::detector::{AnomalyMap, Inspection};

use crate::failure::Failure;
use crate::thresholds::DualadThresholds;

/// The decision on an image.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DualadVerdict {
    /// There are no thresholds, and so there is no decision.
    None = 0,
    /// The image is normal.
    Accept = 1,
    /// A person has to decide.
    Review = 2,
    /// The image is anomalous.
    Reject = 3,
}

/// A defect region, in pixels of the image. Pixel (0, 0) is the upper left one.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DualadRegion {
    /// The first column of the smallest rectangle around it.
    pub x: u32,
    /// The first row of the rectangle.
    pub y: u32,
    /// The number of columns of the rectangle.
    pub width: u32,
    /// The number of rows of the rectangle.
    pub height: u32,
    /// The area in pixels, with fractions.
    pub area: f64,
    /// The mean of its pixels' centers: the horizontal coordinate, from 0 to the image's width.
    pub centroid_x: f64,
    /// The mean of its pixels' centers: the vertical coordinate, from 0 to the image's height.
    pub centroid_y: f64,
    /// The mean value of the anomaly map.
    pub mean: f64,
    /// The largest value of the anomaly map.
    pub peak: f32,
    /// The column of the largest value.
    pub peak_x: u32,
    /// The row of the largest value.
    pub peak_y: u32,
    /// Zero. It makes the size a multiple of 8 bytes, so that there is no padding for other languages to imitate.
    pub reserved: u32,
}

/// The result of an inspection. It never changes, and does not need the detector any more.
pub struct DualadInspection(Inspection);

impl DualadInspection {
    pub(crate) fn new(found: Inspection) -> Self {
        Self(found)
    }

    pub(crate) fn score(&self) -> f32 {
        self.0.image_score
    }

    /// Returns the number of columns and rows of the image.
    pub(crate) fn size(&self) -> [u32; 2] {
        [self.0.width, self.0.height]
    }

    pub(crate) fn verdict(&self) -> DualadVerdict {
        match self.0.verdict.as_ref().map(|verdict| verdict.decision) {
            None => DualadVerdict::None,
            Some(Decision::Accept) => DualadVerdict::Accept,
            Some(Decision::Review) => DualadVerdict::Review,
            Some(Decision::Reject) => DualadVerdict::Reject,
        }
    }

    pub(crate) fn thresholds(&self) -> DualadThresholds {
        self.0.verdict.as_ref().map_or(DualadThresholds::NONE, |verdict| {
            DualadThresholds::new(verdict.review, verdict.reject, verdict.region, &verdict.source)
        })
    }

    pub(crate) fn map(&self) -> &AnomalyMap {
        &self.0.anomaly_map
    }

    /// Copies the map to the caller's array, at this size.
    pub(crate) fn copy_map(&self, [width, height]: [u32; 2], to: &mut [MaybeUninit<f32>]) -> Result<(), Failure> {
        let map = self.map();
        if [width, height].contains(&0) {
            return Err(Failure::argument("size", format_args!("is {width} x {height}; give at least 1 x 1")));
        }
        let needed = (width as usize).checked_mul(height as usize);
        let available = to.len();
        let Some(to) = needed.and_then(|needed| to.get_mut(..needed)) else {
            let reason = format_args!("is {available}; the map has {width} x {height} values");
            return Err(Failure::argument("length", reason));
        };
        let is_own_size = [map.width, map.height] == [width as usize, height as usize];
        let resized = (!is_own_size).then(|| map.resized(width, height));
        let values = resized.as_ref().map_or(&map.values, |resized| &resized.values);
        for (to, &value) in to.iter_mut().zip(values) {
            to.write(value);
        }
        Ok(())
    }

    pub(crate) fn region_count(&self) -> usize {
        self.0.regions.len()
    }

    pub(crate) fn regions_left_out(&self) -> usize {
        self.0.regions_left_out
    }

    pub(crate) fn region(&self, index: usize) -> Result<DualadRegion, Failure> {
        let count = self.region_count();
        let none = || Failure::argument("index", format_args!("is {index}; there are {count} regions"));
        let found = self.0.regions.get(index).ok_or_else(none)?;
        let ([centroid_x, centroid_y], [peak_x, peak_y]) = (found.centroid, found.peak_at);
        Ok(DualadRegion {
            x: found.bounds.x,
            y: found.bounds.y,
            width: found.bounds.width,
            height: found.bounds.height,
            area: found.area,
            centroid_x,
            centroid_y,
            mean: found.mean,
            peak: found.peak,
            peak_x,
            peak_y,
            reserved: 0,
        })
    }
}
