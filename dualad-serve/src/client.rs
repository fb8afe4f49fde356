//! The state of a client's connection, which its stream and its requests share.

use std::sync::atomic::{AtomicBool, Ordering};

/// A connection.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// True once a request's body was left unread.
    unread: AtomicBool,
}

impl Client {
    /// Notes that the client may still be sending when the connection is closed.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }
}
