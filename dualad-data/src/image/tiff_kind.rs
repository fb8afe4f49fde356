//! The kinds of TIFF, and the errors of its decoder.

use std::io::{BufRead, Seek};
use std::path::Path;

use image::metadata::Orientation;
use tiff::decoder::Decoder;
use tiff::tags::Tag;
use tiff::{TiffError, TiffFormatError};

use super::limits::{Limits, MEMORY};
use crate::error::Error;

const WHITE_IS_ZERO: u16 = 0;
pub(super) const BLACK_IS_ZERO: u16 = 1;
pub(super) const RGB: u16 = 2;
pub(super) const PALETTE: u16 = 3;
pub(super) const YCBCR: u16 = 6;

pub(super) const LZW: u16 = 5;
/// The compression of Technical Note 2.
pub(super) const JPEG: u16 = 7;

/// The format of the samples, by the tags of the first page.
#[derive(Clone, Copy)]
pub(super) struct SampleFormat {
    pub(super) photometric: u16,
    pub(super) bits: u16,
    pub(super) samples: u16,
    /// 1 for unsigned, 2 for signed, 3 for floating-point.
    pub(super) format: u16,
    pub(super) compression: u16,
    /// `true` if each sample of a pixel has a plane.
    pub(super) planar: bool,
    pub(super) tiled: bool,
    /// `true` if the first bit of a byte is the lowest.
    pub(super) low_first: bool,
    pub(super) orientation: Orientation,
}

impl SampleFormat {
    pub(super) fn of<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Self {
        let mut tag = |tag, default| match decoder.find_tag_unsigned_vec::<u16>(tag) {
            Ok(Some(values)) => values.first().copied().unwrap_or(default),
            _ => default,
        };
        let samples = tag(Tag::SamplesPerPixel, 1);
        Self {
            photometric: tag(Tag::PhotometricInterpretation, BLACK_IS_ZERO),
            bits: tag(Tag::BitsPerSample, 1),
            samples,
            format: tag(Tag::SampleFormat, 1),
            compression: tag(Tag::Compression, 1),
            planar: samples > 1 && tag(Tag::PlanarConfiguration, 1) == 2,
            tiled: tag(Tag::TileWidth, 0) > 0,
            low_first: tag(Tag::FillOrder, 1) == 2,
            orientation: u8::try_from(tag(Tag::Orientation, 1))
                .ok()
                .and_then(Orientation::from_exif)
                .unwrap_or(Orientation::NoTransforms),
        }
    }

    /// Returns whether it is one of the kinds that the `image` crate does not read, and this crate does.
    pub(super) fn is_read(self) -> bool {
        let gray = matches!(self.photometric, WHITE_IS_ZERO | BLACK_IS_ZERO);
        let unsigned = self.format == 1 && !self.planar;
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
            RGB => "RGB",
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
        let planes = match (self.planar, self.tiled) {
            (true, true) => ", a plane each, in tiles",
            (true, false) => ", a plane each",
            (false, _) => "",
        };
        let (samples, bits, compression) = (self.samples, self.bits, self.compression);
        write!(f, "{photometric} tiff of {samples} x {bits} {format}bits{planes}, compression {compression}")
    }
}

/// Converts limits for the decoder.
pub(super) fn within(limits: &Limits) -> tiff::decoder::Limits {
    let bytes = usize::try_from(limits.memory).unwrap_or(usize::MAX);
    let mut within = tiff::decoder::Limits::default();
    (within.decoding_buffer_size, within.intermediate_buffer_size) = (bytes, bytes);
    within
}

/// Returns the error of a file that does not tell where its strips or tiles are, as the decoder needs it: other programs compute that.
pub(super) fn without_places(path: &Path, error: &TiffError) -> Option<Error> {
    matches!(error, TiffError::FormatError(TiffFormatError::StripTileTagConflict)).then(|| {
        let reason =
            "it is a tiff without the lengths of its strips (StripByteCounts) or tiles, which is not read".into();
        Error::Unsupported { path: path.into(), reason }
    })
}

/// Converts an error of the decoder for a file of this kind.
pub(super) fn of_tiff(path: &Path, limits: &Limits, kind: SampleFormat, error: TiffError) -> Error {
    match error {
        TiffError::UnsupportedError(error) => {
            let reason = format!("it is a {kind}, whose kind is not read ({error})");
            Error::Unsupported { path: path.into(), reason }
        }
        TiffError::LimitsExceeded => {
            let found = limits.memory.saturating_add(1);
            Error::TooLarge { path: path.into(), unit: MEMORY, found, limit: limits.memory }
        }
        error => Error::Decode { path: path.into(), reason: error.to_string() },
    }
}
