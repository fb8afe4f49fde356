//! Finds the images of a folder that are new and complete, by listing it again and again.
//!
//! Notifications of the operating system do not come from network shares, where cameras put their images. The polling watcher
//! of the crate `notify` (8.2.2) compares modification times in whole seconds and no lengths: it misses the second half of a
//! file written within the same second, and a file renamed over another one. Its content comparison would read every file of
//! the folder each time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What is taken for an image, by its name.
const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"];

/// What a file looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    length: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug)]
struct Seen {
    look: Look,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has changed since the last look, or was not there.
    Fresh,
    /// It could not be read when it had stopped changing.
    Failing { since: Instant },
    /// It was answered, or was there at the start.
    Done,
}

/// A folder's images.
#[derive(Debug)]
pub(crate) struct Scan {
    folder: PathBuf,
    seen: HashMap<PathBuf, Seen>,
    retry_for: Duration,
}

impl Scan {
    /// With `existing`, what is there already is new too.
    pub(crate) fn new(folder: &Path, existing: bool, retry_for: Duration) -> Result<Self, String> {
        let mut scan = Self { folder: folder.into(), seen: HashMap::new(), retry_for };
        let found = scan.look().map_err(|error| format!("cannot watch {}: {error}", folder.display()))?;
        if !existing {
            scan.seen = found.into_iter().map(|(path, look)| (path, Seen { look, state: State::Done })).collect();
        }
        Ok(scan)
    }

    /// The images that are to be inspected now, by name: they have not changed since the last look.
    pub(crate) fn settled(&mut self) -> std::io::Result<Vec<PathBuf>> {
        let found = self.look()?;
        let mut settled = Vec::new();
        let mut seen = HashMap::with_capacity(found.len());
        for (path, look) in found {
            let state = match self.seen.get(&path) {
                Some(seen) if seen.look == look => {
                    if seen.state != State::Done {
                        settled.push(path.clone());
                    }
                    seen.state
                }
                _ => State::Fresh,
            };
            seen.insert(path, Seen { look, state });
        }
        // What is gone is forgotten.
        self.seen = seen;
        settled.sort();
        Ok(settled)
    }

    /// The image was answered.
    pub(crate) fn done(&mut self, path: &Path) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.state = State::Done;
        }
    }

    /// The image could not be read. Whether that is to be said: once, after it was tried for long enough.
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

    fn look(&self) -> std::io::Result<Vec<(PathBuf, Look)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            // Another program's temporary names mostly begin with a dot.
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
            if hidden || !ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
                continue;
            }
            // It may be gone by now.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            if metadata.is_file() {
                found.push((path, Look { length: metadata.len(), modified: metadata.modified().ok() }));
            }
        }
        Ok(found)
    }
}
