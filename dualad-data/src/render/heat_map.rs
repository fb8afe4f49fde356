//! An anomaly map drawn over its image.

use std::ops::Range;

use image::{Rgb, RgbImage};

use super::color_map::ColorMap;
use super::error::RenderError;
use crate::error::Result;
use crate::image::Preprocess;

/// The scores at the two ends of the color map. Fix one for a whole set: only then do equal colors mean equal scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f32,
    high: f32,
}

impl Scale {
    /// From `low`, and anything below it, to `high`, and anything above it.
    ///
    /// # Errors
    /// [`RenderError::Argument`] unless both are finite and `low` is not above `high`.
    pub fn new(low: f32, high: f32) -> Result<Self> {
        if !(low.is_finite() && high.is_finite() && low <= high) {
            let advice = "both ends must be finite, the lower first";
            let value = format!("{low} to {high}");
            return Err(RenderError::Argument { argument: "the scale", value, advice }.into());
        }
        Ok(Self { low, high })
    }

    /// Between two percentiles, 0 to 100, of all the values of a set of maps together.
    ///
    /// A value between two ranks is interpolated. Every value is copied once.
    ///
    /// # Errors
    /// [`RenderError::Argument`] for percentiles out of order or range and for a set without values,
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
        // Rounding may cross two ends that are all but equal.
        Self::new(low, high.max(low))
    }

    /// The score at and below which everything has the lowest color.
    pub fn low(self) -> f32 {
        self.low
    }

    /// The score at and above which everything has the highest color.
    pub fn high(self) -> f32 {
        self.high
    }

    /// Where a score lies: 0 up to the low end, 1 from the high end on.
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

/// The image with the map's colors over it: of the image's size, each pixel `1 - opacity` image and `opacity` color.
///
/// `map` is row-major `[rows, columns]`; of another size than the image, it is resized bilinearly with half-pixel centers.
/// `opacity` is 0 (the image alone) to 1 (the map alone).
///
/// A map of a letterboxed input covers the padding too: that one takes [`heat_map_placed`].
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
/// [`RenderError`] for a map of another length than its shape says, for values that are not finite, and for an opacity
/// out of range.
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

/// [`heat_map`] of a map that covers the whole input to which `preprocess` brought the image: what lies over the padding of
/// a letterbox is cropped away. Cells that are partly padding have no say where others are near.
///
/// The arguments are [`heat_map`]'s, in its order, with `preprocess` after the map and its shape.
///
/// # Errors
/// As [`heat_map`]'s.
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

/// `parts` are the parts of the map's rows and columns that lie over the image.
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
        let advice = "choose 0 (the image alone) to 1 (the map alone)";
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

/// Written so that neither a difference of two large numbers overflows nor two equal ones come out different.
fn mix(a: f32, b: f32, t: f32) -> f32 {
    if a == b { a } else { a * (1.0 - t) + b * t }
}

/// Bilinear sampling along one axis.
struct Axis {
    /// Where the image begins, in cells, and how many of them a pixel is.
    start: f64,
    step: f64,
    /// The first and the last cell that count.
    cells: [usize; 2],
}

impl Axis {
    fn new(count: usize, part: Range<f64>, pixels: u32) -> Self {
        let (start, end) = (part.start * count as f64, part.end * count as f64);
        // Rounding must not lose a cell that ends where the image does.
        let (first, last) = ((start - 1e-9).ceil().max(0.0) as usize, (end + 1e-9).floor() as usize);
        let cells = if first < last { [first, (last - 1).min(count - 1)] } else { [0, count - 1] };
        Self { start, step: (end - start) / f64::from(pixels.max(1)), cells }
    }

    /// The two cells around a pixel's center and the share of the second.
    fn at(&self, pixel: u32) -> (usize, usize, f32) {
        let [lowest, highest] = self.cells;
        let center = self.start + (f64::from(pixel) + 0.5) * self.step - 0.5;
        let center = center.clamp(lowest as f64, highest as f64);
        let first = center.floor();
        (first as usize, (first as usize + 1).min(highest), (center - first) as f32)
    }
}
