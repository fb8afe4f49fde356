//! The progress of a call.

use dualad::Progress;
use dualad::fit::FitProgress;
use pyo3::prelude::*;

/// The progress of any call: the arguments of `dualad.Progress`.
#[derive(Debug, Clone, Copy, IntoPyObject)]
pub(crate) struct Step(&'static str, u64, u64, Option<u64>, Option<u64>, Option<f64>, Option<f64>);

impl Step {
    /// Returns the progress of a phase through a list of images.
    pub(crate) fn of(phase: &'static str, Progress { done, total, .. }: Progress) -> Self {
        Self::counted(phase, done, total)
    }

    /// Returns the progress of a phase by its numbers of images.
    pub(crate) fn counted(phase: &'static str, done: usize, total: usize) -> Self {
        Self(phase, done as u64, total as u64, None, None, None, None)
    }

    /// Returns the progress of a training run; `None` for phases that this package does not know.
    pub(crate) fn of_fit(progress: FitProgress) -> Option<Self> {
        Some(match progress {
            FitProgress::Reading(progress) => Self::of("reading", progress),
            FitProgress::Features(progress) => Self::of("features", progress),
            FitProgress::Bank(progress) => Self::of("bank", progress),
            FitProgress::Scoring(progress) => Self::of("scoring", progress),
            FitProgress::Training(training) => Self(
                "training",
                training.step,
                training.steps,
                Some(training.epoch),
                Some(training.epochs),
                Some(training.loss),
                Some(training.remaining.as_secs_f64()),
            ),
            _ => return None,
        })
    }
}
