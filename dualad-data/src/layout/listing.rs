//! One folder's content, sorted. No reader goes deeper than its layout does, so a loop of links cannot hold it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"];

pub(crate) struct Folder {
    pub(crate) name: OsString,
    pub(crate) path: PathBuf,
}

#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) folders: Vec<Folder>,
    pub(crate) images: Vec<PathBuf>,
}

/// Folders and image files, each sorted by name; a link that leads nowhere counts as a file, so that a check names it.
pub(crate) fn list(folder: &Path) -> Result<Listing> {
    let io = |error| Error::Io { action: "list", path: folder.into(), error };
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        // What the entry itself says spares a look at every one of a million files; a link has to be followed.
        let kind = entry.file_type().map_err(io)?;
        if kind.is_dir() || kind.is_symlink() && path.is_dir() {
            listing.folders.push(Folder { name, path });
        } else if is_image(&path) {
            listing.images.push(path);
        }
    }
    listing.folders.sort_by(|a, b| a.name.as_encoded_bytes().cmp(b.name.as_encoded_bytes()));
    listing.images.sort_by(|a, b| name(a).as_encoded_bytes().cmp(name(b).as_encoded_bytes()));
    Ok(listing)
}

/// [`list`], and nothing for a folder that does not exist.
pub(crate) fn list_if_there(folder: &Path) -> Result<Listing> {
    if folder.is_dir() { list(folder) } else { Ok(Listing::default()) }
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|found| EXTENSIONS.iter().any(|known| found.eq_ignore_ascii_case(known)))
}

fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// A file's name without its extension.
pub(crate) fn stem(path: &Path) -> &OsStr {
    path.file_stem().unwrap_or_default()
}

/// A folder's name for people. A relative root such as `.` or `..` gets the name of the folder that it stands for.
pub(crate) fn display_name(folder: &Path) -> String {
    let name = folder.file_name().map(OsStr::to_os_string);
    let name = name.or_else(|| folder.canonicalize().ok().and_then(|path| path.file_name().map(OsStr::to_os_string)));
    name.map_or_else(|| "dataset".into(), |name| name.to_string_lossy().into_owned())
}
