//! A folder of several files that change together or not at all.
//!
//! A change is laid out beside the files that it will replace, in a folder of its own. One renaming of that folder, to
//! [`CHANGED`], is the moment at which it is made: before it, a process that ends leaves the files as they were, and after it
//! readers find the new ones there. They are then moved to their places, by whoever comes first if the writer did not get to it.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::file::{sync_folder, write_atomically};

/// What has been changed and is not in its place yet.
const CHANGED: &str = ".dualad-changed";
/// What will be changed, or would have been.
const CHANGING: &str = ".dualad-changing-";
/// Beside a name: the change removes that file.
const ABSENT: &str = ".absent";
/// How long another process may be at it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A larger file tells nothing of changes, in bytes.
const MOST_TOLD: u64 = 16 << 20;
/// How long a reader waits for writers, before it reads what it may find.
const READERS_PATIENCE: Duration = Duration::from_secs(5);
/// How often a reader begins again because the folder changed meanwhile.
const TRIES: usize = 8;

/// A change to a folder, which nobody sees before it is committed.
#[derive(Debug)]
pub(crate) struct Change {
    folder: PathBuf,
    laid_out: TempDir,
    _lock: Lock,
}

impl Change {
    /// Begins one; the folder is made if it is not there. One process changes it at a time, and others wait.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process is at it for a minute, [`Error::Io`].
    pub(crate) fn begin(folder: &Path) -> Result<Self> {
        let io = |error| Error::Io { action: "write", path: folder.into(), error };
        fs::create_dir_all(folder).map_err(io)?;
        let lock = Lock::wait_for(folder, PATIENCE).ok_or_else(|| Error::Busy { folder: folder.into() })?;
        settle(folder, &lock)?;
        remove_abandoned(folder);
        let laid_out = tempfile::Builder::new().prefix(CHANGING).tempdir_in(folder).map_err(io)?;
        #[cfg(unix)]
        {
            // Temporary folders are their owner's alone; readers must find what was changed.
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(laid_out.path(), fs::Permissions::from_mode(0o755)).map_err(io)?;
        }
        Ok(Self { folder: folder.into(), laid_out, _lock: lock })
    }

    /// Where to write the new content of a file.
    ///
    /// # Errors
    /// [`Error::Io`] if there is something else than a file under this name.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            let error = io::Error::new(ErrorKind::InvalidInput, "there is something else than a file");
            return Err(Error::Io { action: "write", path, error });
        }
        Ok(self.laid_out.path().join(name))
    }

    /// Writes the new content of a file.
    ///
    /// # Errors
    /// As [`Self::path`].
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name)?;
        write_atomically(&path, bytes).map_err(|error| self.named(name, error))
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// As [`Self::path`].
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.write(&format!("{name}{ABSENT}"), b"")
    }

    /// Makes the change.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn commit(self) -> Result<()> {
        let Self { folder, laid_out, _lock: lock } = self;
        let io = |error| Error::Io { action: "write", path: folder.clone(), error };
        sync_folder(laid_out.path()).map_err(io)?;
        fs::rename(laid_out.path(), folder.join(CHANGED)).map_err(io)?;
        // It is another folder's name now.
        let _ = laid_out.keep();
        sync_folder(&folder).map_err(io)?;
        settle(&folder, &lock)
    }

    /// What went wrong, with the name that the user knows.
    fn named(&self, name: &str, error: Error) -> Error {
        match error {
            Error::Io { action, error, .. } => Error::Io { action, path: self.folder.join(name), error },
            other => other,
        }
    }
}

/// Whoever holds it may move and remove files of the folder. The system lets go of it when the process ends.
#[derive(Debug)]
struct Lock(#[allow(dead_code)] Option<File>);

impl Lock {
    fn wait_for(folder: &Path, patience: Duration) -> Option<Self> {
        let begun = Instant::now();
        loop {
            match Self::take(folder) {
                None if begun.elapsed() < patience => std::thread::sleep(Duration::from_millis(2)),
                lock => return lock,
            }
        }
    }

    /// `None` while another process has it. A system that cannot lock a folder gives one that holds nothing.
    fn take(folder: &Path) -> Option<Self> {
        let Ok(file) = File::open(folder) else { return Some(Self(None)) };
        match file.try_lock() {
            Ok(()) => Some(Self(Some(file))),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(_)) => Some(Self(None)),
        }
    }
}

/// Moves what has been changed to its places.
fn settle(folder: &Path, _lock: &Lock) -> Result<()> {
    let changed = folder.join(CHANGED);
    let entries = match fs::read_dir(&changed) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| Error::Io { action: "read", path: changed.clone(), error })?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| Error::Io { action: "read", path: changed.clone(), error })?;
        let name = entry.file_name();
        let absent = name.to_str().and_then(|name| name.strip_suffix(ABSENT));
        let place = absent.map_or_else(|| folder.join(&name), |name| folder.join(name));
        let done = match absent {
            Some(_) => gone(fs::remove_file(&place)).and_then(|()| gone(fs::remove_file(entry.path()))),
            None => gone(fs::rename(entry.path(), &place)),
        };
        done.map_err(|error| Error::Io { action: "write", path: place, error })?;
    }
    gone(fs::remove_dir(&changed)).map_err(|error| Error::Io { action: "write", path: changed, error })?;
    sync_folder(folder).map_err(|error| Error::Io { action: "write", path: folder.into(), error })
}

/// Not being there is as good as having been removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes changes that were never made, of processes that were killed. For who holds the lock.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(CHANGING) {
            // Whatever keeps it there keeps nobody from working.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Ends what a process that was killed had begun, if nobody else is at it.
pub(crate) fn recover(folder: &Path) {
    if let Some(lock) = Lock::take(folder) {
        // Where nothing can be written, it is read from where it is.
        let _ = settle(folder, &lock);
        remove_abandoned(folder);
    }
}

/// Where a file is that must be there: where a change has put it, or in its place.
pub(crate) fn find(folder: &Path, name: &str) -> PathBuf {
    let changed = folder.join(CHANGED);
    let (new, removed) = (changed.join(name), changed.join(format!("{name}{ABSENT}")));
    // Asked for in this order, a file that is moved meanwhile is found in its place.
    if is_there(&new) || is_there(&removed) { new } else { folder.join(name) }
}

/// Where a file is that need not be there. One that is moved before it is read fails to be read, and is not taken for absent.
pub(crate) fn find_optional(folder: &Path, name: &str) -> Option<PathBuf> {
    let changed = folder.join(CHANGED);
    let (new, removed, place) = (changed.join(name), changed.join(format!("{name}{ABSENT}")), folder.join(name));
    if is_there(&new) {
        return Some(new);
    }
    (!is_there(&removed) && is_there(&place)).then_some(place)
}

/// A link that leads nowhere is there, too: what is wrong with it is for its reader to say.
pub(crate) fn is_there(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// What is in a small file. A pipe is not waited for, and a device not read.
fn content(path: &Path) -> Option<Vec<u8>> {
    let small = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MOST_TOLD);
    if small { fs::read(path).ok() } else { None }
}

/// What `load` makes of a folder's files, all of which are of the same change.
///
/// # Errors
/// Those of `load`.
pub(crate) fn read<T>(folder: &Path, tell: &str, load: impl Fn() -> Result<T>) -> Result<T> {
    if is_there(&folder.join(CHANGED)) {
        recover(folder);
    }
    // A folder tells by this file, which no two models have in common, that it was changed.
    let state = || (is_there(&folder.join(CHANGED)), content(&find(folder, tell)));
    let mut failed = false;
    for _ in 1..TRIES {
        let before = state();
        let result = load();
        // What fails because a file was just moved does not fail twice: the state before may have come back meanwhile.
        if before == state() && (result.is_ok() || failed) {
            return result;
        }
        failed = result.is_err() && !before.0;
        std::thread::sleep(Duration::from_millis(5));
    }
    // It changes all the time: for once, writers wait for a reader.
    let lock = Lock::wait_for(folder, READERS_PATIENCE);
    if let Some(lock) = &lock {
        let _ = settle(folder, lock);
    }
    load()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<(String, String)> {
        let entry = |entry: fs::DirEntry| {
            let content = fs::read_to_string(entry.path()).unwrap_or_else(|_| "a folder".into());
            (entry.file_name().to_string_lossy().into_owned(), content)
        };
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|found| entry(found.unwrap())).collect();
        files.sort();
        files
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.into(), b.into())
    }

    /// A folder with two files, and a change to them that was made and never settled.
    fn interrupted() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("a", "old"), ("b", "old"), ("other", "not the change's")] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let change = Change::begin(folder.path()).unwrap();
        change.write("a", b"new").unwrap();
        change.remove("b").unwrap();
        change.write("c", b"new").unwrap();
        fs::rename(change.laid_out.path(), folder.path().join(CHANGED)).unwrap();
        folder
    }

    #[test]
    fn a_change_is_made_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let change = Change::begin(folder.path()).unwrap();
        change.write("a", b"1").unwrap();
        assert!(!find(folder.path(), "a").exists());
        change.commit().unwrap();
        assert_eq!(files(folder.path()), [pair("a", "1")]);
        let change = Change::begin(folder.path()).unwrap();
        change.remove("a").unwrap();
        change.write("b", b"2").unwrap();
        assert_eq!(files(folder.path())[1], pair("a", "1"));
        change.commit().unwrap();
        assert_eq!(files(folder.path()), [pair("b", "2")]);
        // One that is given up leaves nothing.
        Change::begin(folder.path()).unwrap().write("b", b"3").unwrap();
        assert_eq!(files(folder.path()), [pair("b", "2")]);
    }

    #[test]
    fn what_was_interrupted_is_read_from_where_it_is_and_then_settled() {
        let folder = interrupted();
        let path = |name| find(folder.path(), name);
        assert_eq!(fs::read_to_string(path("a")).unwrap(), "new");
        assert!(!path("b").exists() && find_optional(folder.path(), "b").is_none());
        assert_eq!(find_optional(folder.path(), "c"), Some(path("c")));
        assert_eq!(find_optional(folder.path(), "other"), Some(folder.path().join("other")));
        assert_eq!(fs::read_to_string(path("other")).unwrap(), "not the change's");
        let settled = [pair("a", "new"), pair("c", "new"), pair("other", "not the change's")];
        // A reader that may write settles it, and so does the next writer.
        let read = read(folder.path(), "a", || Ok(files(folder.path()))).unwrap();
        assert_eq!(read, settled);
        let folder = interrupted();
        fs::create_dir(folder.path().join(format!("{CHANGING}killed"))).unwrap();
        drop(Change::begin(folder.path()).unwrap());
        assert_eq!(files(folder.path()), settled);
        // Halfway through settling, too.
        let folder = interrupted();
        fs::rename(folder.path().join(CHANGED).join("a"), folder.path().join("a")).unwrap();
        fs::remove_file(folder.path().join("b")).unwrap();
        drop(Change::begin(folder.path()).unwrap());
        assert_eq!(files(folder.path()), settled);
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for target in ["/dev/zero", "/dev/stdin"] {
            std::os::unix::fs::symlink(target, &path).unwrap();
            read(folder.path(), "a", || Ok(())).unwrap();
            fs::remove_file(&path).unwrap();
        }
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        read(folder.path(), "a", || Ok(())).unwrap();
    }

    #[test]
    fn a_folder_under_a_files_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        let change = Change::begin(folder.path()).unwrap();
        let error = change.write("a", b"1").unwrap_err().to_string();
        assert!(error.contains("something else than a file") && !error.contains(CHANGING), "{error}");
        drop(change);
        assert_eq!(files(folder.path()), [pair("a", "a folder")]);
    }

    #[test]
    fn readers_among_writers_see_one_change_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let change = |number: usize| {
            let change = Change::begin(folder.path()).unwrap();
            for name in ["a", "b", "c"] {
                change.write(name, number.to_string().as_bytes()).unwrap();
            }
            if number.is_multiple_of(2) { change.remove("even") } else { change.write("even", b"no") }.unwrap();
            change.commit().unwrap();
        };
        change(0);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                scope.spawn(move || (0..40).for_each(|number| change(2 * number + writer)));
            }
            for _ in 0..200 {
                let content = |path: PathBuf| {
                    fs::read_to_string(&path).map_err(|error| Error::Io { action: "read", path, error })
                };
                let needed = |name| content(find(folder.path(), name));
                let load = || {
                    let even = find_optional(folder.path(), "even").map(content).transpose()?;
                    Ok([needed("a")?, needed("b")?, needed("c")?, even.unwrap_or_default()])
                };
                let [a, b, c, even] = read(folder.path(), "a", load).unwrap();
                assert!(a == b && b == c, "{a} {b} {c}");
                let odd = !a.parse::<usize>().unwrap().is_multiple_of(2);
                assert_eq!(even, if odd { "no" } else { "" });
            }
        });
    }
}
