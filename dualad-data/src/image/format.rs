//! The format of a file by its content.

use std::path::Path;

use image::ImageFormat;

use crate::error::{Error, Result};

/// The formats that are read, for messages.
const READ: &str = "png, jpg, bmp, tiff, webp, gif or pnm";

/// Returns the format of a file by its first bytes.
pub(super) fn format(start: &[u8], path: &Path) -> Result<ImageFormat> {
    let format = guess(start, path)?;
    let (feature, is_enabled) = match format {
        ImageFormat::Png => ("png", cfg!(feature = "png")),
        ImageFormat::Jpeg => ("jpeg", cfg!(feature = "jpeg")),
        ImageFormat::Bmp => ("bmp", cfg!(feature = "bmp")),
        ImageFormat::Tiff => ("tiff", cfg!(feature = "tiff")),
        ImageFormat::Gif => ("gif", cfg!(feature = "gif")),
        ImageFormat::Pnm => ("pnm", cfg!(feature = "pnm")),
        _ => ("webp", cfg!(feature = "webp")),
    };
    if is_enabled { Ok(format) } else { Err(Error::FormatDisabled { path: path.into(), feature }) }
}

/// Guesses a format of this crate, whether it is enabled or not.
fn guess(start: &[u8], path: &Path) -> Result<ImageFormat> {
    if let Some(kind) = unread(start) {
        let reason = format!("it is {kind}, not {READ}");
        return Err(Error::Unsupported { path: path.into(), reason });
    }
    if let Some(kind) = no_image(start) {
        return Err(Error::Decode { path: path.into(), reason: format!("it is {kind}, not an image") });
    }
    // BigTIFF, which `image` does not recognize.
    if start.starts_with(b"II\x2b\0") || start.starts_with(b"MM\0\x2b") {
        return Ok(ImageFormat::Tiff);
    }
    match image::guess_format(start) {
        Ok(
            known @ (ImageFormat::Png
            | ImageFormat::Jpeg
            | ImageFormat::Bmp
            | ImageFormat::Tiff
            | ImageFormat::WebP
            | ImageFormat::Gif
            | ImageFormat::Pnm),
        ) => Ok(known),
        Ok(other) => {
            let reason = format!("its content is {other:?}, not {READ}");
            Err(Error::Unsupported { path: path.into(), reason })
        }
        Err(_) => Err(Error::Decode { path: path.into(), reason: format!("its content is not {READ}") }),
    }
}

/// Describes an image of a format that is not read.
fn unread(start: &[u8]) -> Option<&'static str> {
    let at = |position: usize, bytes: &[u8]| start.get(position..).is_some_and(|rest| rest.starts_with(bytes));
    // ISO base media files begin with the length of a box, its name and the brand of the file.
    if at(4, b"ftyp") {
        return Some(match start.get(8..12).unwrap_or_default() {
            b"avif" | b"avis" => "an AVIF image",
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
                "a HEIC image, as many phones save it (choose jpg in the settings of the camera)"
            }
            b"crx " => "a camera's raw file (CR3)",
            _ => "a video or a file of the MP4 family",
        });
    }
    let kinds: [(usize, &[u8], &str); 20] = [
        (4, b"jP  ", "a JPEG 2000 image"),
        (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (4, b"JXL ", "a JPEG XL image"),
        (0, b"\xff\x0a", "a JPEG XL image"),
        (0, b"II\xbc", "a JPEG XR image"),
        (0, b"8BPS", "a Photoshop file"),
        (0, b"%PDF", "a PDF document"),
        (0, b"<svg", "an SVG drawing"),
        (128, b"DICM", "a DICOM file"),
        (0, b"SIMPLE  =", "a FITS file"),
        (0, b"\x93NUMPY", "an array of NumPy"),
        (0, b"\x89HDF", "an HDF5 file"),
        (0, b"gimp xcf", "a GIMP file"),
        (8, b"CR\x02\0", "a camera's raw file (CR2)"),
        (0, b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)"),
        (0, b"IIU\0", "a camera's raw file (RW2)"),
        (0, b"IIRO", "a camera's raw file (ORF)"),
        (8, b"AVI LIST", "a video (AVI)"),
        (12, b"CgBI", "a png as Xcode changes it for iOS"),
        (0, b"Pf", "a floating-point image (PFM)"),
    ];
    let found = kinds.into_iter().find(|(position, bytes, _)| at(*position, bytes));
    found.map(|(.., kind)| kind).or_else(|| at(0, b"PF\n").then_some("a floating-point image (PFM)"))
}

/// Describes a file that people find in place of an image.
fn no_image(start: &[u8]) -> Option<&'static str> {
    let text = start.trim_ascii_start();
    let tag = |name: &[u8]| text.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
    let is_zero = start.len() > 15 && start.iter().all(|&byte| byte == 0);
    let kinds = [
        (start.starts_with(b"version https://git-lfs"), "a pointer of Git LFS (`git lfs pull` fetches the files)"),
        (tag(b"<!doctype html") || tag(b"<html"), "a web page (the download failed)"),
        (tag(b"<?xml"), "an XML document"),
        (start.starts_with(b"PK\x03\x04"), "a zip archive (unpack it)"),
        (start.starts_with(b"\x1f\x8b"), "a gzip archive (unpack it)"),
        (start.starts_with(b"\0\x05\x16\x07"), "a file of macOS about another file (AppleDouble)"),
        (is_zero, "only zeros at its start (an interrupted copy)"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With all features on, no format is left out: `tools/checks/features.sh` runs this test without some of them.
    #[test]
    fn a_format_that_is_left_out_is_named() {
        for (feature, is_enabled, start) in [
            ("bmp", cfg!(feature = "bmp"), &b"BM"[..]),
            ("gif", cfg!(feature = "gif"), b"GIF89a"),
            ("jpeg", cfg!(feature = "jpeg"), b"\xff\xd8\xff\xe0"),
            ("png", cfg!(feature = "png"), b"\x89PNG\r\n\x1a\n"),
            ("pnm", cfg!(feature = "pnm"), b"P5"),
            ("tiff", cfg!(feature = "tiff"), b"II\x2a\0"),
            ("webp", cfg!(feature = "webp"), b"RIFF\x10\0\0\0WEBP"),
        ] {
            let format = format(start, Path::new("part"));
            assert_eq!(format.is_ok(), is_enabled, "{format:?}");
            if let Err(error) = format {
                assert!(matches!(error, Error::FormatDisabled { feature: found, .. } if found == feature), "{error}");
            }
        }
    }

    #[test]
    fn files_that_are_not_read_are_named() {
        let error = |start: &[u8]| guess(start, Path::new("a.jpg")).unwrap_err();
        for (start, name) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0"[..], "HEIC"),
            (b"\0\0\0\x18ftypavif", "AVIF"),
            (b"\0\0\0\x18ftypisom", "video"),
            (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
            (b"\xff\x0a\x00", "JPEG XL"),
            (b"%PDF-1.7", "PDF"),
            (b"II*\0\x10\0\0\0CR\x02\0", "CR2"),
            (b"RIFF\0\0\0\0AVI LIST", "AVI"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBI", "iOS"),
            (b"v/1\x01", "OpenExr"),
        ] {
            let error = error(start);
            assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(name), "{error}");
            assert!(error.to_string().contains("convert it to png"), "{error}");
        }
        for (start, name) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid"[..], "git lfs pull"),
            (b"\n<!DOCTYPE HTML><html>", "web page"),
            (b"PK\x03\x04\x14\0", "zip"),
            (&[0; 64], "zeros"),
            (b"words", "png, jpg"),
        ] {
            let error = error(start);
            assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains(name), "{error}");
        }
    }
}
