//! State that all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use dualad::Detector;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::upload::UploadLimits;
use crate::worker::Job;

#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) detector: Detector,
    /// The queue to the inspection thread.
    pub(crate) jobs: SyncSender<Job>,
    /// One permit for each upload that may be held.
    pub(crate) slots: Arc<Semaphore>,
    /// The number of slots.
    pub(crate) queue: usize,
    /// One permit for each heat map that is drawn at a time.
    pub(crate) drawing: Arc<Semaphore>,
    pub(crate) limits: UploadLimits,
    pub(crate) io_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
    stopping: AtomicBool,
}

/// Heat maps drawn at a time. Each takes memory of several times its picture.
const MAX_DRAWINGS: usize = 2;

impl AppState {
    pub(crate) fn new(
        detector: Detector,
        jobs: SyncSender<Job>,
        queue: usize,
        limits: UploadLimits,
        io_timeout: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (slots, drawing) = (Arc::new(Semaphore::new(queue)), Arc::new(Semaphore::new(MAX_DRAWINGS)));
        Self { detector, jobs, slots, queue, drawing, limits, io_timeout, metrics, stopping: AtomicBool::new(false) }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Refuses uploads from now on.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn held_uploads(&self) -> usize {
        self.queue.saturating_sub(self.slots.available_permits())
    }
}
