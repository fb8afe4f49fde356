//! The initialization and the schedule of the memory modules.

use serde::{Deserialize, Serialize};

/// The initialization and the schedule of the memory modules during training. No effect on a network without memory.
///
/// A module blends its query and its readout: query + share * (readout - query). The share is 0 before [`Self::start`], rises to 1
/// over [`Self::ramp`], and stays 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// The origin of the initial slots.
    pub init: MemoryInit,
    /// The fraction of the run's steps before the share rises, from 0 to 1. Slots from data are computed at that step.
    pub start: f64,
    /// The fraction of the run's steps over which the share rises from 0 to 1; `start + ramp` is at most 1.
    pub ramp: f64,
    /// The softmax temperature of the first step, from 0.001 to 1000. Its logarithm then goes linearly to that of the network's
    /// [`crate::DualAdConfig::memory_temperature`]. With `None`, the network's temperature is used in all steps.
    #[serde(deserialize_with = "Option::deserialize")]
    pub temperature_start: Option<f64>,
    /// The fraction of the run's steps after which the temperature is the network's, from 0 to 1.
    pub anneal: f64,
}

/// The origin of a memory module's initial slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MemoryInit {
    /// Random unit vectors, as in the paper.
    Drawn,
    /// A sample of the queries of training images.
    Sample,
    /// The centers of the queries of training images, by k-means with the cosine similarity.
    KMeans,
}

impl MemoryConfig {
    /// Returns the paper's configuration: random slots, a share of 1 from the first step on, and a constant temperature.
    pub fn paper() -> Self {
        Self { init: MemoryInit::Drawn, start: 0.0, ramp: 0.0, temperature_start: None, anneal: 0.0 }
    }

    /// Returns the first step (from 0) with a share above 0, of `total` steps.
    pub fn first_step(&self, total: u64) -> u64 {
        (self.start * total as f64).round() as u64
    }

    /// Returns the share of the readout in step `step` (from 0) of `total`, from 0 to 1.
    pub fn share(&self, step: u64, total: u64) -> f64 {
        let first = self.first_step(total);
        if step < first {
            return 0.0;
        }
        let ramp = self.ramp * total as f64;
        // The first step of the ramp has a share above 0.
        ((step - first + 1) as f64 / ramp.max(1.0)).min(1.0)
    }

    /// Returns the softmax temperature of step `step` (from 0) of `total`. `last` is the network's own.
    pub fn temperature(&self, last: f64, step: u64, total: u64) -> f64 {
        let Some(first) = self.temperature_start else { return last };
        let arrived = self.anneal * total as f64;
        if step as f64 >= arrived {
            return last;
        }
        let progress = step as f64 / arrived;
        (first.ln() * (1.0 - progress) + last.ln() * progress).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_is_interpolated_on_a_log_scale() {
        let memory = MemoryConfig { temperature_start: Some(1.0), anneal: 0.5, ..MemoryConfig::paper() };
        let at = |step| memory.temperature(0.01, step, 100);
        assert_eq!((at(0), at(50), at(99)), (1.0, 0.01, 0.01));
        assert!((at(25) - 0.1).abs() < 1e-12);
        let fixed = MemoryConfig { temperature_start: None, ..memory };
        assert_eq!(fixed.temperature(0.3, 0, 100), 0.3);
        let at_once = MemoryConfig { anneal: 0.0, ..memory };
        assert_eq!(at_once.temperature(0.3, 0, 100), 0.3);
    }

    #[test]
    fn the_share_rises_after_the_start() {
        let memory = MemoryConfig { start: 0.3, ramp: 0.2, ..MemoryConfig::paper() };
        let at = |step| memory.share(step, 100);
        assert_eq!(
            (memory.first_step(100), at(0), at(29), at(30), at(39), at(49), at(99)),
            (30, 0.0, 0.0, 0.05, 0.5, 1.0, 1.0)
        );
        assert_eq!(MemoryConfig::paper().share(0, 100), 1.0);
        let at_once = MemoryConfig { ramp: 0.0, ..memory };
        assert_eq!((at_once.share(29, 100), at_once.share(30, 100)), (0.0, 1.0));
    }
}
