//! State that all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use dualad::Detector;
use tokio::sync::Semaphore;

use crate::bodies::BodyMemory;
use crate::connections::Connections;
use crate::memory::DecodingMemory;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::thresholds::Watched;
use crate::upload::UploadLimits;
use crate::worker::Job;

#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) detector: Detector,
    /// The queue to the inspection threads.
    pub(crate) jobs: SyncSender<Job>,
    /// One permit for each accepted upload, from its first byte to its answer.
    pub(crate) accepted: Arc<Semaphore>,
    /// One permit for each complete upload that may be held.
    pub(crate) slots: Arc<Semaphore>,
    /// The number of slots.
    pub(crate) queue: usize,
    /// The connections that the server accepts.
    pub(crate) connections: Connections,
    /// The memory for bodies.
    pub(crate) bodies: BodyMemory,
    /// One permit for each heat map that is drawn at a time.
    pub(crate) drawing: Arc<Semaphore>,
    /// One permit for each answer with a heat map that may be held, from its request until its client has received it.
    pub(crate) answers: Arc<Semaphore>,
    /// One permit for each request that may wait for that.
    pub(crate) waiting: Semaphore,
    /// The memory for decoding.
    pub(crate) memory: DecodingMemory,
    pub(crate) limits: UploadLimits,
    pub(crate) io_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
    /// The file of the thresholds, if it is known.
    pub(crate) thresholds: Option<Watched>,
    stopping: AtomicBool,
}

/// Uploads accepted at a time: more than there are connections.
pub(crate) const MAX_ACCEPTED: u32 = 1 << 24;

/// Heat maps drawn at a time. Each takes memory of several times its picture.
const MAX_DRAWINGS: usize = 2;

impl AppState {
    pub(crate) fn new(detector: Detector, jobs: SyncSender<Job>, options: &Options, metrics: Arc<Metrics>) -> Self {
        let &Options { queue, connections, max_body_bytes, max_pixels, decoding_memory, io_timeout, .. } = options;
        Self {
            detector,
            jobs,
            accepted: Arc::new(Semaphore::new(MAX_ACCEPTED as usize)),
            connections: Connections::new(connections),
            bodies: BodyMemory::new(queue, max_body_bytes),
            slots: Arc::new(Semaphore::new(queue)),
            queue,
            answers: Arc::new(Semaphore::new(queue)),
            waiting: Semaphore::new(queue),
            drawing: Arc::new(Semaphore::new(MAX_DRAWINGS)),
            memory: DecodingMemory::new(decoding_memory),
            limits: UploadLimits { bytes: max_body_bytes, pixels: max_pixels, image: options.image_limits() },
            io_timeout,
            metrics,
            thresholds: options.thresholds_file.clone().filter(|_| !options.scores_only).map(Watched::new),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Refuses uploads from now on.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn held_uploads(&self) -> usize {
        (MAX_ACCEPTED as usize).saturating_sub(self.accepted.available_permits())
    }
}
