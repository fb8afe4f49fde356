//! Pictures and masks in memory.

use image::RgbImage;

use crate::error::{Error, Result};

/// An 8-bit RGB image, upright.
///
/// ```
/// use dualad_data::image::{Picture, RgbImage};
///
/// let picture = Picture::new(2, 1, vec![255, 0, 0, 0, 0, 255])?;
/// assert_eq!((picture.width(), picture.height()), (2, 1));
/// assert_eq!(RgbImage::from(picture).get_pixel(1, 0).0, [0, 0, 255]);
/// // Three pixels take nine bytes.
/// assert!(Picture::new(3, 1, vec![0; 6]).is_err());
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// Which pixels are defective: 1 for those, 0 for the others.
///
/// ```
/// use dualad_data::image::{GrayImage, Mask};
///
/// let mask = Mask::new(3, 1, vec![0, 1, 1])?;
/// assert!(!mask.is_empty());
/// // As a picture, to draw or to save.
/// assert_eq!(GrayImage::from(mask).into_raw(), [0, 255, 255]);
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

macro_rules! raster {
    ($type:ident, $channels:expr, $what:literal) => {
        /// The size alone: a message that holds an image should stay readable.
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({}x{})", stringify!($type), self.width, self.height)
            }
        }

        impl $type {
            #[doc = concat!("Takes pixels row by row: ", $what, ".")]
            pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
                let expected = u64::from(width) * u64::from(height) * $channels;
                if expected == 0 || pixels.len() as u64 != expected {
                    return Err(Error::Value {
                        field: "pixels",
                        value: format!("{} bytes", pixels.len()),
                        reason: format!("{width}x{height} pixels (width x height, both at least 1) take {expected}"),
                    });
                }
                Ok(Self { width, height, pixels })
            }

            /// Columns, at least 1.
            pub fn width(&self) -> u32 {
                self.width
            }

            /// Rows, at least 1.
            pub fn height(&self) -> u32 {
                self.height
            }

            #[doc = concat!("Row by row: ", $what, ".")]
            pub fn pixels(&self) -> &[u8] {
                &self.pixels
            }
        }
    };
}

raster!(Picture, 3, "`[height, width, 3]`, red first");
raster!(Mask, 1, "`[height, width]`");

impl Mask {
    /// Whether no pixel is defective.
    pub fn is_empty(&self) -> bool {
        self.pixels.iter().all(|&pixel| pixel == 0)
    }

    /// Marks what the other marks too; both are of one size.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, other) in self.pixels.iter_mut().zip(&other.pixels) {
            *mine |= other;
        }
    }
}

/// For [`crate::render`], and for everything else that takes the `image` crate's pictures. Nothing is copied.
impl From<Picture> for RgbImage {
    fn from(picture: Picture) -> Self {
        let (width, height) = (picture.width, picture.height);
        // The lengths agree by `Picture`'s construction: an empty picture never comes about.
        Self::from_raw(width, height, picture.pixels).unwrap_or_default()
    }
}

/// For pictures from a camera or another decoder. Nothing is copied.
///
/// # Errors
/// [`Error::Value`] for a picture without pixels.
impl TryFrom<RgbImage> for Picture {
    type Error = Error;

    fn try_from(image: RgbImage) -> Result<Self> {
        let (width, height) = image.dimensions();
        let mut pixels = image.into_raw();
        // The buffer may be longer than the picture.
        pixels.truncate(width as usize * height as usize * 3);
        Self::new(width, height, pixels)
    }
}

/// A mask as a picture: 255 on the defect, as [`crate::render::outline`] takes it.
impl From<Mask> for image::GrayImage {
    fn from(mut mask: Mask) -> Self {
        for pixel in &mut mask.pixels {
            *pixel = if *pixel == 0 { 0 } else { 255 };
        }
        Self::from_raw(mask.width, mask.height, mask.pixels).unwrap_or_default()
    }
}
