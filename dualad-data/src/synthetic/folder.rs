//! The folder that takes a dataset: what in it may be replaced, and how it is without losing anything on the way.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use dualad_store::{UNFINISHED, is_unfinished, sha256_of_file};
use rayon::prelude::*;

use super::error::SyntheticError;
use crate::error::{Error, Result};

/// The file that tells a folder of ours: hidden, of a name that nobody else gives, and with a first line that says so. The
/// lines after it name every other file, so that one that was added is found, and, once the dataset is complete, the file's
/// SHA-256 before a tab, so that one that was changed is found too.
const MARKER: &str = ".dualad-synthetic";
const FIRST_LINE: &str = "A generated dataset: dualad may replace this folder. Its files:";
/// 100 000 pictures of a few categories take a few MiB.
const LARGEST_MARKER: u64 = 256 << 20;

/// A dataset's folder and the two beside it that take what is half done.
pub(super) struct DatasetFolder {
    folder: PathBuf,
    /// Where the new dataset grows.
    pub(super) partial: PathBuf,
    /// Where the one that is replaced waits until the new one is in place.
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

    /// Fails, and changes nothing, if any of the three folders holds what is not ours. Puts back what an interrupted call
    /// had moved away, and removes the rest of what it left.
    pub(super) fn prepare(&self) -> Result<()> {
        if let Some(found) = stranger(&self.folder, false)? {
            return Err(SyntheticError::FolderInUse { folder: self.folder.clone(), found }.into());
        }
        for (leftover, growing) in [(&self.partial, true), (&self.old, false)] {
            if stranger(leftover, growing)?.is_some() {
                let advice = "it is not from this generator, and a dataset is written there first; move it away";
                return Err(SyntheticError::NotAFolder { path: leftover.clone(), advice }.into());
            }
        }
        if exists(&self.old)? {
            if exists(&self.folder)? {
                fs::remove_dir_all(&self.old).map_err(io("remove", &self.old))?;
            } else {
                fs::rename(&self.old, &self.folder).map_err(io("put back", &self.folder))?;
            }
        }
        if exists(&self.partial)? {
            fs::remove_dir_all(&self.partial).map_err(io("remove", &self.partial))?;
        }
        Ok(())
    }

    /// Makes the folder in which the dataset grows; told as ours before anything else is in it.
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

    /// Writes down what the files hold.
    pub(super) fn seal(&self, files: &[&str]) -> Result<()> {
        let sums = files.par_iter().map(|file| Ok(format!("{}\t{file}\n", sum(&self.partial.join(file))?)));
        let text = format!("{FIRST_LINE}\n{}", sums.collect::<Result<String>>()?);
        let marker = self.partial.join(MARKER);
        dualad_store::write_atomically(&marker, text.as_bytes()).map_err(io("write", &marker))
    }

    /// Moves the finished dataset to its place, and one that was there out of the way until that is done.
    pub(super) fn finish(&self) -> Result<()> {
        let replaces = exists(&self.folder)?;
        if replaces {
            fs::rename(&self.folder, &self.old).map_err(io("replace", &self.folder))?;
        }
        if let Err(error) = fs::rename(&self.partial, &self.folder) {
            if replaces {
                // Where this fails too, the next call puts it back.
                let _ = fs::rename(&self.old, &self.folder);
            }
            return Err(io("write", &self.folder)(error));
        }
        if replaces {
            // The dataset is in place: that an old one cannot be removed is no failure. The next call tries again.
            let _ = fs::remove_dir_all(&self.old);
        }
        Ok(())
    }

    /// Removes what was drawn before an error.
    pub(super) fn abandon(&self) {
        // The first error says more than one about cleaning up.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// The first thing in a folder that this generator did not write, relative to the folder; nothing where there is no folder.
/// While a dataset grows, the marker may be half written.
fn stranger(folder: &Path, growing: bool) -> Result<Option<PathBuf>> {
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

/// The files that a folder's marker names, each with its sum where that is known, and the marker; `None` where there is no
/// marker of ours.
fn listed(folder: &Path) -> Result<Option<HashMap<PathBuf, Option<String>>>> {
    let marker = folder.join(MARKER);
    // Reading a pipe, or what a link leads to, may never end.
    match fs::symlink_metadata(&marker) {
        Ok(found) if found.is_file() && found.len() <= LARGEST_MARKER => {}
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

fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io("read", path)(error)),
    }
}

pub(super) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(io("create", folder))
}

pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Io { action, path, error }
}
