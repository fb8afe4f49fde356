//! PNG files that are either whole or not there.

use std::fs;
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageBuffer, ImageEncoder, PixelWithColorType};

use super::RenderError;
use crate::error::{Error, Result};

/// Writes a picture of 8 bits a channel as PNG, to a temporary name beside the file that is then renamed.
///
/// # Errors
/// [`Error::Io`] where the disk refuses, [`RenderError::Encode`] for a picture without pixels.
pub fn save_png<P>(path: &Path, image: &ImageBuffer<P, Vec<u8>>) -> Result<()>
where
    P: PixelWithColorType<Subpixel = u8>,
{
    let mut bytes = Vec::new();
    // Slower compression makes photographs hardly smaller, and takes ten times as long.
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    let (width, height) = image.dimensions();
    // The buffer may be longer than the picture.
    let pixels = &image.as_raw()[..width as usize * height as usize * usize::from(P::CHANNEL_COUNT)];
    encoder
        .write_image(pixels, width, height, P::COLOR_TYPE)
        .map_err(|error| RenderError::Encode { path: path.to_owned(), error })?;

    let io = |error| Error::Io { action: "write", path: path.to_owned(), error };
    let Some(name) = path.file_name() else {
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path names no file")));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    // Two processes that write the same file must not write the same temporary one.
    hidden.push(format!(".{}.incomplete", std::process::id()));
    let partial = path.with_file_name(hidden);
    fs::write(&partial, &bytes).and_then(|()| fs::rename(&partial, path)).map_err(|error| {
        let _ = fs::remove_file(&partial);
        io(error)
    })
}
