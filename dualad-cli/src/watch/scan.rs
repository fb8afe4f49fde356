//! Finds the images of a folder that are new and complete, by looking again and again.
//!
//! Notifications of the operating system do not come from network shares, where cameras put their images. The polling watcher
//! of the crate `notify` (8.2.2) compares modification times in whole seconds and no lengths: it misses the second half of a
//! file written within the same second, and a file renamed over another one. Its content comparison would read every file of
//! the folder each time.
//!
//! A look is cheap where nothing happens, however many files there are. The folder is listed when its modification time has
//! changed, and now and then in case a file system does not keep that time. Only new files, and a few of the others in turn, are
//! looked at one by one.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use dualad::data::is_image_name;

use super::entry::{Entry, State};
use super::journal::Journal;
use super::notes::Notes;
use super::stamp::{Stamp, content};

/// The minimum time between two listings of a folder that changes, in multiples of the time that one takes.
const BUSY_PAUSE: u32 = 10;
/// The time between two listings of a folder that seems unchanged, in the same multiples.
const IDLE_PAUSE: u32 = 200;
/// The time after which a folder's modification time that stays the same is trusted: the next file changes it. Some file systems keep
/// it in steps of two seconds.
const TRUSTED_AGE: Duration = Duration::from_secs(3);
/// The number of files, done last, that every look checks for changes.
const RECENT: usize = 32;
/// The number of other files that a look checks in turn, and the time that it takes for them.
const CHECKED: usize = 512;
const CHECK_TIME: Duration = Duration::from_millis(1);
/// The time after which a look compares no more contents.
const COMPARE_TIME: Duration = Duration::from_millis(200);
/// The number of files that are gone from which on the journal forgets the older half of them.
const MAX_GONE: usize = 200_000;

/// A file that is to be inspected.
#[derive(Debug)]
struct Pending {
    stamp: Stamp,
    /// The time since which it has stopped changing and cannot be read.
    failing: Option<Instant>,
    /// The file's [`content`]; `None` until it is asked for.
    content: Option<Option<u64>>,
}

impl Pending {
    fn new(stamp: Stamp) -> Self {
        Self { stamp, failing: None, content: None }
    }
}

/// The last listing of the folder.
#[derive(Debug)]
struct Listing {
    at: Instant,
    took: Duration,
    /// The folder's modification time before the listing.
    modified: Option<SystemTime>,
    /// True if that time was old enough to change with the next file.
    trusted: bool,
}

/// The images of a folder, as they were at the last look.
#[derive(Debug)]
pub(super) struct Scan {
    folder: PathBuf,
    pub(super) journal: Journal,
    /// True if images that were skipped before stay so.
    skips: bool,
    pending: HashMap<OsString, Pending>,
    /// The files that need no inspection, and the number of the last listing that had them.
    settled: HashMap<OsString, u64>,
    /// The names of those that are still to be checked for changes in this round.
    turns: Vec<OsString>,
    /// The files done last.
    recent: VecDeque<OsString>,
    listing: Option<Listing>,
    listings: u64,
    /// The folder's modification time, and the time since which it is the same. The clock of a file server may be another.
    modified: Option<(SystemTime, Instant)>,
    retry_for: Duration,
    pub(super) notes: Notes,
}

impl Scan {
    /// Lists the folder for the first time. Images that the journal does not know are new, or with `skip_existing` skipped.
    pub(super) fn new(
        folder: &Path,
        journal: Journal,
        skip_existing: bool,
        skips: bool,
        retry_for: Duration,
        out: Option<&Path>,
    ) -> Result<Self, String> {
        let mut scan = Self {
            folder: folder.into(),
            journal,
            skips,
            pending: HashMap::new(),
            settled: HashMap::new(),
            turns: Vec::new(),
            recent: VecDeque::new(),
            listing: None,
            listings: 0,
            modified: None,
            retry_for,
            notes: Notes::new(folder, out),
        };
        scan.list().map_err(|error| format!("cannot watch {}: {error}", folder.display()))?;
        if skip_existing {
            scan.notes.skipped(scan.pending.len(), scan.journal.path());
            for (name, Pending { stamp, .. }) in std::mem::take(&mut scan.pending) {
                scan.journal.add(&name, Entry { stamp, state: State::Skipped, number: 0, content: None });
                scan.settle(name);
            }
            scan.journal.write()?;
        }
        Ok(scan)
    }

    /// Looks at the folder. Returns the images to inspect now, sorted by name: those that have not changed since the last look.
    pub(super) fn look(&mut self) -> std::io::Result<Vec<PathBuf>> {
        let complete = self.check_pending();
        let complete = self.leave_out_known(complete);
        self.check_settled();
        if self.is_listing_due()? {
            self.list()?;
        }
        let mut paths: Vec<PathBuf> = complete.into_iter().map(|name| self.folder.join(name)).collect();
        paths.sort();
        Ok(paths)
    }

    /// Returns the properties of an image that is to be inspected.
    pub(super) fn stamp(&self, path: &Path) -> Option<Stamp> {
        Some(self.pending.get(path.file_name()?)?.stamp)
    }

    /// Returns the content of an image that is to be inspected. It is read once for a file that stays the same, however often that is
    /// tried.
    pub(super) fn content(&mut self, path: &Path) -> Option<u64> {
        let pending = path.file_name().and_then(|name| self.pending.get_mut(name))?;
        *pending.content.get_or_insert_with(|| content(path))
    }

    /// Marks an image as inspected.
    pub(super) fn done(&mut self, path: &Path) {
        let Some(name) = path.file_name() else { return };
        self.pending.remove(name);
        self.settle(name.to_owned());
        self.recent.push_back(name.to_owned());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Marks an image as one that cannot be read. Returns true once it was tried for long enough, and is to be reported.
    pub(super) fn failed(&mut self, path: &Path) -> bool {
        let pending = path.file_name().and_then(|name| self.pending.get_mut(name));
        let Some(Pending { failing, .. }) = pending else { return true };
        failing.get_or_insert_with(Instant::now).elapsed() >= self.retry_for
    }

    fn settle(&mut self, name: OsString) {
        self.settled.insert(name, self.listings);
    }

    /// Returns the file's properties; `None` if it is gone or no file.
    fn stamp_of(&self, name: &OsStr) -> Option<Stamp> {
        let metadata = std::fs::metadata(self.folder.join(name)).ok()?;
        metadata.is_file().then(|| Stamp::of(&metadata))
    }

    /// Looks at the files to inspect. Returns those that have not changed.
    fn check_pending(&mut self) -> Vec<OsString> {
        let mut complete = Vec::new();
        for name in self.pending.keys().cloned().collect::<Vec<_>>() {
            match (self.stamp_of(&name), self.pending.get_mut(&name)) {
                (Some(stamp), Some(pending)) if pending.stamp == stamp => complete.push(name),
                (Some(stamp), Some(pending)) => *pending = Pending::new(stamp),
                _ => _ = self.pending.remove(&name),
            }
        }
        complete
    }

    /// Leaves out files that were inspected and whose properties alone have changed: they were copied, linked or moved. Some of the
    /// others wait for a later look where there are many.
    fn leave_out_known(&mut self, complete: Vec<OsString>) -> Vec<OsString> {
        let begun = Instant::now();
        let mut new = Vec::new();
        for name in complete {
            let Some(stamp) = self.pending.get(&name).map(|pending| pending.stamp) else { continue };
            match self.journal.similar(&name, stamp) {
                Some(_) if begun.elapsed() >= COMPARE_TIME => {}
                Some(entry) if self.content(&self.folder.join(&name)) == entry.content => {
                    self.journal.add(&name, Entry { stamp, ..entry });
                    self.pending.remove(&name);
                    self.settle(name);
                }
                _ => new.push(name),
            }
        }
        new
    }

    /// Looks at some of the files that need no inspection: they may have been replaced.
    fn check_settled(&mut self) {
        let begun = Instant::now();
        for name in self.recent.clone() {
            self.check(&name);
        }
        if self.turns.is_empty() {
            self.turns = self.settled.keys().cloned().collect();
        }
        for checked in 0..CHECKED {
            let Some(name) = self.turns.pop() else { return };
            self.check(&name);
            if checked >= RECENT && begun.elapsed() >= CHECK_TIME {
                return;
            }
        }
    }

    /// Looks at a file that needs no inspection, unless it is replaced.
    fn check(&mut self, name: &OsStr) {
        if !self.settled.contains_key(name) {
            return;
        }
        match self.stamp_of(name) {
            Some(stamp) if self.journal.entry(name).is_some_and(|entry| entry.is_of(stamp)) => return,
            Some(stamp) => _ = self.pending.insert(name.to_owned(), Pending::new(stamp)),
            None => {}
        }
        self.settled.remove(name);
    }

    /// Returns the folder's modification time, and the time since which it is the same.
    fn modified(&mut self) -> std::io::Result<Option<(SystemTime, Instant)>> {
        let found = std::fs::metadata(&self.folder)?.modified().ok();
        if self.modified.map(|(known, _)| known) != found {
            self.modified = found.map(|found| (found, Instant::now()));
        }
        Ok(self.modified)
    }

    fn is_listing_due(&mut self) -> std::io::Result<bool> {
        let modified = self.modified()?.map(|(modified, _)| modified);
        let Some(last) = &self.listing else { return Ok(true) };
        let changed = modified.is_none() || modified != last.modified || !last.trusted;
        Ok(last.at.elapsed() >= last.took * if changed { BUSY_PAUSE } else { IDLE_PAUSE })
    }

    /// Lists the folder. Files that are not known, and those that are back, are looked at.
    pub(super) fn list(&mut self) -> std::io::Result<()> {
        let begun = Instant::now();
        let modified = self.modified()?;
        let trusted = modified.is_some_and(|(_, since)| since.elapsed() >= TRUSTED_AGE);
        self.listings += 1;
        let mut without_ending = (0, None);
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(listing) = self.settled.get_mut(&name) {
                *listing = self.listings;
                continue;
            }
            // The temporary names of most programs begin with a dot.
            if self.pending.contains_key(&name) || name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if is_folder(&entry) {
                self.notes.name_folder(&entry.path());
                continue;
            }
            if !is_image_name(Path::new(&name)) {
                self.notes.name_ending(&name);
                let is_journal = self.journal.path().is_some_and(|path| path.file_name() == Some(&name));
                if Path::new(&name).extension().is_none() && !is_journal {
                    without_ending.0 += 1;
                    without_ending.1.get_or_insert(name);
                }
                continue;
            }
            match self.stamp_of(&name) {
                Some(stamp) if self.journal.is_done(&name, stamp, self.skips) => self.settle(name),
                Some(stamp) => _ = self.pending.insert(name, Pending::new(stamp)),
                None => self.notes.name_kind(&name),
            }
        }
        if let (count, Some(name)) = without_ending {
            self.notes.name_without_ending(count, &name);
        }
        let listings = self.listings;
        self.settled.retain(|_, listing| *listing == listings);
        let modified = modified.map(|(modified, _)| modified);
        self.listing = Some(Listing { at: Instant::now(), took: begun.elapsed(), modified, trusted });
        self.forget(MAX_GONE);
        Ok(())
    }

    /// Bounds the journal. An empty folder may be one that is not mounted.
    fn forget(&mut self, most: usize) {
        let there = self.settled.len() + self.pending.len();
        if there > 0 && self.journal.len() > there + most {
            let there = self.settled.keys().chain(self.pending.keys()).map(OsString::as_os_str);
            self.journal.forget(there, most / 2);
        }
    }
}

/// Returns true for a folder, and for a link to one unless it has an image's name.
fn is_folder(entry: &DirEntry) -> bool {
    let Ok(kind) = entry.file_type() else { return false };
    kind.is_dir() || kind.is_symlink() && !is_image_name(Path::new(&entry.file_name())) && entry.path().is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(folder: &Path) -> Scan {
        Scan::new(folder, Journal::default(), true, true, Duration::ZERO, None).unwrap()
    }

    fn names(paths: Vec<PathBuf>) -> Vec<String> {
        paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn new_changed_and_returned_images_are_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("old.png"), "1").unwrap();
        let mut scan = scan(folder.path());
        assert!(scan.look().unwrap().is_empty() && scan.look().unwrap().is_empty());
        std::fs::write(path("new.png"), "1").unwrap();
        std::fs::write(path("notes.txt"), "1").unwrap();
        let wait = |scan: &mut Scan| {
            let begun = Instant::now();
            loop {
                let found = names(scan.look().unwrap());
                if !found.is_empty() {
                    return found;
                }
                assert!(begun.elapsed() < Duration::from_secs(60));
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let inspect = |scan: &mut Scan, name: &str| {
            let stamp = scan.stamp(&path(name)).unwrap();
            let content = content(&path(name));
            scan.journal.add(OsStr::new(name), Entry { stamp, state: State::Done, number: 1, content });
            scan.done(&path(name));
        };
        assert_eq!(wait(&mut scan), ["new.png"]);
        inspect(&mut scan, "new.png");
        // Both are replaced: one that was done, and one that was there at the start.
        for name in ["new.png", "old.png"] {
            std::fs::write(path(name), "22").unwrap();
            assert_eq!(wait(&mut scan), [name]);
            inspect(&mut scan, name);
        }
        // A file that goes and returns is the same one.
        std::fs::rename(path("new.png"), path(".away")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        scan.look().unwrap();
        std::fs::rename(path(".away"), path("new.png")).unwrap();
        for _ in 0..20 {
            assert!(scan.look().unwrap().is_empty());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn the_content_of_an_image_that_stays_the_same_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, "1").unwrap();
        let mut scan = Scan::new(folder.path(), Journal::default(), false, false, Duration::ZERO, None).unwrap();
        let (first, other) = (content(&path), folder.path().join("b.png"));
        assert!(first.is_some());
        assert_eq!((scan.content(&path), scan.content(&other)), (first, None));
        // It is read again once a look has seen that it has changed.
        std::fs::write(&path, "22").unwrap();
        assert_eq!(scan.content(&path), first);
        scan.look().unwrap();
        assert_eq!(scan.content(&path), content(&path));
        assert_ne!(scan.content(&path), first);
    }

    /// The clock of a file server may be ahead of this one, or this one may be set back.
    #[test]
    fn a_folder_with_a_time_in_the_future_is_not_listed_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), "1").unwrap();
        let later = SystemTime::now() + Duration::from_secs(86_400);
        std::fs::File::open(folder.path()).unwrap().set_modified(later).unwrap();
        let mut scan = scan(folder.path());
        scan.modified = Some((later, Instant::now().checked_sub(TRUSTED_AGE).unwrap()));
        scan.list().unwrap();
        assert!(scan.listing.as_ref().unwrap().trusted);
        // A change is noticed, and not trusted yet.
        std::fs::write(folder.path().join("b.png"), "1").unwrap();
        scan.list().unwrap();
        assert!(!scan.listing.as_ref().unwrap().trusted);
    }

    #[test]
    fn the_journal_of_a_folder_that_is_emptied_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut scan = scan(folder.path());
        let stamp = |name: &str| {
            std::fs::write(folder.path().join(name), "1").unwrap();
            Stamp::of(&std::fs::metadata(folder.path().join(name)).unwrap())
        };
        for number in 0..10 {
            let name = format!("{number}.png");
            let entry = Entry { stamp: stamp(&name), state: State::Done, number: 1, content: None };
            scan.journal.add(OsStr::new(&name), entry);
            std::fs::remove_file(folder.path().join(&name)).unwrap();
        }
        scan.list().unwrap();
        scan.forget(4);
        assert_eq!(scan.journal.len(), 10, "the folder may not be mounted");
        let last = Entry { stamp: stamp("last.png"), state: State::Done, number: 1, content: None };
        scan.journal.add(OsStr::new("last.png"), last);
        scan.list().unwrap();
        scan.forget(4);
        assert_eq!(scan.journal.len(), 3);
        assert!(["last.png", "9.png"].iter().all(|name| scan.journal.entry(OsStr::new(name)).is_some()));
    }
}
