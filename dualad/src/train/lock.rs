//! One run in a folder at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Error, Result};

/// Holds a folder for one run. The system lets go of it when the process ends, however it ends.
///
/// ```
/// use dualad::train::FolderLock;
///
/// let folder = std::env::temp_dir().join(format!("dualad-doc-lock-{}", std::process::id()));
/// let lock = FolderLock::take(&folder)?;
/// assert!(FolderLock::take(&folder).is_err());
/// drop(lock);
/// assert!(FolderLock::take(&folder).is_ok());
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug)]
pub struct FolderLock(#[allow(dead_code)] Option<File>);

impl FolderLock {
    /// Takes the folder, which is made if it is not there, and puts in order what a killed process did not complete in it. A file system without locks gives one that holds nothing.
    ///
    /// # Errors
    /// [`Error::Busy`] if another run has it, [`Error::Io`] if it cannot be made or written.
    pub fn take(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let io = |action| move |error| Error::Io { action, path: folder.into(), error };
        std::fs::create_dir_all(folder).map_err(io("create"))?;
        let path = folder.join(".lock");
        if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, "its .lock is no file; remove it");
            return Err(io("write to")(error));
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io("write to"))?;
        match file.try_lock() {
            Ok(()) => {
                crate::file::remove_unfinished(folder);
                crate::folder::recover(folder);
                Ok(Self(Some(file)))
            }
            Err(TryLockError::WouldBlock) => Err(Error::Busy { folder: folder.into() }),
            Err(TryLockError::Error(_)) => Ok(Self(None)),
        }
    }
}
