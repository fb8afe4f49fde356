//! The files with the result and the heat map of an image. They replace no other file.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use dualad::store::{AtomicFile, write_atomically};

use super::journal::{Entry, Stamp, State};
use crate::common::Result;

/// The files of one image.
#[derive(Debug)]
pub(super) struct Record {
    /// The number of the file among those of the same name, from 1.
    pub(super) number: u64,
    pub(super) result: PathBuf,
    pub(super) heat_map: PathBuf,
    /// True if they may be there: the same inspection had begun before, and was interrupted.
    continues: bool,
}

impl Record {
    /// Returns the files of a number. `a.png` and `a.jpg` are two images, so their endings stay.
    pub(super) fn of(out: &Path, image: &str, number: u64) -> Self {
        let file = |ending: &str| match number {
            0 | 1 => out.join(format!("{image}.{ending}")),
            _ => out.join(format!("{image}.{number}.{ending}")),
        };
        Self { number, result: file("json"), heat_map: file("png"), continues: false }
    }

    /// Chooses the files of an image: those of the next number that has none. `known` is the journal's newest entry of the name.
    pub(super) fn choose(out: Option<&Path>, name: &OsStr, known: Option<&Entry>, stamp: Stamp) -> Option<Self> {
        let (out, image) = (out?, name.to_string_lossy());
        if let Some(entry) =
            known.filter(|entry| entry.stamp == stamp && entry.state == State::Begun && entry.number > 0)
        {
            let record = Self::of(out, &image, entry.number);
            // The process was killed before it wrote the result.
            if !record.result.exists() {
                return Some(Self { continues: true, ..record });
            }
        }
        let first = known.map_or(0, |entry| entry.number) + 1;
        let free = |record: &Self| {
            [&record.result, &record.heat_map].iter().all(|path| std::fs::symlink_metadata(path).is_err())
        };
        (first..).map(|number| Self::of(out, &image, number)).find(free)
    }

    /// Writes one of the files.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let written = if self.continues {
            write_atomically(path, bytes)
        } else {
            AtomicFile::create(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.commit_new()))
        };
        written.map_err(|error| format!("cannot write {}: {error}", path.display()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_same_name_have_records_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image");
        std::fs::write(&file, "").unwrap();
        let stamp = Stamp::of(&std::fs::metadata(&file).unwrap());
        let choose =
            |known: Option<&Entry>| Record::choose(Some(folder.path()), OsStr::new("a.png"), known, stamp).unwrap();
        let first = choose(None);
        assert_eq!((first.number, &first.result), (1, &folder.path().join("a.png.json")));
        first.write(&first.result, b"1").unwrap();
        assert!(first.write(&first.result, b"2").is_err());
        let second = choose(None);
        assert_eq!((second.number, &second.heat_map), (2, &folder.path().join("a.png.2.png")));
        // A heat map alone takes the number, too, and so does the journal.
        std::fs::write(&second.heat_map, "").unwrap();
        assert_eq!(choose(None).number, 3);
        let entry = |state| Entry { stamp, state, number: 7 };
        assert_eq!(choose(Some(&entry(State::Done))).number, 8);
        // An interrupted inspection continues with its number.
        std::fs::write(folder.path().join("a.png.7.png"), "").unwrap();
        let again = choose(Some(&entry(State::Begun)));
        assert_eq!(again.number, 7);
        again.write(&again.heat_map, b"map").unwrap();
        assert_eq!(std::fs::read(&again.heat_map).unwrap(), b"map");
        assert!(Record::choose(None, OsStr::new("a.png"), None, stamp).is_none());
    }
}
