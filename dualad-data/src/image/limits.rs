//! How large an image may be.

use std::path::Path;

use crate::error::{Error, Result};

/// What an error calls [`Limits::memory`].
pub(super) const MEMORY: &str = "bytes of memory to decode";

/// How large a file may be, the image in it, and what decoding it takes. All are checked before anything of that size is
/// allocated.
///
/// What reads images on several threads takes up to `file_bytes` and `memory` on each.
///
/// ```
/// use dualad_data::Error;
/// use dualad_data::image::{Limits, Picture};
/// # use dualad_data::image_crate::{ImageFormat, RgbImage};
///
/// # let mut file = std::io::Cursor::new(Vec::new());
/// # RgbImage::new(60, 40).write_to(&mut file, ImageFormat::Png).unwrap();
/// # let png = file.into_inner();
/// // A file of 60 x 40 pixels.
/// let picture = Picture::decode(&png, "part.png", &Limits::default())?;
/// assert_eq!((picture.width(), picture.height()), (60, 40));
///
/// let error = Picture::decode(&png, "part.png", &Limits::default().pixels(1000)).unwrap_err();
/// assert!(matches!(error, Error::TooLarge { unit: "pixels", found: 2400, limit: 1000, .. }));
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes on disk. Default: 256 MiB.
    pub file_bytes: u64,
    /// Width times height. Default: 100 million.
    pub pixels: u64,
    /// Bytes in memory that decoding takes at its peak, besides the file's own: the image as it is stored, what the decoder
    /// works with, and a second copy where EXIF turns the image. Default: 1 GiB.
    ///
    /// 100 million pixels of 8-bit RGB take 300 MB, 600 MB turned, and 900 MB as a progressive jpeg; of 16-bit RGB they
    /// take 600 MB as png and 1.2 GB as tiff, which is more than the default.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 256 << 20, pixels: 100_000_000, memory: 1 << 30 }
    }
}

impl Limits {
    /// Sets the largest file, in bytes.
    #[must_use]
    pub fn file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }

    /// Sets the largest image, in pixels.
    #[must_use]
    pub fn pixels(mut self, pixels: u64) -> Self {
        self.pixels = pixels;
        self
    }

    /// Sets what decoding one image may take, in bytes.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Whether an image of so many pixels is within the limits: for images that were decoded elsewhere.
    pub fn allows_pixels(&self, pixels: u64) -> bool {
        pixels <= self.pixels
    }

    /// Whether an image of this size may be decoded.
    pub(super) fn check_pixels(&self, path: &Path, (width, height): (u32, u32)) -> Result<u64> {
        let found = u64::from(width) * u64::from(height);
        if found == 0 {
            return Err(Error::Decode { path: path.into(), reason: format!("it has {width}x{height} pixels") });
        }
        if found > self.pixels {
            return Err(Error::TooLarge { path: path.into(), unit: "pixels", found, limit: self.pixels });
        }
        Ok(found)
    }

    /// Whether so many bytes may be allocated.
    pub(super) fn check_memory(&self, path: &Path, found: u64) -> Result<()> {
        if found > self.memory {
            return Err(Error::TooLarge { path: path.into(), unit: MEMORY, found, limit: self.memory });
        }
        Ok(())
    }
}
