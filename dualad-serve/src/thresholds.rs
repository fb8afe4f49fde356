//! The file that the thresholds were read from: its identity, and whether it has changed since.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use dualad::store::sha256_of_file;

use crate::error::{Error, Result};

/// The shortest time between two looks at the file.
const PAUSE: Duration = Duration::from_secs(2);
/// The maximum size of a file of thresholds, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// A file of thresholds, as it was when it was read.
///
/// Read it before the detector is loaded: a change in between is noticed then.
///
/// ```
/// use dualad_serve::{Options, ThresholdsFile};
///
/// # let folder = std::env::temp_dir().join(format!("dualad-doc-thresholds-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let path = folder.join("calibration.json");
/// std::fs::write(&path, r#"{"pooled": {"reject": 0.7}}"#).unwrap();
/// let file = ThresholdsFile::read(&path)?;
/// assert_eq!(file.sha256().len(), 64);
/// let options = Options::default().with_thresholds_file(Some(file));
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dualad_serve::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdsFile {
    path: PathBuf,
    sha256: String,
    stamp: Stamp,
}

/// The properties of a file that change with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// The time of the last change of the content or of a property, which no program can set, and the file's number. Zeros where the system
    /// has none.
    changed: [i64; 2],
    inode: u64,
}

impl ThresholdsFile {
    /// Reads a file. Its content is not checked.
    ///
    /// # Errors
    /// [`Error::Thresholds`] if it cannot be read, or is no file of at most 16 MiB.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let read = Stamp::of(&path).and_then(|stamp| Ok((stamp, digest(&path, stamp)?)));
        match read {
            Ok((stamp, sha256)) => Ok(Self { path, sha256, stamp }),
            Err(source) => Err(Error::Thresholds { path, source }),
        }
    }

    /// Returns the path of the file, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the SHA-256 of the content, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        #[cfg(unix)]
        let (changed, inode) = {
            use std::os::unix::fs::MetadataExt;
            ([metadata.ctime(), metadata.ctime_nsec()], metadata.ino())
        };
        #[cfg(not(unix))]
        let (changed, inode) = ([0; 2], 0);
        Ok(Self { length: metadata.len(), modified: metadata.modified().ok(), changed, inode })
    }
}

fn digest(path: &Path, stamp: Stamp) -> io::Result<String> {
    if stamp.length > MAX_BYTES {
        let reason = format!("it has {} bytes, and thresholds have at most {} MiB", stamp.length, MAX_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    sha256_of_file(path)
}

/// A file of thresholds that is looked at again from time to time.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) file: ThresholdsFile,
    /// The time of the last look, and the properties that it found.
    last: Mutex<(Instant, Option<Stamp>)>,
    changed: AtomicBool,
}

impl Watched {
    pub(crate) fn new(file: ThresholdsFile) -> Self {
        // The first look is due at once.
        let before = Instant::now().checked_sub(PAUSE).unwrap_or_else(Instant::now);
        Self { last: Mutex::new((before, Some(file.stamp))), file, changed: AtomicBool::new(false) }
    }

    /// Returns whether the content is another than was read, or the file is gone. Looks at the file at most every 2 s, and reads it only
    /// if its properties have changed.
    pub(crate) fn is_changed(&self) -> bool {
        let mut last = match self.last.try_lock() {
            Ok(last) => last,
            // No code that holds the lock can panic halfway through an update.
            Err(TryLockError::Poisoned(last)) => last.into_inner(),
            // Another thread is looking, which may take long on a network share.
            Err(TryLockError::WouldBlock) => return self.is_known_to_be_changed(),
        };
        if last.0.elapsed() >= PAUSE {
            let found = Stamp::of(&self.file.path).ok();
            if found != last.1 {
                let sha256 = found.and_then(|stamp| digest(&self.file.path, stamp).ok());
                self.changed.store(sha256.as_ref() != Some(&self.file.sha256), Ordering::Relaxed);
            }
            *last = (Instant::now(), found);
        }
        self.is_known_to_be_changed()
    }

    /// Returns the result of the last look.
    pub(crate) fn is_known_to_be_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }
}
