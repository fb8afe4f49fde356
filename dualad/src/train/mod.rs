//! Training: so far, the optimiser.

mod cpu_step;
mod optimizer;
mod step;

pub use optimizer::{AdamW, AdamWConfig};

/// Both forms of a training step, for `benches/training_step.rs`. Not part of the public interface.
#[doc(hidden)]
pub mod bench {
    use candle_core::Tensor;

    use crate::train::AdamWConfig;
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
