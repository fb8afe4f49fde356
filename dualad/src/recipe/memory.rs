//! The memory modules' first slots, and how they are read during training.

use serde::{Deserialize, Serialize};

/// How the memory modules start, and are read during training. Without effect on a network without memory.
///
/// Shares are of the run's steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// Where the slots come from.
    pub init: MemoryInit,
    /// After which share of the steps the memory joins in. Until then it passes on what it is asked; slots from data are
    /// taken at that moment.
    pub start: f64,
    /// Over which share of the steps what it passes on goes from what it is asked to what it reads.
    pub ramp: f64,
    /// What the memory is read at in the first step; it then goes, on a straight line of its logarithm, to the network's
    /// own [`crate::DualAdConfig::memory_temperature`]. `None`: it is that all the time.
    #[serde(deserialize_with = "Option::deserialize")]
    pub temperature_start: Option<f64>,
    /// The share of the steps after which the temperature has arrived.
    pub anneal: f64,
}

/// Where a memory's first slots come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MemoryInit {
    /// Drawn at random, as the paper does: directions that no feature may ever have.
    Drawn,
    /// Some of what the network asks about training images.
    Sample,
    /// What stands for all that the network asks about training images: k-means by cosine.
    KMeans,
}

impl MemoryConfig {
    /// The paper's: drawn, there from the first step on, read at one temperature.
    pub fn paper() -> Self {
        Self { init: MemoryInit::Drawn, start: 0.0, ramp: 0.0, temperature_start: None, anneal: 0.0 }
    }
}

impl MemoryConfig {
    /// The step before which the memory joins in.
    pub fn first_step(&self, total: u64) -> u64 {
        (self.start * total as f64).round() as u64
    }

    /// What the memory passes on in step `step` (from 0) of `total`: 0 what it is asked, 1 what it reads.
    pub fn share(&self, step: u64, total: u64) -> f64 {
        let first = self.first_step(total);
        if step < first {
            return 0.0;
        }
        let ramp = self.ramp * total as f64;
        // The first step with a memory already has some of it.
        ((step - first + 1) as f64 / ramp.max(1.0)).min(1.0)
    }

    /// What the memory is read at in step `step` (from 0) of `total`, where the network's own temperature is `last`.
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
    fn the_temperature_goes_from_the_first_to_the_last() {
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
    fn the_memory_joins_in_when_it_is_told_to() {
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
