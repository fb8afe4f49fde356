//! The file at a journal's path, beside the one that is open.

use std::fs::{File, symlink_metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use dualad::store::is_file_at;

/// The thing at the path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The open file.
    Own,
    /// The open file or an earlier state of it, cut or emptied.
    Cut,
    /// Nothing. It was moved away with the earlier records.
    Missing,
    /// Something else, which must not be replaced.
    Other(&'static str),
}

impl Place {
    /// Returns the thing at the path of an open file, which had this length. `head` is its first line.
    pub(super) fn of(path: &Path, file: &File, length: u64, head: &str) -> Self {
        let Ok(found) = symlink_metadata(path) else { return Self::Missing };
        if found.is_symlink() {
            return Self::Other("a link is in its place");
        }
        if !found.is_file() {
            return Self::Other("something that is no file is in its place");
        }
        if is_file_at(file, path) {
            return if found.len() < length { Self::Cut } else { Self::Own };
        }
        // A program that rotates logs makes an empty file, and a backup begins as this one does.
        let mut begin = Vec::new();
        let read = File::open(path).and_then(|found| found.take(head.len() as u64).read_to_end(&mut begin));
        if read.is_ok() && head.as_bytes().starts_with(&begin) {
            return Self::Cut;
        }
        Self::Other("another file is in its place")
    }
}

/// Returns the path of a journal. Of a link, it is the file that the link leads to: the link stays.
pub(super) fn resolved(path: &Path) -> Result<PathBuf, String> {
    if !symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Ok(path.into());
    }
    path.canonicalize().map_err(|error| format!("it is a link that leads nowhere ({error})"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_journal_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let head = "{\"format\":1}\n";
        std::fs::write(&path, format!("{head}entry\n")).unwrap();
        let file = File::open(&path).unwrap();
        let place = |length| Place::of(&path, &file, length, head);
        assert_eq!((place(5), place(100)), (Place::Own, Place::Cut));
        std::fs::rename(&path, folder.path().join("away")).unwrap();
        assert_eq!(place(5), Place::Missing);
        for (content, expected) in [
            ("", Place::Cut),
            (head, Place::Cut),
            (&head[..4], Place::Cut),
            ("{\"format\":1}\nentry\n", Place::Cut),
            ("thresholds", Place::Other("another file is in its place")),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(place(5), expected, "{content}");
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("away", &path).unwrap();
        assert_eq!(place(5), Place::Other("a link is in its place"));
        assert_eq!(resolved(&path).unwrap(), folder.path().canonicalize().unwrap().join("away"));
        std::fs::remove_file(folder.path().join("away")).unwrap();
        assert!(resolved(&path).unwrap_err().contains("leads nowhere"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(place(5), Place::Other("something that is no file is in its place"));
    }
}
