//! The folder of a generated dataset, which is replaced as a whole and without loss of other files.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use dualad_store::{UNFINISHED, is_unfinished, rename, sha256_of_file};
use rayon::prelude::*;

use crate::error::{Error, Result, SyntheticError};

/// The marker file of a generated dataset. After its first line, it lists every other file, which shows added files. Once
/// the dataset is complete, the SHA-256 and a tab precede each name, which shows changed files.
const MARKER: &str = ".dualad-synthetic";
const FIRST_LINE: &str = "A generated dataset: dualad may replace this folder. Its files:";
/// The largest marker file in bytes. 100 000 pictures of a few categories take a few MiB.
const MAX_MARKER_BYTES: u64 = 256 << 20;

/// The folder of a dataset, and two folders beside it for unfinished changes.
pub(super) struct DatasetFolder {
    folder: PathBuf,
    /// The folder of the unfinished dataset.
    pub(super) partial: PathBuf,
    /// The folder of the replaced dataset, until the new one is in place.
    old: PathBuf,
}

impl DatasetFolder {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let Some(name) = folder.file_name() else {
            let advice = "end it with the name of the folder to make";
            return Err(SyntheticError::NotAFolder { path: folder.to_owned(), advice }.into());
        };
        let beside = |prefix: &str, suffix: &str| {
            let mut hidden = OsString::from(prefix);
            hidden.push(name);
            hidden.push(suffix);
            folder.with_file_name(hidden)
        };
        Ok(Self { folder: folder.to_owned(), partial: beside(UNFINISHED, ""), old: beside(".", ".old") })
    }

    /// Restores the dataset that an interrupted call had moved, and removes its other files. Fails without any change if one
    /// of the three folders contains foreign files.
    pub(super) fn prepare(&self) -> Result<()> {
        if let Some(found) = foreign_file(&self.folder, false)? {
            return Err(SyntheticError::FolderInUse { folder: self.folder.clone(), found }.into());
        }
        for (leftover, growing) in [(&self.partial, true), (&self.old, false)] {
            if foreign_file(leftover, growing)?.is_some() {
                let advice = "it is not from this generator, which writes the dataset there first; move it away";
                return Err(SyntheticError::NotAFolder { path: leftover.clone(), advice }.into());
            }
        }
        if exists(&self.old)? {
            if exists(&self.folder)? {
                fs::remove_dir_all(&self.old).map_err(io("remove", &self.old))?;
            } else {
                rename(&self.old, &self.folder).map_err(io("put back", &self.folder))?;
            }
        }
        if exists(&self.partial)? {
            fs::remove_dir_all(&self.partial).map_err(io("remove", &self.partial))?;
        }
        Ok(())
    }

    /// Creates the folder of the unfinished dataset, with the marker as its first file.
    pub(super) fn begin<'a>(&self, files: impl Iterator<Item = &'a str>) -> Result<()> {
        create(&self.partial)?;
        let mut text = format!("{FIRST_LINE}\n");
        for file in files {
            text.push_str(file);
            text.push('\n');
        }
        let marker = self.partial.join(MARKER);
        fs::write(&marker, text).map_err(io("write", &marker))
    }

    /// Writes the digests of the files to the marker.
    pub(super) fn seal(&self, files: &[&str]) -> Result<()> {
        let sums = files.par_iter().map(|file| Ok(format!("{}\t{file}\n", sum(&self.partial.join(file))?)));
        let text = format!("{FIRST_LINE}\n{}", sums.collect::<Result<String>>()?);
        let marker = self.partial.join(MARKER);
        dualad_store::write_atomically(&marker, text.as_bytes()).map_err(io("write", &marker))
    }

    /// Moves the finished dataset to its place. An existing dataset is moved away first, and removed afterwards.
    pub(super) fn finish(&self) -> Result<()> {
        let replaces = exists(&self.folder)?;
        if replaces {
            rename(&self.folder, &self.old).map_err(io("replace", &self.folder))?;
        }
        if let Err(error) = rename(&self.partial, &self.folder) {
            if replaces {
                // If this fails too, the next call restores it.
                let _ = rename(&self.old, &self.folder);
            }
            return Err(io("write", &self.folder)(error));
        }
        if replaces {
            // The new dataset is in place, so this error is ignored. The next call tries again.
            let _ = fs::remove_dir_all(&self.old);
        }
        Ok(())
    }

    /// Removes the unfinished dataset after an error.
    pub(super) fn abandon(&self) {
        // The first error is more useful than one of the cleanup.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// Returns the first foreign file or folder in a folder, relative to it. A folder that does not exist has none. In an
/// unfinished dataset (`growing`), the marker may be incomplete.
fn foreign_file(folder: &Path, growing: bool) -> Result<Option<PathBuf>> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", folder)(error)),
        Ok(found) if !found.is_dir() => {
            let advice = "there is a file or a link of that name; name another folder";
            return Err(SyntheticError::NotAFolder { path: folder.to_owned(), advice }.into());
        }
        Ok(_) => {}
    }
    let marker = folder.join(MARKER);
    let files = listed(folder)?;
    let is_ours = |path: &Path| match &files {
        Some(files) => files.contains_key(path),
        None => growing && path == marker,
    };
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(io("read", &next))? {
            let path = entry.map_err(io("read", &next))?.path();
            let kind = fs::symlink_metadata(&path).map_err(io("read", &path))?;
            if kind.is_dir() {
                open.push(path);
            } else if growing && next == folder && path.file_name().is_some_and(is_unfinished) {
                // The marker with the digests, before it was renamed.
            } else if !kind.is_file() || !is_ours(&path) {
                return Ok(Some(path.strip_prefix(folder).unwrap_or(&path).to_owned()));
            } else if let Some(Some(known)) = files.as_ref().and_then(|files| files.get(&path))
                && !growing
                && sum(&path)? != *known
            {
                let found = path.strip_prefix(folder).unwrap_or(&path).to_owned();
                return Err(SyntheticError::Changed { folder: folder.to_owned(), found }.into());
            }
        }
    }
    Ok(None)
}

/// Returns the SHA-256 of a file in hexadecimal digits.
fn sum(path: &Path) -> Result<String> {
    sha256_of_file(path).map_err(io("read", path))
}

/// Returns the files that the marker lists, with their digests if known, and the marker. `None` without a valid marker.
fn listed(folder: &Path) -> Result<Option<HashMap<PathBuf, Option<String>>>> {
    let marker = folder.join(MARKER);
    // Reading a pipe or the target of a link may never end.
    match fs::symlink_metadata(&marker) {
        Ok(found) if found.is_file() && found.len() <= MAX_MARKER_BYTES => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", &marker)(error)),
    }
    let text = String::from_utf8(fs::read(&marker).map_err(io("read", &marker))?).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Ok(None);
    }
    let files = lines.map(|line| match line.split_once('\t') {
        Some((sum, file)) => (folder.join(file), Some(sum.to_owned())),
        None => (folder.join(line), None),
    });
    Ok(Some(files.chain([(marker, None)]).collect()))
}

/// Returns whether a file, folder or link exists.
fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io("read", path)(error)),
    }
}

/// Creates a folder and its parents.
pub(super) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(io("create", folder))
}

/// Converts an error of the operating system.
pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Io { action, path, error }
}
