//! Images in memory: the buffer of a camera, the image of another library.

use image::DynamicImage;

use super::raster::Picture;
use crate::error::{Error, Result};

/// The bytes of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Red, green, blue.
    Rgb8,
    /// Blue, green, red: the order of OpenCV and of many cameras.
    Bgr8,
    /// One gray level.
    Gray8,
    /// Red, green, blue and a fourth byte that is not used.
    Rgba8,
    /// Blue, green, red and a fourth byte that is not used: the order of Windows' bitmaps and of 32-bit cameras.
    Bgra8,
}

impl PixelFormat {
    /// Returns the number of bytes of a pixel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Rgb8 | Self::Bgr8 => 3,
            Self::Gray8 => 1,
            Self::Rgba8 | Self::Bgra8 => 4,
        }
    }
}

/// An image in borrowed memory, row by row, with an optional gap after each row.
///
/// ```
/// use dualad_data::image::{PixelFormat, Picture, RawImage};
///
/// // Two rows of three gray pixels, each row in four bytes.
/// let buffer = [10, 20, 30, 0, 40, 50, 60, 0];
/// let raw = RawImage::new(&buffer, 3, 2, PixelFormat::Gray8)?.stride(4)?;
/// assert_eq!(raw.to_picture()?.pixels()[9..12], [40, 40, 40]);
///
/// let error = RawImage::new(&buffer, 3, 3, PixelFormat::Gray8).unwrap_err();
/// assert!(error.to_string().contains("8 bytes"));
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct RawImage<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) stride: usize,
    pub(super) format: PixelFormat,
}

/// Formats the size and the format only, to keep messages readable.
impl std::fmt::Debug for RawImage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawImage({}x{} {:?}, stride {})", self.width, self.height, self.format, self.stride)
    }
}

impl<'a> RawImage<'a> {
    /// Creates an image whose rows have no gaps. The buffer may be longer than the image.
    ///
    /// # Errors
    /// [`Error::Value`] if the width or height is 0, or the buffer is too short.
    pub fn new(pixels: &'a [u8], width: u32, height: u32, format: PixelFormat) -> Result<Self> {
        let stride = (width as usize).saturating_mul(format.bytes());
        Self { pixels, width, height, stride, format }.checked()
    }

    /// Creates an image whose rows begin `stride` bytes after each other. The buffer may be longer than the image.
    ///
    /// # Errors
    /// [`Error::Value`] if the width or height is 0, a row is longer than that, or the buffer is too short.
    pub fn with_stride(pixels: &'a [u8], width: u32, height: u32, format: PixelFormat, stride: usize) -> Result<Self> {
        Self { pixels, width, height, stride, format }.checked()
    }

    /// Sets the number of bytes from the start of a row to the start of the next.
    ///
    /// # Errors
    /// [`Error::Value`] if a row is longer than that, or the buffer is too short.
    pub fn stride(self, bytes: usize) -> Result<Self> {
        Self { stride: bytes, ..self }.checked()
    }

    fn checked(self) -> Result<Self> {
        let Self { pixels, width, height, stride, format } = self;
        let wrong = |field, value: String, reason: String| Err(Error::Value { field, value, reason });
        if width == 0 || height == 0 {
            return wrong("size", format!("{width}x{height}"), "width and height must be at least 1".into());
        }
        // The names of formats differ between languages.
        let pixel = match format.bytes() {
            1 => "pixels of 1 byte".to_owned(),
            bytes => format!("pixels of {bytes} bytes"),
        };
        let row = (width as usize).checked_mul(format.bytes());
        if row.is_none_or(|row| row > stride) {
            return wrong("stride", format!("{stride} bytes"), format!("a row of {width} {pixel} is longer"));
        }
        let rows = (height as usize - 1).checked_mul(stride);
        match rows.zip(row).and_then(|(rows, row)| rows.checked_add(row)) {
            Some(needed) if needed <= pixels.len() => Ok(self),
            needed => wrong(
                "pixels",
                format!("{} bytes", pixels.len()),
                match needed {
                    Some(needed) => format!("{width}x{height} {pixel} take {needed}"),
                    None => format!("{width}x{height} {pixel} are more than any memory"),
                },
            ),
        }
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Copies the image to an RGB picture.
    ///
    /// # Errors
    /// [`Error::Value`] if the memory for it cannot be allocated.
    pub fn to_picture(&self) -> Result<Picture> {
        let mut rgb = self.buffer(3)?;
        for row in self.rows() {
            match self.format {
                PixelFormat::Rgb8 => rgb.extend_from_slice(row),
                PixelFormat::Bgr8 => rgb.extend(row.as_chunks::<3>().0.iter().flat_map(|&[b, g, r]| [r, g, b])),
                PixelFormat::Rgba8 => rgb.extend(row.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b])),
                PixelFormat::Bgra8 => rgb.extend(row.as_chunks::<4>().0.iter().flat_map(|&[b, g, r, _]| [r, g, b])),
                PixelFormat::Gray8 => rgb.extend(row.iter().flat_map(|&level| [level; 3])),
            }
        }
        Picture::new(self.width, self.height, rgb)
    }

    /// Returns the rows without the gaps.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'a [u8]> {
        let (row, height) = (self.width as usize * self.format.bytes(), self.height as usize);
        self.pixels.chunks(self.stride).take(height).filter_map(move |chunk| chunk.get(..row))
    }

    /// Returns an empty buffer with room for this many bytes for each pixel.
    pub(super) fn buffer(&self, bytes: usize) -> Result<Vec<u8>> {
        let mut buffer = Vec::new();
        let bytes = (self.width as usize).saturating_mul(self.height as usize).saturating_mul(bytes);
        buffer.try_reserve_exact(bytes).map_err(|_| Error::Value {
            field: "size",
            value: format!("{}x{}", self.width, self.height),
            reason: "the memory for this many pixels cannot be allocated".into(),
        })?;
        Ok(buffer)
    }
}

/// Copies an image of the `image` crate, with the conversions of [`Picture::read`]: gray becomes RGB, 16 bits are rounded to
/// 8, alpha is dropped.
///
/// # Errors
/// [`Error::Value`] for an image without pixels.
impl TryFrom<&DynamicImage> for Picture {
    type Error = Error;

    fn try_from(image: &DynamicImage) -> Result<Self> {
        image.to_rgb8().try_into()
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Rgb, Rgba};

    use super::*;
    use crate::image::Limits;

    #[test]
    fn every_format_and_stride_gives_the_same_picture() {
        let (width, height) = (5u32, 3u32);
        let color = |x: u32, y: u32| [(x * 40) as u8, (y * 80) as u8, (x + y) as u8];
        let expected: Vec<u8> = (0..height).flat_map(|y| (0..width).flat_map(move |x| color(x, y))).collect();
        for gap in [0, 1, 7] {
            let formats: [(PixelFormat, &[usize]); 4] = [
                (PixelFormat::Rgb8, &[0, 1, 2]),
                (PixelFormat::Bgr8, &[2, 1, 0]),
                (PixelFormat::Rgba8, &[0, 1, 2, 3]),
                (PixelFormat::Bgra8, &[2, 1, 0, 3]),
            ];
            for (format, order) in formats {
                let mut buffer = Vec::new();
                for y in 0..height {
                    let pixel = |x: u32| {
                        let [red, green, blue] = color(x, y);
                        order.iter().map(move |&channel| [red, green, blue, 77][channel])
                    };
                    buffer.extend((0..width).flat_map(pixel));
                    // The last row has no gap.
                    buffer.extend(vec![99; if y + 1 < height { gap } else { 0 }]);
                }
                let raw = RawImage::new(&buffer, width, height, format).unwrap();
                let raw = raw.stride(width as usize * format.bytes() + gap).unwrap();
                assert_eq!(raw.to_picture().unwrap().pixels(), expected, "{format:?} {gap}");
            }
        }
    }

    #[test]
    fn a_buffer_that_does_not_match_the_size_is_an_error() {
        let raw = |width, height, format| RawImage::new(&[0; 24], width, height, format);
        assert!(raw(4, 2, PixelFormat::Rgb8).is_ok());
        for (width, height, format) in [
            (0, 2, PixelFormat::Rgb8),
            (4, 0, PixelFormat::Gray8),
            (3, 3, PixelFormat::Bgr8),
            (u32::MAX, u32::MAX, PixelFormat::Rgb8),
            (1, u32::MAX, PixelFormat::Gray8),
        ] {
            assert!(raw(width, height, format).is_err(), "{width}x{height} {format:?}");
        }
        let image = raw(4, 2, PixelFormat::Rgb8).unwrap();
        let error = image.stride(11).unwrap_err().to_string();
        assert!(error.contains("a row of 4 pixels of 3 bytes is longer"), "{error}");
        assert!(image.stride(13).is_err() && image.stride(usize::MAX).is_err());
        assert!(raw(24, 1, PixelFormat::Gray8).unwrap().stride(usize::MAX).is_ok());
    }

    /// An application that decodes images itself gets the same scores as for a file.
    #[test]
    fn an_image_in_memory_equals_its_file() {
        let deep = |x: u32, y: u32| [(x * 9001) as u16, (y * 7919 + 200) as u16, (x * y * 333) as u16];
        let images = [
            DynamicImage::ImageRgb16(ImageBuffer::from_fn(9, 7, |x, y| Rgb(deep(x, y)))),
            DynamicImage::ImageRgba8(ImageBuffer::from_fn(9, 7, |x, y| Rgba([x as u8, y as u8, 77, (x * y) as u8]))),
            DynamicImage::ImageLuma16(ImageBuffer::from_fn(9, 7, |x, y| image::Luma([deep(x, y)[0]]))),
            DynamicImage::ImageLuma8(GrayImage::from_fn(9, 7, |x, y| image::Luma([(x * y) as u8]))),
        ];
        for image in images {
            let mut file = std::io::Cursor::new(Vec::new());
            image.write_to(&mut file, ImageFormat::Png).unwrap();
            let read = Picture::decode(file.get_ref(), "test.png", &Limits::default()).unwrap();
            assert!(Picture::try_from(&image).unwrap() == read, "{:?}", image.color());
        }
    }
}
