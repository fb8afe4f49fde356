//! Pictures and masks of a network's size.

use std::sync::Arc;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::normalize::{IMAGENET_MEAN, IMAGENET_STD, Table};
use super::raster::{Mask, Picture};
use crate::error::{Error, Result};

/// How pictures are resampled. Masks always take the nearest pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Filter {
    /// 2x2 taps with half-pixel centers, as OpenCV's `INTER_LINEAR` within one level. When it shrinks, most pixels of a
    /// large picture have no say: this is what the paper does.
    #[default]
    Bilinear,
    /// A triangle as wide as a pixel of the result, as Pillow's `BILINEAR`: when it shrinks, every pixel has its say.
    Antialiased,
}

/// What happens to a picture of another aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AspectRatio {
    /// It is stretched.
    #[default]
    Stretch,
    /// It keeps its aspect ratio, and this color fills what is left above and below, or left and right.
    Letterbox([u8; 3]),
}

/// Where a picture lies in its resized version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Turns pictures into a network's input, and their masks into targets of the same size.
///
/// ```
/// use dualad_data::image::{AspectRatio, Filter, Picture, Preprocess};
///
/// let picture = Picture::new(2, 1, vec![0, 0, 0, 255, 255, 255])?;
/// let preprocess = Preprocess::new(16, 32)?.filter(Filter::Antialiased).aspect_ratio(AspectRatio::Letterbox([124, 116, 104]));
/// let resized = preprocess.picture(&picture)?;
/// assert_eq!((resized.height(), resized.width()), (16, 32));
/// assert_eq!(preprocess.pixels(&picture)?.len(), 3 * 16 * 32);
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    height: u32,
    width: u32,
    filter: Filter,
    aspect_ratio: AspectRatio,
    table: Arc<Table>,
}

/// The longest side that a result may have: far beyond any network, and small enough that no size overflows.
const LARGEST_SIDE: u32 = 1 << 14;

impl Preprocess {
    /// To this size: bilinear, stretched, normalized as ImageNet.
    pub fn new(height: u32, width: u32) -> Result<Self> {
        for (field, value) in [("height", height), ("width", width)] {
            if value == 0 || value > LARGEST_SIDE {
                let reason = format!("choose 1 to {LARGEST_SIDE} pixels");
                return Err(Error::Value { field, value: value.to_string(), reason });
            }
        }
        let table = Arc::new(Table::new(IMAGENET_MEAN, IMAGENET_STD));
        Ok(Self { height, width, filter: Filter::default(), aspect_ratio: AspectRatio::default(), table })
    }

    /// Sets how pictures are resampled.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets what happens to other aspect ratios.
    #[must_use]
    pub fn aspect_ratio(mut self, aspect_ratio: AspectRatio) -> Self {
        self.aspect_ratio = aspect_ratio;
        self
    }

    /// Sets what is subtracted from each channel (on `[0, 1]`), and what it is then divided by.
    pub fn normalize(mut self, mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        if !mean.iter().all(|value| value.is_finite()) {
            let reason = "choose finite numbers".into();
            return Err(Error::Value { field: "mean", value: format!("{mean:?}"), reason });
        }
        if !std.iter().all(|value| value.is_normal() && *value > 0.0) {
            let reason = "choose finite numbers above 0".into();
            return Err(Error::Value { field: "std", value: format!("{std:?}"), reason });
        }
        self.table = Arc::new(Table::new(mean, std));
        Ok(self)
    }

    /// Rows of the result.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Columns of the result.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Where a picture of this size comes to lie.
    pub fn placement(&self, width: u32, height: u32) -> Placement {
        match self.aspect_ratio {
            AspectRatio::Stretch => Placement { x: 0, y: 0, width: self.width, height: self.height },
            AspectRatio::Letterbox(_) => {
                let (source_width, source_height) = (f64::from(width.max(1)), f64::from(height.max(1)));
                let scale = (f64::from(self.width) / source_width).min(f64::from(self.height) / source_height);
                let side = |source: f64, largest: u32| ((source * scale).round() as u32).clamp(1, largest);
                let (width, height) = (side(source_width, self.width), side(source_height, self.height));
                Placement { x: (self.width - width) / 2, y: (self.height - height) / 2, width, height }
            }
        }
    }

    /// The resized picture.
    pub fn picture(&self, picture: &Picture) -> Result<Picture> {
        let place = self.placement(picture.width(), picture.height());
        let resized = resize(picture, place.width, place.height, self.filter)?;
        let pixels = match self.aspect_ratio {
            AspectRatio::Letterbox(color) if (place.width, place.height) != (self.width, self.height) => {
                let canvas = color.repeat(self.width as usize * self.height as usize);
                self.place(place, &resized, canvas, 3)
            }
            _ => resized,
        };
        Picture::new(self.width, self.height, pixels)
    }

    /// The network's input, `[3, height, width]`.
    pub fn pixels(&self, picture: &Picture) -> Result<Vec<f32>> {
        let resized = self.picture(picture)?;
        let mut pixels = vec![0.0; resized.pixels().len()];
        self.table.apply(resized.pixels(), &mut pixels);
        Ok(pixels)
    }

    /// The resized mask, exactly as OpenCV's `INTER_NEAREST`. What a letterbox adds is 0.
    pub fn mask(&self, mask: &Mask) -> Result<Mask> {
        let place = self.placement(mask.width(), mask.height());
        let (columns, rows) = (nearest(mask.width(), place.width), nearest(mask.height(), place.height));
        let source = mask.pixels();
        let lines = rows.into_iter().map(|row| &source[row * mask.width() as usize..][..mask.width() as usize]);
        let resized: Vec<u8> = lines.flat_map(|line| columns.iter().map(|&column| line[column])).collect();
        let canvas = vec![0; self.width as usize * self.height as usize];
        Mask::new(self.width, self.height, self.place(place, &resized, canvas, 1))
    }

    fn place(&self, place: Placement, resized: &[u8], mut canvas: Vec<u8>, channels: usize) -> Vec<u8> {
        let (stride, line) = (self.width as usize * channels, place.width as usize * channels);
        let start = place.y as usize * stride + place.x as usize * channels;
        for (row, source) in resized.chunks_exact(line).enumerate() {
            canvas[start + row * stride..][..line].copy_from_slice(source);
        }
        canvas
    }
}

fn resize(picture: &Picture, width: u32, height: u32, filter: Filter) -> Result<Vec<u8>> {
    if (picture.width(), picture.height()) == (width, height) {
        return Ok(picture.pixels().to_vec());
    }
    // Neither can happen: sizes are checked by `Picture` and `Preprocess`, and the pixel types are equal.
    let unexpected = |error: &dyn std::error::Error| Error::Value {
        field: "size",
        value: format!("{width}x{height} (width x height)"),
        reason: format!("a picture of {}x{} did not resize: {error}", picture.width(), picture.height()),
    };
    // Typed, because the untyped call compiles every kernel for 13 kinds of pixels: minutes of compiler time for code that
    // never runs.
    let source = TypedImageRef::<U8x3>::from_buffer(picture.width(), picture.height(), picture.pixels());
    let source = source.map_err(|error| unexpected(&error))?;
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).map_err(|error| unexpected(&error))?;
    let algorithm = match filter {
        Filter::Bilinear => ResizeAlg::Interpolation(FilterType::Bilinear),
        Filter::Antialiased => ResizeAlg::Convolution(FilterType::Bilinear),
    };
    let options = ResizeOptions::new().resize_alg(algorithm);
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(|error| unexpected(&error))?;
    Ok(pixels)
}

/// The source of every position, as OpenCV computes it: with no half-pixel shift, and in this order of divisions, which
/// decides where a position falls on the border between two pixels.
fn nearest(source: u32, target: u32) -> Vec<usize> {
    let step = 1.0 / (f64::from(target) / f64::from(source));
    (0..target).map(|i| ((f64::from(i) * step).floor() as usize).min(source as usize - 1)).collect()
}
