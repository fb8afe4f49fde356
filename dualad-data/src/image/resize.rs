//! Resizing to the input size of a network.

use std::path::Path;
use std::sync::Arc;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::normalize::{IMAGENET_MEAN, IMAGENET_STD, Table};
use super::raster::{Mask, Picture};
use crate::error::{Error, Result};

/// The resampling filter of pictures. Masks always use the nearest pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Filter {
    /// Bilinear with 2x2 taps and half-pixel centers: OpenCV's `INTER_LINEAR`, to within one level. Rows are interpolated and
    /// rounded to whole levels before columns, with weights of 15 bits, or 14 in a pass with a weight of 1. When a large
    /// picture is reduced, most of its pixels have no influence. The paper uses this filter.
    #[default]
    Bilinear,
    /// Bilinear with antialiasing: Pillow's `BILINEAR`. When a picture is reduced, every pixel has an influence.
    Antialiased,
}

/// The handling of pictures with another aspect ratio than the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AspectRatio {
    /// The picture is stretched.
    #[default]
    Stretch,
    /// The picture keeps its aspect ratio. This color fills the rest, above and below or left and right.
    Letterbox([u8; 3]),
}

/// The area that a picture covers in the result, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// The width.
    pub width: u32,
    /// The height.
    pub height: u32,
}

/// The preprocessing: converts pictures to the input of a network, and masks to the same size.
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

/// The longest side of a result. Larger than the input of any network, and small enough that no size overflows.
const MAX_SIDE: u32 = 1 << 14;

/// The memory in bytes that the rows of a picture may take once they are interpolated, if this is more than those of the picture and of the
/// result. A line of 300,000 pixels that becomes 224 rows takes 200 MB.
const MOST_BETWEEN: u64 = 1 << 28;

impl Preprocess {
    /// Creates a preprocessing to this size in pixels: bilinear, stretched, normalized by the statistics of ImageNet.
    ///
    /// # Errors
    /// [`Error::Value`] for a side of 0 or of more than 16384 pixels.
    pub fn new(height: u32, width: u32) -> Result<Self> {
        for (field, value) in [("height", height), ("width", width)] {
            if value == 0 || value > MAX_SIDE {
                let reason = format!("choose 1 to {MAX_SIDE} pixels");
                return Err(Error::Value { field, value: value.to_string(), reason });
            }
        }
        let table = Arc::new(Table::new(IMAGENET_MEAN, IMAGENET_STD));
        Ok(Self { height, width, filter: Filter::default(), aspect_ratio: AspectRatio::default(), table })
    }

    /// Sets the resampling filter.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets the handling of other aspect ratios.
    #[must_use]
    pub fn aspect_ratio(mut self, aspect_ratio: AspectRatio) -> Self {
        self.aspect_ratio = aspect_ratio;
        self
    }

    /// Sets the normalization: the mean that is subtracted from each channel on `[0, 1]`, and the standard deviation that it
    /// is divided by.
    ///
    /// # Errors
    /// [`Error::Value`] if a mean is not finite, or a standard deviation is not finite and above 0.
    pub fn normalize(mut self, mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        if !mean.iter().all(|value| value.is_finite()) {
            let reason = "choose finite values".into();
            return Err(Error::Value { field: "mean", value: format!("{mean:?}"), reason });
        }
        if !std.iter().all(|value| value.is_normal() && *value > 0.0) {
            let reason = "choose finite values above 0".into();
            return Err(Error::Value { field: "std", value: format!("{std:?}"), reason });
        }
        self.table = Arc::new(Table::new(mean, std));
        Ok(self)
    }

    /// Returns the height of the result in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns the width of the result in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns a text with every setting, by which stored results name the preprocessing that they come from.
    ///
    /// The text of a preprocessing never changes: digests of it stand in checkpoints and in the keys of feature caches. It has
    /// the form that the first version wrote, with its name `fit` for the aspect ratio.
    pub fn canonical_text(&self) -> String {
        let Self { height, width, filter, aspect_ratio, table } = self;
        let filter = match filter {
            Filter::Bilinear => "Bilinear",
            Filter::Antialiased => "Antialiased",
        };
        let fit = match aspect_ratio {
            AspectRatio::Stretch => "Stretch".to_owned(),
            AspectRatio::Letterbox([red, green, blue]) => format!("Letterbox([{red}, {green}, {blue}])"),
        };
        let table = table.canonical_text();
        format!("Preprocess {{ height: {height}, width: {width}, filter: {filter}, fit: {fit}, table: {table} }}")
    }

    /// Returns the area that a picture of this size covers in the result.
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

    /// Checks that a picture can be resized, before anything is computed from many. `path` names it in the error.
    ///
    /// ```
    /// use dualad_data::Error;
    /// use dualad_data::image::{Picture, Preprocess};
    ///
    /// let preprocess = Preprocess::new(224, 224)?;
    /// let line = Picture::new(1_000_000, 1, vec![0; 3_000_000])?;
    /// assert!(matches!(preprocess.check("line.png", &line), Err(Error::TooWide { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooWide`] for a picture with few rows of millions of pixels, whose interpolated rows would take far more memory.
    pub fn check(&self, path: impl AsRef<Path>, picture: &Picture) -> Result<()> {
        let Placement { width, height, .. } = self.placement(picture.width(), picture.height());
        check_width(path.as_ref(), picture, [width, height])
    }

    /// Resizes a picture.
    ///
    /// # Errors
    /// That of [`Self::check`]. [`Error::Value`] if the resizing fails. The checks of the sizes prevent that.
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

    /// Returns the input of the network: the resized and normalized picture, `[3, height, width]`.
    ///
    /// # Errors
    /// The errors of [`Self::picture`].
    pub fn pixels(&self, picture: &Picture) -> Result<Vec<f32>> {
        let resized = self.picture(picture)?;
        let mut pixels = vec![0.0; resized.pixels().len()];
        self.table.apply(resized.pixels(), &mut pixels);
        Ok(pixels)
    }

    /// Resizes a mask, exactly like OpenCV's `INTER_NEAREST`. The fill of a letterbox is 0.
    ///
    /// # Errors
    /// [`Error::Value`] if the resizing fails. The checks of the sizes prevent that.
    pub fn mask(&self, mask: &Mask) -> Result<Mask> {
        let place = self.placement(mask.width(), mask.height());
        let (columns, rows) = (nearest(mask.width(), place.width), nearest(mask.height(), place.height));
        let source = mask.pixels();
        let lines = rows.into_iter().map(|row| &source[row * mask.width() as usize..][..mask.width() as usize]);
        let resized: Vec<u8> = lines.flat_map(|line| columns.iter().map(|&column| line[column])).collect();
        let canvas = vec![0; self.width as usize * self.height as usize];
        Mask::new(self.width, self.height, self.place(place, &resized, canvas, 1))
    }

    /// Copies a resized image into its area of the canvas.
    fn place(&self, place: Placement, resized: &[u8], mut canvas: Vec<u8>, channels: usize) -> Vec<u8> {
        let (stride, line) = (self.width as usize * channels, place.width as usize * channels);
        let start = place.y as usize * stride + place.x as usize * channels;
        for (row, source) in resized.chunks_exact(line).enumerate() {
            canvas[start + row * stride..][..line].copy_from_slice(source);
        }
        canvas
    }
}

/// Checks that a picture does not take far more memory once its rows are interpolated, which happens first.
fn check_width(path: &Path, picture: &Picture, [width, height]: [u32; 2]) -> Result<()> {
    let bytes = |width: u32, height: u32| u64::from(width) * u64::from(height) * 3;
    let most = MOST_BETWEEN.max(bytes(picture.width(), picture.height())).max(bytes(width, height));
    if bytes(picture.width(), height) > most {
        return Err(Error::TooWide { path: path.into(), width: picture.width(), height: picture.height() });
    }
    Ok(())
}

/// Resizes the pixels of a picture.
fn resize(picture: &Picture, width: u32, height: u32, filter: Filter) -> Result<Vec<u8>> {
    if (picture.width(), picture.height()) == (width, height) {
        return Ok(picture.pixels().to_vec());
    }
    check_width(Path::new("the picture"), picture, [width, height])?;
    // These errors cannot happen: `Picture` and `Preprocess` check the sizes, and the pixel types are equal.
    let unexpected = |error: &dyn std::error::Error| Error::Value {
        field: "size",
        value: format!("{width}x{height} (width x height)"),
        reason: format!("a picture of {}x{} did not resize: {error}", picture.width(), picture.height()),
    };
    // The typed call compiles the kernels for one pixel type. The untyped one compiles them for 13, which takes minutes.
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

/// Returns the source of every position like OpenCV: without a half-pixel shift, and with this order of divisions, which
/// decides positions on the border between two pixels.
fn nearest(source: u32, target: u32) -> Vec<usize> {
    let step = 1.0 / (f64::from(target) / f64::from(source));
    (0..target).map(|i| ((f64::from(i) * step).floor() as usize).min(source as usize - 1)).collect()
}
