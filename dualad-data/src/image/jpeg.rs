//! JPEG, strictly: what is damaged is an error, where decoders for browsers fill in grey, which would be learnt as normal.

use std::io::{BufRead, Seek};
use std::path::Path;

use image::metadata::Orientation;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::{ZByteReaderTrait, ZCursor};
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::{ImageInfo, JpegDecoder};

use super::levels::Levels;
use super::limits::Limits;
use crate::error::{Error, Result};

struct Header {
    info: ImageInfo,
    colours: ColorSpace,
    orientation: Orientation,
}

pub(super) fn size(file: impl BufRead + Seek, path: &Path) -> Result<((u32, u32), Orientation)> {
    let (header, _) = header(file, path)?;
    Ok(((header.info.width.into(), header.info.height.into()), header.orientation))
}

pub(super) fn decode(bytes: &[u8], path: &Path, limits: &Limits, room: u64) -> Result<Levels> {
    if !ends(bytes) {
        let reason = "it ends in the middle of the image".into();
        return Err(Error::Decode { path: path.into(), reason });
    }
    let (header, mut decoder) = header(ZCursor::new(bytes), path)?;
    let (width, height) = (u32::from(header.info.width), u32::from(header.info.height));
    let pixels = limits.check_pixels(path, (width, height))?;
    // Other kinds of colours become RGB.
    let (colours, channels) = match header.colours {
        known @ (ColorSpace::Luma | ColorSpace::LumaA | ColorSpace::RGB | ColorSpace::RGBA) => {
            (known, known.num_components())
        }
        _ => (ColorSpace::RGB, 3),
    };
    // Coefficients of 16 bits for every component of every pixel, unless all come in one scan.
    let components = u64::from(header.info.components);
    let working = if one_scan(bytes) { 0 } else { 2 * components };
    let own = pixels * room.max(channels as u64);
    limits.check_memory(path, super::decode::peak(pixels, own, pixels * working, room, header.orientation))?;
    // Strict from here on: cameras write odd headers, but nobody writes odd codes.
    decoder.set_options(options().jpeg_set_out_colorspace(colours).set_strict_mode(true));
    let total = (pixels * channels as u64) as usize;
    let mut levels = super::decode::buffer(path, own, total)?;
    decoder.decode_into(&mut levels).map_err(|error| of_decoder(path, error))?;
    let (orientation, lossy) = (header.orientation, true);
    Ok(Levels { width, height, channels, deep: false, bytes: levels, orientation, lossy })
}

fn options() -> DecoderOptions {
    let options = DecoderOptions::default().set_strict_mode(false);
    options.set_max_width(usize::MAX).set_max_height(usize::MAX)
}

fn header<R: ZByteReaderTrait>(file: R, path: &Path) -> Result<(Header, JpegDecoder<R>)> {
    let mut decoder = JpegDecoder::new_with_options(file, options());
    decoder.decode_headers().map_err(|error| of_decoder(path, error))?;
    let (Some(info), Some(colours)) = (decoder.info(), decoder.input_colorspace()) else {
        return Err(Error::Decode { path: path.into(), reason: "it has no header".into() });
    };
    // Metadata that cannot be read is no reason to refuse the pixels.
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok((Header { info, colours, orientation }, decoder))
}

fn of_decoder(path: &Path, error: DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(kind) => {
            Error::Unsupported { path: path.into(), reason: format!("this kind of jpeg is not read ({kind:?})") }
        }
        error => Error::Decode { path: path.into(), reason: format!("its jpeg data is damaged ({error:?})") },
    }
}

/// The segments before the first scan, and that scan: marker, and what follows it. `None` where there is no scan.
fn scan(bytes: &[u8]) -> Scan<'_> {
    let (mut position, mut frame, mut components) = (2, 0, 0);
    while let Some([0xff, marker, rest @ ..]) = bytes.get(position..) {
        match (*marker, rest) {
            (0xda, data) => {
                let all = data.get(2).is_some_and(|&count| count >= components);
                return Scan::Found { data, in_one: all && frame != 0xc2 };
            }
            // Bytes that fill up, and markers without a length.
            (0xff, _) => position += 1,
            (0x01 | 0xd0..=0xd8, _) => position += 2,
            (marker, [high, low, segment @ ..]) => {
                if matches!(marker, 0xc0..=0xc2) {
                    (frame, components) = (marker, segment.get(5).copied().unwrap_or(0));
                }
                position += 2 + usize::from(u16::from_be_bytes([*high, *low]));
            }
            _ => return Scan::CutOff,
        }
    }
    if position < bytes.len() { Scan::None } else { Scan::CutOff }
}

enum Scan<'a> {
    /// Its data, and whether it has all components of a frame that is not progressive.
    Found {
        data: &'a [u8],
        in_one: bool,
    },
    /// Something else where it should be: the decoder has the better words for it.
    None,
    CutOff,
}

fn one_scan(bytes: &[u8]) -> bool {
    matches!(scan(bytes), Scan::Found { in_one: true, .. })
}

/// Whether there is an end-of-image marker (ITU T.81, annex B) after the first scan has begun. Segments before it tell
/// their length: a thumbnail in one of them has an end of its own.
fn ends(bytes: &[u8]) -> bool {
    match scan(bytes) {
        Scan::Found { data, .. } => data.windows(2).rev().any(|pair| pair == [0xff, 0xd9]),
        Scan::None => true,
        Scan::CutOff => false,
    }
}
