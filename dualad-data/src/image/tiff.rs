//! The kinds of TIFF that the `image` crate does not read: palettes, YCbCr, 2 and 4 bits, and gray with extra samples.

use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use image::metadata::Orientation;
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

use super::levels::Levels;
use super::limits::{Limits, MEMORY};
use super::memory::{Purpose, buffer, peak};
use crate::error::{Error, Result};

const WHITE_IS_ZERO: u16 = 0;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;
const YCBCR: u16 = 6;

/// The compression of Technical Note 2.
const JPEG: u16 = 7;

/// The format of the samples, by the tags of the first page.
#[derive(Clone, Copy)]
struct SampleFormat {
    photometric: u16,
    bits: u16,
    samples: u16,
    /// 1 for unsigned, 2 for signed, 3 for floating-point.
    format: u16,
    compression: u16,
    planar: bool,
    orientation: Orientation,
}

impl SampleFormat {
    fn of<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Self {
        let mut tag = |tag, default| match decoder.find_tag_unsigned_vec::<u16>(tag) {
            Ok(Some(values)) => values.first().copied().unwrap_or(default),
            _ => default,
        };
        Self {
            photometric: tag(Tag::PhotometricInterpretation, BLACK_IS_ZERO),
            bits: tag(Tag::BitsPerSample, 1),
            samples: tag(Tag::SamplesPerPixel, 1),
            format: tag(Tag::SampleFormat, 1),
            compression: tag(Tag::Compression, 1),
            planar: tag(Tag::PlanarConfiguration, 1) == 2,
            orientation: u8::try_from(tag(Tag::Orientation, 1))
                .ok()
                .and_then(Orientation::from_exif)
                .unwrap_or(Orientation::NoTransforms),
        }
    }

    /// Returns whether [`decode`] reads it.
    fn is_read(self) -> bool {
        let gray = matches!(self.photometric, WHITE_IS_ZERO | BLACK_IS_ZERO);
        let unsigned = self.format == 1 && !(self.planar && self.samples > 1);
        unsigned
            && match self.photometric {
                PALETTE => self.samples == 1 && matches!(self.bits, 1 | 2 | 4 | 8),
                YCBCR => self.samples == 3 && self.bits == 8,
                _ if gray && self.samples == 1 => matches!(self.bits, 2 | 4),
                _ => gray && self.samples < 5 && matches!(self.bits, 8 | 16),
            }
    }
}

impl std::fmt::Display for SampleFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let photometric = match self.photometric {
            WHITE_IS_ZERO | BLACK_IS_ZERO => "gray",
            2 => "RGB",
            PALETTE => "palette",
            4 => "transparency",
            5 => "CMYK",
            YCBCR => "YCbCr",
            8..=10 => "Lab",
            32803 => "raw sensor",
            _ => "unknown color",
        };
        let format = match self.format {
            1 => "",
            2 => "signed ",
            3 => "floating-point ",
            _ => "undefined ",
        };
        let planes = if self.planar && self.samples > 1 { ", a plane each" } else { "" };
        let (samples, bits, compression) = (self.samples, self.bits, self.compression);
        write!(f, "{photometric} tiff of {samples} x {bits} {format}bits{planes}, compression {compression}")
    }
}

/// Reads the stored size and the orientation.
pub(super) fn size(file: impl BufRead + Seek, path: &Path) -> Result<((u32, u32), Orientation)> {
    let error = |error: TiffError| Error::Decode { path: path.into(), reason: error.to_string() };
    let mut decoder = Decoder::new(file).map_err(error)?;
    let size = decoder.dimensions().map_err(error)?;
    Ok((size, SampleFormat::of(&mut decoder).orientation))
}

/// Describes the format of a file, for messages.
pub(super) fn kind(bytes: &[u8]) -> Option<String> {
    Some(SampleFormat::of(&mut Decoder::new(Cursor::new(bytes)).ok()?).to_string())
}

/// Decodes a file. Returns `None` if the `image` crate should read it, or report it.
pub(super) fn decode(bytes: &[u8], path: &Path, limits: &Limits, purpose: &Purpose<'_>) -> Option<Result<Levels>> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let kind = SampleFormat::of(&mut decoder);
    if let Some(reason) = missing(&mut decoder, bytes, kind) {
        return Some(Err(Error::Decode { path: path.into(), reason }));
    }
    kind.is_read().then(|| decode_kind(kind, decoder, bytes, path, limits, purpose))
}

/// Returns the damage of strips or tiles. A jpeg decoder would fill missing parts with gray.
fn missing(decoder: &mut Decoder<Cursor<&[u8]>>, bytes: &[u8], kind: SampleFormat) -> Option<String> {
    let mut of = |tag| decoder.find_tag_unsigned_vec::<u64>(tag).ok().flatten();
    for (offsets, counts, what) in
        [(Tag::StripOffsets, Tag::StripByteCounts, "strip"), (Tag::TileOffsets, Tag::TileByteCounts, "tile")]
    {
        let (Some(offsets), Some(counts)) = (of(offsets), of(counts)) else { continue };
        for (index, (offset, count)) in offsets.into_iter().zip(counts).enumerate() {
            let end = offset.saturating_add(count);
            let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
            let Some(part) = range.and_then(|(start, end)| bytes.get(start..end)) else {
                let length = bytes.len();
                return Some(format!("its {what} {index} ends at byte {end}, but the file has {length} bytes"));
            };
            if kind.compression == JPEG
                && let Some(reason) = super::jpeg_markers::damage(part)
            {
                return Some(format!("its {what} {index} is a damaged jpeg: {reason}"));
            }
        }
    }
    None
}

/// Rewords the error of LZW data without an end code. The `tiff` crate needs the code; libtiff stops at the last sample.
pub(super) fn of_lzw(error: Error) -> Error {
    match error {
        Error::Decode { path, reason } if reason.contains("no lzw end code") => {
            let reason =
                "its LZW data has no end code, which this decoder requires; if it is not damaged, other programs can read it"
                    .into();
            Error::Unsupported { path, reason }
        }
        error => error,
    }
}

/// Decodes a file whose format [`SampleFormat::is_read`].
fn decode_kind(
    kind: SampleFormat,
    mut decoder: Decoder<Cursor<&[u8]>>,
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
    purpose: &Purpose<'_>,
) -> Result<Levels> {
    let room = purpose.room;
    let of_tiff = |error: TiffError| match error {
        TiffError::UnsupportedError(error) => Error::Unsupported {
            path: path.into(),
            reason: format!("it is a {kind}, whose kind is not read ({error})"),
        },
        TiffError::LimitsExceeded => {
            let found = limits.memory.saturating_add(1);
            Error::TooLarge { path: path.into(), unit: MEMORY, found, limit: limits.memory }
        }
        error => Error::Decode { path: path.into(), reason: error.to_string() },
    };
    let (width, height) = decoder.dimensions().map_err(of_tiff)?;
    let pixels = limits.check_pixels(path, (width, height))?;
    // The output of the decoder, its unpacked input, and the output of this function. A file with a palette is copied.
    let sample = u64::from(kind.bits.div_ceil(8));
    let stored = pixels * sample * u64::from(kind.samples);
    let channels = if matches!(kind.photometric, PALETTE | YCBCR) { 3 } else { 1 };
    let own = pixels * room.max(sample * channels as u64);
    let working = 2 * stored + bytes.len() as u64;
    purpose.allow(limits, path, peak(pixels, own, working, room, kind.orientation))?;

    let mut palette = Vec::new();
    let decoded = if kind.photometric == PALETTE {
        palette = colors(decoder.get_tag_u16_vec(Tag::ColorMap).map_err(of_tiff)?, kind.bits).ok_or_else(|| {
            Error::Decode { path: path.into(), reason: "its palette does not have three values for each index".into() }
        })?;
        // The decoder refuses palettes, but reads the same samples as gray.
        let mut gray = bytes.to_vec();
        set_gray(&mut gray);
        let decoder = Decoder::new(Cursor::new(gray)).map_err(of_tiff)?;
        decoder.with_limits(within(limits)).read_image()
    } else {
        decoder.with_limits(within(limits)).read_image()
    };
    let stored = match decoded.map_err(of_tiff)? {
        DecodingResult::U8(stored) => stored,
        DecodingResult::U16(stored) => stored.into_iter().flat_map(u16::to_ne_bytes).collect(),
        _ => return Err(of_tiff(TiffError::UnsupportedError(tiff::TiffUnsupportedError::UnknownInterpretation))),
    };
    let short = || Error::Decode { path: path.into(), reason: "it has fewer pixels than its header says".into() };
    let mut levels = buffer(path, own, (pixels * sample * channels as u64) as usize)?;
    let rows = levels.chunks_exact_mut(width as usize * sample as usize * channels);
    let stride = (u64::from(width) * u64::from(kind.bits) * u64::from(kind.samples)).div_ceil(8) as usize;
    for (row, line) in rows.enumerate() {
        let stored = stored.get(row * stride..(row + 1) * stride).ok_or_else(short)?;
        match kind.photometric {
            PALETTE => {
                for (pixel, index) in line.chunks_exact_mut(3).zip(unpack(stored, kind.bits)) {
                    // The palette has a color for every index.
                    pixel.copy_from_slice(&palette.get(usize::from(index)).copied().unwrap_or_default());
                }
            }
            YCBCR => {
                for (pixel, stored) in line.chunks_exact_mut(3).zip(stored.chunks_exact(3)) {
                    pixel.copy_from_slice(&rgb([stored[0], stored[1], stored[2]]));
                }
            }
            _ if kind.bits < 8 => {
                // White is 3 or 15, and 255 is a multiple of both.
                let step = 255 / ((1u16 << kind.bits) - 1) as u8;
                for (level, value) in line.iter_mut().zip(unpack(stored, kind.bits)) {
                    *level = value * step;
                }
            }
            _ => {
                let pixel = usize::from(kind.samples) * sample as usize;
                for (level, stored) in line.chunks_exact_mut(sample as usize).zip(stored.chunks_exact(pixel)) {
                    level.copy_from_slice(&stored[..sample as usize]);
                }
            }
        }
    }
    let (deep, orientation, lossy) = (sample == 2, kind.orientation, kind.compression == JPEG);
    Ok(Levels { width, height, channels, deep, bytes: levels, orientation, lossy })
}

/// Converts limits for the decoder.
fn within(limits: &Limits) -> tiff::decoder::Limits {
    let bytes = usize::try_from(limits.memory).unwrap_or(usize::MAX);
    let mut within = tiff::decoder::Limits::default();
    (within.decoding_buffer_size, within.intermediate_buffer_size) = (bytes, bytes);
    within
}

/// Returns values of at most 8 bits, the first in the highest bits of a byte.
fn unpack(row: &[u8], bits: u16) -> impl Iterator<Item = u8> + '_ {
    let (each, mask) = (8 / bits, (0xffu16 >> (8 - bits)) as u8);
    row.iter().flat_map(move |&byte| (1..=each).map(move |place| (byte >> (8 - place * bits)) & mask))
}

/// Converts a palette: all reds, then all greens, then all blues, in 16 bits. Some programs write 8 bits, or 8 bits and a
/// zero byte.
fn colors(map: Vec<u16>, bits: u16) -> Option<Vec<[u8; 3]>> {
    let count = 1 << bits;
    let (red, rest) = map.split_at_checked(count)?;
    let (green, blue) = rest.split_at_checked(count)?;
    let shallow = map.iter().all(|&value| value < 256);
    let shifted = map.iter().all(|&value| value % 256 == 0);
    let level = |value: u16| match () {
        () if shallow => value as u8,
        () if shifted => (value >> 8) as u8,
        () => ((u32::from(value) + 128) / 257) as u8,
    };
    (blue.len() == count).then(|| red.iter().zip(green).zip(blue).map(|((&r, &g), &b)| [r, g, b].map(level)).collect())
}

/// Converts YCbCr to RGB by ITU-R BT.601 with full range, the default of JPEG and of TIFF.
fn rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    // The casts saturate.
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|level| (level + 0.5) as u8)
}

/// Sets the photometric interpretation of the first page to gray, in place. Other files stay unchanged.
fn set_gray(bytes: &mut [u8]) {
    let little = bytes.first() == Some(&b'I');
    let number = |at: usize, length: usize, bytes: &[u8]| -> Option<usize> {
        let part = bytes.get(at..at.checked_add(length)?)?;
        let fold = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
        Some(if little { part.iter().rev().fold(0, fold) } else { part.iter().fold(0, fold) })
    };
    // TIFF has offsets of 4 bytes and entries of 12, BigTIFF offsets of 8 and entries of 20.
    let big = number(2, 2, bytes) == Some(43);
    let (offset, counts, entry) = if big { ((8, 8), 8, 20) } else { ((4, 4), 2, 12) };
    let Some(directory) = number(offset.0, offset.1, bytes) else { return };
    let Some(count) = number(directory, counts, bytes) else { return };
    for index in 0..count.min(1 << 16) {
        let at = directory.saturating_add(counts + index * entry);
        if number(at, 2, bytes) == Some(usize::from(Tag::PhotometricInterpretation.to_u16())) {
            // The value of 2 bytes takes the place of an offset.
            let value = at + if big { 12 } else { 8 };
            let gray = if little { BLACK_IS_ZERO.to_le_bytes() } else { BLACK_IS_ZERO.to_be_bytes() };
            if let Some(place) = bytes.get_mut(value..value + 2) {
                place.copy_from_slice(&gray);
            }
            return;
        }
    }
}
