//! Pictures and masks in memory.

use image::RgbImage;
use sha2::{Digest, Sha256};

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

/// A mask of an image: 1 for a defective pixel, 0 for the others.
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
        /// Formats the size only, to keep messages readable.
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({}x{})", stringify!($type), self.width, self.height)
            }
        }

        impl $type {
            #[doc = concat!("Creates an image of pixels in row-major order: ", $what, ".")]
            ///
            /// # Errors
            /// [`Error::Value`] if the number of pixels does not match the size, or is 0.
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

            /// Returns the width in pixels, at least 1.
            pub fn width(&self) -> u32 {
                self.width
            }

            /// Returns the height in pixels, at least 1.
            pub fn height(&self) -> u32 {
                self.height
            }

            #[doc = concat!("Returns the pixels in row-major order: ", $what, ".")]
            pub fn pixels(&self) -> &[u8] {
                &self.pixels
            }
        }
    };
}

raster!(Picture, 3, "`[height, width, 3]`, red first");
raster!(Mask, 1, "`[height, width]`");

impl Picture {
    /// Returns the SHA-256 of the size and the pixels. A copy in another lossless format has the same digest.
    ///
    /// ```
    /// use dualad_data::image::Picture;
    ///
    /// let wide = Picture::new(2, 1, vec![7; 6])?;
    /// assert_eq!(wide.digest(), wide.clone().digest());
    /// assert_ne!(wide.digest(), Picture::new(1, 2, vec![7; 6])?.digest());
    /// # Ok::<(), dualad_data::Error>(())
    /// ```
    pub fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(self.width.to_le_bytes()).chain_update(&self.pixels).finalize().into()
    }
}

impl Mask {
    /// Returns whether no pixel is defective.
    pub fn is_empty(&self) -> bool {
        self.pixels.iter().all(|&pixel| pixel == 0)
    }

    /// Adds the defective pixels of another mask of the same size.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, other) in self.pixels.iter_mut().zip(&other.pixels) {
            *mine |= other;
        }
    }
}

/// Converts a picture for the `image` crate, without a copy.
impl From<Picture> for RgbImage {
    fn from(picture: Picture) -> Self {
        let (width, height) = (picture.width, picture.height);
        // `Picture::new` checks the length, so this never returns the default.
        Self::from_raw(width, height, picture.pixels).unwrap_or_default()
    }
}

/// Converts an image of the `image` crate, without a copy.
///
/// # Errors
/// [`Error::Value`] for an image without pixels.
impl TryFrom<RgbImage> for Picture {
    type Error = Error;

    fn try_from(image: RgbImage) -> Result<Self> {
        let (width, height) = image.dimensions();
        let mut pixels = image.into_raw();
        // The buffer may be longer than the image.
        pixels.truncate(width as usize * height as usize * 3);
        Self::new(width, height, pixels)
    }
}

/// Converts a mask to a gray image: 255 for a defective pixel.
impl From<Mask> for image::GrayImage {
    fn from(mut mask: Mask) -> Self {
        for pixel in &mut mask.pixels {
            *pixel = if *pixel == 0 { 0 } else { 255 };
        }
        Self::from_raw(mask.width, mask.height, mask.pixels).unwrap_or_default()
    }
}
