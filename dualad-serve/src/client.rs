//! The state of a client's connection, which its stream, its requests and the listener share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The time that a new client has for the head of its first request, where connections are scarce.
const FIRST: Duration = Duration::from_millis(250);
/// The time that a client has for its next step, where connections are scarce: to receive a part of an answer, or to send the head of
/// its next request or the rest of a refused one.
const NEXT: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// True once a request's body was left unread.
    unread: AtomicBool,
    /// The number of bytes of that body that were not read, by its declared length; 0 without one.
    rest: AtomicU64,
    /// True for a connection of the reserve: it asks for the server's health only.
    reserved: bool,
    phase: Mutex<Phase>,
    close: Notify,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No request has arrived since then.
    New(Instant),
    /// The server works on a request.
    Working,
    /// The request was answered, and since then the client has not received anything and the next request has not arrived.
    Answered(Instant),
}

impl Default for Client {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Client {
    pub(crate) fn new(reserved: bool) -> Self {
        let phase = Mutex::new(Phase::New(Instant::now()));
        Self { unread: AtomicBool::new(false), rest: AtomicU64::new(0), reserved, phase, close: Notify::new() }
    }

    /// Notes that the client may still be sending when the connection is closed: `rest` bytes, or 0 if it did not declare a length.
    pub(crate) fn leave_unread(&self, rest: u64) {
        self.rest.store(rest, Ordering::Relaxed);
        self.unread.store(true, Ordering::Release);
    }

    /// Returns the number of bytes that the client declared and may still send; `None` if no body was left unread.
    pub(crate) fn unread(&self) -> Option<u64> {
        self.unread.load(Ordering::Acquire).then(|| self.rest.load(Ordering::Relaxed))
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved
    }

    /// Notes that the server begins to work on a request.
    pub(crate) fn begin(&self) {
        *self.phase() = Phase::Working;
    }

    /// Notes that the request is answered: from now on the server waits for the client.
    pub(crate) fn wait(&self) {
        *self.phase() = Phase::Answered(Instant::now());
    }

    /// Notes that a part of an answer was written.
    pub(crate) fn progress(&self, written: bool) {
        let mut phase = self.phase();
        if let (true, Phase::Answered(since)) = (written, &mut *phase) {
            *since = Instant::now();
        }
    }

    /// Returns the time that the server has waited for the client beyond what it is granted where connections are scarce.
    pub(crate) fn late(&self) -> Option<Duration> {
        match *self.phase() {
            Phase::New(since) => since.elapsed().checked_sub(FIRST),
            Phase::Answered(since) => since.elapsed().checked_sub(NEXT),
            Phase::Working => None,
        }
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        self.close.notify_one();
    }

    /// Waits until the connection is to be closed.
    pub(crate) async fn closed(&self) {
        self.close.notified().await;
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        // No code that holds the lock can panic halfway through an update.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_is_waited_for_can_be_late() {
        let client = Client::default();
        assert!(client.late().is_none());
        std::thread::sleep(FIRST);
        assert!(client.late().is_some());
        client.begin();
        assert!(client.late().is_none());
        client.wait();
        std::thread::sleep(NEXT);
        assert!(client.late().is_some());
        client.progress(false);
        assert!(client.late().is_some());
        client.progress(true);
        assert!(client.late().is_none());
        client.begin();
        client.progress(true);
        std::thread::sleep(NEXT);
        assert!(client.late().is_none());
    }
}
