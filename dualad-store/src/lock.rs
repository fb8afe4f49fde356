//! A folder that one process uses at a time.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use crate::atomic::remove_unfinished;
use crate::error::{Error, Result};
use crate::transaction::recover;

/// The file that is locked.
const NAME: &str = ".lock";

/// A lock on a folder, held until it is dropped. The system releases it when the process ends, also when it is killed.
///
/// ```
/// use dualad_store::FolderLock;
///
/// let folder = tempfile::tempdir()?;
/// let lock = FolderLock::take(folder.path())?;
/// assert!(FolderLock::take(folder.path()).is_err());
/// drop(lock);
/// assert!(FolderLock::take(folder.path()).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FolderLock(#[allow(dead_code)] Option<File>);

impl FolderLock {
    /// Takes the lock of a folder, which is created if it does not exist. Completes or removes what killed processes left in it:
    /// a committed [`crate::Transaction`] is completed, unfinished files are removed.
    ///
    /// On a file system without locks, the lock excludes nobody and nothing is removed.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds the lock, [`Error::Io`] if the folder or its `.lock` cannot be created.
    pub fn take(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let io = |action| move |error| Error::Io { action, path: folder.into(), error };
        std::fs::create_dir_all(folder).map_err(io("create"))?;
        let path = folder.join(NAME);
        if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            let error = std::io::Error::new(ErrorKind::InvalidInput, "its .lock is no file; remove it");
            return Err(io("write to")(error));
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io("write to"))?;
        match file.try_lock() {
            Ok(()) => {
                remove_unfinished(folder);
                recover(folder);
                Ok(Self(Some(file)))
            }
            Err(TryLockError::WouldBlock) => Err(Error::Busy { folder: folder.into() }),
            Err(TryLockError::Error(_)) => Ok(Self(None)),
        }
    }
}
