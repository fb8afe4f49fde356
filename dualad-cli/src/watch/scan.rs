//! Finds the images of a folder that are new and complete, by listing it again and again.
//!
//! Notifications of the operating system do not come from network shares, where cameras put their images. The polling watcher
//! of the crate `notify` (8.2.2) compares modification times in whole seconds and no lengths: it misses the second half of a
//! file written within the same second, and a file renamed over another one. Its content comparison would read every file of
//! the folder each time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use dualad::data::is_image_name;

/// The properties by which a change of a file is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug)]
struct KnownFile {
    stamp: Stamp,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The file is new, or has changed since the last listing.
    Changing,
    /// The file has stopped changing and cannot be read.
    Failing { since: Instant },
    /// The image was inspected or reported, or existed at the start.
    Done,
}

/// The images of a folder, as they were in the last listing.
#[derive(Debug)]
pub(crate) struct Scan {
    folder: PathBuf,
    seen: HashMap<PathBuf, KnownFile>,
    retry_for: Duration,
}

impl Scan {
    /// Lists the folder for the first time. With `existing`, the images in it count as new.
    pub(crate) fn new(folder: &Path, existing: bool, retry_for: Duration) -> Result<Self, String> {
        let mut scan = Self { folder: folder.into(), seen: HashMap::new(), retry_for };
        let found = scan.list().map_err(|error| format!("cannot watch {}: {error}", folder.display()))?;
        if !existing {
            scan.seen =
                found.into_iter().map(|(path, stamp)| (path, KnownFile { stamp, state: State::Done })).collect();
        }
        Ok(scan)
    }

    /// Lists the folder. Returns the images to inspect now, sorted by name: those that have not changed since the last listing.
    pub(crate) fn settled(&mut self) -> std::io::Result<Vec<PathBuf>> {
        let found = self.list()?;
        let mut settled = Vec::new();
        let mut seen = HashMap::with_capacity(found.len());
        for (path, stamp) in found {
            let state = match self.seen.get(&path) {
                Some(known) if known.stamp == stamp => {
                    if known.state != State::Done {
                        settled.push(path.clone());
                    }
                    known.state
                }
                _ => State::Changing,
            };
            seen.insert(path, KnownFile { stamp, state });
        }
        // Removed files are forgotten.
        self.seen = seen;
        settled.sort();
        Ok(settled)
    }

    /// Marks an image as inspected.
    pub(crate) fn done(&mut self, path: &Path) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.state = State::Done;
        }
    }

    /// Marks an image as one that cannot be read. Returns true once it was tried for long enough, and is to be reported.
    pub(crate) fn failed(&mut self, path: &Path) -> bool {
        let Some(seen) = self.seen.get_mut(path) else { return true };
        let since = match seen.state {
            State::Failing { since } => since,
            _ => Instant::now(),
        };
        let give_up = since.elapsed() >= self.retry_for;
        seen.state = if give_up { State::Done } else { State::Failing { since } };
        give_up
    }

    fn list(&self) -> std::io::Result<Vec<(PathBuf, Stamp)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            // The temporary names of most programs begin with a dot.
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden || !is_image_name(&path) {
                continue;
            }
            // The file may be removed by now.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if metadata.is_file() {
                found.push((path, Stamp { length: metadata.len(), modified: metadata.modified().ok() }));
            }
        }
        Ok(found)
    }
}
