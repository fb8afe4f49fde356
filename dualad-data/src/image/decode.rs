//! Bytes that nobody vouches for become pictures, within limits.

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::dataset::MaskRule;
use crate::error::{Error, Result};

/// How large a file may be, and the image in it. Both are checked before anything of that size is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes on disk. Default: 256 MiB.
    pub file_bytes: u64,
    /// Width times height. Default: 100 million, which decode to 300 MB (8-bit RGB).
    pub pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 256 << 20, pixels: 100_000_000 }
    }
}

impl Limits {
    /// Sets the largest file, in bytes.
    #[must_use]
    pub fn file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }

    /// Sets the largest image, in pixels.
    #[must_use]
    pub fn pixels(mut self, pixels: u64) -> Self {
        self.pixels = pixels;
        self
    }
}

/// An 8-bit RGB image, upright.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// Which pixels are defective: 1 for those, 0 for the others.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

macro_rules! raster {
    ($type:ident, $channels:expr, $what:literal) => {
        /// The size alone: a message that holds an image should stay readable.
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({}x{})", stringify!($type), self.width, self.height)
            }
        }

        impl $type {
            #[doc = concat!("Takes pixels row by row: ", $what, ".")]
            pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
                let expected = u64::from(width) * u64::from(height) * $channels;
                if expected == 0 || pixels.len() as u64 != expected {
                    return Err(Error::Value {
                        field: "pixels",
                        value: format!("{} bytes", pixels.len()),
                        reason: format!("{width}x{height} pixels (width x height, both at least 1) take {expected}"),
                    });
                }
                Ok(Self { width, height, pixels })
            }

            /// Columns, at least 1.
            pub fn width(&self) -> u32 {
                self.width
            }

            /// Rows, at least 1.
            pub fn height(&self) -> u32 {
                self.height
            }

            #[doc = concat!("Row by row: ", $what, ".")]
            pub fn pixels(&self) -> &[u8] {
                &self.pixels
            }
        }
    };
}

raster!(Picture, 3, "`[height, width, 3]`, red first");
raster!(Mask, 1, "`[height, width]`");

impl Picture {
    /// Reads png, jpg, bmp, tiff or webp, recognised by content and not by name.
    ///
    /// Grey becomes RGB, a palette its colours, 16 bits are rounded to 8, alpha is dropped (as OpenCV does), EXIF
    /// orientation is applied. Of several frames or pages, the first counts.
    pub fn read(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        Self::decode(&read(path, limits)?, path, limits)
    }

    /// [`Picture::read`] from memory. `name` is what errors call it.
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let image = decode(bytes, name.as_ref(), limits)?;
        let image = image.into_rgb8();
        Ok(Self { width: image.width(), height: image.height(), pixels: image.into_raw() })
    }
}

impl Mask {
    /// Reads a mask, of every kind that [`Picture::read`] takes. Of a coloured one, the brightest channel counts.
    pub fn read(path: impl AsRef<Path>, rule: MaskRule, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        Self::decode(&read(path, limits)?, path, rule, limits)
    }

    /// [`Mask::read`] from memory. `name` is what errors call it.
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>, rule: MaskRule, limits: &Limits) -> Result<Self> {
        let image = decode(bytes, name.as_ref(), limits)?;
        let (width, height) = (image.width(), image.height());
        let pixels = match image {
            DynamicImage::ImageLuma8(grey) => {
                grey.into_raw().into_iter().map(|value| u8::from(rule.marks(value))).collect()
            }
            // The rule counts at the file's own depth: rounded to 8 bits, a faint value would be 0 and a bright one white.
            deep @ (DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA16(_)
            | DynamicImage::ImageRgb16(_)
            | DynamicImage::ImageRgba16(_)) => {
                let deep = deep.into_rgb16();
                let brightest = deep.pixels().map(|pixel| pixel.0.into_iter().fold(0, u16::max));
                brightest.map(|value| u8::from(rule.marks_deep(value))).collect()
            }
            other => {
                let shallow = other.into_rgb8();
                let brightest = shallow.pixels().map(|pixel| pixel.0.into_iter().fold(0, u8::max));
                brightest.map(|value| u8::from(rule.marks(value))).collect()
            }
        };
        Ok(Self { width, height, pixels })
    }

    /// Whether no pixel is defective.
    pub fn is_empty(&self) -> bool {
        self.pixels.iter().all(|&pixel| pixel == 0)
    }
}

/// A file's content. Folders, pipes and devices are refused before they are opened: reading one may never end.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let io = |error| Error::Io { action: "read", path: path.into(), error };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file")));
    }
    let too_large = |found| Error::TooLarge { path: path.into(), unit: "bytes", found, limit: limits.file_bytes };
    if metadata.len() > limits.file_bytes {
        return Err(too_large(metadata.len()));
    }
    // The length is the file system's word, and may be a sparse file's: memory is asked for, not taken for granted.
    let mut bytes = Vec::new();
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX).saturating_add(1);
    bytes.try_reserve_exact(length).map_err(|_| io(std::io::ErrorKind::OutOfMemory.into()))?;
    // The file may have grown since.
    File::open(path).map_err(io)?.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limits.file_bytes { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

fn decode(bytes: &[u8], path: &Path, limits: &Limits) -> Result<DynamicImage> {
    if bytes.is_empty() {
        return Err(Error::EmptyFile { path: path.into() });
    }
    // The decoders are meant not to panic, whatever the bytes; where one does, it is one bad image and not the end.
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(bytes, path, limits)))
        .unwrap_or_else(|_| Err(Error::Decode { path: path.into(), reason: "the decoder gave up on it".into() }))
}

fn decode_unguarded(bytes: &[u8], path: &Path, limits: &Limits) -> Result<DynamicImage> {
    let unsupported = |reason: String| Error::Unsupported { path: path.into(), reason };
    let of_image = |error: ImageError| match error {
        ImageError::Unsupported(error) => unsupported(error.to_string()),
        // A file's size says nothing: it is the numbers in its header that ask for more than there may be.
        error => Error::Decode { path: path.into(), reason: error.to_string() },
    };
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| Error::Io {
        action: "read",
        path: path.into(),
        error,
    })?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Bmp | ImageFormat::Tiff | ImageFormat::WebP) => {}
        Some(other) => return Err(unsupported(format!("its content is {other:?}, not png, jpg, bmp, tiff or webp"))),
        None => {
            let reason = "its content is not png, jpg, bmp, tiff or webp".into();
            return Err(Error::Decode { path: path.into(), reason });
        }
    }
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_ends(bytes) {
        let reason = "it ends in the middle of the image".into();
        return Err(Error::Decode { path: path.into(), reason });
    }
    let mut allowed = image::Limits::default();
    // 16-bit RGBA, twice: some decoders hold a copy.
    allowed.max_alloc = Some(limits.pixels.saturating_mul(16).saturating_add(1 << 20));
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(of_image)?;
    let (width, height) = decoder.dimensions();
    let found = u64::from(width) * u64::from(height);
    if found == 0 {
        return Err(Error::Decode { path: path.into(), reason: format!("it has {width}x{height} pixels") });
    }
    if found > limits.pixels {
        return Err(Error::TooLarge { path: path.into(), unit: "pixels", found, limit: limits.pixels });
    }
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        return Err(unsupported("its samples are floating-point numbers, whose range nothing tells".into()));
    }
    // Metadata that cannot be read is no reason to refuse the pixels.
    let orientation = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(of_image)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(picture)
}

/// Whether a jpeg has its end-of-image marker (ITU T.81, annex B). Decoders fill in grey for what a truncated one lacks,
/// which would be learnt as normal.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    let mut position = 2;
    // Segments before the first scan tell their length: a thumbnail in one of them has an end of its own.
    while let Some([0xff, marker, rest @ ..]) = bytes.get(position..) {
        match (*marker, rest) {
            (SCAN, data) => return data.windows(2).rev().any(|pair| pair == [0xff, END]),
            // Bytes that fill up, and markers without a length.
            (0xff, _) => position += 1,
            (0x01 | 0xd0..=0xd8, _) => position += 2,
            (_, [high, low, ..]) => position += 2 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => return false,
        }
    }
    // No scan where one should be: the decoder has the better words for it.
    position < bytes.len()
}
