//! PNG files.

use std::io::{ErrorKind, Read};
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageBuffer, ImageEncoder, PixelWithColorType, RgbImage};

use crate::error::{Error, RenderError, Result};

/// Writes a picture with 8 bits per channel as a PNG file. The file is complete or unchanged: the picture is written under a
/// temporary name in the same folder and renamed. If the path is a link, its target is replaced.
///
/// ```
/// use dualad_data::image::{Limits, Picture};
/// use dualad_data::image_crate::{Rgb, RgbImage};
/// use dualad_data::render::save_png;
///
/// let path = std::env::temp_dir().join(format!("dualad-doc-png-{}.png", std::process::id()));
/// save_png(&path, &RgbImage::from_pixel(3, 2, Rgb([10, 20, 30])))?;
/// let picture = Picture::read(&path, &Limits::default())?;
/// assert_eq!((picture.width(), &picture.pixels()[..3]), (3, &[10, 20, 30][..]));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), dualad_data::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be written, [`RenderError::NotAFile`] for a folder, a device, a pipe, and a broken link,
/// [`RenderError::Encode`] for a picture without pixels.
pub fn save_png<P>(path: &Path, image: &ImageBuffer<P, Vec<u8>>) -> Result<()>
where
    P: PixelWithColorType<Subpixel = u8>,
{
    let bytes = encode_png(path, image)?;
    dualad_store::write_atomically(path, &bytes).map_err(|error| {
        // A folder, a device, a pipe, or a broken link.
        if error.kind() == ErrorKind::InvalidInput && path.file_name().is_some() {
            return RenderError::NotAFile { path: path.to_owned() }.into();
        }
        Error::Io { action: "write", path: path.to_owned(), error }
    })
}

/// The text `Software: dualad heat map`, as a part of a PNG file.
const HEAT_MAP: &[u8; 36] = b"\0\0\0\x18tEXtSoftware\0dualad heat map\x11c>\x97";
/// The number of bytes of a PNG file before its second part: its signature and its header.
const HEADER: usize = 33;

/// Encodes a heat map as a PNG file. The file's text names this library, so that [`is_heat_map`] knows it.
///
/// # Errors
/// [`RenderError::Encode`] for a picture without pixels.
pub fn encode_heat_map(heat_map: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = encode_png(Path::new("the heat map"), heat_map)?;
    bytes.splice(HEADER..HEADER, *HEAT_MAP);
    Ok(bytes)
}

/// Returns true for a regular file that begins as those of [`encode_heat_map`] do. A program that writes heat maps into a folder
/// of the user tells its own earlier files from others by it.
///
/// ```
/// use dualad_data::image_crate::RgbImage;
/// use dualad_data::render::{encode_heat_map, is_heat_map, save_png};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("a.png");
/// save_png(&path, &RgbImage::new(3, 2))?;
/// assert!(!is_heat_map(&path));
/// std::fs::write(&path, encode_heat_map(&RgbImage::new(3, 2))?)?;
/// assert!(is_heat_map(&path));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_heat_map(path: &Path) -> bool {
    let mut start = [0; HEADER + HEAT_MAP.len()];
    let read = dualad_store::open_file(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start.ends_with(HEAT_MAP)
}

/// Encodes a picture. `path` is for the error.
pub(crate) fn encode_png<P>(path: &Path, image: &ImageBuffer<P, Vec<u8>>) -> Result<Vec<u8>>
where
    P: PixelWithColorType<Subpixel = u8>,
{
    let mut bytes = Vec::new();
    // Better compression takes ten times as long, and makes photographs hardly smaller.
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    let (width, height) = image.dimensions();
    // The buffer may be longer than the picture.
    let pixels = &image.as_raw()[..width as usize * height as usize * usize::from(P::CHANNEL_COUNT)];
    encoder
        .write_image(pixels, width, height, P::COLOR_TYPE)
        .map_err(|error| RenderError::Encode { path: path.to_owned(), error })?;
    Ok(bytes)
}
