//! Limits on the size of images.

use std::path::Path;

use crate::error::{Error, Result};

/// The unit of [`Limits::memory`] in errors.
pub(super) const MEMORY: &str = "bytes of memory to decode";

/// Limits for decoding an image. They are checked before memory is allocated.
///
/// A function that reads images on several threads may use `file_bytes` and `memory` on each thread.
///
/// ```
/// use dualad_data::Error;
/// use dualad_data::image::{Limits, Picture};
/// # use dualad_data::image_crate::{ImageFormat, RgbImage};
///
/// # let mut file = std::io::Cursor::new(Vec::new());
/// # RgbImage::new(60, 40).write_to(&mut file, ImageFormat::Png).unwrap();
/// # let png = file.into_inner();
/// // An image of 60 x 40 pixels.
/// let picture = Picture::decode(&png, "part.png", &Limits::default())?;
/// assert_eq!((picture.width(), picture.height()), (60, 40));
///
/// let error = Picture::decode(&png, "part.png", &Limits::default().with_pixels(1000)).unwrap_err();
/// assert!(matches!(error, Error::TooLarge { unit: "pixels", found: 2400, limit: 1000, .. }));
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest file in bytes. Default: 256 MiB.
    pub file_bytes: u64,
    /// The largest number of pixels: width times height. Default: 100 million.
    pub pixels: u64,
    /// The peak memory of decoding in bytes, in addition to the file: the decoded image, the buffers of the decoder, and a
    /// second copy if EXIF rotates the image. Default: 1 GiB.
    ///
    /// 100 million pixels of 8-bit RGB take 300 MB, 600 MB if rotated, and 900 MB as a progressive jpeg. In 16-bit RGB they
    /// take 600 MB as png, and 1.2 GB as tiff, which exceeds the default.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 256 << 20, pixels: 100_000_000, memory: 1 << 30 }
    }
}

impl Limits {
    /// Returns limits for images of this many pixels. Above the default, the size of files and the memory grow with it, so that no
    /// kind of image with so many pixels exceeds them: 6 bytes of file and 12 bytes of memory for each pixel.
    ///
    /// ```
    /// use dualad_data::image::Limits;
    ///
    /// let line_camera = Limits::for_pixels(16384 * 8192);
    /// assert!(line_camera.memory > Limits::default().memory);
    /// assert_eq!(Limits::for_pixels(1000), Limits::default().with_pixels(1000));
    /// ```
    pub fn for_pixels(pixels: u64) -> Self {
        let default = Self::default();
        if pixels <= default.pixels {
            return default.with_pixels(pixels);
        }
        let (file, memory) = (pixels.saturating_mul(6).saturating_add(1 << 20), pixels.saturating_mul(12));
        Self { file_bytes: default.file_bytes.max(file), pixels, memory: default.memory.max(memory) }
    }

    /// Sets [`file_bytes`](Self::file_bytes).
    #[must_use]
    pub fn with_file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }

    /// Sets [`pixels`](Self::pixels).
    #[must_use]
    pub fn with_pixels(mut self, pixels: u64) -> Self {
        self.pixels = pixels;
        self
    }

    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Returns whether an image of this many pixels is within the limits. For images that another library decoded.
    pub fn allows_pixels(&self, pixels: u64) -> bool {
        pixels <= self.pixels
    }

    /// Checks the size of an image, and returns its number of pixels.
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

    /// Checks the peak memory of decoding.
    pub(super) fn check_memory(&self, path: &Path, found: u64) -> Result<()> {
        if found > self.memory {
            return Err(Error::TooLarge { path: path.into(), unit: MEMORY, found, limit: self.memory });
        }
        Ok(())
    }
}
