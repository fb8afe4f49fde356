//! The operations that each system does in its own way: which file is open, who may write to it, and names that are taken by open
//! files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// The time in which another program, such as a virus scanner, may close a file that Windows does not replace while it is open.
const PATIENCE: Option<Duration> = if cfg!(windows) { Some(Duration::from_secs(2)) } else { None };

/// The numbers of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The file system.
    pub(crate) volume: u64,
    /// The file.
    pub(crate) number: u64,
    /// The number of names.
    pub(crate) links: u64,
}

impl Identity {
    /// Returns the numbers of an open file.
    ///
    /// # Errors
    /// The operating system's, which may have no such numbers.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        #[cfg(unix)]
        {
            Ok(Self::of_metadata(&file.metadata()?))
        }
        #[cfg(windows)]
        {
            let found = winapi_util::file::information(file)?;
            let (volume, number, links) = (found.volume_serial_number(), found.file_index(), found.number_of_links());
            Ok(Self { volume, number, links })
        }
        #[cfg(not(any(unix, windows)))]
        {
            let _ = file;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[cfg(unix)]
    pub(crate) fn of_metadata(found: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        Self { volume: found.dev(), number: found.ino(), links: found.nlink() }
    }

    /// Returns the numbers of the file that a path leads to.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        {
            Ok(Self::of_metadata(&std::fs::metadata(path)?))
        }
        #[cfg(not(unix))]
        {
            Self::of(&File::open(path)?)
        }
    }

    /// Returns whether both are numbers of the same file.
    pub(crate) fn is_same(self, other: Self) -> bool {
        (self.volume, self.number) == (other.volume, other.number)
    }
}

/// Returns whether an open file has this name and no other. Systems whose files have no numbers say yes.
pub(crate) fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let own = match Identity::of(file) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(true),
        own => own?,
    };
    let found = std::fs::symlink_metadata(path)?;
    #[cfg(unix)]
    let named = Identity::of_metadata(&found);
    #[cfg(not(unix))]
    let named = if found.is_symlink() { return Ok(false) } else { Identity::at(path)? };
    Ok(named.is_same(own) && own.links == 1)
}

/// Returns whether an open file is the one that a path leads to: no other file has taken its place. Systems whose files have no numbers
/// say yes.
pub fn is_file_at(file: &File, path: &Path) -> bool {
    match Identity::of(file) {
        Ok(own) => Identity::at(path).is_ok_and(|at| at.is_same(own)),
        Err(error) => error.kind() == io::ErrorKind::Unsupported,
    }
}

/// Opens a file that one process at a time writes to. Others may read it. The system releases it when it is closed; it closes the files
/// of a process that ends. Where the file system has no locks, it excludes nobody.
///
/// # Errors
/// [`TryLockError::WouldBlock`] while another process has it open in this way; otherwise the operating system's.
pub fn open_alone(options: &mut OpenOptions, path: &Path) -> Result<File, TryLockError> {
    open_locked(options, path).map(|(file, _)| file)
}

/// Opens a file like [`open_alone`]. The second value is false where the file system has no locks.
pub(crate) fn open_locked(options: &mut OpenOptions, path: &Path) -> Result<(File, bool), TryLockError> {
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;

        // Without the right to write for others. A lock would keep readers out.
        const READ_AND_DELETE: u32 = 1 | 4;
        match options.share_mode(READ_AND_DELETE).open(path) {
            Err(error) if is_shared(&error) => Err(TryLockError::WouldBlock),
            opened => opened.map(|file| (file, true)).map_err(TryLockError::Error),
        }
    }
    #[cfg(not(windows))]
    {
        let file = options.open(path).map_err(TryLockError::Error)?;
        match file.try_lock() {
            Ok(()) => Ok((file, true)),
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
            Err(TryLockError::Error(_)) => Ok((file, false)),
        }
    }
}

/// Takes the lock of a folder: a file, which is held until it is closed. `None` stands for a system or a file system that cannot lock
/// folders.
///
/// # Errors
/// [`TryLockError::WouldBlock`] while another process holds it.
pub(crate) fn lock_folder(folder: &Path) -> Result<Option<File>, TryLockError> {
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;

        // Folders have no locks. This file is nobody else's while it is open, and the system deletes it when it is closed.
        const DELETE_ON_CLOSE: u32 = 0x0400_0000;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).share_mode(0).custom_flags(DELETE_ON_CLOSE);
        match options.open(folder.join(".dualad-writing")) {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_shared(&error) => Err(TryLockError::WouldBlock),
            Err(_) => Ok(None),
        }
    }
    #[cfg(not(windows))]
    {
        // Opening a pipe may block forever.
        let file = if folder.is_dir() { File::open(folder).ok() } else { None };
        let Some(file) = file else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }
}

/// Renames a file or a folder. A file of the new name is replaced, also while it is open. Windows refuses while another program has one
/// of the two open without allowing for it; this tries again for two seconds.
///
/// # Errors
/// The operating system's.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    again(PATIENCE, is_refused, || std::fs::rename(from, to))
}

/// Removes an empty folder. Windows is given the time of [`rename`].
///
/// # Errors
/// The operating system's.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    let is_refused = |error: &io::Error| is_refused(error) || error.kind() == io::ErrorKind::DirectoryNotEmpty;
    again(PATIENCE, is_refused, || std::fs::remove_dir(folder))
}

/// Returns whether Windows refuses because another program has the file open: a sharing violation or a lock violation.
#[cfg(windows)]
fn is_shared(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(32 | 33))
}

/// Returns whether Windows may refuse to replace a file because another program has it open: as above, or access denied.
fn is_refused(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(5 | 32 | 33))
}

/// Calls `act` again while its error may pass, for a limited time.
fn again<T>(
    patience: Option<Duration>,
    may_pass: impl Fn(&io::Error) -> bool,
    act: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        match act() {
            Err(error) if patience.is_some_and(|patience| begun.elapsed() < patience) && may_pass(&error) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_for_a_limited_time() {
        let calls = Cell::new(0);
        let refused = |until: u32, kind: io::ErrorKind| {
            calls.set(0);
            let may_pass = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            again(Some(Duration::from_millis(200)), may_pass, || {
                calls.set(calls.get() + 1);
                if calls.get() > until { Ok(calls.get()) } else { Err(kind.into()) }
            })
        };
        assert_eq!(refused(3, io::ErrorKind::PermissionDenied).unwrap(), 4);
        assert!(refused(u32::MAX, io::ErrorKind::PermissionDenied).is_err());
        assert!(calls.get() > 2);
        assert!(refused(3, io::ErrorKind::NotFound).is_err());
        assert_eq!(calls.get(), 1);
        let result: io::Result<()> = again(None, |_| true, || Err(io::ErrorKind::PermissionDenied.into()));
        assert!(result.is_err());
    }

    #[test]
    fn one_writer_at_a_time_opens_a_file_and_others_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let open = || open_alone(File::options().create(true).append(true).read(true), &path);
        let mut file = open().unwrap();
        file.write_all(b"1").unwrap();
        assert!(matches!(open(), Err(TryLockError::WouldBlock)));
        let mut text = String::new();
        File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "1");
        drop(file);
        open().unwrap();
    }

    #[test]
    fn one_process_at_a_time_locks_a_folder_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let lock = lock_folder(folder.path()).unwrap();
        assert!(lock.is_some());
        assert!(matches!(lock_folder(folder.path()), Err(TryLockError::WouldBlock)));
        drop(lock);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(lock_folder(folder.path()).unwrap().is_some());
    }

    #[test]
    fn open_files_are_replaced_and_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let [path, new] = ["file", "new"].map(|name| folder.path().join(name));
        std::fs::write(&path, "old").unwrap();
        std::fs::write(&new, "new").unwrap();
        let mut old = File::open(&path).unwrap();
        assert!(is_file_at(&old, &path) && !is_file_at(&old, &new));
        rename(&new, &path).unwrap();
        assert!(!is_file_at(&old, &path));
        let mut text = String::new();
        old.read_to_string(&mut text).unwrap();
        assert_eq!((&*text, &*std::fs::read_to_string(&path).unwrap()), ("old", "new"));
        std::fs::remove_file(&path).unwrap();
        assert!(!is_file_at(&old, &path));
    }
}
