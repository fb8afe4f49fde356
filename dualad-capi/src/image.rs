//! Images in the caller's memory.

use dualad::Error;
use dualad::data::image::{PixelFormat, RawImage};

use crate::failure::Failure;

/// The bytes of a pixel.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DualadPixelFormat {
    /// One byte: a gray level.
    Gray8 = 1,
    /// Three bytes: red, green, blue.
    Rgb8 = 2,
    /// Three bytes: blue, green, red, as in OpenCV.
    Bgr8 = 3,
    /// Four bytes: red, green, blue, and one that is not used.
    Rgba8 = 4,
    /// Four bytes: blue, green, red, and one that is not used, in the order of Windows' bitmaps. The first row is the upper one.
    Bgra8 = 5,
}

/// Returns the pixel format of this number.
fn pixel_format(number: i32) -> Result<PixelFormat, Failure> {
    const GRAY8: i32 = DualadPixelFormat::Gray8 as i32;
    const RGB8: i32 = DualadPixelFormat::Rgb8 as i32;
    const BGR8: i32 = DualadPixelFormat::Bgr8 as i32;
    const RGBA8: i32 = DualadPixelFormat::Rgba8 as i32;
    const BGRA8: i32 = DualadPixelFormat::Bgra8 as i32;
    match number {
        GRAY8 => Ok(PixelFormat::Gray8),
        RGB8 => Ok(PixelFormat::Rgb8),
        BGR8 => Ok(PixelFormat::Bgr8),
        RGBA8 => Ok(PixelFormat::Rgba8),
        BGRA8 => Ok(PixelFormat::Bgra8),
        _ => Err(Failure::argument("format", format_args!("is {number}; give a value of DualadPixelFormat"))),
    }
}

/// Returns the image in a buffer. A `stride` of 0 is that of rows without gaps.
pub(crate) fn frame(
    pixels: &[u8],
    width: u32,
    height: u32,
    stride: usize,
    format: i32,
) -> Result<RawImage<'_>, Failure> {
    let format = pixel_format(format)?;
    let frame = match stride {
        0 => RawImage::new(pixels, width, height, format),
        _ => RawImage::with_stride(pixels, width, height, format, stride),
    };
    Ok(frame.map_err(Error::from)?)
}
