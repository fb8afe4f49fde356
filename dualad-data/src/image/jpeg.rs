//! Strict decoding of JPEG: damage is an error. Decoders for browsers fill damaged areas with gray, which a network would
//! learn as normal.

use std::io::{BufRead, Seek};
use std::path::Path;

use image::metadata::Orientation;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::{ZByteReaderTrait, ZCursor};
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::{ImageInfo, JpegDecoder};

use super::jpeg_markers::{BEYOND, Walked, walk};
use super::levels::Levels;
use super::limits::Limits;
use super::memory::{Purpose, buffer, peak};
use crate::error::{Error, Result};

/// The header of a file.
struct Header {
    info: ImageInfo,
    colors: ColorSpace,
    orientation: Orientation,
}

/// Reads the stored size and the orientation.
pub(super) fn size(file: impl BufRead + Seek, path: &Path) -> Result<((u32, u32), Orientation)> {
    let (header, _) = header(file, path)?;
    Ok(((header.info.width.into(), header.info.height.into()), header.orientation))
}

/// Decodes a file.
pub(super) fn decode(bytes: &[u8], path: &Path, limits: &Limits, purpose: &Purpose<'_>) -> Result<Levels> {
    let room = purpose.room;
    let walk = match walk(bytes) {
        Walked::Damaged(reason) => return Err(Error::Decode { path: path.into(), reason: reason.into() }),
        Walked::Whole(walk) => Some(walk),
        Walked::Unknown => None,
    };
    let end = walk.as_ref().filter(|walk| walk.guarded).map(|walk| walk.end);
    let copied = end.map_or(0, |end| end + BEYOND.len());
    limits.check_memory(path, copied as u64)?;
    let mut guarded = buffer(path, copied as u64, 0)?;
    if let Some(end) = end {
        guarded.extend_from_slice(&bytes[..end]);
        guarded.extend_from_slice(&BEYOND);
    }
    let (header, mut decoder) = header(ZCursor::new(if end.is_some() { &guarded } else { bytes }), path)?;
    let (width, height) = (u32::from(header.info.width), u32::from(header.info.height));
    let pixels = limits.check_pixels(path, (width, height))?;
    // Other color spaces are converted to RGB.
    let (colors, channels) = match header.colors {
        known @ (ColorSpace::Luma | ColorSpace::LumaA | ColorSpace::RGB | ColorSpace::RGBA) => {
            (known, known.num_components())
        }
        _ => (ColorSpace::RGB, 3),
    };
    // The decoder holds 16-bit coefficients for every component of every pixel, unless one scan has all components.
    let components = u64::from(header.info.components);
    let working = if walk.is_some_and(|walk| walk.in_one) { 0 } else { 2 * components };
    let working = (pixels * working).saturating_add(copied as u64);
    let own = pixels * room.max(channels as u64);
    purpose.allow(limits, path, peak(pixels, own, working, room, header.orientation))?;
    // Cameras write unusual headers, but invalid codes are damage. So strictness starts here.
    decoder.set_options(options().jpeg_set_out_colorspace(colors).set_strict_mode(true));
    let total = (pixels * channels as u64) as usize;
    let mut levels = buffer(path, own, total)?;
    decoder.decode_into(&mut levels).map_err(|error| decoder_error(path, error))?;
    let (orientation, lossy) = (header.orientation, true);
    Ok(Levels { width, height, channels, deep: false, bytes: levels, orientation, lossy })
}

/// Returns lenient options without limits on the size, which [`Limits`] checks.
fn options() -> DecoderOptions {
    let options = DecoderOptions::default().set_strict_mode(false);
    options.set_max_width(usize::MAX).set_max_height(usize::MAX)
}

/// Reads the header.
fn header<R: ZByteReaderTrait>(file: R, path: &Path) -> Result<(Header, JpegDecoder<R>)> {
    let mut decoder = JpegDecoder::new_with_options(file, options());
    decoder.decode_headers().map_err(|error| decoder_error(path, error))?;
    let (Some(info), Some(colors)) = (decoder.info(), decoder.input_colorspace()) else {
        return Err(Error::Decode { path: path.into(), reason: "it has no header".into() });
    };
    // Invalid metadata does not prevent decoding.
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok((Header { info, colors, orientation }, decoder))
}

/// Converts an error of the decoder.
fn decoder_error(path: &Path, error: DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(kind) => {
            Error::Unsupported { path: path.into(), reason: format!("this kind of jpeg is not read ({kind:?})") }
        }
        error => Error::Decode { path: path.into(), reason: format!("its jpeg data is damaged ({error:?})") },
    }
}
