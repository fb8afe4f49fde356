//! The journal of a watched folder: what was done with each file, so that a program that starts again leaves nothing out and does
//! nothing twice.
//!
//! It is a file of JSON lines, the newest of a file's lines counts. The first line names the watched folder.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use dualad::store::{hex, write_atomically};
use serde::{Deserialize, Serialize};

/// The version of the format.
const FORMAT: u64 = 1;
/// The maximum size of a line, in bytes.
const MAX_LINE: u64 = 64 << 10;
/// The number of superseded lines up to which a journal is not rewritten. With more entries than this, their number is the limit:
/// rewriting takes longer.
const MAX_SUPERSEDED: usize = 10_000;

/// The properties by which a change of a file is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    length: u64,
    /// The time of the last change, in nanoseconds since 1970.
    modified: Option<u64>,
}

impl Stamp {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self { length: metadata.len(), modified: modified.and_then(|time| u64::try_from(time.as_nanos()).ok()) }
    }
}

/// The progress with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Its inspection has begun.
    Begun,
    /// It was inspected, or reported as an error.
    Done,
    /// It was there at the first start, and was not to be inspected.
    Skipped,
}

/// The newest entry of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) stamp: Stamp,
    pub(super) state: State,
    /// The number of the file's record, from 1: later files of the same name have records of their own. 0 without a record.
    pub(super) number: u64,
}

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
}

impl Journal {
    /// Opens the journal of a folder, or makes one. Returns it, and true if it was there before. `has_record` tells whether the record
    /// of this number of an image exists: an inspection that had begun is then done.
    pub(super) fn open(
        path: &Path,
        folder: &Path,
        has_record: impl Fn(&str, u64) -> bool,
    ) -> Result<(Self, bool), String> {
        let name = path.display();
        let wrong = |reason: &str| format!("cannot use the journal {name}: {reason}; name another one with --journal");
        let io = |error: std::io::Error| wrong(&error.to_string());
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(wrong("it is no file"));
        }
        let folder = folder.canonicalize().map_err(io)?;
        let head = Head { format: FORMAT, folder: key(folder.as_os_str()) };
        let file = lock(path).map_err(|reason| wrong(&reason))?;
        let mut journal = Self { file: Some((path.into(), file)), head: line(&head), ..Self::default() };
        journal.lines = journal.read(&head).map_err(|reason| wrong(&reason))?;
        let existed = journal.lines > 0;
        for (image, (_, entry)) in &mut journal.entries {
            if entry.state == State::Begun && has_record(image, entry.number) {
                entry.state = State::Done;
            }
        }
        if !existed {
            journal.unwritten.clone_from(&journal.head);
            journal.lines = 1;
        }
        journal.write().map_err(|reason| wrong(&reason))?;
        Ok((journal, existed))
    }

    /// Returns the entry of a file.
    pub(super) fn entry(&self, name: &OsStr) -> Option<&Entry> {
        self.entries.get(&key(name)).map(|(_, entry)| entry)
    }

    /// Returns whether the file needs no inspection. With `skipped`, those that were skipped do not, either.
    pub(super) fn is_done(&self, name: &OsStr, stamp: Stamp, skipped: bool) -> bool {
        self.entry(name).is_some_and(|entry| {
            entry.stamp == stamp && (entry.state == State::Done || skipped && entry.state == State::Skipped)
        })
    }

    /// Adds an entry. [`Self::write`] writes it.
    pub(super) fn add(&mut self, name: &OsStr, entry: Entry) {
        let image = key(name);
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

    /// Writes the entries that were added. They are on the disk when this returns. Rewrites the file if most of it is superseded.
    pub(super) fn write(&mut self) -> Result<(), String> {
        if let Some((path, _)) = &self.file
            && !self.unwritten.is_empty()
            && !path.exists()
        {
            // It was moved away with the earlier records.
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
            }
            self.rewrite()?;
            self.unwritten.clear();
            return Ok(());
        }
        self.append()?;
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
        if let (Err(_), Ok(before)) = (&written, before) {
            // A part of a line would make the next one unreadable.
            let _ = file.set_len(before);
        }
        // After an error they are written with the next ones.
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        self.unwritten.clear();
        Ok(())
    }

    /// Reads the file. Returns the number of its lines.
    fn read(&mut self, head: &Head) -> Result<usize, String> {
        let Some((_, file)) = &mut self.file else { return Ok(0) };
        let mut reader = BufReader::new(&*file);
        let (mut number, mut whole) = (0, 0);
        let mut text = Vec::new();
        loop {
            text.clear();
            let read =
                reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).map_err(|error| error.to_string())?;
            // A killed process, or a full disk, may have left a part of the last line.
            if text.last() != Some(&b'\n') {
                if read as u64 == MAX_LINE {
                    return Err(format!("its line {} is too long", number + 1));
                }
                // A file that is no journal keeps its content.
                if number == 0 && !self.head.as_bytes().starts_with(&text) {
                    return Err("its line 1 is no entry".into());
                }
                break;
            }
            number += 1;
            whole += read as u64;
            let malformed = |error: serde_json::Error| format!("its line {number} is no entry ({error})");
            if number == 1 {
                let found: Head = serde_json::from_slice(&text).map_err(malformed)?;
                if found.format != FORMAT {
                    return Err(format!("it has format {}, and this version knows {FORMAT}", found.format));
                }
                if found.folder != head.folder {
                    return Err(format!("it is that of the folder {}", found.folder));
                }
            } else {
                let Line { image, entry } = serde_json::from_slice(&text).map_err(malformed)?;
                self.last += 1;
                self.entries.insert(image, (self.last, entry));
            }
        }
        file.set_len(whole).map_err(|error| error.to_string())?;
        Ok(number)
    }

    /// Writes the newest entries alone.
    fn rewrite(&mut self) -> Result<(), String> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let mut entries: Vec<_> = self.entries.iter().map(|(image, &(number, entry))| (number, image, entry)).collect();
        entries.sort_unstable_by_key(|(number, ..)| *number);
        let mut text = self.head.clone();
        text.extend(entries.into_iter().map(|(_, image, entry)| line(&Line { image: image.clone(), entry })));
        let path: &Path = path;
        let wrong = |reason: String| format!("cannot shorten {}: {reason}", path.display());
        write_atomically(path, text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        *file = lock(path).map_err(wrong)?;
        self.lines = self.entries.len() + 1;
        Ok(())
    }
}

/// Opens a journal to append to it, for this process alone.
fn lock(path: &Path) -> Result<File, String> {
    let file = File::options().create(true).read(true).append(true).open(path).map_err(|error| error.to_string())?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err("another program uses it".into()),
        _ => Ok(file),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(length: u64, state: State, number: u64) -> Entry {
        Entry { stamp: Stamp { length, modified: Some(7) }, state, number }
    }

    #[test]
    fn entries_are_read_again_and_a_cut_line_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let open = || Journal::open(&path, folder.path(), |image, number| (image, number) == ("b", 2));
        let (mut journal, existed) = open().unwrap();
        assert!(!existed && open().unwrap_err().contains("another program uses it"));
        for (name, entry) in [
            ("a", entry(1, State::Done, 1)),
            ("a", entry(2, State::Begun, 2)),
            ("b", entry(1, State::Begun, 2)),
            ("c", entry(1, State::Skipped, 0)),
        ] {
            journal.add(OsStr::new(name), entry);
        }
        journal.write().unwrap();
        drop(journal);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += r#"{"image": "d", "len"#;
        std::fs::write(&path, &text).unwrap();
        let (mut journal, existed) = open().unwrap();
        assert!(existed);
        let stamp = entry(1, State::Done, 0).stamp;
        let is_done = |journal: &Journal, name: &str, skipped| journal.is_done(OsStr::new(name), stamp, skipped);
        // The record of b was written before the process was killed, that of the second a was not.
        assert_eq!(["a", "b", "c", "d"].map(|name| is_done(&journal, name, true)), [false, true, true, false]);
        assert!(!is_done(&journal, "c", false));
        assert_eq!(journal.entry(OsStr::new("a")).unwrap().number, 2);
        journal.add(OsStr::new("d"), entry(1, State::Done, 1));
        journal.write().unwrap();
        drop(journal);
        assert!(is_done(&open().unwrap().0, "d", false));

        // Another folder's journal, and files that are none.
        let other = tempfile::tempdir().unwrap();
        let error = Journal::open(&path, other.path(), |_, _| false).unwrap_err();
        assert!(error.contains("it is that of the folder") && error.contains("--journal"), "{error}");
        std::fs::write(&path, format!("{}{{}}\n", text.split_inclusive('\n').next().unwrap())).unwrap();
        assert!(open().unwrap_err().contains("line 2 is no entry"));
        std::fs::write(&path, "a".repeat(MAX_LINE as usize)).unwrap();
        assert!(open().unwrap_err().contains("line 1 is too long"));
        // The first line is cut only where it was being written.
        std::fs::write(&path, "no journal").unwrap();
        assert!(open().unwrap_err().contains("line 1 is no entry"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "no journal");
        std::fs::write(&path, &text[..20]).unwrap();
        assert!(!open().unwrap().1);
    }

    #[test]
    fn the_oldest_files_that_are_gone_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let open = || Journal::open(&path, folder.path(), |_, _| false).unwrap().0;
        let mut journal = open();
        for name in ["a", "b", "c", "d", "a"] {
            journal.add(OsStr::new(name), entry(1, State::Done, 1));
        }
        let names = |journal: &Journal| ["a", "b", "c", "d"].map(|name| journal.entry(OsStr::new(name)).is_some());
        journal.forget(["b"].map(OsStr::new).into_iter(), 2);
        assert_eq!((journal.len(), names(&journal)), (3, [true, true, false, true]));
        journal.write().unwrap();
        // Moved away, and written again in the order of the entries.
        std::fs::rename(&path, folder.path().join("away")).unwrap();
        journal.add(OsStr::new("b"), entry(2, State::Done, 2));
        journal.write().unwrap();
        drop(journal);
        let mut journal = open();
        assert_eq!(names(&journal), [true, true, false, true]);
        journal.forget(std::iter::empty(), 1);
        assert_eq!((names(&journal), journal.entry(OsStr::new("b")).unwrap().number), ([false, true, false, false], 2));
    }

    #[test]
    fn a_long_journal_is_shortened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(&path, folder.path(), |_, _| false).unwrap();
        for number in 0..MAX_SUPERSEDED as u64 + 10 {
            journal.add(OsStr::new("current.png"), entry(number, State::Done, number));
        }
        let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
        journal.write().unwrap();
        assert_eq!(lines(), 2);
        journal.add(OsStr::new("current.png"), entry(7, State::Done, MAX_SUPERSEDED as u64 + 9));
        journal.write().unwrap();
        assert_eq!(lines(), 3);
        drop(journal);
        for _ in 0..2 {
            let (mut journal, _) = Journal::open(&path, folder.path(), |_, _| false).unwrap();
            assert_eq!(journal.entry(OsStr::new("current.png")).unwrap().number, MAX_SUPERSEDED as u64 + 9);
            assert!(lines() < 6);
            journal.add(OsStr::new("other.png"), entry(1, State::Done, 1));
            journal.write().unwrap();
        }
    }
}
