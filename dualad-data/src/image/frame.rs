//! Images in memory of their own.

use super::raw::{PixelFormat, RawImage};
use crate::error::Result;

/// An image that owns its memory: a camera's frame that is sent to another thread, or kept in a queue.
///
/// ```
/// use dualad_data::image::{Frame, PixelFormat};
///
/// let (sender, frames) = std::sync::mpsc::channel();
/// std::thread::spawn(move || sender.send(Frame::new(vec![7; 12], 2, 2, PixelFormat::Bgr8)));
/// let frame = frames.recv()??;
/// assert_eq!(frame.as_raw().to_picture()?.pixels(), [7; 12]);
/// // The buffer, for the next frame.
/// let buffer = frame.into_pixels();
/// assert_eq!(buffer.len(), 12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Frame {
    pixels: Vec<u8>,
    width: u32,
    height: u32,
    stride: usize,
    format: PixelFormat,
}

/// Formats the size and the format only, to keep messages readable.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}x{} {:?}, stride {})", self.width, self.height, self.format, self.stride)
    }
}

impl Frame {
    /// Creates an image whose rows have no gaps. The buffer may be longer than the image.
    ///
    /// # Errors
    /// As [`RawImage::new`].
    pub fn new(pixels: Vec<u8>, width: u32, height: u32, format: PixelFormat) -> Result<Self> {
        let stride = RawImage::new(&pixels, width, height, format)?.stride;
        Ok(Self { pixels, width, height, stride, format })
    }

    /// Creates an image whose rows begin `stride` bytes after each other. The buffer may be longer than the image.
    ///
    /// # Errors
    /// As [`RawImage::with_stride`].
    pub fn with_stride(pixels: Vec<u8>, width: u32, height: u32, format: PixelFormat, stride: usize) -> Result<Self> {
        RawImage::with_stride(&pixels, width, height, format, stride)?;
        Ok(Self { pixels, width, height, stride, format })
    }

    /// Returns the image, borrowed.
    pub fn as_raw(&self) -> RawImage<'_> {
        let &Self { ref pixels, width, height, stride, format } = self;
        RawImage { pixels, width, height, stride, format }
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns the buffer, to be used again.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}

impl RawImage<'_> {
    /// Copies the image to memory of its own, without the gaps.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) if the memory for it cannot be allocated.
    pub fn to_frame(&self) -> Result<Frame> {
        let mut pixels = self.buffer(self.format.bytes())?;
        self.rows().for_each(|row| pixels.extend_from_slice(row));
        Frame::new(pixels, self.width, self.height, self.format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_raw_image() {
        for (gap, format) in [(0, PixelFormat::Gray8), (3, PixelFormat::Rgb8), (1, PixelFormat::Bgr8)] {
            let (width, height) = (5, 4);
            let stride = width as usize * format.bytes() + gap;
            let buffer: Vec<u8> = (0..stride * height as usize).map(|index| index as u8).collect();
            let raw = RawImage::with_stride(&buffer, width, height, format, stride).unwrap();
            let frame = Frame::with_stride(buffer.clone(), width, height, format, stride).unwrap();
            assert!(frame.as_raw().to_picture().unwrap() == raw.to_picture().unwrap());
            // A copy without what the rows do not show.
            let copy = raw.to_frame().unwrap();
            assert_eq!(copy.as_raw().to_picture().unwrap().pixels(), raw.to_picture().unwrap().pixels());
            assert_eq!(copy.into_pixels().len(), 20 * format.bytes());
            assert_eq!(frame.into_pixels(), buffer);
        }
    }

    #[test]
    fn a_buffer_that_does_not_match_is_an_error() {
        assert!(Frame::new(vec![0; 11], 2, 2, PixelFormat::Rgb8).is_err());
        assert!(Frame::new(vec![0; 11], 0, 2, PixelFormat::Rgb8).is_err());
        assert!(Frame::with_stride(vec![0; 24], 2, 2, PixelFormat::Rgb8, 5).is_err());
        assert!(Frame::with_stride(vec![0; 24], 2, 2, PixelFormat::Rgb8, usize::MAX).is_err());
        assert!(Frame::new(Vec::new(), u32::MAX, u32::MAX, PixelFormat::Rgb8).is_err());
    }
}
