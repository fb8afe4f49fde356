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
/// The bytes per second of an upload that is not late, where connections or memory are scarce.
const RATE: f64 = (64 << 10) as f64;

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
    /// The client is sending an upload, and is granted the time until then for what comes next.
    Sending(Instant),
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

    /// Notes that the client begins to send an upload.
    pub(crate) fn begin_upload(&self) {
        *self.phase() = Phase::Sending(Instant::now() + NEXT);
    }

    /// Notes that so many bytes of the upload have arrived. They grant more time, but no more than [`NEXT`] from now.
    pub(crate) fn received(&self, bytes: u64) {
        if let Phase::Sending(until) = &mut *self.phase() {
            let most = Instant::now() + NEXT;
            let granted = Duration::from_secs_f64(bytes as f64 / RATE);
            *until = until.checked_add(granted).map_or(most, |until| until.min(most));
        }
    }

    /// Notes that the upload waits for the server.
    pub(crate) fn excuse(&self) {
        if let Phase::Sending(until) = &mut *self.phase() {
            *until = Instant::now() + NEXT;
        }
    }

    pub(crate) fn is_sending(&self) -> bool {
        matches!(*self.phase(), Phase::Sending(..))
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
            Phase::Sending(until) => Instant::now().checked_duration_since(until),
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

    #[test]
    fn an_upload_is_late_unless_its_bytes_arrive() {
        let [slow, fast] = [Client::default(), Client::default()];
        for client in [&slow, &fast] {
            client.begin_upload();
            client.received(1);
            assert!(client.is_sending() && client.late().is_none());
        }
        std::thread::sleep(NEXT / 2);
        fast.received(32 << 10);
        slow.received(1);
        std::thread::sleep(NEXT * 3 / 4);
        assert!(slow.late().is_some() && fast.late().is_none());
        // What arrived earlier does not excuse a pause.
        fast.received(u64::MAX);
        assert!(fast.late().is_none());
        std::thread::sleep(NEXT + Duration::from_millis(50));
        assert!(fast.late().is_some() && fast.late() < slow.late());
        slow.excuse();
        assert!(slow.late().is_none());
        slow.begin();
        slow.excuse();
        slow.received(1);
        assert!(!slow.is_sending());
    }
}
