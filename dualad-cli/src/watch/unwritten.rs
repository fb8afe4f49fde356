//! Images whose records could not be written, as on a full disk: they are tried again with growing pauses.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;

use super::entry::Entry;
use super::retry::Retry;
use crate::common::note;

/// The number of records that are tried again. Images beyond it are inspected again at the next start.
const MOST: usize = 1000;

/// An image that was inspected, and whose line was printed.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) path: PathBuf,
    pub(super) name: OsString,
    pub(super) entry: Entry,
    /// The line of JSON without the heat map.
    pub(super) line: String,
}

#[derive(Debug, Default)]
pub(super) struct Unwritten {
    images: VecDeque<Waiting>,
    retry: Retry,
    /// The number of images that were too many.
    dropped: usize,
}

impl Unwritten {
    /// Notes an image. The reason is printed for the first one since records were written.
    pub(super) fn add(&mut self, image: Waiting, reason: &str) {
        self.fails(reason);
        if self.images.len() < MOST {
            self.images.push_back(image);
            return;
        }
        if self.dropped == 0 {
            note(&format!("more than {MOST} records wait; further images are inspected again at the next start"));
        }
        self.dropped += 1;
    }

    /// Puts an image back that failed again.
    pub(super) fn put_back(&mut self, image: Waiting, reason: &str) {
        self.fails(reason);
        self.images.push_back(image);
    }

    fn fails(&mut self, reason: &str) {
        if self.retry.fails() {
            note(&format!("{reason}; trying again"));
        }
    }

    /// Returns an image if it is time to try one.
    pub(super) fn next(&mut self) -> Option<Waiting> {
        if self.retry.is_due() { self.images.pop_front() } else { None }
    }

    /// Notes that a record was written.
    pub(super) fn succeeds(&mut self) {
        if self.images.is_empty() && self.retry.succeeds() {
            note("records are written again");
            self.dropped = 0;
        }
    }

    /// Says at the end of the program which images have no record.
    pub(super) fn end(&self) {
        let count = self.images.len() + self.dropped;
        if count > 0 {
            let images = if count == 1 { "1 image has".into() } else { format!("{count} images have") };
            note(&format!("{images} no record, and are inspected again at the next start"));
        }
    }
}
