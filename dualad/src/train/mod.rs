//! Training: images to features, once; features to a network.
//!
//! 1. A [`crate::recipe::Recipe`] configures the network and its training.
//! 2. [`crate::features::Features`] computes each image's tokens once.
//! 3. A [`Trainer`] trains on them, with a checkpoint that an interrupted run goes on from.
//!
//! `docs/training.md` shows it from the command line.

mod builder;
mod checkpoint;
mod cpu_step;
mod k_means;
mod log;
mod memory_init;
mod optimizer;
mod progress;
mod statistics;
pub(crate) mod step;
mod step_constants;
#[cfg(test)]
mod tests;
mod trainer;

pub use builder::TrainerBuilder;
pub use log::LogLine;
pub use optimizer::AdamW;
pub use progress::TrainingProgress;
pub use trainer::Trainer;

/// Both forms of a training step, for `benches/training_step.rs`. Not part of the public interface.
#[doc(hidden)]
pub mod bench {
    use candle_core::Tensor;

    use crate::recipe::AdamWConfig;
    use crate::train::cpu_step::CpuStepper;
    use crate::train::step::{PlainStepper, Stepper};
    use crate::{DualAd, Random, Result};

    /// One form.
    #[derive(Debug)]
    pub struct Steps(Box<dyn Stepper>);

    impl Steps {
        /// The form without a graph, or candle's.
        pub fn new(plain: bool, network: &DualAd, config: AdamWConfig) -> Result<Self> {
            Ok(Self(if plain {
                Box::new(PlainStepper::new(network, config)?)
            } else {
                Box::new(CpuStepper::new(network, config)?)
            }))
        }

        /// One step; returns the loss.
        pub fn step(&mut self, tokens: &Tensor, random: &mut Random) -> Result<f64> {
            Ok(self.0.step(tokens, random)?.loss)
        }
    }
}
