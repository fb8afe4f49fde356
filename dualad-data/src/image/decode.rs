//! The decoding of untrusted image files, within limits.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader};

#[cfg(feature = "bmp")]
use super::bmp;
use super::format::format;
#[cfg(feature = "jpeg")]
use super::jpeg;
use super::levels::{DeepLevels, Levels, MaskValues};
use super::limits::{Limits, MEMORY};
use super::mask_rule::MaskRule;
use super::memory::{Purpose, buffer, peak, swaps_sides};
#[cfg(feature = "png")]
use super::png;
use super::raster::{Mask, Picture};
#[cfg(feature = "tiff")]
use super::{tiff, tiff_simple};
use crate::error::{Error, Result};

/// The decoding of pictures and of masks, with the bytes of their pixels.
const PICTURE: Purpose<'_> = Purpose { room: 3, measured: None };
const MASK: Purpose<'_> = Purpose { room: 1, measured: None };

impl Picture {
    /// Reads a png, jpg, bmp, tiff, webp, gif or pnm file. The content decides the format, not the name.
    ///
    /// Gray and palette images become RGB, 16 bits are rounded to 8, alpha is dropped (like in OpenCV), and the EXIF
    /// orientation is applied. Of several frames or pages, the first is read.
    ///
    /// # Damage
    /// Png protects pixels by checksums: any damage to them is an error. Damaged metadata is ignored.
    ///
    /// Jpeg has no checksums. Truncated data, missing scans or restarts, and invalid codes are errors; a missing marker at
    /// the end alone is not. But about three
    /// quarters of single wrong bytes give other valid codes, and then a picture that is wrong from there on. So do zeros in
    /// place of the remaining data.
    ///
    /// The other formats have no checksums either, apart from some compressions. A file that is shorter than its header tells is an
    /// error. Zeros in place of the remaining data, which an interrupted copy may leave, are pixels like others in bmp, pnm and
    /// uncompressed tiff: black ones.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::EmptyFile`] for the file; [`Error::Decode`] for a file that is damaged or not an image,
    /// [`Error::Unsupported`] for a kind of image that is not read, [`Error::FormatDisabled`] for a format that is left out
    /// of the build, [`Error::TooLarge`] for an image beyond the limits.
    pub fn read(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        Self::decode(&read(path, limits)?, path, limits)
    }

    /// Reads the width and height of the upright image from the header of a file. Nothing is decoded.
    ///
    /// # Errors
    /// The errors of [`Picture::read`], as far as the header shows them.
    pub fn read_size(path: impl AsRef<Path>, limits: &Limits) -> Result<(u32, u32)> {
        size(path.as_ref(), limits)
    }

    /// Decodes a picture like [`Picture::read`], from memory. `name` stands for the file in errors.
    ///
    /// # Errors
    /// The errors of [`Picture::read`], without those of reading a file.
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        decode(bytes, name.as_ref(), limits, &PICTURE)?.into_picture()
    }

    /// Returns the peak memory that [`Picture::decode`] takes for a file, in bytes, in addition to the file. It is at least that of
    /// the picture. The header tells: pixels are not decoded, but LZW data of a TIFF file is unpacked, within the limits. A program that
    /// decodes for others can bound the memory for all of them.
    ///
    /// # Errors
    /// The errors of [`Picture::decode`], as far as the header shows them.
    pub fn decoding_memory(bytes: &[u8], name: impl AsRef<Path>, limits: &Limits) -> Result<u64> {
        let measured = Cell::new(0);
        match decode(bytes, name.as_ref(), limits, &Purpose { measured: Some(&measured), ..PICTURE }) {
            Ok(_) | Err(Error::Cancelled) => Ok(measured.get()),
            Err(error) => Err(error),
        }
    }

    /// Reads a picture and a summary of its levels of 16 bits, if it has such.
    pub(crate) fn read_levels(path: &Path, limits: &Limits) -> Result<(Self, Option<DeepLevels>)> {
        let levels = decode(&read(path, limits)?, path, limits, &PICTURE)?;
        let deep = levels.deep_levels();
        Ok((levels.into_picture()?, deep))
    }
}

impl Mask {
    /// Reads a mask in any format of [`Picture::read`]. In a color image, the brightest channel counts.
    ///
    /// # Errors
    /// The errors of [`Picture::read`].
    pub fn read(path: impl AsRef<Path>, rule: MaskRule, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        Self::decode(&read(path, limits)?, path, rule, limits)
    }

    /// Decodes a mask like [`Mask::read`], from memory. `name` stands for the file in errors.
    ///
    /// # Errors
    /// The errors of [`Picture::decode`].
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>, rule: MaskRule, limits: &Limits) -> Result<Self> {
        Ok(decode(bytes, name.as_ref(), limits, &MASK)?.into_mask(rule)?.0)
    }

    /// Reads a mask and a summary of its values.
    pub(crate) fn read_values(path: &Path, rule: MaskRule, limits: &Limits) -> Result<(Self, MaskValues)> {
        decode(&read(path, limits)?, path, limits, &MASK)?.into_mask(rule)
    }
}

/// Reads the width and height of an upright image from the header of a file.
pub(crate) fn size(path: &Path, limits: &Limits) -> Result<(u32, u32)> {
    let (size, orientation) = stored(path, limits)?;
    limits.check_pixels(path, size)?;
    Ok(if swaps_sides(orientation) { (size.1, size.0) } else { size })
}

/// Reads the orientation of an image from the header of a file.
pub(crate) fn orientation_of(path: &Path, limits: &Limits) -> Result<Orientation> {
    Ok(stored(path, limits)?.1)
}

/// Reads the stored size and the orientation from the header of a file.
fn stored(path: &Path, limits: &Limits) -> Result<((u32, u32), Orientation)> {
    let file = open(path, limits)?;
    guarded(path, || header(BufReader::new(file), path, limits))
}

/// Reads the stored size and the orientation.
fn header(mut file: BufReader<File>, path: &Path, limits: &Limits) -> Result<((u32, u32), Orientation)> {
    let start = file.fill_buf().map_err(|error| Error::Io { action: "read", path: path.into(), error })?;
    match format(start, path)? {
        #[cfg(feature = "jpeg")]
        ImageFormat::Jpeg => jpeg::size(file, path, limits),
        #[cfg(feature = "tiff")]
        ImageFormat::Tiff => tiff::size(file, path),
        format => {
            let mut decoder = other(file, format, path, limits)?;
            Ok((decoder.dimensions(), orientation(&mut decoder)))
        }
    }
}

/// Opens a file. Folders, pipes and devices are refused first, because reading them may never end.
fn open(path: &Path, limits: &Limits) -> Result<File> {
    let io = |error| Error::Io { action: "read", path: path.into(), error };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        let reason = if metadata.is_dir() { "it is a folder; name the images in it" } else { "not a file" };
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, reason)));
    }
    // Files of the kernel have this length, and reading one may never end.
    if metadata.len() == 0 {
        return Err(Error::EmptyFile { path: path.into() });
    }
    if metadata.len() > limits.file_bytes {
        let (found, limit) = (metadata.len(), limits.file_bytes);
        return Err(Error::TooLarge { path: path.into(), unit: "bytes", found, limit });
    }
    File::open(path).map_err(io)
}

/// Reads the content of a file.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let io = |error| Error::Io { action: "read", path: path.into(), error };
    let file = open(path, limits)?;
    // The file may be sparse and larger than the memory, so the allocation must be able to fail.
    let mut bytes = Vec::new();
    let length = file.metadata().map_err(io)?.len().min(limits.file_bytes);
    let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
    bytes.try_reserve_exact(length).map_err(|_| io(std::io::ErrorKind::OutOfMemory.into()))?;
    // The file may have grown meanwhile.
    file.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    let (found, limit) = (bytes.len() as u64, limits.file_bytes);
    if found > limit { Err(Error::TooLarge { path: path.into(), unit: "bytes", found, limit }) } else { Ok(bytes) }
}

/// Turns a panic of a decoder into an error of the image. Decoders should not panic, but the input is untrusted.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::Decode { path: path.into(), reason: "the decoder failed unexpectedly".into() }))
}

/// Decodes an image.
fn decode(bytes: &[u8], path: &Path, limits: &Limits, purpose: &Purpose<'_>) -> Result<Levels> {
    if bytes.is_empty() {
        return Err(Error::EmptyFile { path: path.into() });
    }
    guarded(path, || {
        let format = format(bytes, path)?;
        #[cfg(feature = "jpeg")]
        if format == ImageFormat::Jpeg {
            return jpeg::decode(bytes, path, limits, purpose);
        }
        if format == ImageFormat::WebP {
            check_length(bytes, path)?;
        }
        let copy = copy(bytes, format, path, limits)?;
        let (bytes, held) = copy.as_deref().map_or((bytes, 0), |copy| (copy, copy.len() as u64));
        #[cfg(feature = "tiff")]
        if format == ImageFormat::Tiff
            && let Some(levels) = tiff::decode(bytes, path, limits, purpose, held)
        {
            return levels;
        }
        decode_other(bytes, format, path, limits, purpose, held)
    })
}

/// Returns a copy of a file, if the decoder does not read the file itself.
#[cfg_attr(not(feature = "tiff"), allow(unused_variables))]
fn copy(bytes: &[u8], format: ImageFormat, path: &Path, limits: &Limits) -> Result<Option<Vec<u8>>> {
    #[cfg(feature = "bmp")]
    if format == ImageFormat::Bmp {
        return bmp::repaired(bytes, path, limits);
    }
    #[cfg(feature = "png")]
    if format == ImageFormat::Png {
        return png::ended(bytes, path, limits);
    }
    #[cfg(feature = "tiff")]
    if format == ImageFormat::Tiff {
        return tiff_simple::simplified(bytes, path, limits);
    }
    Ok(None)
}

/// Returns whether these first bytes of a file are those of an image that is read.
pub(crate) fn is_readable(start: &[u8]) -> bool {
    // A text may begin with the two letters of these formats.
    let fits = match start {
        // The size of the second header is in the 15th byte.
        [b'B', b'M', ..] => matches!(start.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])),
        // The width or a comment follows.
        [b'P', b'0'..=b'9', rest @ ..] => {
            matches!(rest, [b' ' | b'\t' | b'\r' | b'\n', b'0'..=b'9' | b'#' | b'\n', ..])
        }
        _ => true,
    };
    fits && format(start, Path::new("")).is_ok()
}

/// Creates a decoder of the `image` crate.
fn other<'a>(
    file: impl BufRead + Seek + 'a,
    format: ImageFormat,
    path: &Path,
    limits: &Limits,
) -> Result<impl ImageDecoder + 'a> {
    let mut reader = ImageReader::with_format(file, format);
    reader.limits(allowed(limits.memory));
    reader.into_decoder().map_err(|error| image_error(path, limits, error))
}

/// Returns the limits of a decoder of the `image` crate: the bytes of its memory.
fn allowed(memory: u64) -> image::Limits {
    let mut allowed = image::Limits::default();
    allowed.max_alloc = Some(memory);
    allowed
}

/// Converts an error of the `image` crate.
fn image_error(path: &Path, limits: &Limits, error: ImageError) -> Error {
    match error {
        ImageError::Unsupported(error) => Error::Unsupported { path: path.into(), reason: error.to_string() },
        // The error does not include the amount.
        ImageError::Limits(_) => {
            let found = limits.memory.saturating_add(1);
            Error::TooLarge { path: path.into(), unit: MEMORY, found, limit: limits.memory }
        }
        error => Error::Decode { path: path.into(), reason: error.to_string() },
    }
}

/// Decodes a file with the `image` crate. `held` is the number of bytes of a copy of the file.
fn decode_other(
    bytes: &[u8],
    format: ImageFormat,
    path: &Path,
    limits: &Limits,
    purpose: &Purpose<'_>,
    held: u64,
) -> Result<Levels> {
    let room = purpose.room;
    let of_kind = |error: Error| match error {
        #[cfg(feature = "tiff")]
        Error::Unsupported { path, reason } if format == ImageFormat::Tiff => {
            let kind = tiff::kind(bytes).map(|kind| format!("it is a {kind}, which is not read"));
            Error::Unsupported { path, reason: kind.unwrap_or(reason) }
        }
        error => error,
    };
    let mut decoder = other(Cursor::new(bytes), format, path, limits).map_err(of_kind)?;
    let (width, height) = decoder.dimensions();
    let pixels = limits.check_pixels(path, (width, height))?;
    let (channels, deep) = match decoder.color_type() {
        ColorType::L8 => (1, false),
        ColorType::La8 => (2, false),
        ColorType::Rgb8 => (3, false),
        ColorType::Rgba8 => (4, false),
        ColorType::L16 => (1, true),
        ColorType::La16 => (2, true),
        ColorType::Rgb16 => (3, true),
        ColorType::Rgba16 => (4, true),
        _ => {
            let reason = "its samples are floating-point values of unknown range".into();
            return Err(of_kind(Error::Unsupported { path: path.into(), reason }));
        }
    };
    let orientation = orientation(&mut decoder);
    let stored = decoder.total_bytes();
    let own = stored.max(pixels * room);
    let working = match format {
        // A frame that does not cover the image.
        ImageFormat::Gif => pixels * 4,
        // The decoder unpacks into its own buffer, of four samples for CMYK.
        ImageFormat::Tiff => stored.max(pixels * if deep { 8 } else { 4 }),
        // Color and alpha planes, or a frame on a canvas.
        ImageFormat::WebP => pixels * 9,
        _ => 0,
    };
    purpose.allow(limits, path, peak(pixels, own, held.saturating_add(working), room, orientation))?;
    if format == ImageFormat::Gif {
        // A frame may be larger than the image.
        let within = allowed(limits.memory.saturating_sub(own));
        decoder.set_limits(within).map_err(|error| image_error(path, limits, error))?;
    }
    let total = usize::try_from(stored).unwrap_or(usize::MAX);
    let mut levels = buffer(path, own, total)?;
    decoder.read_image(&mut levels).map_err(|error| of_kind(image_error(path, limits, error)))?;
    Ok(Levels {
        width,
        height,
        channels,
        deep,
        bytes: levels,
        orientation,
        lossy: format == ImageFormat::WebP && is_lossy(bytes),
    })
}

/// Checks the length that a webp file has by its header: the decoder takes zeros for codes that are missing.
fn check_length(webp: &[u8], path: &Path) -> Result<()> {
    let Some(&[a, b, c, d]) = webp.get(4..8) else { return Ok(()) };
    let length = 8 + u64::from(u32::from_le_bytes([a, b, c, d]));
    // Some programs leave out the byte that makes the length even.
    if (webp.len() as u64).saturating_add(1) >= length {
        return Ok(());
    }
    let reason = format!("it has {} of the {length} bytes that its header tells", webp.len());
    Err(Error::Decode { path: path.into(), reason })
}

/// Returns whether a webp file has a lossy frame. After a header of 12 bytes, it consists of chunks with their lengths.
fn is_lossy(webp: &[u8]) -> bool {
    let mut rest = webp.get(12..).unwrap_or_default();
    while let [a, b, c, d, l0, l1, l2, l3, content @ ..] = rest {
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        match &[*a, *b, *c, *d] {
            b"VP8 " => return true,
            b"VP8L" => return false,
            // A frame of an animation contains chunks after 16 bytes.
            b"ANMF" => rest = content.get(16..).unwrap_or_default(),
            _ => rest = content.get(length.saturating_add(length & 1)..).unwrap_or_default(),
        }
    }
    false
}

/// Reads the orientation. Invalid metadata does not prevent decoding.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lossy_webp_is_detected_by_its_chunks() {
        let chunk = |name: &[u8; 4], content: &[u8]| {
            let mut chunk = [name, &(content.len() as u32).to_le_bytes()[..], content].concat();
            chunk.resize(chunk.len().next_multiple_of(2), 0);
            chunk
        };
        let file = |chunks: &[Vec<u8>]| [&b"RIFF\x10\0\0\0WEBP"[..], &chunks.concat()].concat();
        let frame = |inner: Vec<u8>| chunk(b"ANMF", &[vec![0; 16], inner].concat());
        for (lossy, name) in [(true, b"VP8 "), (false, b"VP8L")] {
            assert_eq!(is_lossy(&file(&[chunk(name, &[0; 9])])), lossy);
            assert_eq!(
                is_lossy(&file(&[chunk(b"VP8X", &[0; 10]), chunk(b"ICCP", b"abc"), chunk(name, &[0; 9])])),
                lossy
            );
            assert_eq!(is_lossy(&file(&[chunk(b"VP8X", &[0; 10]), frame(chunk(name, &[0; 9]))])), lossy);
        }
        assert!(!is_lossy(b"RIFF"));
        assert!(!is_lossy(&file(&[b"VP8X\xff\xff\xff\xff".to_vec()])));
    }
}
