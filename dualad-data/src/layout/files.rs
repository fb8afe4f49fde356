//! Files of annotations, and the images below a folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::encoding::utf8;
use super::listing::list;
use crate::error::{Error, Result};
use crate::image::{Limits, decode};
use crate::image_name::has_ending;

/// The largest file of annotations in bytes.
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// The depth to which folders are searched for images.
pub(super) const DEPTH: usize = 6;

/// Reads a file of annotations as UTF-8, without its byte order mark. Its size is checked first.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    Ok(utf8(decode::read(path, &Limits::default().with_file_bytes(MAX_BYTES))?))
}

/// Reads a JSON file.
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = bytes(path)?;
    serde_json::from_slice(&text).map_err(|error| json_error(path, error.line() as u64, &text, &error))
}

/// Describes invalid JSON in a line of a text.
pub(super) fn json_error(path: &Path, line: u64, text: &[u8], error: &serde_json::Error) -> Error {
    let what = if error.is_data() {
        "does not have the expected content"
    } else if std::str::from_utf8(text).is_err() {
        "is neither UTF-8 nor UTF-16, or it is damaged; save it as UTF-8"
    } else {
        "is not complete and valid JSON"
    };
    Error::Table { path: path.into(), line: line.max(1), reason: format!("it {what}: {error}") }
}

/// Returns the folder of a file or folder.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the files directly in a folder that have one of these extensions, sorted by name. A folder that does not exist has
/// none.
pub(super) fn files_with(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let io = |error| Error::Io { action: "list", path: folder.into(), error };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && has_ending(&path, extensions) && path.is_file() {
            found.push(path);
        }
    }
    found.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(found)
}

/// Returns the images in a folder and its subfolders, folder by folder. A folder that links reach again is listed once.
pub(super) fn images_below(root: &Path) -> Result<Vec<PathBuf>> {
    fn add(folder: &Path, depth: usize, seen: &mut HashSet<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
        if !folder.canonicalize().is_ok_and(|real| seen.insert(real)) {
            return Ok(());
        }
        let listing = list(folder)?;
        found.extend(listing.images);
        if depth > 0 {
            for inner in &listing.folders {
                add(&inner.path, depth - 1, seen, found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    add(root, DEPTH, &mut HashSet::new(), &mut found)?;
    Ok(found)
}
