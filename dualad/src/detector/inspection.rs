//! What a detector found in an image.

#[cfg(feature = "render")]
use dualad_data::image::{Picture, Preprocess};
#[cfg(feature = "render")]
use dualad_data::image_crate::RgbImage;
#[cfg(feature = "render")]
use dualad_data::render::{ColorMap, Scale, heat_map};
use serde::Serialize;

use crate::calibration::Verdict;
use crate::detector::original::{OriginalRegion, Stretch};
use crate::detector::regions::{RegionOptions, regions};
use crate::error::Result;

/// How anomalous each place of an image is, raw: from 0 to 1e18, larger is more anomalous. No probability.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AnomalyMap {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width]`, row by row.
    pub values: Vec<f32>,
}

impl AnomalyMap {
    /// The map at another size, such as the original picture's: bilinear, with half-pixel centres.
    pub fn resized(&self, width: u32, height: u32) -> Self {
        let (across, down) = (axis(self.width, width), axis(self.height, height));
        let mut values = Vec::with_capacity(across.len() * down.len());
        for &(top, bottom, below) in &down {
            let row = |row: usize| &self.values[row * self.width..(row + 1) * self.width];
            let (top, bottom) = (row(top), row(bottom));
            for &(left, right, beside) in &across {
                let upper = top[left] * (1.0 - beside) + top[right] * beside;
                let lower = bottom[left] * (1.0 - beside) + bottom[right] * beside;
                values.push(upper * (1.0 - below) + lower * below);
            }
        }
        Self { width: across.len(), height: down.len(), values }
    }
}

/// Regions in pixels of a picture `[width, height]`, and how many more there are.
pub(super) fn in_picture(
    map: &AnomalyMap,
    [width, height]: [u32; 2],
    value: f32,
    options: &RegionOptions,
) -> Result<(Vec<OriginalRegion>, usize)> {
    let sides = [map.height, map.width];
    let found = regions(&map.values, sides, value, options)?;
    let stretch = Stretch::new(sides, [height as usize, width as usize])?;
    Ok((found.regions.iter().map(|region| stretch.to_original(region)).collect(), found.left_out))
}

/// For each of `pixels` the two cells it lies between, and how near it is to the second.
fn axis(cells: usize, pixels: u32) -> Vec<(usize, usize, f32)> {
    let place = |pixel: u32| {
        let place = (f64::from(pixel) + 0.5) * cells as f64 / f64::from(pixels) - 0.5;
        let place = place.clamp(0.0, cells.saturating_sub(1) as f64);
        let first = place as usize;
        (first, (first + 1).min(cells.saturating_sub(1)), (place - first as f64) as f32)
    };
    (0..pixels).map(place).collect()
}

/// What a detector found in an image. As JSON it is everything but the map.
///
/// ```
/// use dualad::data::image::Picture;
/// use dualad::detector::{RegionOptions, Request};
/// # use dualad::backbones::{Backbone, FeatureExtractor};
/// # use dualad::candle_core::Device;
/// # use dualad::{Detector, DualAd, DualAdConfig, Model, Random, Variant};
///
/// # let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
/// #     .with_grid([4, 4])
/// #     .with_neighbor_mask(Some([1, 1]))
/// #     .with_narrow_width(8)
/// #     .with_chunk_width(8)
/// #     .with_ffn_width(8);
/// # let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
/// # let weights = Backbone::FilterBank.extractor().build()?.provenance().clone();
/// # let detector = Detector::builder().from_model(Model::new(network, Backbone::FilterBank, &[1, 2, 3], weights))?;
/// let picture = Picture::new(80, 60, vec![128; 80 * 60 * 3])?;
/// let inspection = detector.inspect(Request::from(&picture))?;
/// // The map is as large as this network's input, and what is drawn as large as the picture.
/// assert_eq!((inspection.anomaly_map.width, inspection.anomaly_map.height), (64, 64));
/// assert_eq!(inspection.heat_map(&picture)?.dimensions(), (80, 60));
/// // A detector without thresholds leaves it to the application what a defect is.
/// assert_eq!(inspection.verdict, None);
/// let everything = inspection.regions_above(0.0, &RegionOptions::default())?;
/// assert_eq!((everything.len(), everything[0].bounds.width, everything[0].bounds.height), (1, 80, 60));
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The category that the request named.
    pub category: Option<String>,
    /// Columns of the picture.
    pub width: u32,
    /// Rows of the picture.
    pub height: u32,
    /// The largest mean of a 16 x 16 square of the anomaly map: raw, larger is more anomalous.
    pub image_score: f32,
    /// What the thresholds say of the score; `None` where the detector has none.
    pub verdict: Option<Verdict>,
    /// Where the map is at or above the thresholds' region value, in pixels of the picture, the most severe first. None
    /// where the detector has no thresholds: [`Self::regions_above`].
    pub regions: Vec<OriginalRegion>,
    /// Less severe ones, beyond the number that the detector lists.
    pub regions_left_out: usize,
    /// The map at the size of the network's input (with tiling, at the tiles' scale).
    #[serde(skip)]
    pub anomaly_map: AnomalyMap,
}

impl Inspection {
    /// The regions at or above another value than the thresholds', in pixels of the picture, the most severe first.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a value that is NaN.
    pub fn regions_above(&self, value: f32, options: &RegionOptions) -> Result<Vec<OriginalRegion>> {
        Ok(in_picture(&self.anomaly_map, [self.width, self.height], value, options)?.0)
    }

    /// The anomaly map at the picture's own size.
    pub fn map_at_original(&self) -> AnomalyMap {
        self.anomaly_map.resized(self.width, self.height)
    }

    /// The picture with the map's colours over it, of the picture's size.
    ///
    /// Colours go from half the threshold to one and a half of it, so that those of two images can be compared; without
    /// thresholds, from this map's own lowest to its highest value.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if the picture's memory or the map is at fault.
    #[cfg(feature = "render")]
    pub fn heat_map(&self, picture: &Picture) -> Result<RgbImage> {
        let AnomalyMap { width, height, values } = &self.anomaly_map;
        let scale = match &self.verdict {
            Some(verdict) if verdict.review > 0.0 => Scale::new(0.5 * verdict.review, 1.5 * verdict.reject),
            _ => Scale::over([values.as_slice()], 0.0, 100.0),
        };
        let picture = RgbImage::from(picture.clone());
        Ok(heat_map(&picture, values, [*height, *width], scale?, ColorMap::Inferno, 0.5)?)
    }

    /// The part of [`Self::heat_map`]'s work that a thumbnail needs: the picture at the network's input size under the map.
    ///
    /// # Errors
    /// As [`Self::heat_map`].
    #[cfg(feature = "render")]
    pub fn heat_map_at_input(&self, picture: &Picture, preprocess: &Preprocess) -> Result<RgbImage> {
        self.heat_map(&preprocess.picture(picture)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_resized_about_its_centres() {
        let map = AnomalyMap { width: 2, height: 1, values: vec![0.0, 4.0] };
        assert_eq!(map.resized(4, 2).values, [0.0, 1.0, 3.0, 4.0, 0.0, 1.0, 3.0, 4.0]);
        assert_eq!(map.resized(2, 1), map);
        assert_eq!(map.resized(1, 1).values, [2.0]);
        let single = AnomalyMap { width: 1, height: 1, values: vec![7.0] };
        assert!(single.resized(5, 3).values.iter().all(|&value| value == 7.0));
    }
}
