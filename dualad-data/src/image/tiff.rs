//! The kinds of TIFF that the `image` crate does not read: palettes, YCbCr, 2 and 4 bits, and gray with extra samples.

use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use image::metadata::Orientation;
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

use super::levels::Levels;
use super::limits::Limits;
use super::memory::{Purpose, buffer, peak};
use super::tiff_kind::{BLACK_IS_ZERO, JPEG, PALETTE, SampleFormat, YCBCR, of_tiff, within, without_places};
use super::tiff_page::{Page, parts};
use crate::error::{Error, Result};

/// Reads the stored size and the orientation.
pub(super) fn size(file: impl BufRead + Seek, path: &Path) -> Result<((u32, u32), Orientation)> {
    let damaged = |error: TiffError| Error::Decode { path: path.into(), reason: error.to_string() };
    let error = |error: TiffError| without_places(path, &error).unwrap_or_else(|| damaged(error));
    let mut decoder = Decoder::new(file).map_err(error)?;
    let size = decoder.dimensions().map_err(error)?;
    Ok((size, SampleFormat::of(&mut decoder).orientation))
}

/// Describes the format of a file, for messages.
pub(super) fn kind(bytes: &[u8]) -> Option<String> {
    Some(SampleFormat::of(&mut Decoder::new(Cursor::new(bytes)).ok()?).to_string())
}

/// Decodes a file after `tiff_simple::simplified`. `held` is the number of bytes of a copy of the file. Returns `None` if the
/// `image` crate should read it, or report it.
pub(super) fn decode(
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
    purpose: &Purpose<'_>,
    held: u64,
) -> Option<Result<Levels>> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let kind = SampleFormat::of(&mut decoder);
    kind.is_read().then(|| decode_kind(kind, decoder, bytes, path, limits, purpose, held))
}

/// Decodes a file whose format [`SampleFormat::is_read`].
fn decode_kind(
    kind: SampleFormat,
    mut decoder: Decoder<Cursor<&[u8]>>,
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
    purpose: &Purpose<'_>,
    held: u64,
) -> Result<Levels> {
    let room = purpose.room;
    let of_tiff = |error: TiffError| of_tiff(path, limits, kind, error);
    let (width, height) = decoder.dimensions().map_err(of_tiff)?;
    let pixels = limits.check_pixels(path, (width, height))?;
    // The output of the decoder, its unpacked input, and the output of this function. A file with a palette is copied.
    let sample = u64::from(kind.bits.div_ceil(8));
    let stored = pixels * sample * u64::from(kind.samples);
    let channels = if matches!(kind.photometric, PALETTE | YCBCR) { 3 } else { 1 };
    let own = pixels * room.max(sample * channels as u64);
    let working = 2 * stored + bytes.len() as u64 + held;
    purpose.allow(limits, path, peak(pixels, own, working, room, kind.orientation))?;

    let mut palette = Vec::new();
    let decoded = if kind.photometric == PALETTE {
        palette = colors(decoder.get_tag_u16_vec(Tag::ColorMap).map_err(of_tiff)?, kind.bits).ok_or_else(|| {
            Error::Decode { path: path.into(), reason: "its palette does not have three values for each index".into() }
        })?;
        // The decoder refuses palettes, but reads the same samples as gray.
        let gray = gray(&mut decoder, bytes, path, limits, kind, held)?;
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

/// Returns a copy of a file with a palette whose indices are levels of gray.
fn gray(
    decoder: &mut Decoder<Cursor<&[u8]>>,
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
    kind: SampleFormat,
    held: u64,
) -> Result<Vec<u8>> {
    let mut page = Page::read(decoder).map_err(|error| of_tiff(path, limits, kind, error))?;
    page.set(Tag::PhotometricInterpretation, [BLACK_IS_ZERO.into()]);
    let parts = parts(decoder, bytes).map_err(|reason| Error::Decode { path: path.into(), reason })?;
    page.file(&parts, |file, part| file.extend_from_slice(part), held, path, limits)
}
