//! Strict decoding of JPEG: damage is an error. Decoders for browsers fill damaged areas with gray, which a network would
//! learn as normal.

use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::{ZByteReaderTrait, ZCursor};
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::{ImageInfo, JpegDecoder};

use super::jpeg_copy;
use super::jpeg_markers::{ENDS_EARLY, Walk, Walked, walk};
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
pub(super) fn size(mut file: impl BufRead + Seek, path: &Path, limits: &Limits) -> Result<((u32, u32), Orientation)> {
    let mut decoder = JpegDecoder::new_with_options(&mut file, options());
    let header = match decoder.decode_headers() {
        // The height may come after the first scan.
        Err(DecodeErrors::ZeroError) => {
            let io = |error| Error::Io { action: "read", path: path.into(), error };
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            file.take(limits.file_bytes).read_to_end(&mut bytes).map_err(io)?;
            let copied = copied(&bytes, path, limits)?.0;
            header(ZCursor::new(&copied), path)?.0
        }
        result => result.map_err(|error| decoder_error(path, error)).and_then(|()| of(&decoder, path))?,
    };
    Ok(((header.info.width.into(), header.info.height.into()), header.orientation))
}

/// Returns a copy that the decoder reads, and the first image by its markers; nothing if the decoder has to describe the file.
fn copied(bytes: &[u8], path: &Path, limits: &Limits) -> Result<(Vec<u8>, Option<Walk>)> {
    match walk(bytes) {
        Walked::Damaged(reason) => Err(Error::Decode { path: path.into(), reason: reason.into() }),
        Walked::Unsupported(reason) => Err(Error::Unsupported { path: path.into(), reason: reason.into() }),
        Walked::Unknown => Ok((Vec::new(), None)),
        Walked::Whole(walk) => {
            let length = jpeg_copy::length(&walk) as u64;
            limits.check_memory(path, length)?;
            let mut copy = buffer(path, length, 0)?;
            jpeg_copy::copy(bytes, &walk, &mut copy);
            Ok((copy, Some(walk)))
        }
    }
}

/// Decodes a file.
pub(super) fn decode(bytes: &[u8], path: &Path, limits: &Limits, purpose: &Purpose<'_>) -> Result<Levels> {
    let room = purpose.room;
    let (copy, walk) = copied(bytes, path, limits)?;
    let ends_early = |error| match error {
        Error::Decode { path, .. } if walk.as_ref().is_some_and(|walk| !walk.has_end) => {
            Error::Decode { path, reason: ENDS_EARLY.into() }
        }
        error => error,
    };
    let (header, mut decoder) = header(ZCursor::new(if walk.is_some() { &copy } else { bytes }), path)?;
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
    let working = if walk.as_ref().is_some_and(|walk| walk.in_one) { 0 } else { 2 * components };
    let working = (pixels * working).saturating_add(copy.len() as u64);
    let own = pixels * room.max(channels as u64);
    purpose.allow(limits, path, peak(pixels, own, working, room, header.orientation))?;
    // Cameras write unusual headers, but invalid codes are damage. So strictness starts here.
    decoder.set_options(options().jpeg_set_out_colorspace(colors).set_strict_mode(true));
    let total = (pixels * channels as u64) as usize;
    let mut levels = buffer(path, own, total)?;
    decoder.decode_into(&mut levels).map_err(|error| ends_early(decoder_error(path, error)))?;
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
    Ok((of(&decoder, path)?, decoder))
}

/// Returns the header that a decoder has read.
fn of<R: ZByteReaderTrait>(decoder: &JpegDecoder<R>, path: &Path) -> Result<Header> {
    let (Some(info), Some(colors)) = (decoder.info(), decoder.input_colorspace()) else {
        return Err(Error::Decode { path: path.into(), reason: "it has no header".into() });
    };
    // Invalid metadata does not prevent decoding.
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok(Header { info, colors, orientation })
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
