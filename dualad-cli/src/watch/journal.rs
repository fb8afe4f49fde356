//! The journal of a watched folder: what was done with each file, so that a program that starts again leaves nothing out and does
//! nothing twice.
//!
//! It is a file of JSON lines, the newest of a file's lines counts. The first line names the watched folder.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use dualad::store::{hex, is_file_at, open_alone, write_atomically};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, State};
use super::place::{Place, resolved};
use super::stamp::Stamp;

/// The version of the format.
const FORMAT: u64 = 1;
/// The maximum size of a line, in bytes.
const MAX_LINE: u64 = 64 << 10;
/// The number of superseded lines up to which a journal is not rewritten. With more entries than this, their number is the limit:
/// rewriting takes longer.
const MAX_SUPERSEDED: usize = 10_000;
/// The number of times that a journal is opened, where another program replaces it meanwhile.
const MAX_OPENED: usize = 100;

#[derive(Serialize, Deserialize)]
struct Line {
    image: String,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u64,
    folder: String,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The newest entries, each with its number in the order of all.
    entries: HashMap<String, (u64, Entry)>,
    /// The number of the last entry.
    last: u64,
    /// `None` for a journal in memory alone.
    file: Option<(PathBuf, File)>,
    /// The first line of the file.
    head: String,
    /// The number of lines, with those that are not written yet.
    lines: usize,
    /// The lines that are not written yet.
    unwritten: String,
    /// The length of the file, in bytes.
    length: u64,
    /// A note of lines that are damaged or missing.
    pub(super) damage: Option<String>,
}

impl Journal {
    /// Opens the journal of a folder, or makes one. Returns it, and true if it was there before.
    pub(super) fn open(path: &Path, folder: &Path) -> Result<(Self, bool), String> {
        let name = path.display();
        let wrong = |reason: &str| format!("cannot use the journal {name}: {reason}; name another one with --journal");
        let io = |error: std::io::Error| wrong(&error.to_string());
        let path = &resolved(path).map_err(|reason| wrong(&reason))?;
        let earlier = std::fs::metadata(path).ok();
        if earlier.as_ref().is_some_and(|found| !found.is_file()) {
            return Err(wrong("it is no file"));
        }
        let folder = folder.canonicalize().map_err(io)?;
        let head = Head { format: FORMAT, folder: key(folder.as_os_str()) };
        let file = lock(path).map_err(|reason| wrong(&reason))?;
        let mut journal = Self { file: Some((path.into(), file)), head: line(&head), ..Self::default() };
        let existed = journal.read(&head, earlier.is_some()).map_err(|reason| wrong(&reason))?;
        if !existed {
            journal.unwritten.clone_from(&journal.head);
            journal.lines = 1;
        }
        if journal.damage.is_some() {
            journal.rewrite().map_err(|reason| wrong(&reason))?;
        }
        journal.write().map_err(|reason| wrong(&reason))?;
        Ok((journal, existed))
    }

    /// Returns the path of the file; `None` for a journal in memory alone.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Returns the images whose inspection had begun when the program ended, in the order of their entries.
    pub(super) fn begun(&self) -> Vec<(String, Entry)> {
        let begun = self.entries.iter().filter(|(_, (_, entry))| entry.state == State::Begun);
        let mut begun: Vec<_> = begun.map(|(image, &(number, entry))| (number, image.clone(), entry)).collect();
        begun.sort_unstable_by_key(|(number, ..)| *number);
        begun.into_iter().map(|(_, image, entry)| (image, entry)).collect()
    }

    /// Returns the entry of a file.
    pub(super) fn entry(&self, name: &OsStr) -> Option<&Entry> {
        self.entries.get(&key(name)).map(|(_, entry)| entry)
    }

    /// Returns whether the file needs no inspection. With `skipped`, those that were skipped do not, either.
    pub(super) fn is_done(&self, name: &OsStr, stamp: Stamp, skipped: bool) -> bool {
        self.entry(name).is_some_and(|entry| {
            entry.is_of(stamp) && (entry.state == State::Done || skipped && entry.state == State::Skipped)
        })
    }

    /// Returns the entry of an inspected file of this name, length and modification time, if other properties have changed since.
    /// The content tells if it is another file.
    pub(super) fn similar(&self, name: &OsStr, stamp: Stamp) -> Option<Entry> {
        let is_similar = |entry: &Entry| entry.stamp.is_like(stamp) && !entry.is_of(stamp) && entry.content.is_some();
        self.entry(name).copied().filter(|entry| entry.state == State::Done && is_similar(entry))
    }

    /// Adds an entry. [`Self::write`] writes it.
    pub(super) fn add(&mut self, name: &OsStr, entry: Entry) {
        self.add_key(key(name), entry);
    }

    /// Adds the entry of an image that the journal knows by this key.
    pub(super) fn add_key(&mut self, image: String, entry: Entry) {
        if self.file.is_some() {
            self.unwritten += &line(&Line { image: image.clone(), entry });
            self.lines += 1;
        }
        self.insert(image, entry);
    }

    fn insert(&mut self, image: String, entry: Entry) {
        self.last += 1;
        self.entries.insert(image, (self.last, entry));
    }

    /// Returns the number of files.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets files that are not there any more, the oldest entries first, until `most` are left of them.
    pub(super) fn forget<'a>(&mut self, there: impl Iterator<Item = &'a OsStr>, most: usize) {
        let there: HashSet<String> = there.map(key).collect();
        let gone = self.entries.iter().filter(|(image, _)| !there.contains(*image));
        let mut gone: Vec<(u64, String)> = gone.map(|(image, (number, _))| (*number, image.clone())).collect();
        gone.sort_unstable();
        gone.truncate(gone.len().saturating_sub(most));
        for (_, image) in gone {
            self.entries.remove(&image);
        }
    }

    /// Writes the entries that were added. They are on the disk when this returns. Rewrites the file if most of it is superseded, or if
    /// it was moved away or cut.
    ///
    /// # Errors
    /// The reason why it cannot be written, such as another file in its place.
    pub(super) fn write(&mut self) -> Result<(), String> {
        let Some((path, file)) = &self.file else { return Ok(()) };
        let place = Place::of(path, file, self.length, &self.head);
        let folder = path.parent();
        let is_cut = match place {
            Place::Own => false,
            Place::Cut => true,
            // A folder that is gone is not made again before there is something to write.
            Place::Missing => !self.unwritten.is_empty() || folder.is_some_and(Path::is_dir),
            Place::Other(reason) => {
                return Err(format!("cannot write {}: {reason}; move that away", path.display()));
            }
        };
        if is_cut {
            if let Some(folder) = folder {
                std::fs::create_dir_all(folder)
                    .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
            }
            self.rewrite()?;
            self.unwritten.clear();
            return Ok(());
        }
        if place == Place::Own {
            self.append()?;
        }
        if self.lines > self.entries.len() + self.entries.len().max(MAX_SUPERSEDED) {
            // After an error it is tried again as many lines later.
            self.lines = self.entries.len() + 1;
            self.rewrite()?;
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), String> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let before = file.metadata().map(|metadata| metadata.len());
        let written = file.write_all(self.unwritten.as_bytes()).and_then(|()| file.sync_data());
        if let (Err(_), Ok(before)) = (&written, &before) {
            // A part of a line would make the next one unreadable.
            let _ = file.set_len(*before);
        }
        // After an error they stay, and are written later.
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        self.length = before.unwrap_or(self.length) + self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    /// Reads the file, which was there before or not. Returns false if it is new. Lines that are damaged are left out.
    fn read(&mut self, head: &Head, was_there: bool) -> Result<bool, String> {
        let Some((path, file)) = &mut self.file else { return Ok(false) };
        let mut reader = BufReader::new(&*file);
        let io = |error: std::io::Error| error.to_string();
        let (mut has_head, mut damaged, mut whole) = (false, 0_usize, 0);
        let mut text = Vec::new();
        // The rest of a line that is too long.
        let mut is_rest = false;
        let mut is_blank = true;
        loop {
            text.clear();
            let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).map_err(io)?;
            let is_whole = text.ends_with(b"\n");
            is_blank &= text.iter().all(|byte| b"\0\n".contains(byte));
            if is_rest || read as u64 == MAX_LINE && !is_whole {
                damaged += usize::from(!is_rest);
                is_rest = !is_whole && read > 0;
                continue;
            }
            // A killed process, or a full disk, may have left a part of the last line.
            if !is_whole {
                // A file that is no journal keeps its content.
                if self.lines == 0 && !self.head.as_bytes().starts_with(&text) {
                    damaged += 1;
                }
                break;
            }
            whole += read as u64;
            // A file that was cut while another program wrote to it, or a power failure, leaves zeros.
            let start = text.iter().position(|&byte| byte != 0).unwrap_or_default();
            let line = text.get(start..).unwrap_or_default();
            if let Ok(Line { image, entry }) = serde_json::from_slice(line) {
                self.last += 1;
                self.entries.insert(image, (self.last, entry));
            } else if let Ok(found) = serde_json::from_slice::<Head>(line) {
                if found.format != FORMAT {
                    return Err(format!("it has format {}, and this version knows {FORMAT}", found.format));
                }
                if found.folder != head.folder {
                    return Err(format!("it is that of the folder {}", found.folder));
                }
                has_head = true;
            } else {
                damaged += 1;
                continue;
            }
            self.lines += 1;
        }
        if self.lines == 0 && damaged > 0 && is_blank {
            let name = path.display();
            self.damage = Some(format!(
                "note: the journal {name} holds zeros only, as after a power failure; a new one begins, and all images of the folder are inspected again"
            ));
            return Ok(true);
        }
        if self.lines == 0 && damaged > 0 {
            let advice = "with a new one, --existing inspects all images of the folder again, and without it those that are there are left out";
            return Err(format!("it is no journal, since none of its lines is an entry ({advice})"));
        }
        if self.lines == 0 && was_there {
            let name = path.display();
            self.damage = Some(format!(
                "note: the journal {name} is empty, as after a full disk or a power failure; a new one begins, and all images of the folder are inspected again"
            ));
            return Ok(true);
        }
        let again = "images without an entry are inspected again";
        self.damage = match damaged {
            0 if has_head || self.lines == 0 => None,
            0 => Some(format!("note: the beginning of the journal {} is missing; {again}", path.display())),
            1 => Some(format!("note: skipped 1 damaged line of the journal {}; {again}", path.display())),
            _ => Some(format!("note: skipped {damaged} damaged lines of the journal {}; {again}", path.display())),
        };
        if self.damage.is_none() {
            file.set_len(whole).map_err(io)?;
            self.length = whole;
        }
        Ok(self.lines > 0)
    }

    /// Writes the newest entries alone.
    fn rewrite(&mut self) -> Result<(), String> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let mut entries: Vec<_> = self.entries.iter().map(|(image, &(number, entry))| (number, image, entry)).collect();
        entries.sort_unstable_by_key(|(number, ..)| *number);
        let mut text = self.head.clone();
        text.extend(entries.into_iter().map(|(_, image, entry)| line(&Line { image: image.clone(), entry })));
        let path: &Path = path;
        let wrong = |reason: String| format!("cannot write {}: {reason}", path.display());
        write_atomically(path, text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        // The file at hand is no longer at the path: without the lock on the new one, the next write begins here again.
        self.length = u64::MAX;
        *file = lock(path).map_err(wrong)?;
        self.lines = self.entries.len() + 1;
        self.length = text.len() as u64;
        Ok(())
    }
}

/// Opens a journal to append to it, for this process alone.
fn lock(path: &Path) -> Result<File, String> {
    lock_opened(path, || open_alone(File::options().create(true).read(true).append(true), path))
}

/// Opens a file and locks it. A file that was replaced between the two is opened again: its lock says nothing on the new one.
fn lock_opened(path: &Path, open: impl Fn() -> Result<File, TryLockError>) -> Result<File, String> {
    for _ in 0..MAX_OPENED {
        let file = open().map_err(|error| match error {
            TryLockError::WouldBlock => "another program uses it".into(),
            TryLockError::Error(error) => error.to_string(),
        })?;
        if is_file_at(&file, path) {
            return Ok(file);
        }
    }
    Err("another program replaces it all the time".into())
}

/// Returns a value as a line of JSON.
fn line(value: &impl Serialize) -> String {
    // Strings and numbers are always JSON.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// Returns a file's name as text; one that is not UTF-8 as its bytes, after a character that no name has.
pub(super) fn key(name: &OsStr) -> String {
    name.to_str().map_or_else(|| format!("\0{}", hex(name.as_encoded_bytes())), str::to_owned)
}
