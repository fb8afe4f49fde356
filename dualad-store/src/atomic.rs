//! Files that are replaced as a whole.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::system::{is_named, open_locked, rename};

/// The start of the name of every file and folder that is not finished.
pub const UNFINISHED: &str = ".dualad-unfinished-";

/// Returns whether a file name is that of an unfinished file.
pub fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(UNFINISHED)
}

/// Removes the unfinished files of a folder, which killed processes left. No other process may be writing there.
///
/// Files that cannot be removed stay. Folders stay: they belong to a [`crate::Transaction`].
pub fn remove_unfinished(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if is_unfinished(&entry.file_name()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Replaces a file by new content. Until that is complete, and after any error, the file is as it was.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("numbers");
/// dualad_store::write_atomically(&path, b"1 2 3")?;
/// assert_eq!(std::fs::read(&path)?, b"1 2 3");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// The new content of a file, which takes its place when it is complete. Dropped before, it leaves the file as it was.
///
/// ```
/// use std::io::Write;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("lines");
/// let mut file = dualad_store::AtomicFile::create(&path)?;
/// for line in 0..3 {
///     writeln!(file, "{line}")?;
/// }
/// assert!(!path.exists());
/// file.commit()?;
/// assert!(path.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    temporary: NamedTempFile,
    /// The file to replace; links are resolved.
    target: PathBuf,
}

impl AtomicFile {
    /// Creates the new content in the folder of the file. A link stays: the file that it leads to is replaced. On Unix the new
    /// file is readable by everyone (mode 644).
    ///
    /// A process that is killed while it writes leaves an unfinished file, which the next writer of the same file takes over
    /// (on Unix and Windows, on a file system with locks).
    ///
    /// # Errors
    /// An error of kind [`ErrorKind::InvalidInput`] for a path without a file name, a folder, a device, a pipe, and a link that leads
    /// nowhere; otherwise the operating system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = resolve(path)?;
        Self::temporary(folder_of(&target), target.clone())
    }

    /// Creates the new content in another folder of the same file system, so that programs which list the target folder do not see
    /// the unfinished file.
    ///
    /// # Errors
    /// Those of [`Self::create`].
    pub fn create_in(folder: &Path, path: &Path) -> io::Result<Self> {
        Self::temporary(folder, resolve(path)?)
    }

    /// Creates the new content like [`Self::create`], for a large file that one process writes at a time. On every file system,
    /// processes that are killed while they write leave one unfinished file at most.
    ///
    /// # Errors
    /// Those of [`Self::create`].
    pub fn create_exclusive(path: &Path) -> io::Result<Self> {
        let target = resolve(path)?;
        let folder = folder_of(&target).to_path_buf();
        match std::fs::remove_file(folder.join(unfinished_name(&target))) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Self::temporary(&folder, target),
        }
    }

    /// Creates the new content under a fixed name made from the target's name, or under a random name while another writer has
    /// that one.
    fn temporary(folder: &Path, target: PathBuf) -> io::Result<Self> {
        let name = unfinished_name(&target);
        let temporary = match tempfile::Builder::new().prefix(&name).rand_bytes(0).make_in(folder, take_over) {
            Ok(temporary) => temporary,
            Err(_) => tempfile::Builder::new().prefix(UNFINISHED).make_in(folder, create_new)?,
        };
        Ok(Self { temporary, target })
    }

    /// Replaces the file. The content and the name are on the disk when this returns.
    ///
    /// # Errors
    /// The operating system's.
    pub fn commit(self) -> io::Result<()> {
        let target = self.target.clone();
        self.temporary.as_file().sync_all()?;
        self.commit_without_sync()?;
        sync_folder(folder_of(&target))
    }

    /// Replaces the file without waiting for the disk: a power failure may leave it empty or cut off.
    ///
    /// # Errors
    /// The operating system's.
    pub fn commit_without_sync(self) -> io::Result<()> {
        let Self { mut temporary, target } = self;
        // Not `persist`, which fails on Windows while someone reads the file that is replaced.
        rename(temporary.path(), &target)?;
        // It has another name now: nothing is to be removed.
        temporary.disable_cleanup(true);
        Ok(())
    }

    /// Gives the content its name unless a file of that name exists.
    ///
    /// # Errors
    /// An error of kind [`ErrorKind::AlreadyExists`] if there is one; otherwise the operating system's.
    pub fn commit_new(self) -> io::Result<()> {
        self.temporary.as_file().sync_all()?;
        self.temporary.persist_noclobber(&self.target).map_err(|error| error.error)?;
        sync_folder(folder_of(&self.target))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.as_file_mut().flush()
    }
}

/// Returns the name of the unfinished file of a target.
fn unfinished_name(target: &Path) -> OsString {
    let mut name = OsString::from(UNFINISHED);
    name.push(target.file_name().unwrap_or_default());
    name
}

/// Creates a file that everyone can read, whatever the process's mask says.
fn create_new(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create_new(true).open(path)?;
    make_readable(&file).map(|()| file)
}

fn make_readable(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let _ = file;
    Ok(())
}

/// Creates an unfinished file, or takes over that of a killed process. It is locked until it is closed; the system closes the
/// files of a process that ends.
///
/// # Errors
/// Any error if the file may belong to a living process.
fn take_over(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true);
    let (opened, is_new) = match open_locked(options.create_new(true), path) {
        // Opening a pipe would block, and a link may lead anywhere.
        Err(TryLockError::Error(error))
            if error.kind() == ErrorKind::AlreadyExists && std::fs::symlink_metadata(path)?.is_file() =>
        {
            (open_locked(options.create_new(false), path), false)
        }
        opened => (opened, true),
    };
    let (file, is_locked) = opened?;
    // A file system without locks: nobody takes the file over.
    if !is_new && !is_locked {
        return Err(ErrorKind::AlreadyExists.into());
    }
    // Until it was locked, another writer may have renamed it to its target.
    if !is_named(&file, path)? {
        return Err(ErrorKind::AlreadyExists.into());
    }
    make_readable(&file)?;
    file.set_len(0)?;
    Ok(file)
}

/// Returns the file that a path leads to, which exists or can be created.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let wrong = |reason: &str| Err(io::Error::new(ErrorKind::InvalidInput, reason));
    if path.file_name().is_none() {
        return wrong("the path names no file");
    }
    let is_file = |metadata: Metadata| metadata.is_file();
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.into()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_symlink() => match std::fs::canonicalize(path) {
            Ok(target) if std::fs::metadata(&target).is_ok_and(is_file) => Ok(target),
            Ok(_) => wrong("it exists and is not a regular file"),
            Err(_) => wrong("there is a link that leads to no file"),
        },
        Ok(metadata) if metadata.is_file() => Ok(path.into()),
        Ok(_) => wrong("it exists and is not a regular file"),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Forces the names in a folder to the disk. A file system that cannot do so is left alone.
///
/// # Errors
/// The operating system's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        match File::open(folder)?.sync_all() {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Opens a regular file for reading. Opening a pipe may block forever, and reading a device may never end.
///
/// # Errors
/// An error of kind [`ErrorKind::InvalidInput`] for anything but a regular file; otherwise the operating system's.
pub fn open_file(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_when_its_new_content_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomically(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let [unfinished, _] = &names(folder.path())[..] else { panic!("two files") };
        assert!(is_unfinished(unfinished.as_ref()), "{unfinished}");
        file.write_all(b"ew").unwrap();
        file.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        drop(AtomicFile::create(&path).unwrap());
        let error = AtomicFile::create(&path).unwrap().commit_new().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(names(folder.path()), ["file"]);
        AtomicFile::create(&folder.path().join("other")).unwrap().commit_new().unwrap();
        assert_eq!(names(folder.path()), ["file", "other"]);
    }

    #[cfg(unix)]
    #[test]
    fn killed_writers_of_one_file_leave_one_unfinished_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for _ in 0..3 {
            let mut killed = AtomicFile::create(&path).unwrap();
            killed.write_all(b"longer than the next").unwrap();
            killed.temporary.keep().unwrap();
            assert_eq!(names(folder.path()), [format!("{UNFINISHED}file")]);
        }
        // Two writers at a time: only one takes it over, and a third cannot be mistaken for a killed one.
        let (mut first, mut second) = (AtomicFile::create(&path).unwrap(), AtomicFile::create(&path).unwrap());
        assert_eq!(names(folder.path()).len(), 2);
        first.write_all(b"first").unwrap();
        second.write_all(b"second").unwrap();
        first.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        let third = AtomicFile::create(&path).unwrap();
        second.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        drop(third);
        assert_eq!(names(folder.path()), ["file"]);
        AtomicFile::create(&path).unwrap().temporary.keep().unwrap();
        remove_unfinished(folder.path());
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_an_unfinished_file_is_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        let unfinished = folder.path().join(format!("{UNFINISHED}file"));
        std::fs::write(&other, "precious").unwrap();
        let write_and_check = || {
            write_atomically(&path, b"new").unwrap();
            assert_eq!(std::fs::read(&other).unwrap(), b"precious");
        };
        std::os::unix::fs::symlink(&other, &unfinished).unwrap();
        write_and_check();
        std::fs::remove_file(&unfinished).unwrap();
        std::fs::hard_link(&other, &unfinished).unwrap();
        write_and_check();
        std::fs::remove_file(&unfinished).unwrap();
        std::fs::create_dir(&unfinished).unwrap();
        write_and_check();
        std::fs::remove_dir(&unfinished).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&unfinished).status().unwrap().success());
        write_and_check();
    }

    #[test]
    fn writers_of_one_file_at_a_time_replace_it_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..100 {
                        let mut file = AtomicFile::create(path).unwrap();
                        file.write_all(&vec![writer; 1 + usize::from(writer) * 1000]).unwrap();
                        file.commit_without_sync().unwrap();
                        let found = std::fs::read(path).unwrap();
                        assert!(
                            found.len() == 1 + usize::from(found[0]) * 1000 && found.iter().all(|&x| x == found[0])
                        );
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_other_things_than_files_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write_atomically(&file, b"old").unwrap();
        symlink(&file, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        let inner = folder.path().join("folder");
        std::fs::create_dir(&inner).unwrap();
        let nowhere = folder.path().join("nowhere");
        symlink(folder.path().join("absent"), &nowhere).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&inner, &nowhere, &socket, Path::new("..")] {
            assert_eq!(write_atomically(path, b"new").unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
        }
        assert!(inner.is_dir() && nowhere.is_symlink() && !std::fs::metadata(&socket).unwrap().is_file());
        assert!(open_file(&socket).is_err() && open_file(&link).is_ok());
    }
}
