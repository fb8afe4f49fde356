//! The files with the result and the heat map of an image. They replace no other file.

use std::ffi::OsStr;
use std::fs::symlink_metadata;
use std::io::{ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

use dualad::store::AtomicFile;
use serde::Deserialize;

use super::entry::{Entry, State};
use super::journal::key;
use super::stamp::Stamp;
use crate::names::{digest, shortened};

/// The length of an image's name in the names of its files, in bytes. File systems allow 255 with a number and an ending.
const MAX_STEM: usize = 239;
/// The maximum size of a result, in bytes.
const MAX_RESULT: u64 = 64 << 20;

/// The number of results that are read to find one of a folder.
const MAX_ASKED: usize = 10_000;

/// The files of one image.
#[derive(Debug)]
pub(super) struct Record {
    /// The number of the file among those of the same name, from 1.
    pub(super) number: u64,
    pub(super) result: PathBuf,
    pub(super) heat_map: PathBuf,
}

/// The part of a result that names its image.
#[derive(Deserialize)]
struct Named {
    image: PathBuf,
}

impl Record {
    /// Returns the files of a number. `image` is the key of the image's name in the journal. `a.png` and `a.jpg` are two images, so
    /// their endings stay.
    pub(super) fn of(out: &Path, image: &str, number: u64) -> Self {
        let stem = stem(image);
        let file = |ending: &str| match number {
            0 | 1 => out.join(format!("{stem}.{ending}")),
            _ => out.join(format!("{stem}.{number}.{ending}")),
        };
        Self { number, result: file("json"), heat_map: file("png") }
    }

    /// Chooses the files of an image: those of the next number that has none. `known` is the journal's newest entry of the name.
    pub(super) fn choose(out: Option<&Path>, name: &OsStr, known: Option<&Entry>, stamp: Stamp) -> Option<Self> {
        let (out, image) = (out?, key(name));
        if let Some(entry) = known.filter(|entry| entry.state == State::Begun && entry.is_of(stamp) && entry.number > 0)
        {
            // The process was killed before it wrote the result.
            let record = Self::of(out, &image, entry.number);
            if symlink_metadata(&record.result).is_err() {
                return Some(record);
            }
        }
        Self::free(out, name, known.map_or(0, |entry| entry.number))
    }

    /// Returns the files of the first number after `last` that has none.
    pub(super) fn free(out: &Path, name: &OsStr, last: u64) -> Option<Self> {
        let image = key(name);
        let free =
            |record: &Self| [&record.result, &record.heat_map].iter().all(|path| symlink_metadata(path).is_err());
        (last.saturating_add(1)..).map(|number| Self::of(out, &image, number)).find(free)
    }

    /// Returns the result as a line if it is there and of an image in this folder, whose path is resolved. Several folders may have the
    /// same `--out`.
    pub(super) fn line_of(&self, folder: &Path) -> Option<String> {
        std::fs::metadata(&self.result).ok().filter(|found| found.is_file() && found.len() <= MAX_RESULT)?;
        let text = std::fs::read_to_string(&self.result).ok()?;
        let Named { image } = serde_json::from_str(&text).ok()?;
        // A relative path may be that of another place.
        let parent = image.parent().and_then(|parent| parent.canonicalize().ok());
        // Strings have no line breaks: one in a file that was edited is a space.
        parent.is_none_or(|found| found == folder).then(|| text.trim().replace(['\n', '\r'], " ") + "\n")
    }

    /// Writes the heat map. Returns false if another file has its name. An interrupted inspection may have written this one.
    pub(super) fn write_heat_map(&self, png: &[u8]) -> Result<bool> {
        let is_same = || {
            std::fs::metadata(&self.heat_map).is_ok_and(|found| found.is_file() && found.len() == png.len() as u64)
                && std::fs::read(&self.heat_map).is_ok_and(|found| found == png)
        };
        Ok(write_new(&self.heat_map, png)? || is_same())
    }

    /// Writes the result. Returns false if another file has its name.
    pub(super) fn write_result(&self, line: &str) -> Result<bool> {
        write_new(&self.result, line.as_bytes())
    }
}

/// Returns whether there are records of images of this folder, whose path is resolved.
pub(super) fn has_records(out: &Path, folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(out) else { return false };
    let results = entries.flatten().map(|entry| entry.path());
    let results = results.filter(|path| path.extension().is_some_and(|ending| ending == "json")).take(MAX_ASKED);
    let mut records = results.map(|result| Record { number: 1, heat_map: PathBuf::new(), result });
    records.any(|record| record.line_of(folder).is_some())
}

/// Returns an image's name in the names of its files. Names that are not UTF-8 have a digest, since their readable forms may be equal.
fn stem(image: &str) -> String {
    let Some(digits) = image.strip_prefix('\0') else { return shortened(image, MAX_STEM) };
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).filter_map(byte).collect();
    let digest = digest(image);
    format!("{}-{digest}", shortened(&String::from_utf8_lossy(&bytes), MAX_STEM - digest.len() - 1))
}

/// Writes a file, and its folder if that is gone. Returns false if there is a file of this name.
fn write_new(path: &Path, bytes: &[u8]) -> Result<bool> {
    if symlink_metadata(path).is_ok() {
        return Ok(false);
    }
    let write = || AtomicFile::create(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.commit_new()));
    let written = match (write(), path.parent()) {
        // It was moved away with the earlier records.
        (Err(error), Some(folder)) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(folder).and_then(|()| write())
        }
        (written, _) => written,
    };
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        written => written.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(folder: &Path) -> Stamp {
        let file = folder.join("image");
        std::fs::write(&file, "").unwrap();
        Stamp::of(&std::fs::metadata(&file).unwrap())
    }

    #[test]
    fn files_of_the_same_name_have_records_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = stamp(folder.path());
        let choose =
            |known: Option<&Entry>| Record::choose(Some(folder.path()), OsStr::new("a.png"), known, stamp).unwrap();
        let first = choose(None);
        assert_eq!((first.number, &first.result), (1, &folder.path().join("a.png.json")));
        assert!(first.write_result("1").unwrap() && !first.write_result("1").unwrap());
        let second = choose(None);
        assert_eq!((second.number, &second.heat_map), (2, &folder.path().join("a.png.2.png")));
        // A heat map alone takes the number, too, and so does the journal.
        std::fs::write(&second.heat_map, "").unwrap();
        assert_eq!(choose(None).number, 3);
        let entry = |state| Entry { stamp, state, number: 7, content: None };
        assert_eq!(choose(Some(&entry(State::Done))).number, 8);
        // An interrupted inspection continues with its number, unless another one has it by now.
        std::fs::write(folder.path().join("a.png.7.png"), "map").unwrap();
        let again = choose(Some(&entry(State::Begun)));
        assert_eq!(again.number, 7);
        assert!(again.write_heat_map(b"map").unwrap() && !again.write_heat_map(b"pam").unwrap());
        assert_eq!(std::fs::read(&again.heat_map).unwrap(), b"map");
        assert!(again.write_result("7").unwrap());
        assert_eq!(choose(Some(&entry(State::Begun))).number, 8);
        assert!(Record::choose(None, OsStr::new("a.png"), None, stamp).is_none());
    }

    #[test]
    fn a_record_is_that_of_its_folder() {
        let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let record = Record::of(folder.path(), "a.png", 1);
        let resolved = folder.path().canonicalize().unwrap();
        let line_of = |text: &str| {
            std::fs::write(&record.result, text).unwrap();
            record.line_of(&resolved)
        };
        let line = |folder: &Path| serde_json::json!({ "image": folder.join("a.png"), "image_score": 1 }).to_string();
        let own = line(folder.path());
        assert_eq!(line_of(&format!("{own}\n")), Some(format!("{own}\n")));
        assert_eq!(line_of("{\n\"image\": \"no/where/a.png\"}").unwrap(), "{ \"image\": \"no/where/a.png\"}\n");
        assert_eq!((line_of(&line(other.path())), line_of("notes")), (None, None));
        std::fs::remove_file(&record.result).unwrap();
        assert_eq!(record.line_of(&resolved), None);
    }

    #[cfg(unix)]
    #[test]
    fn different_names_have_different_files() {
        use std::os::unix::ffi::OsStrExt;

        let folder = tempfile::tempdir().unwrap();
        let long = "a".repeat(251) + ".png";
        let names = [
            &b"a\xff.png"[..],
            b"a\xfe.png",
            "a\u{fffd}.png".as_bytes(),
            b"\\xff",
            long.as_bytes(),
            &long.as_bytes()[1..],
        ];
        let mut files: Vec<PathBuf> = Vec::new();
        for name in names {
            let record =
                Record::choose(Some(folder.path()), OsStr::from_bytes(name), None, stamp(folder.path())).unwrap();
            // The journal's key alone leads to the same files.
            assert_eq!(record.result, Record::of(folder.path(), &key(OsStr::from_bytes(name)), 1).result);
            assert!(record.write_result("").unwrap() && record.write_heat_map(b"").unwrap());
            files.extend([record.result, record.heat_map]);
        }
        let count = files.len();
        files.sort();
        files.dedup();
        assert_eq!(files.len(), count);
    }

    #[test]
    fn a_folder_that_was_moved_away_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::of(&folder.path().join("out"), "a.png", 1);
        assert!(record.write_result("1").unwrap());
        std::fs::rename(folder.path().join("out"), folder.path().join("away")).unwrap();
        assert!(record.write_result("2").unwrap());
        assert_eq!(std::fs::read_to_string(folder.path().join("away/a.png.json")).unwrap(), "1");
    }
}
