//! TIFF files that the decoder misreads or refuses, as copies that it reads: LZW, bits from the lowest on, and tiles of planes.

use std::io::Cursor;
use std::path::Path;

use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;
use weezl::BitOrder;
use weezl::decode::Configuration;

use super::jpeg_markers;
use super::limits::Limits;
use super::tiff_kind::{BLACK_IS_ZERO, JPEG, LZW, RGB, SampleFormat, YCBCR, of_tiff, within, without_places};
use super::tiff_page::{HEADER, Page, parts};
use crate::error::{Error, Result};

/// The tag of raw files, whose first image may be a thumbnail.
const DNG_VERSION: Tag = Tag::Unknown(50706);

/// A file that is rewritten, and its name and limits for errors.
struct Source<'a> {
    decoder: Decoder<Cursor<&'a [u8]>>,
    kind: SampleFormat,
    /// The strips or tiles.
    parts: Vec<&'a [u8]>,
    path: &'a Path,
    limits: &'a Limits,
}

/// Checks the strips or tiles of a file, and returns a copy of its first image if the decoder does not read the file itself.
pub(super) fn simplified(bytes: &[u8], path: &Path, limits: &Limits) -> Result<Option<Vec<u8>>> {
    // The error is reported when the file is decoded.
    let Some(mut source) = Source::open(bytes, path, limits)? else { return Ok(None) };
    let kind = source.kind;
    // The `image` crate reads planes of red, green and blue in strips.
    let in_planes = kind.planar && (kind.tiled || kind.photometric != RGB);
    if in_planes && !(matches!(kind.bits, 8 | 16) && kind.format == 1 && kind.photometric != YCBCR) {
        let reason = format!("it is a {kind}, which is not read");
        return Err(Error::Unsupported { path: path.into(), reason });
    }
    // The bits within a byte of JPEG, JBIG, JPEG 2000 and WebP data have one order.
    let reversed = kind.low_first && !matches!(kind.compression, 6 | JPEG | 34661 | 34712 | 50001);
    let plain = match (kind.compression, reversed) {
        (LZW, _) => Some(source.unpacked(reversed)?),
        (_, true) => Some(source.copied(u8::reverse_bits)?),
        // Libtiff passes over a predictor in files without these compressions, and the decoder does not.
        _ if source.has_idle_predictor() => Some(source.copied(|byte| byte)?),
        _ => None,
    };
    if !in_planes {
        return Ok(plain);
    }
    let held = plain.as_ref().map_or(0, Vec::len) as u64;
    match Source::open(plain.as_deref().unwrap_or(bytes), path, limits)? {
        Some(source) => source.interleaved(held).map(Some),
        None => Ok(plain),
    }
}

impl<'a> Source<'a> {
    fn open(bytes: &'a [u8], path: &'a Path, limits: &'a Limits) -> Result<Option<Self>> {
        let mut decoder = match Decoder::new(Cursor::new(bytes)) {
            Ok(decoder) => decoder,
            Err(error) => return without_places(path, &error).map_or(Ok(None), Err),
        };
        let kind = SampleFormat::of(&mut decoder);
        let is_small = matches!(decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType), Ok(Some(kind)) if kind & 1 == 1);
        let mut has = |tag| matches!(decoder.find_tag(tag), Ok(Some(_)));
        if is_small && has(Tag::SubIfd) || has(DNG_VERSION) {
            let reason = "it is a camera's raw file, whose first image may be a thumbnail".into();
            return Err(Error::Unsupported { path: path.into(), reason });
        }
        let damaged = |reason| Error::Decode { path: path.into(), reason };
        let parts = parts(&mut decoder, bytes).map_err(damaged)?;
        if kind.compression == JPEG {
            // The decoder would fill missing codes with gray.
            let damage = |(index, part)| jpeg_markers::damage(part).map(|reason| (index, reason));
            if let Some((index, reason)) = parts.iter().copied().enumerate().find_map(damage) {
                return Err(damaged(format!("its part {index} is a damaged jpeg: {reason}")));
            }
        }
        Ok(Some(Self { decoder, kind, parts, path, limits }))
    }

    fn of_tiff(&self, error: TiffError) -> Error {
        of_tiff(self.path, self.limits, self.kind, error)
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Decode { path: self.path.into(), reason }
    }

    /// Returns whether the file has a predictor that other programs do not use: they do so in LZW, Deflate and Zstandard alone.
    fn has_idle_predictor(&mut self) -> bool {
        const PREDICTED: [u16; 4] = [LZW, 8, 32946, 50000];
        let predictor = self.decoder.find_tag_unsigned::<u16>(Tag::Predictor).ok().flatten();
        !PREDICTED.contains(&self.kind.compression) && predictor.is_some_and(|predictor| predictor != 1)
    }

    /// Returns a copy with these bytes in place of those of the parts, such as with the first bit at the highest place.
    fn copied(mut self, byte: impl Fn(u8) -> u8) -> Result<Vec<u8>> {
        let is_idle = self.has_idle_predictor();
        let mut page = Page::read(&mut self.decoder).map_err(|error| self.of_tiff(error))?;
        if is_idle {
            page.remove(Tag::Predictor);
        }
        let append = |file: &mut Vec<u8>, part: &[u8]| file.extend(part.iter().map(|&found| byte(found)));
        page.file(&self.parts, append, 0, self.path, self.limits)
    }

    /// Returns a copy without LZW. The decoder needs an end code where other programs need none.
    fn unpacked(mut self, reversed: bool) -> Result<Vec<u8>> {
        let mut page = Page::read(&mut self.decoder).map_err(|error| self.of_tiff(error))?;
        let (_, image_height) = self.decoder.dimensions().map_err(|error| self.of_tiff(error))?;
        let (width, height) = self.decoder.chunk_dimensions();
        let samples = if self.kind.planar { 1 } else { self.kind.samples };
        let row = (u64::from(width) * u64::from(self.kind.bits)).saturating_mul(samples.into()).div_ceil(8);
        let strips = image_height.div_ceil(height.max(1)).max(1);
        // A tile is stored whole, and the last strip of a plane only as far as the image goes.
        let length = |index: usize| {
            let above = (index as u32 % strips).saturating_mul(height);
            let rows = if self.kind.tiled { height } else { height.min(image_height.saturating_sub(above)) };
            usize::try_from(row.saturating_mul(rows.into())).unwrap_or(usize::MAX)
        };
        let total = (0..self.parts.len()).map(length).fold(0, usize::saturating_add);
        let mut file = page.start(self.parts.len(), total, 0, self.path, self.limits)?;
        let mut ends = Vec::with_capacity(self.parts.len());
        let mut high_first = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let part = if reversed {
                high_first.clear();
                high_first.extend(part.iter().map(|byte| byte.reverse_bits()));
                &high_first
            } else {
                *part
            };
            if !unpack(part, length(index), &mut file) {
                return Err(self.damaged(format!("its part {index} has invalid LZW codes or too few of them")));
            }
            ends.push(file.len());
        }
        page.set(Tag::Compression, [1]);
        page.finish(file, &ends, self.path)
    }

    /// Returns a copy whose pixels have their samples side by side. The decoder reads one plane at a time.
    fn interleaved(mut self, held: u64) -> Result<Vec<u8>> {
        let (width, height) = self.decoder.dimensions().map_err(|error| self.of_tiff(error))?;
        let pixels = self.limits.check_pixels(self.path, (width, height))? as usize;
        let mut page = Page::read(&mut self.decoder).map_err(|error| self.of_tiff(error))?;
        let (samples, bytes) = (usize::from(self.kind.samples), usize::from(self.kind.bits / 8));
        let mut plane = Page::read(&mut self.decoder).map_err(|error| self.of_tiff(error))?;
        plane.set(Tag::PhotometricInterpretation, [BLACK_IS_ZERO.into()]);
        plane.set(Tag::SamplesPerPixel, [1]);
        plane.set(Tag::BitsPerSample, [self.kind.bits.into()]);
        plane.set(Tag::SampleFormat, [1]);
        plane.set(Tag::PlanarConfiguration, [1]);
        plane.remove(Tag::ExtraSamples);

        let total = pixels.saturating_mul(samples * bytes);
        // The samples of a plane, and the parts of it.
        let of_plane = pixels.saturating_mul(2 * bytes) as u64;
        let in_use = held.saturating_add(of_plane);
        let mut file = page.start(1, total, in_use, self.path, self.limits)?;
        file.resize(HEADER + total, 0);
        let each = self.parts.len() / samples;
        for sample in 0..samples {
            let parts = self.parts.get(sample * each..(sample + 1) * each).unwrap_or_default();
            let in_use = in_use.saturating_add(total as u64);
            let gray = plane.file(parts, |file, part| file.extend_from_slice(part), in_use, self.path, self.limits)?;
            let decoder = Decoder::new(Cursor::new(gray)).map_err(|error| self.of_tiff(error))?;
            let decoded = decoder.with_limits(within(self.limits)).read_image().map_err(|error| self.of_tiff(error))?;
            let places = file.get_mut(HEADER..).unwrap_or_default().chunks_exact_mut(samples * bytes);
            match decoded {
                DecodingResult::U8(levels) if levels.len() == pixels && bytes == 1 => {
                    places.zip(levels).for_each(|(pixel, level)| pixel[sample] = level);
                }
                DecodingResult::U16(levels) if levels.len() == pixels && bytes == 2 => {
                    let set = |(pixel, level): (&mut [u8], u16)| {
                        pixel[2 * sample..2 * sample + 2].copy_from_slice(&level.to_ne_bytes());
                    };
                    places.zip(levels).for_each(set);
                }
                _ => return Err(self.damaged(format!("its plane {sample} has fewer pixels than its header says"))),
            }
        }
        page.set(Tag::Compression, [1]);
        page.set(Tag::PlanarConfiguration, [1]);
        page.set(Tag::RowsPerStrip, [height]);
        for tag in [Tag::Predictor, Tag::TileWidth, Tag::TileLength] {
            page.remove(tag);
        }
        page.set_native();
        let end = file.len();
        page.finish(file, &[end], self.path)
    }
}

/// Appends this number of bytes, and returns whether the codes hold as many. Like libtiff, it stops at the last byte.
fn unpack(codes: &[u8], length: usize, out: &mut Vec<u8>) -> bool {
    // The first programs wrote the lowest bit first, and changed the width of codes one code later.
    let old = matches!(codes, [0, second, ..] if second & 1 == 1);
    let configuration =
        if old { Configuration::new(BitOrder::Lsb, 8) } else { Configuration::with_tiff_size_switch(BitOrder::Msb, 8) };
    let mut decoder = configuration.with_yield_on_full_buffer(true).build();
    let (mut from, mut to) = (0, out.len());
    out.resize(to + length, 0);
    while to < out.len() {
        let result = decoder.decode_bytes(codes.get(from..).unwrap_or_default(), &mut out[to..]);
        from += result.consumed_in;
        to += result.consumed_out;
        if result.status.is_err() || result.consumed_in + result.consumed_out == 0 {
            break;
        }
    }
    to == out.len()
}
