//! A folder whose files change together or not at all.
//!
//! A transaction writes the new files into a staging folder beside the old ones. Its commit is one rename of that folder, to
//! [`CHANGED`]. Before the rename, the old files are valid; after it, readers find the new ones in [`CHANGED`]. The new files are
//! then moved to their places, by the writer or, if that was killed, by the next process that writes or reads.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::atomic::{UNFINISHED, is_unfinished, sync_folder, write_atomically};
use crate::error::{Error, Result};
use crate::system::{Identity, lock_folder, remove_folder, rename};

/// The folder of committed files that are not in their places yet.
const CHANGED: &str = ".dualad-changed";
/// The start of a staging folder's name in earlier versions.
const OLD_STAGING: &str = ".dualad-changing-";
/// The suffix of a staged name that stands for the removal of the file.
const ABSENT: &str = ".absent";
/// The time that a writer waits for other writers.
const WRITER_TIMEOUT: Duration = Duration::from_secs(60);
/// The time after which a reader takes what it has read, although the folder may have changed meanwhile.
const READER_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of reads after which a reader tries to keep writers out.
const MAX_READS: usize = 8;
/// The largest file whose content is compared, in bytes.
const MAX_COMPARED: u64 = 16 << 20;

/// A change of several files of a folder, which readers see as a whole when it is committed.
///
/// ```
/// use dualad_store::{Transaction, find};
///
/// let folder = tempfile::tempdir()?;
/// let transaction = Transaction::begin(folder.path())?;
/// transaction.write("a", b"1")?;
/// transaction.write("b", b"2")?;
/// assert!(!find(folder.path(), "a").exists());
/// transaction.commit()?;
/// assert!(find(folder.path(), "a").exists() && find(folder.path(), "b").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Transaction {
    folder: PathBuf,
    staging: TempDir,
    _lock: Lock,
}

impl Transaction {
    /// Begins a change of a folder, which is created if it does not exist. One process changes a folder at a time, and others wait.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process is writing for longer than a minute, [`Error::Io`].
    pub fn begin(folder: &Path) -> Result<Self> {
        let io = |error| Error::Io { action: "write", path: folder.into(), error };
        fs::create_dir_all(folder).map_err(io)?;
        let lock = Lock::wait_for(folder, WRITER_TIMEOUT).ok_or_else(|| Error::Busy { folder: folder.into() })?;
        complete(folder, &lock)?;
        remove_staging(folder, &lock);
        let staging = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(folder).map_err(io)?;
        #[cfg(unix)]
        {
            // Temporary folders are accessible to their owner only; readers need this one after the commit.
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(staging.path(), fs::Permissions::from_mode(0o755)).map_err(io)?;
        }
        Ok(Self { folder: folder.into(), staging, _lock: lock })
    }

    /// Returns the path to write the new content of a file to.
    ///
    /// # Errors
    /// [`Error::Io`] if there is a folder of this name.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            let error = io::Error::new(ErrorKind::InvalidInput, "it exists and is not a regular file");
            return Err(Error::Io { action: "write", path, error });
        }
        Ok(self.staging.path().join(name))
    }

    /// Writes the new content of a file.
    ///
    /// # Errors
    /// Those of [`Self::path`]; [`Error::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name)?;
        write_atomically(&path, bytes).map_err(|error| {
            // The user knows the file's own name, not the staged one.
            Error::Io { action: "write", path: self.folder.join(name), error }
        })
    }

    /// Removes a file, if it exists.
    ///
    /// # Errors
    /// Those of [`Self::write`].
    pub fn remove(&self, name: &str) -> Result<()> {
        self.write(&format!("{name}{ABSENT}"), b"")
    }

    /// Makes the change.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(self) -> Result<()> {
        let Self { folder, staging, _lock: lock } = self;
        let io = |error| Error::Io { action: "write", path: folder.clone(), error };
        sync_folder(staging.path()).map_err(io)?;
        rename(staging.path(), &folder.join(CHANGED)).map_err(io)?;
        // The staging folder has another name now: it must not be removed.
        let _ = staging.keep();
        sync_folder(&folder).map_err(io)?;
        complete(&folder, &lock)
    }
}

/// The right to move and remove files of a folder. The system releases it when the process ends.
#[derive(Debug)]
struct Lock(#[allow(dead_code)] Option<File>);

impl Lock {
    fn wait_for(folder: &Path, timeout: Duration) -> Option<Self> {
        let begun = Instant::now();
        loop {
            match Self::take(folder) {
                None if begun.elapsed() < timeout => std::thread::sleep(Duration::from_millis(2)),
                lock => return lock,
            }
        }
    }

    /// Returns `None` while another process holds it. A system that cannot lock a folder gives a lock that excludes nobody.
    fn take(folder: &Path) -> Option<Self> {
        lock_folder(folder).ok().map(Self)
    }
}

/// Moves committed files to their places.
fn complete(folder: &Path, _lock: &Lock) -> Result<()> {
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
            Some(_) => allow_absent(fs::remove_file(&place)).and_then(|()| allow_absent(fs::remove_file(entry.path()))),
            None => allow_absent(rename(&entry.path(), &place)),
        };
        done.map_err(|error| Error::Io { action: "write", path: place, error })?;
    }
    allow_absent(remove_folder(&changed)).map_err(|error| Error::Io { action: "write", path: changed, error })?;
    sync_folder(folder).map_err(|error| Error::Io { action: "write", path: folder.into(), error })
}

/// Accepts that a file does not exist.
fn allow_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes the staging folders of killed processes. Those that cannot be removed stay.
fn remove_staging(folder: &Path, _lock: &Lock) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_staging = is_unfinished(&name) || name.to_string_lossy().starts_with(OLD_STAGING);
        if is_staging && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Completes the committed transaction of a killed process, and removes staging folders, unless another process is changing the folder.
pub fn recover(folder: &Path) {
    if let Some(lock) = Lock::take(folder) {
        // In a folder that cannot be written, readers find the committed files where they are.
        let _ = complete(folder, &lock);
        remove_staging(folder, &lock);
    }
}

/// Returns the path of a required file: where a committed transaction left it, otherwise in its place.
pub fn find(folder: &Path, name: &str) -> PathBuf {
    let changed = folder.join(CHANGED);
    let (new, removed) = (changed.join(name), changed.join(format!("{name}{ABSENT}")));
    // Checked in this order, a file that is moved meanwhile is found in its place.
    if exists(&new) || exists(&removed) { new } else { folder.join(name) }
}

/// Returns the path of an optional file, if it exists. If the file is moved before it is read, the read fails, and the file is not taken for
/// absent.
pub fn find_optional(folder: &Path, name: &str) -> Option<PathBuf> {
    let changed = folder.join(CHANGED);
    let (new, removed, place) = (changed.join(name), changed.join(format!("{name}{ABSENT}")), folder.join(name));
    if exists(&new) {
        return Some(new);
    }
    (!exists(&removed) && exists(&place)).then_some(place)
}

/// Returns whether a file, folder or link exists. A link that leads nowhere exists, so that its reader reports what is wrong with it.
pub fn exists(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The state of a folder, by its marker.
#[derive(Debug)]
struct State {
    /// True if committed files are not in their places yet.
    is_changing: bool,
    /// The marker. While it is open, no other file gets its number.
    marker: Option<File>,
    /// True if the marker was there, and was not any more when it was opened.
    was_moved: bool,
    content: Vec<u8>,
}

impl State {
    fn of(folder: &Path, marker: &str) -> Self {
        let is_changing = exists(&folder.join(CHANGED));
        let path = find(folder, marker);
        // Opening a pipe may block forever.
        let open = || {
            let metadata = fs::metadata(&path)?;
            let small = metadata.is_file() && metadata.len() <= MAX_COMPARED;
            if small { File::open(&path).map(Some) } else { Ok(None) }
        };
        let opened = open();
        let is_missing = matches!(&opened, Err(error) if error.kind() == ErrorKind::NotFound);
        let was_moved =
            is_missing && [folder.join(CHANGED), folder.into()].iter().any(|place| exists(&place.join(marker)));
        let mut content = Vec::new();
        let marker = opened.ok().flatten();
        let marker = marker.filter(|file| file.take(MAX_COMPARED).read_to_end(&mut content).is_ok());
        Self { is_changing, marker, was_moved, content }
    }

    /// Returns whether no writer has changed the folder between the two states. Two writers may have brought back the content of
    /// the marker, but not the file.
    fn is(&self, other: &Self) -> bool {
        let same_file = match (&self.marker, &other.marker) {
            (Some(one), Some(other)) => is_same_file(one, other),
            // A marker that is there and could not be opened was moved at that moment.
            (None, None) => !self.was_moved && !other.was_moved,
            _ => false,
        };
        same_file && self.is_changing == other.is_changing && self.content == other.content
    }
}

/// Returns true where files have no numbers: the content decides.
fn is_same_file(one: &File, other: &File) -> bool {
    match (Identity::of(one), Identity::of(other)) {
        (Ok(one), Ok(other)) => one.is_same(other),
        (one, other) => one.is_err() == other.is_err(),
    }
}

/// Returns the result of `load`, which reads files of the folder through [`find`] and [`find_optional`]; all of them are of the same
/// transaction. `load` runs again if the folder changed meanwhile. If it fails, it runs once more while no process writes. A reader that
/// writers do not let in for half a minute returns its last result.
///
/// `marker` is the name of a file whose content differs between any two states of the folder.
///
/// # Errors
/// Those of `load`.
pub fn read<T, E>(folder: &Path, marker: &str, load: impl Fn() -> Result<T, E>) -> Result<T, E> {
    if exists(&folder.join(CHANGED)) {
        recover(folder);
    }
    let begun = Instant::now();
    let mut reads = 0;
    loop {
        let before = State::of(folder, marker);
        let result = load();
        let is_same = before.is(&State::of(folder, marker));
        if is_same && result.is_ok() {
            return result;
        }
        reads += 1;
        // The folder changes all the time, or the read failed. Where files have no numbers, a file may have been moved during the
        // read nevertheless. Read while no process writes.
        if is_same || reads >= MAX_READS {
            if let Some(lock) = Lock::take(folder) {
                let _ = complete(folder, &lock);
                return load();
            }
            if begun.elapsed() >= READER_TIMEOUT {
                return result;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
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

    /// A folder with two files, and a change to them that was committed and never completed.
    fn interrupted() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("a", "old"), ("b", "old"), ("other", "of another writer")] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let change = Transaction::begin(folder.path()).unwrap();
        change.write("a", b"new").unwrap();
        change.remove("b").unwrap();
        change.write("c", b"new").unwrap();
        fs::rename(change.staging.path(), folder.path().join(CHANGED)).unwrap();
        folder
    }

    #[test]
    fn all_files_change_with_the_commit() {
        let folder = tempfile::tempdir().unwrap();
        let change = Transaction::begin(folder.path()).unwrap();
        change.write("a", b"1").unwrap();
        assert!(!find(folder.path(), "a").exists());
        change.commit().unwrap();
        assert_eq!(files(folder.path()), [pair("a", "1")]);
        let change = Transaction::begin(folder.path()).unwrap();
        change.remove("a").unwrap();
        change.write("b", b"2").unwrap();
        assert_eq!(files(folder.path())[1], pair("a", "1"));
        change.commit().unwrap();
        assert_eq!(files(folder.path()), [pair("b", "2")]);
        // A transaction that is dropped leaves nothing.
        Transaction::begin(folder.path()).unwrap().write("b", b"3").unwrap();
        assert_eq!(files(folder.path()), [pair("b", "2")]);
    }

    #[test]
    fn an_interrupted_commit_is_read_and_then_completed() {
        let folder = interrupted();
        let path = |name| find(folder.path(), name);
        assert_eq!(fs::read_to_string(path("a")).unwrap(), "new");
        assert!(!path("b").exists() && find_optional(folder.path(), "b").is_none());
        assert_eq!(find_optional(folder.path(), "c"), Some(path("c")));
        assert_eq!(find_optional(folder.path(), "other"), Some(folder.path().join("other")));
        assert_eq!(fs::read_to_string(path("other")).unwrap(), "of another writer");
        let completed = [pair("a", "new"), pair("c", "new"), pair("other", "of another writer")];
        // A reader that may write completes it, and so does the next writer.
        let mut found = Vec::new();
        for _ in 0..100 {
            found = read(folder.path(), "a", || Ok::<_, Error>(files(folder.path()))).unwrap();
            if found == completed {
                break;
            }
            // A process that another test starts at this moment has a copy of the lock until it runs its program.
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(found, completed);
        let folder = interrupted();
        fs::create_dir(folder.path().join(format!("{UNFINISHED}killed"))).unwrap();
        drop(Transaction::begin(folder.path()).unwrap());
        assert_eq!(files(folder.path()), completed);
        // Halfway through completing, too.
        let folder = interrupted();
        fs::rename(folder.path().join(CHANGED).join("a"), folder.path().join("a")).unwrap();
        fs::remove_file(folder.path().join("b")).unwrap();
        drop(Transaction::begin(folder.path()).unwrap());
        assert_eq!(files(folder.path()), completed);
    }

    #[cfg(unix)]
    #[test]
    fn a_read_that_fails_is_repeated_while_no_process_writes() {
        let folder = tempfile::tempdir().unwrap();
        let change = |content: &[u8]| {
            let change = Transaction::begin(folder.path()).unwrap();
            change.write("a", content).unwrap();
            change.commit().unwrap();
        };
        change(b"1");
        // Two writers in turn: the folder is the same before and after each read.
        let load = || {
            if Lock::take(folder.path()).is_none() {
                return Ok(());
            }
            change(b"2");
            change(b"1");
            Err("a file was moved")
        };
        assert_eq!(read(folder.path(), "a", load), Ok(()));
        // A fault that stays is reported after the second read.
        let reads = std::cell::Cell::new(0);
        let load = || {
            reads.set(reads.get() + 1);
            Err::<(), _>("a file is missing")
        };
        assert_eq!((read(folder.path(), "a", load), reads.get()), (Err("a file is missing"), 2));
    }

    #[cfg(unix)]
    #[test]
    fn a_reader_that_cannot_lock_the_folder_reads_until_it_does_not_change() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("a");
        fs::write(&marker, b"0").unwrap();
        let lock = Lock::wait_for(folder.path(), WRITER_TIMEOUT).unwrap();
        let reads = std::cell::Cell::new(0);
        let load = || {
            reads.set(reads.get() + 1);
            if reads.get() > 2 * MAX_READS {
                return Ok::<_, Error>("whole");
            }
            write_atomically(&marker, reads.get().to_string().as_bytes()).unwrap();
            Ok("mixed")
        };
        assert_eq!(read(folder.path(), "a", load).unwrap(), "whole");
        drop(lock);
        // A marker that is moved at the moment of each look is no sign of peace.
        let state = |was_moved| State { is_changing: true, marker: None, was_moved, content: Vec::new() };
        assert!(state(false).is(&state(false)) && !state(true).is(&state(true)));
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for target in ["/dev/zero", "/dev/stdin"] {
            std::os::unix::fs::symlink(target, &path).unwrap();
            read(folder.path(), "a", || Ok::<_, Error>(())).unwrap();
            fs::remove_file(&path).unwrap();
        }
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        read(folder.path(), "a", || Ok::<_, Error>(())).unwrap();
        // A pipe in the place of the folder: the read fails twice, and is decided under the lock.
        assert_eq!(read(&path, "a", || Err::<(), _>("no folder")), Err("no folder"));
    }

    #[test]
    fn a_folder_with_the_name_of_a_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        let change = Transaction::begin(folder.path()).unwrap();
        let error = change.write("a", b"1").unwrap_err().to_string();
        assert!(error.contains("not a regular file") && !error.contains(UNFINISHED), "{error}");
        drop(change);
        assert_eq!(files(folder.path()), [pair("a", "a folder")]);
    }

    #[test]
    fn readers_among_writers_see_one_change_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let change = |number: usize| {
            let change = Transaction::begin(folder.path()).unwrap();
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
                    Ok::<_, Error>([needed("a")?, needed("b")?, needed("c")?, even.unwrap_or_default()])
                };
                let [a, b, c, even] = read(folder.path(), "a", load).unwrap();
                assert!(a == b && b == c, "{a} {b} {c}");
                let odd = !a.parse::<usize>().unwrap().is_multiple_of(2);
                assert_eq!(even, if odd { "no" } else { "" });
            }
        });
    }

    /// The content of the marker is the same before and after: only the file tells that two writers were there.
    #[cfg(unix)]
    #[test]
    fn a_read_between_two_writers_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let write = |content: &str, has_other: bool| {
            let change = Transaction::begin(folder.path()).unwrap();
            change.write("marker", content.as_bytes()).unwrap();
            if has_other {
                change.write("other", b"").unwrap()
            } else {
                change.remove("other").unwrap()
            }
            change.commit().unwrap();
        };
        write("first", true);
        let reads = std::cell::Cell::new(0);
        let load = || {
            reads.set(reads.get() + 1);
            let marker = fs::read_to_string(find(folder.path(), "marker")).unwrap();
            if reads.get() == 1 {
                write("second", false);
            }
            let other = find_optional(folder.path(), "other").is_some();
            if reads.get() == 1 {
                write("first", true);
            }
            Ok::<_, Error>((marker, other))
        };
        assert_eq!(read(folder.path(), "marker", load).unwrap(), ("first".into(), true));
        assert_eq!(reads.get(), 2);
    }
}
