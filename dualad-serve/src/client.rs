//! The state of a client's connection, which its stream, its requests and the listener share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::peer::Peer;

/// The time that a new client has for its next step, where connections are scarce.
pub(crate) const FIRST: Duration = Duration::from_millis(50);
/// The time that a client has for its next step, where connections are scarce: to receive a part of an answer, or to send the head of
/// its next request, a part of its upload or the rest of a refused one. A client has it once an image of it was inspected, and
/// [`FIRST`] before.
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
    /// True once an image was inspected.
    known: AtomicBool,
    /// The origin of the connection, if the server accepted it.
    peer: Option<Peer>,
    /// The place among the connections; `None` for a connection that the server did not accept.
    place: Mutex<Option<OwnedSemaphorePermit>>,
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
    Sending { since: Instant, until: Instant },
    /// The server works on a request.
    Working,
    /// The request was answered, and since then the client has not received anything and the next request has not arrived.
    Answered(Instant),
    /// The connection is being closed.
    Closed,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            unread: AtomicBool::new(false),
            rest: AtomicU64::new(0),
            known: AtomicBool::new(false),
            peer: None,
            place: Mutex::default(),
            reserved: false,
            phase: Mutex::new(Phase::New(Instant::now())),
            close: Notify::new(),
        }
    }
}

impl Client {
    /// Makes the client of a connection that was accepted: in the reserve, or among the others.
    pub(crate) fn new(peer: Peer, place: OwnedSemaphorePermit, reserved: bool) -> Self {
        Self { peer: Some(peer), place: Mutex::new(Some(place)), reserved, ..Self::default() }
    }

    pub(crate) fn peer(&self) -> Option<Peer> {
        self.peer
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
        self.enter(Phase::Working);
    }

    /// Notes that the client begins to send an upload.
    pub(crate) fn begin_upload(&self) {
        let since = Instant::now();
        self.enter(Phase::Sending { since, until: since + self.grace() });
    }

    /// Notes that an image was inspected: the client is not one that only keeps the server waiting.
    pub(crate) fn trust(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Notes that so many bytes of the upload have arrived. They grant more time, but no more than [`NEXT`] from now.
    pub(crate) fn received(&self, bytes: u64) {
        if let Phase::Sending { until, .. } = &mut *self.phase() {
            let most = Instant::now() + NEXT;
            let granted = Duration::from_secs_f64(bytes as f64 / RATE);
            *until = until.checked_add(granted).map_or(most, |until| until.min(most));
        }
    }

    /// Notes that the upload waits for the server.
    pub(crate) fn excuse(&self) {
        if let Phase::Sending { until, .. } = &mut *self.phase() {
            *until = Instant::now() + NEXT;
        }
    }

    /// Notes that the request is answered: from now on the server waits for the client.
    pub(crate) fn wait(&self) {
        self.enter(Phase::Answered(Instant::now()));
    }

    /// Notes that a part of an answer was written.
    pub(crate) fn progress(&self, written: bool) {
        let mut phase = self.phase();
        if let (true, Phase::Answered(since)) = (written, &mut *phase) {
            *since = Instant::now();
        }
    }

    /// Returns the time until which the server waits for the client where connections are scarce. `None` if it does not wait for it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self.phase() {
            Phase::New(since) => Some(since + FIRST),
            Phase::Answered(since) => Some(since + self.grace()),
            Phase::Sending { until, .. } => Some(until),
            Phase::Working | Phase::Closed => None,
        }
    }

    /// Returns the time that the server has waited for the client beyond what it is granted where connections are scarce.
    pub(crate) fn late(&self) -> Option<Duration> {
        Instant::now().checked_duration_since(self.deadline()?)
    }

    /// Returns the time by which an upload is late where memory is scarce. Any client has [`NEXT`] to begin with it.
    pub(crate) fn late_upload(&self) -> Option<Duration> {
        match *self.phase() {
            Phase::Sending { since, until } => Instant::now().checked_duration_since(until.max(since + NEXT)),
            _ => None,
        }
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        self.enter(Phase::Closed);
        self.close.notify_one();
    }

    /// Closes the connection, which has another place until it ends, and returns its place. `None` if the server does not wait for the
    /// client.
    pub(crate) fn give_way(&self, other: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        {
            let mut phase = self.phase();
            if matches!(*phase, Phase::Working | Phase::Closed) {
                return None;
            }
            *phase = Phase::Closed;
        }
        self.close.notify_one();
        self.place.lock().unwrap_or_else(PoisonError::into_inner).replace(other)
    }

    /// Waits until the connection is to be closed.
    pub(crate) async fn closed(&self) {
        self.close.notified().await;
    }

    /// Returns the time that the client has for its next step where connections are scarce.
    fn grace(&self) -> Duration {
        // A client that is still sending a refused body has not seen its answer.
        let has_more = self.known.load(Ordering::Relaxed) || self.unread().is_some();
        if has_more { NEXT } else { FIRST }
    }

    fn enter(&self, phase: Phase) {
        let mut current = self.phase();
        if !matches!(*current, Phase::Closed) {
            *current = phase;
        }
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
            assert!(client.late().is_none());
        }
        for _ in 0..3 {
            std::thread::sleep(FIRST / 2);
            fast.received(16 << 10);
            slow.received(1);
        }
        assert!(slow.late().is_some() && fast.late().is_none());
        assert!(slow.late_upload().is_none());
        // What arrived earlier does not excuse a pause.
        fast.received(u64::MAX);
        assert!(fast.late().is_none());
        std::thread::sleep(NEXT + Duration::from_millis(50));
        assert!(fast.late().is_some() && fast.late() < slow.late());
        assert!(fast.late_upload().is_some() && slow.late_upload().is_some());
        slow.excuse();
        assert!(slow.late().is_none());
        slow.begin();
        slow.excuse();
        slow.received(1);
        assert!(slow.late_upload().is_none());
    }

    #[test]
    fn a_client_has_more_time_once_an_image_was_inspected() {
        let [new, known, sends] = [Client::default(), Client::default(), Client::default()];
        known.trust();
        sends.leave_unread(0);
        [&new, &known, &sends].into_iter().for_each(Client::wait);
        std::thread::sleep(FIRST);
        assert!(new.late().is_some() && known.late().is_none() && sends.late().is_none());
        new.close();
        new.wait();
        assert!(new.late().is_none(), "it is being closed");
    }
}
