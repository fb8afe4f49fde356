//! The files of a folder that are images: by their names, and for unusual names by their first bytes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::image::decode::is_readable;
use crate::image_name::{has_ending, is_image_name, is_other_image_name};

/// A file in the listing of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// An image that is read. The check of a dataset reports it if it is damaged.
    Image,
    /// An image that is not read.
    UnreadImage,
    /// A file that may hold images, such as an array or an archive.
    Packed,
    /// A file that belongs to no dataset: of an operating system, or about the data.
    Clutter,
    Other,
}

/// The endings of files that lie beside images and are none, in lower case. Such files are not opened.
const COMPANIONS: [&str; 24] = [
    "ann", "bat", "cfg", "csv", "db", "ini", "ipynb", "json", "jsonl", "log", "lst", "ndjson", "ods", "parquet", "py",
    "sh", "sqlite", "toml", "tsv", "txt", "xlsx", "xml", "yaml", "yml",
];

/// The endings of files that may hold images, in lower case.
const PACKED: [&str; 21] = [
    "7z", "avi", "bz2", "gz", "h5", "hdf5", "mat", "mkv", "mov", "mp4", "npy", "npz", "pdf", "pkl", "pt", "pth", "rar",
    "tar", "tgz", "xz", "zip",
];

/// The names of files that operating systems keep in folders, in lower case.
const OF_SYSTEMS: [&str; 5] = ["desktop.ini", "ehthumbs.db", "icon\r", "thumbs.db", "thumbs.db:encryptable"];
/// The beginnings of names of files about the data, in lower case.
const ABOUT: [&str; 9] =
    ["authors", "changelog", "checksum", "citation", "copying", "licence", "license", "notice", "readme"];
/// The endings of files about the data, and of links.
const ABOUT_ENDINGS: [&str; 14] =
    ["doc", "docx", "htm", "html", "lnk", "md", "md5", "rst", "rtf", "sha1", "sha256", "sha512", "sig", "url"];

/// Returns whether a file belongs to no dataset by its name.
fn is_clutter(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    OF_SYSTEMS.contains(&name.as_str())
        || ABOUT.iter().any(|known| name.starts_with(known))
        || has_ending(path, &ABOUT_ENDINGS)
}

/// Returns the kind of a file.
pub(super) fn content(path: &Path) -> Content {
    if is_image_name(path) {
        return Content::Image;
    }
    if is_clutter(path) {
        return Content::Clutter;
    }
    let ending = path.extension().unwrap_or_default();
    if COMPANIONS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
        return Content::Other;
    }
    if PACKED.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
        return Content::Packed;
    }
    let is_other = is_other_image_name(path);
    // In `part.2026.11.28`, a dot begins no ending; in `part.png.1`, a copy is numbered.
    let has_none = ending.as_encoded_bytes().iter().all(u8::is_ascii_digit)
        && !path.file_stem().is_some_and(|stem| is_image_name(OsStr::new(stem)));
    match begins_like_an_image(path) {
        true if is_other || has_none => Content::Image,
        true => Content::UnreadImage,
        false if is_other => Content::UnreadImage,
        false => Content::Other,
    }
}

/// Returns whether a file has the first bytes of an image that is read. Pipes and devices are not opened.
fn begins_like_an_image(path: &Path) -> bool {
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let mut start = Vec::with_capacity(32);
    let read = File::open(path).and_then(|file| file.take(32).read_to_end(&mut start));
    read.is_ok() && is_readable(&start)
}
