//! A camera's buffer with any size, stride and format.
#![no_main]

use dualad::data::image::{PixelFormat, RawImage};

libfuzzer_sys::fuzz_target!(|input: (u32, u32, usize, u8, &[u8])| {
    let (width, height, stride, format, pixels) = input;
    let formats = [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Grey8];
    let format = formats[usize::from(format) % formats.len()];
    let Ok(image) = RawImage::new(pixels, width, height, format) else { return };
    let image = if stride == 0 { Ok(image) } else { image.stride(stride) };
    if let Ok(picture) = image.and_then(|image| image.to_picture()) {
        assert_eq!((picture.width(), picture.height()), (width, height));
    }
});
