//! The sorted content of a folder. Readers search to a fixed depth, so loops of links end.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::content::{Content, content};
use super::names::is_foreign;
use crate::error::{Error, Result};

/// A folder in a listing.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) name: OsString,
    pub(crate) path: PathBuf,
}

/// The folders and files directly in a folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) folders: Vec<Folder>,
    pub(crate) images: Vec<PathBuf>,
    /// Files that are images and are not read, by their name or their format.
    pub(crate) unread: Vec<PathBuf>,
    /// Files that may hold images, such as arrays and archives.
    pub(crate) packed: Vec<PathBuf>,
    /// Files that are none of these, apart from those of systems and those about the data (`Thumbs.db`, `LICENSE`).
    pub(crate) others: Vec<PathBuf>,
    /// Links that lead to no file and no folder, apart from those with the name of an image.
    pub(crate) broken_links: Vec<PathBuf>,
}

/// Lists folders and image files, each sorted by name. A broken link with the name of an image is an image, so that a check reports it.
/// Files and folders that belong to a system and not to a dataset are left out.
pub(crate) fn list(folder: &Path) -> Result<Listing> {
    let io = |error| Error::Io { action: "list", path: folder.into(), error };
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if is_foreign(&name) {
            continue;
        }
        let path = entry.path();
        // The type in the entry avoids a system call for each of a million files. Links have to be followed.
        let kind = entry.file_type().map_err(io)?;
        if kind.is_dir() || kind.is_symlink() && path.is_dir() {
            listing.folders.push(Folder { name, path });
            continue;
        }
        match content(&path) {
            Content::Image => listing.images.push(path),
            Content::UnreadImage => listing.unread.push(path),
            Content::Packed => listing.packed.push(path),
            Content::Other if kind.is_symlink() && !path.exists() => listing.broken_links.push(path),
            Content::Other => listing.others.push(path),
            Content::Clutter => {}
        }
    }
    listing.folders.sort_by(|a, b| a.name.as_encoded_bytes().cmp(b.name.as_encoded_bytes()));
    let Listing { images, unread, packed, others, broken_links, .. } = &mut listing;
    for files in [images, unread, packed, others, broken_links] {
        files.sort_by(|a, b| file_name(a).as_encoded_bytes().cmp(file_name(b).as_encoded_bytes()));
    }
    Ok(listing)
}

/// Lists a folder like [`list`]. A folder that does not exist is empty.
pub(crate) fn list_if_there(folder: &Path) -> Result<Listing> {
    if folder.is_dir() { list(folder) } else { Ok(Listing::default()) }
}

/// Returns an error if images in a folder have names with backslashes: paths of Windows, which a program for archives took for names.
pub(crate) fn refuse_paths_as_names(folder: &Path) -> Result<()> {
    let images = list(folder)?.images;
    let mut found = images.iter().filter(|path| file_name(path).as_encoded_bytes().contains(&b'\\'));
    let (Some(first), Some(_)) = (found.next(), found.next()) else { return Ok(()) };
    let reason = format!(
        "{} of its {} images have backslashes in their names (such as {}): a program that does not know the paths of Windows has unpacked an \
         archive into one folder; unpack it with one that makes folders of them (such as 7z), or rename the files",
        2 + found.count(),
        images.len(),
        file_name(first).to_string_lossy()
    );
    Err(Error::Layout { path: folder.into(), reason })
}

/// Returns the name of a file.
pub(crate) fn file_name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// Returns the name of a file without its extension.
pub(crate) fn stem(path: &Path) -> &OsStr {
    path.file_stem().unwrap_or_default()
}

/// Returns the name of a folder for display. A path such as `.` or `..` gets the name of the folder it refers to.
pub(crate) fn display_name(folder: &Path) -> String {
    let name = folder.file_name().map(OsStr::to_os_string);
    let name = name.or_else(|| folder.canonicalize().ok().and_then(|path| path.file_name().map(OsStr::to_os_string)));
    name.map_or_else(|| "dataset".into(), |name| name.to_string_lossy().into_owned())
}
