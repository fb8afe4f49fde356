//! The inspection threads, one for each device: they inspect the images that have arrived, in batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dualad::data::image::Picture;
use dualad::detector::{Inspection, Replicas, Request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::memory::Share;
use crate::metrics::Metrics;

/// The permits of a complete upload: it is accepted, and it is one of those that may be held.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) _accepted: OwnedSemaphorePermit,
    pub(crate) _slot: OwnedSemaphorePermit,
}

/// A decoded upload with its slot and its memory. Both are free again when the last task that uses the picture drops it.
#[derive(Debug)]
pub(crate) struct HeldUpload {
    pub(crate) name: String,
    pub(crate) category: Option<String>,
    pub(crate) picture: Picture,
    pub(crate) _memory: Share,
    pub(crate) _slot: Slot,
}

impl HeldUpload {
    fn request(&self) -> Request<'_> {
        let request = Request::from(&self.picture);
        match &self.category {
            Some(category) => request.category(category),
            None => request,
        }
    }
}

/// An upload to inspect.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) held: Arc<HeldUpload>,
    /// The time of the upload's last byte.
    pub(crate) received: Instant,
    pub(crate) answer: oneshot::Sender<dualad::Result<Inspection>>,
}

#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) replicas: Replicas,
    /// The queue, from which one thread at a time takes a batch.
    pub(crate) jobs: Arc<Mutex<Receiver<Job>>>,
    pub(crate) metrics: Arc<Metrics>,
    /// The largest batch.
    pub(crate) batch: usize,
    /// The time that the first image of a batch waits for others.
    pub(crate) delay: Duration,
}

impl Worker {
    /// Inspects jobs until every sender is dropped.
    pub(crate) fn run(self) {
        while let Some(jobs) = self.collect() {
            // A panic drops these jobs, and their clients receive status 500. The next batch is inspected as usual.
            let _ = catch_unwind(AssertUnwindSafe(|| self.answer(jobs)));
        }
    }

    fn collect(&self) -> Option<Vec<Job>> {
        let queue = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut jobs = vec![queue.recv().ok()?];
        let until = Instant::now() + self.delay;
        while jobs.len() < self.batch {
            match queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(job) => jobs.push(job),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Some(jobs)
    }

    fn answer(&self, jobs: Vec<Job>) {
        // A client that has disconnected needs no answer.
        let (uploads, clients): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .filter(|job| !job.answer.is_closed())
            .map(|Job { held, received, answer }| (held, (received, answer)))
            .unzip();
        if uploads.is_empty() {
            return;
        }
        let begun = Instant::now();
        let inspections = self.replicas.inspect_batch(uploads.iter().map(|held| held.request()));
        self.metrics.batch(uploads.len(), begun.elapsed());
        // A client that has its answer may send the next upload at once: the slots are free before.
        drop(uploads);
        for ((received, answer), result) in clients.into_iter().zip(inspections) {
            if let Ok(inspection) = &result {
                self.metrics.inspected(inspection, received.elapsed());
            }
            // The client may have disconnected meanwhile.
            let _ = answer.send(result);
        }
    }
}
