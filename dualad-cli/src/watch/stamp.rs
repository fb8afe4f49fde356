//! The properties by which a change of a file is noticed.

use std::fs::Metadata;
use std::path::Path;
use std::time::UNIX_EPOCH;

use dualad::store::sha256_of_file;
use serde::{Deserialize, Serialize};

/// The maximum size of a file whose content is compared, in bytes.
const MAX_COMPARED: u64 = 1 << 30;

/// The properties of a file, without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    length: u64,
    /// The time of the last change of the content, in nanoseconds since 1970. A program can set it, and some systems keep whole seconds.
    modified: Option<u64>,
    /// The time of the last change of the content or of a property, in nanoseconds since 1970. No program can set it. `None` where the
    /// system has none, and in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<u64>,
    /// The file's number in its file system; `None` as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.and_then(|time| u64::try_from(time.as_nanos()).ok());
        let (changed, inode) = unix(metadata);
        Self { length: metadata.len(), modified, changed, inode }
    }

    /// Returns the properties of a file; `None` if it cannot be asked.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    /// Returns true if another stamp has the same length and modification time.
    pub(super) fn is_like(&self, other: Self) -> bool {
        (self.length, self.modified) == (other.length, other.modified)
    }

    /// Returns true if nothing has changed since another stamp, by the properties that both have. Another inode alone is no change:
    /// some file systems number their files anew each time they are mounted.
    pub(super) fn is_unchanged(&self, other: Self) -> bool {
        self.is_like(other) && is_same(self.changed, other.changed)
    }

    /// Returns true if all the properties that both stamps have are the same.
    pub(super) fn is_same(&self, other: Self) -> bool {
        self.is_unchanged(other) && is_same(self.inode, other.inode)
    }
}

fn is_same(a: Option<u64>, b: Option<u64>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

#[cfg(unix)]
fn unix(metadata: &Metadata) -> (Option<u64>, Option<u64>) {
    use std::os::unix::fs::MetadataExt;

    let changed = metadata.ctime().checked_mul(1_000_000_000).and_then(|time| time.checked_add(metadata.ctime_nsec()));
    (changed.and_then(|time| u64::try_from(time).ok()), Some(metadata.ino()))
}

#[cfg(not(unix))]
fn unix(_: &Metadata) -> (Option<u64>, Option<u64>) {
    (None, None)
}

/// Returns the beginning of the SHA-256 of a file; `None` if it is very large or cannot be read.
pub(super) fn content(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(|found| found.len() <= MAX_COMPARED)?;
    u64::from_str_radix(sha256_of_file(path).ok()?.get(..16)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_earlier_journals_have_fewer_properties() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, "1").unwrap();
        let found = Stamp::of(&std::fs::metadata(&path).unwrap());
        let read: Stamp = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
        assert_eq!(read, found);
        let text = serde_json::json!({ "length": 1, "modified": found.modified }).to_string();
        let earlier: Stamp = serde_json::from_str(&text).unwrap();
        assert!(earlier.is_same(found) && earlier != found || found.inode.is_none());
        let inode = Stamp { inode: Some(0), ..found };
        assert!(inode.is_unchanged(found) && (!inode.is_same(found) || found.inode.is_none()));
        let changed = Stamp { changed: Some(0), ..found };
        assert!(changed.is_like(found) && (!changed.is_unchanged(found) || found.changed.is_none()));
        assert!(!Stamp { length: 2, ..found }.is_like(found));
    }

    #[test]
    fn the_content_is_that_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(content(&path), Some(0xba78_16bf_8f01_cfea));
        assert_eq!((content(folder.path()), content(&folder.path().join("b.png"))), (None, None));
    }
}
