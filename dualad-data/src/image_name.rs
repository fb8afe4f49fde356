//! The names of image files.

use std::ffi::OsStr;
use std::path::Path;

/// The endings of files that are taken for images, in lower case. The content decides the format.
pub const IMAGE_ENDINGS: [&str; 19] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "jif", "pjpeg", "pjp", "bmp", "dib", "tif", "tiff", "webp", "gif", "pnm",
    "pbm", "pgm", "ppm", "pam",
];

/// The endings of other image files, in lower case. Such a file is read if its content is of a format that is read.
pub const OTHER_IMAGE_ENDINGS: [&str; 39] = [
    "apng", "arw", "avif", "btf", "cr2", "cr3", "dcm", "dds", "dicom", "dng", "exr", "fits", "hdr", "heic", "heif",
    "hif", "ico", "img", "j2k", "jp2", "jpf", "jpx", "jxl", "jxr", "mpo", "nef", "orf", "pcx", "pfm", "psd", "qoi",
    "ras", "raw", "rw2", "svg", "tf8", "tga", "wdp", "xcf",
];

/// Returns whether a file has one of the [`IMAGE_ENDINGS`], in upper or lower case.
///
/// ```
/// use dualad_data::is_image_name;
///
/// assert!(is_image_name("parts/001.JFIF") && !is_image_name("parts/001.heic"));
/// ```
pub fn is_image_name(path: impl AsRef<Path>) -> bool {
    has_ending(path.as_ref(), &IMAGE_ENDINGS)
}

/// Returns whether a file has one of the [`OTHER_IMAGE_ENDINGS`], in upper or lower case.
pub fn is_other_image_name(path: impl AsRef<Path>) -> bool {
    has_ending(path.as_ref(), &OTHER_IMAGE_ENDINGS)
}

/// Returns whether a file has one of these endings, in upper or lower case.
pub(crate) fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|found| endings.iter().any(|known| found.eq_ignore_ascii_case(known)))
}
