//! The result of an inspection.

#[cfg(feature = "render")]
use dualad_data::image::Picture;
#[cfg(feature = "render")]
use dualad_data::image_crate::RgbImage;
#[cfg(feature = "render")]
use dualad_data::render::{ColorMap, Scale, heat_map};
use serde::Serialize;

use crate::calibration::{Verdict, precision};
use crate::detector::original::{OriginalRegion, Stretch};
use crate::detector::regions::{RegionOptions, regions};
use crate::error::{Error, Result};
use crate::scorer::ScoreParts;
use crate::{Precision, bilinear};

/// The anomaly score of each pixel, from 0 to 1e18. Larger is more anomalous; it is not a probability.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AnomalyMap {
    /// The number of columns.
    pub width: usize,
    /// The number of rows.
    pub height: usize,
    /// The values, `[height, width]`, row by row.
    pub values: Vec<f32>,
}

impl AnomalyMap {
    /// Makes a map of `[height, width]` values, row by row, such as one that another process has computed.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the number of values is not `height * width`.
    pub fn new([height, width]: [usize; 2], values: Vec<f32>) -> Result<Self> {
        if height.checked_mul(width) != Some(values.len()) {
            let value = format!("{} values for {height} x {width} pixels (height x width)", values.len());
            return Err(Error::invalid_argument("the anomaly map", value, "needs one value per pixel"));
        }
        Ok(Self { width, height, values })
    }

    /// Returns the map at another size, such as that of the original picture: bilinear, with half-pixel centers. Where
    /// [`Self::values`] was shortened, the result is NaN.
    pub fn resized(&self, width: u32, height: u32) -> Self {
        let (across, down) = (axis(self.width, width), axis(self.height, height));
        let mut values = Vec::with_capacity(across.len() * down.len());
        for &(top, bottom, below) in &down {
            let row = |row: usize| self.values.get(row.saturating_mul(self.width)..).unwrap_or_default();
            let (top, bottom) = (row(top), row(bottom));
            let value = |row: &[f32], column: usize| row.get(column).copied().unwrap_or(f32::NAN);
            for &(left, right, beside) in &across {
                let [upper, lower] =
                    [top, bottom].map(|row| value(row, left) * (1.0 - beside) + value(row, right) * beside);
                values.push(upper * (1.0 - below) + lower * below);
            }
        }
        Self { width: across.len(), height: down.len(), values }
    }
}

/// Returns the regions in pixels of a picture `[width, height]`, and the number of those left out.
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

/// Returns for each pixel the two cells that it lies between, and the weight of the second.
fn axis(cells: usize, pixels: u32) -> Vec<(usize, usize, f32)> {
    let tap = |pixel: u32| {
        let position = (f64::from(pixel) + 0.5) * cells as f64 / f64::from(pixels) - 0.5;
        let (first, second, share) = bilinear::tap(position, cells);
        (first, second, share as f32)
    };
    (0..pixels).map(tap).collect()
}

/// The result of an inspection. Its JSON has everything but the map.
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
/// // The map has the size of this network's input, and the heat map that of the picture.
/// assert_eq!((inspection.anomaly_map.width, inspection.anomaly_map.height), (64, 64));
/// assert_eq!(inspection.heat_map(&picture)?.dimensions(), (80, 60));
/// // Without thresholds the application decides which values are a defect.
/// assert_eq!(inspection.verdict, None);
/// let everything = inspection.regions_above(0.0, &RegionOptions::default())?;
/// assert_eq!((everything.len(), everything[0].bounds.width, everything[0].bounds.height), (1, 80, 60));
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The category of the request.
    pub category: Option<String>,
    /// The number of columns of the picture.
    pub width: u32,
    /// The number of rows of the picture.
    pub height: u32,
    /// The image score: the largest mean of a window of the anomaly map (docs/method.md, sections 6 and 9). Larger is more anomalous.
    pub image_score: f32,
    /// The parts of the image score, if the model has a bank: of the reconstruction and of the bank. They add up to the score. With
    /// tiling, they are those of the tile with the largest score, and may not add up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<ScoreParts>,
    /// The category whose normal images are nearest to the image, if the model has a bank of several categories and cuts no tiles. The
    /// score compares the image to these. If another category was named, the image may show another product than expected: the verdict
    /// does not depend on this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest_category: Option<String>,
    /// The decision by the thresholds; `None` if the detector has none.
    pub verdict: Option<Verdict>,
    /// The regions where the map reaches the thresholds' region value, in pixels of the picture, the most severe first. Empty if
    /// the detector has no thresholds; see [`Self::regions_above`].
    pub regions: Vec<OriginalRegion>,
    /// The number of less severe regions that are not listed.
    pub regions_left_out: usize,
    /// The precision that the score was computed in.
    #[serde(serialize_with = "precision::serialize")]
    pub precision: Precision,
    /// The map at the size of the network's input; with tiling, at the scale of the tiles.
    #[serde(skip)]
    pub anomaly_map: AnomalyMap,
}

impl Inspection {
    /// Returns the nearest category if the request named another one.
    ///
    /// ```no_run
    /// use dualad::detector::Request;
    ///
    /// let detector = dualad::Detector::load("model")?;
    /// let inspection = detector.inspect(Request::from("part.png").category("gear"))?;
    /// if let Some(other) = inspection.other_category() {
    ///     println!("expected a gear, and the image looks like {other}");
    /// }
    /// # Ok::<(), dualad::Error>(())
    /// ```
    pub fn other_category(&self) -> Option<&str> {
        let nearest = self.nearest_category.as_deref()?;
        (nearest != self.category.as_deref()?).then_some(nearest)
    }

    /// Returns the regions at or above a value of the caller's, in pixels of the picture, the most severe first.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a value that is NaN.
    pub fn regions_above(&self, value: f32, options: &RegionOptions) -> Result<Vec<OriginalRegion>> {
        Ok(in_picture(&self.anomaly_map, [self.width, self.height], value, options)?.0)
    }

    /// Returns the anomaly map at the size of the picture.
    pub fn map_at_original(&self) -> AnomalyMap {
        self.anomaly_map.resized(self.width, self.height)
    }

    /// Returns the picture, at its own size, with the map's colors drawn over it.
    ///
    /// The colors range from half the review threshold to one and a half times the reject threshold, so that images can be
    /// compared. Without thresholds they range from the map's minimum to its maximum.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if there is not enough memory for the picture, or the map is not finite.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_resized_about_its_centers() {
        let map = AnomalyMap { width: 2, height: 1, values: vec![0.0, 4.0] };
        assert_eq!(map.resized(4, 2).values, [0.0, 1.0, 3.0, 4.0, 0.0, 1.0, 3.0, 4.0]);
        assert_eq!(map.resized(2, 1), map);
        assert_eq!(map.resized(1, 1).values, [2.0]);
        let single = AnomalyMap { width: 1, height: 1, values: vec![7.0] };
        assert!(single.resized(5, 3).values.iter().all(|&value| value == 7.0));
    }

    #[test]
    fn a_map_has_a_value_for_each_pixel() {
        let map = AnomalyMap::new([1, 2], vec![0.0, 4.0]).unwrap();
        assert_eq!(map, AnomalyMap { width: 2, height: 1, values: vec![0.0, 4.0] });
        for sides in [[2, 2], [usize::MAX, 2], [0, 0]] {
            let error = AnomalyMap::new(sides, vec![0.0, 4.0]).unwrap_err().to_string();
            assert!(error.contains("2 values"), "{error}");
        }
    }

    #[test]
    fn values_that_were_removed_from_a_map_are_nan() {
        let short = AnomalyMap { width: 1, height: 3, values: vec![1.0, 2.0] };
        let resized = short.resized(1, 3).values;
        assert!(resized[0] == 1.0 && resized[2].is_nan(), "{resized:?}");
        for (width, height) in [(0, 0), (usize::MAX, usize::MAX)] {
            let empty = AnomalyMap { width, height, values: Vec::new() };
            assert!(empty.resized(3, 2).values.iter().all(|value| value.is_nan()));
        }
    }
}
