//! The progress of a run.

use std::time::Duration;

/// The state of a run after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TrainingProgress {
    /// The epoch of the step, from 1.
    pub epoch: u64,
    /// The number of epochs of the run.
    pub epochs: u64,
    /// The number of steps taken, over all epochs.
    pub step: u64,
    /// The number of steps of the run.
    pub steps: u64,
    /// The loss of the step.
    pub loss: f64,
    /// The norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The images per second, averaged over the last steps.
    pub images_per_second: f64,
    /// The time that the remaining steps take at that rate.
    pub remaining: Duration,
}

/// A decaying mean of the images per second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    images: f64,
    seconds: f64,
}

impl Rate {
    /// Adds a step.
    pub(super) fn add(&mut self, images: u64, time: Duration) {
        // A step loses half of its weight within about 20 steps.
        let keep = 0.966;
        self.images = self.images * keep + images as f64;
        self.seconds = self.seconds * keep + time.as_secs_f64();
    }

    /// Returns the images per second.
    pub(super) fn images_per_second(&self) -> f64 {
        self.images / self.seconds.max(1e-9)
    }
}
