//! The mapping of regions from an anomaly map to the original picture.

use serde::Serialize;

use super::{Bounds, Region};
use crate::error::{Error, Result};

/// The scale from an anomaly map to its picture: a factor for each side.
///
/// ```
/// use dualad::detector::{RegionOptions, Stretch, regions};
///
/// let found = regions(&[0.0, 0.9, 0.0, 0.0], [2, 2], 0.5, &RegionOptions::default())?;
/// // A map of 2 x 2 pixels of a picture with 30 rows and 50 columns.
/// let stretch = Stretch::new([2, 2], [30, 50])?;
/// let region = stretch.to_original(&found.regions[0]);
/// assert_eq!((region.bounds.x, region.bounds.y, region.bounds.width, region.bounds.height), (25, 0, 25, 15));
/// assert_eq!((region.area, region.peak_at), (375.0, [37, 7]));
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The columns and rows of the map.
    map: [u32; 2],
    /// The columns and rows of the picture.
    original: [u32; 2],
}

/// A [`Region`] in the pixels of the original picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OriginalRegion {
    /// The smallest rectangle of whole pixels that covers it.
    pub bounds: Bounds,
    /// The area in pixels, with fractions.
    pub area: f64,
    /// The largest value.
    pub peak: f32,
    /// The column and row of the pixel at the center of the peak.
    pub peak_at: [u32; 2],
    /// The mean of the pixels' centers, x and y.
    pub centroid: [f64; 2],
    /// The mean value.
    pub mean: f64,
    /// The outline, x and y; see [`Region::outline`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outline: Vec<[f64; 2]>,
}

impl Stretch {
    /// Makes the scale from the `[height, width]` of a map to that of its picture.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a side of no pixels or of more than [`u32::MAX`].
    pub fn new(map: [usize; 2], original: [usize; 2]) -> Result<Self> {
        let sides = |field: &str, [height, width]: [usize; 2]| match [width, height].map(u32::try_from) {
            [Ok(width @ 1..), Ok(height @ 1..)] => Ok([width, height]),
            _ => Err(Error::invalid_argument(
                format!("the size of the {field}"),
                format_args!("{height} x {width} pixels (height x width)"),
                "must be from 1 to 2^32 - 1 each",
            )),
        };
        Ok(Self { map: sides("anomaly map", map)?, original: sides("original picture", original)? })
    }

    /// Returns the region in the pixels of the original picture, clipped to it.
    pub fn to_original(&self, region: &Region) -> OriginalRegion {
        let Bounds { x, y, width, height } = region.bounds;
        let ((x, width), (y, height)) = (self.cover(0, x, width), self.cover(1, y, height));
        let scale = [0, 1].map(|axis| f64::from(self.original[axis]) / f64::from(self.map[axis]));
        let point = |[x, y]: [f64; 2]| {
            let [right, bottom] = self.original.map(f64::from);
            [(x * scale[0]).min(right), (y * scale[1]).min(bottom)]
        };
        OriginalRegion {
            bounds: Bounds { x, y, width, height },
            area: region.area as f64 * scale[0] * scale[1],
            peak: region.peak,
            peak_at: [0, 1].map(|axis| self.pixel(axis, region.peak_at[axis])),
            centroid: point(region.centroid),
            mean: region.mean,
            outline: region.outline.iter().map(|corner| point(corner.map(f64::from))).collect(),
        }
    }

    /// Returns the start and length of the original's pixels that overlap some of the map's. In integers: a rounded factor could
    /// cover one pixel too many.
    fn cover(&self, axis: usize, start: u32, length: u32) -> (u32, u32) {
        let [map, original] = [self.map[axis], self.original[axis]].map(u64::from);
        // The region may be of another map, and lie anywhere.
        let [start, end] = [u64::from(start), u64::from(start) + u64::from(length)].map(|at| at.min(map));
        let [start, end] = [start * original / map, (end * original).div_ceil(map)];
        (start as u32, (end - start) as u32)
    }

    /// Returns the original's pixel that holds the center of a pixel of the map.
    fn pixel(&self, axis: usize, at: u32) -> u32 {
        let [map, original, at] = [self.map[axis], self.original[axis], at].map(u128::from);
        ((2 * at + 1) * original / (2 * map)).min(original - 1) as u32
    }
}
