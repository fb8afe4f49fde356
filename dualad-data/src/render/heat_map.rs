//! Heat maps.

use std::ops::Range;

use image::{Rgb, RgbImage};

use super::color_map::ColorMap;
use crate::error::{RenderError, Result};
use crate::image::Preprocess;

/// The scores at the two ends of the color map. With one scale for a set of images, equal colors mean equal scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f32,
    high: f32,
}

impl Scale {
    /// Creates a scale from `low` to `high`. Scores outside are clamped.
    ///
    /// # Errors
    /// [`RenderError::Argument`] if one is not finite, or `low` is above `high`.
    pub fn new(low: f32, high: f32) -> Result<Self> {
        if !(low.is_finite() && high.is_finite() && low <= high) {
            let advice = "both ends must be finite, the lower first";
            let value = format!("{low} to {high}");
            return Err(RenderError::Argument { argument: "the scale", value, advice }.into());
        }
        Ok(Self { low, high })
    }

    /// Creates a scale between two percentiles, 0 to 100, of the values of all maps together. Values between two ranks are
    /// interpolated.
    ///
    /// # Errors
    /// [`RenderError::Argument`] for percentiles out of order or out of range and for a set without values,
    /// [`RenderError::NotFinite`] for a value that is not finite.
    pub fn over<'a>(maps: impl IntoIterator<Item = &'a [f32]>, low: f32, high: f32) -> Result<Self> {
        if !(0.0 <= low && low <= high && high <= 100.0) {
            let advice = "give two from 0 to 100, the lower first";
            let value = format!("{low} and {high}");
            return Err(RenderError::Argument { argument: "the percentiles", value, advice }.into());
        }
        let mut values = Vec::new();
        for (index, map) in maps.into_iter().enumerate() {
            check_finite(map, index)?;
            values.extend_from_slice(map);
        }
        let Some(last) = values.len().checked_sub(1) else {
            let advice = "give at least one map with a value";
            let value = "without any value".to_owned();
            return Err(RenderError::Argument { argument: "the set of maps", value, advice }.into());
        };
        let mut percentile = |percent: f32| {
            let rank = f64::from(percent) / 100.0 * last as f64;
            let below = (rank.floor() as usize).min(last);
            let (_, &mut lower, above) = values.select_nth_unstable_by(below, f32::total_cmp);
            let upper = above.iter().copied().min_by(f32::total_cmp).unwrap_or(lower);
            let part = rank - below as f64;
            (f64::from(lower) * (1.0 - part) + f64::from(upper) * part) as f32
        };
        let (low, high) = (percentile(low), percentile(high));
        // Rounding may exchange two nearly equal ends.
        Self::new(low, high.max(low))
    }

    /// Returns the score of the lowest color.
    pub fn low(self) -> f32 {
        self.low
    }

    /// Returns the score of the highest color.
    pub fn high(self) -> f32 {
        self.high
    }

    /// Returns the position of a score in the color map, from 0 (at most the low end) to 1 (at least the high end).
    pub fn position(self, score: f32) -> f32 {
        if score <= self.low {
            0.0
        } else if score >= self.high {
            1.0
        } else {
            // In f64, where the difference of two f32 cannot overflow.
            let (low, high, score) = (f64::from(self.low), f64::from(self.high), f64::from(score));
            ((score - low) / (high - low)) as f32
        }
    }
}

/// Draws the colors of a map over its image. Each pixel is `1 - opacity` of the image and `opacity` of the color. The result
/// has the size of the image.
///
/// `map` is row-major, `[rows, columns]`. It is resized to the image bilinearly, with half-pixel centers. `opacity` is 0 (only
/// the image) to 1 (only the map).
///
/// The map of a letterboxed input covers the padding too: see [`heat_map_placed`].
///
/// ```
/// use dualad_data::image_crate::{Rgb, RgbImage};
/// use dualad_data::render::{ColorMap, Scale, heat_map};
///
/// let image = RgbImage::from_pixel(4, 4, Rgb([120, 120, 120]));
/// let map = [0.0, 0.0, 0.0, 9.0];
/// let heat = heat_map(&image, &map, [2, 2], Scale::new(0.0, 9.0)?, ColorMap::Inferno, 1.0)?;
/// assert_eq!(*heat.get_pixel(0, 0), ColorMap::Inferno.color(0.0));
/// assert_eq!(*heat.get_pixel(3, 3), ColorMap::Inferno.color(1.0));
/// # Ok::<(), dualad_data::Error>(())
/// ```
///
/// # Errors
/// [`RenderError::MapShape`] if the shape does not match the map, [`RenderError::NotFinite`] for a value that is not finite,
/// [`RenderError::Argument`] for an opacity out of range.
pub fn heat_map(
    image: &RgbImage,
    map: &[f32],
    shape: [usize; 2],
    scale: Scale,
    colors: ColorMap,
    opacity: f32,
) -> Result<RgbImage> {
    let whole = [0.0..1.0, 0.0..1.0];
    draw(image, map, shape, whole, scale, colors, opacity)
}

/// Draws a heat map like [`heat_map`], of a map that covers the whole input of `preprocess`. The padding of a letterbox is
/// cropped. Cells that are partly padding have no influence if others are near.
///
/// The arguments are those of [`heat_map`], with `preprocess` after the shape.
///
/// # Errors
/// The errors of [`heat_map`].
pub fn heat_map_placed(
    image: &RgbImage,
    map: &[f32],
    shape: [usize; 2],
    preprocess: &Preprocess,
    scale: Scale,
    colors: ColorMap,
    opacity: f32,
) -> Result<RgbImage> {
    let place = preprocess.placement(image.width(), image.height());
    let share = |first: u32, count: u32, of: u32| {
        let (first, count, of) = (f64::from(first), f64::from(count), f64::from(of));
        first / of..(first + count) / of
    };
    let across = share(place.x, place.width, preprocess.width());
    let down = share(place.y, place.height, preprocess.height());
    draw(image, map, shape, [down, across], scale, colors, opacity)
}

/// Draws a heat map. `parts` are the ranges of the rows and columns of the map, from 0 to 1, that cover the image.
fn draw(
    image: &RgbImage,
    map: &[f32],
    [rows, columns]: [usize; 2],
    parts: [Range<f64>; 2],
    scale: Scale,
    colors: ColorMap,
    opacity: f32,
) -> Result<RgbImage> {
    if map.is_empty() || rows.checked_mul(columns) != Some(map.len()) {
        return Err(RenderError::MapShape { rows, columns, found: map.len() }.into());
    }
    check_finite(map, 0)?;
    if !(0.0..=1.0).contains(&opacity) {
        let advice = "choose 0 (only the image) to 1 (only the map)";
        return Err(RenderError::Argument { argument: "the opacity", value: opacity.to_string(), advice }.into());
    }
    let [down, across] = parts;
    let (across, down) = (Axis::new(columns, across, image.width()), Axis::new(rows, down, image.height()));
    let mut heat = image.clone();
    for (x, y, pixel) in heat.enumerate_pixels_mut() {
        let ((left, right, over), (top, bottom, below)) = (across.at(x), down.at(y));
        let row = |row: usize| mix(map[row * columns + left], map[row * columns + right], over);
        let Rgb(color) = colors.color(scale.position(mix(row(top), row(bottom), below)));
        for (under, color) in pixel.0.iter_mut().zip(color) {
            *under = mix(f32::from(*under), f32::from(color), opacity).round() as u8;
        }
    }
    Ok(heat)
}

fn check_finite(map: &[f32], index: usize) -> Result<(), RenderError> {
    match map.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((at, &value)) => Err(RenderError::NotFinite { map: index, index: at, value }),
        None => Ok(()),
    }
}

/// Interpolates. Differences of large values do not overflow, and two equal values give the same value.
fn mix(a: f32, b: f32, t: f32) -> f32 {
    if a == b { a } else { a * (1.0 - t) + b * t }
}

/// Bilinear sampling along one axis.
struct Axis {
    /// The start of the image and the size of a pixel, in cells.
    start: f64,
    step: f64,
    /// The first and the last cell with an influence.
    cells: [usize; 2],
}

impl Axis {
    fn new(count: usize, part: Range<f64>, pixels: u32) -> Self {
        let (start, end) = (part.start * count as f64, part.end * count as f64);
        // Rounding must not drop a cell that ends at the border of the image.
        let (first, last) = ((start - 1e-9).ceil().max(0.0) as usize, (end + 1e-9).floor() as usize);
        let cells = if first < last { [first, (last - 1).min(count - 1)] } else { [0, count - 1] };
        Self { start, step: (end - start) / f64::from(pixels.max(1)), cells }
    }

    /// Returns the two cells around the center of a pixel, and the weight of the second.
    fn at(&self, pixel: u32) -> (usize, usize, f32) {
        let [lowest, highest] = self.cells;
        let center = self.start + (f64::from(pixel) + 0.5) * self.step - 0.5;
        let center = center.clamp(lowest as f64, highest as f64);
        let first = center.floor();
        (first as usize, (first as usize + 1).min(highest), (center - first) as f32)
    }
}
