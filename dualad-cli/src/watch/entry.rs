//! The journal's entry of a file.

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// The progress with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Its inspection has begun.
    Begun,
    /// It was inspected, or reported as an error, and its line was printed.
    Done,
    /// It was there at the first start, and was not to be inspected.
    Skipped,
}

/// The newest entry of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) stamp: Stamp,
    pub(super) state: State,
    /// The number of the file's record, from 1: later files of the same name have records of their own. 0 without a record.
    pub(super) number: u64,
    /// The file's [`content`](super::stamp::content) as it was inspected; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<u64>,
}

impl Entry {
    /// Returns true if a file with these properties is the one of this entry.
    pub(super) fn is_of(&self, stamp: Stamp) -> bool {
        match self.state {
            // Its content is not known, and cannot be compared.
            State::Skipped => self.stamp.is_unchanged(stamp),
            State::Begun | State::Done => self.stamp.is_same(stamp),
        }
    }
}
