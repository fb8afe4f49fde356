//! A folder that one process uses at a time.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::atomic::remove_unfinished;
use crate::error::{Error, Result};
use crate::system::is_named;
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
///
/// A lock that was taken in vain leaves nothing behind: where the folder has no other file when the lock is dropped, the lock's
/// file and the folders that it has created are removed.
#[derive(Debug)]
pub struct FolderLock {
    _file: Option<File>,
    /// The file and the folders that taking the lock has created.
    created: Created,
}

#[derive(Debug, Default)]
struct Created {
    /// The lock's file.
    file: Option<PathBuf>,
    /// The folders, from the inner to the outer one.
    folders: Vec<PathBuf>,
}

/// The number of times that a lock is taken again because another process has just removed its file.
const MAX_TRIES: usize = 8;

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
        for _ in 0..MAX_TRIES {
            if let Some(lock) = Self::try_take(folder)? {
                return Ok(lock);
            }
        }
        Err(Error::Busy { folder: folder.into() })
    }

    /// Returns `None` if another process has removed the lock's file meanwhile.
    fn try_take(folder: &Path) -> Result<Option<Self>> {
        let io = |action| move |error| Error::Io { action, path: folder.into(), error };
        let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let folders = folder.ancestors().take_while(missing).map(Path::to_path_buf).collect();
        std::fs::create_dir_all(folder).map_err(io("create"))?;
        let path = folder.join(NAME);
        if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            let error = std::io::Error::new(ErrorKind::InvalidInput, "its .lock is no file; remove it");
            return Err(io("write to")(error));
        }
        let (file, created) = match File::options().create_new(true).write(true).open(&path) {
            Ok(file) => (file, Created { file: Some(path.clone()), folders }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match File::options().write(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                opened => (opened.map_err(io("write to"))?, Created::default()),
            },
            Err(error) => return Err(io("write to")(error)),
        };
        match file.try_lock() {
            Ok(()) if is_named(&file, &path).unwrap_or(false) => {
                remove_unfinished(folder);
                recover(folder);
                Ok(Some(Self { _file: Some(file), created }))
            }
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { folder: folder.into() }),
            Err(TryLockError::Error(_)) => Ok(Some(Self { _file: None, created: Created::default() })),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // The file is still locked: no other process has the folder.
        let Some(path) = &self.created.file else { return };
        let Some(Ok(mut entries)) = path.parent().map(std::fs::read_dir) else { return };
        if entries.any(|entry| entry.map_or(true, |entry| entry.file_name() != NAME))
            || std::fs::remove_file(path).is_err()
        {
            return;
        }
        for folder in &self.created.folders {
            if std::fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_taken_in_vain_leaves_nothing_behind() {
        let temporary = tempfile::tempdir().unwrap();
        let outer = temporary.path().join("a");
        let folder = outer.join("b");
        drop(FolderLock::take(&folder).unwrap());
        assert!(!outer.exists() && temporary.path().exists());
        // A folder that was there stays, and so do other files.
        std::fs::create_dir_all(&folder).unwrap();
        drop(FolderLock::take(&folder).unwrap());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        let lock = FolderLock::take(&folder).unwrap();
        std::fs::write(folder.join("model"), "").unwrap();
        drop(lock);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
        // A lock's file that was there stays.
        std::fs::remove_file(folder.join("model")).unwrap();
        drop(FolderLock::take(&folder).unwrap());
        assert!(folder.join(NAME).exists());
    }
}
