//! The one thread that inspects: whatever has arrived, together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use dualad::Detector;
use dualad::detector::{Inspection, Request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::metrics::Metrics;
use crate::upload::Upload;

/// An upload with its slot, which is free again when whoever works on it is done.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) upload: Upload,
    pub(crate) _slot: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) held: Arc<Held>,
    pub(crate) since: Instant,
    pub(crate) answer: oneshot::Sender<dualad::Result<Inspection>>,
}

pub(crate) struct Worker {
    pub(crate) detector: Detector,
    pub(crate) jobs: Receiver<Job>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) batch: usize,
    pub(crate) linger: Duration,
}

impl Worker {
    /// Until nobody can ask any more.
    pub(crate) fn run(self) {
        while let Some(jobs) = self.collect() {
            // A panic drops these jobs, whose clients are told; the next batch is inspected all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| self.answer(jobs)));
        }
    }

    fn collect(&self) -> Option<Vec<Job>> {
        let mut jobs = vec![self.jobs.recv().ok()?];
        let until = Instant::now() + self.linger;
        while jobs.len() < self.batch {
            match self.jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(job) => jobs.push(job),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Some(jobs)
    }

    fn answer(&self, jobs: Vec<Job>) {
        // Nobody waits for what a client that left has sent.
        let (held, asked): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .filter(|job| !job.answer.is_closed())
            .map(|Job { held, since, answer }| (held, (since, answer)))
            .unzip();
        let requests: Vec<dualad::Result<Request<'_>>> = held.iter().map(|held| held.upload.request()).collect();
        let good: Vec<Request<'_>> = requests.iter().filter_map(|request| request.as_ref().ok().copied()).collect();
        if !good.is_empty() {
            self.metrics.batch(good.len());
        }
        let mut found = self.detector.inspect_batch(good).into_iter();
        for ((since, answer), request) in asked.into_iter().zip(requests) {
            let result = request.and_then(|_| found.next().unwrap_or(Err(dualad::Error::Cancelled)));
            if let Ok(inspection) = &result {
                self.metrics.inspected(inspection, since.elapsed());
            }
            // The client may have left meanwhile.
            let _ = answer.send(result);
        }
    }
}
