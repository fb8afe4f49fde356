//! Training: so far, the optimiser.

mod cpu_step;
mod k_means;
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

    /// For experiments.
    #[derive(Debug)]
    pub struct Lab(CpuStepper);

    impl Lab {
        #[allow(missing_docs)]
        pub fn new(network: &DualAd, config: AdamWConfig) -> Result<Self> {
            Ok(Self(CpuStepper::new(network, config)?))
        }
        #[allow(missing_docs)]
        pub fn step(&mut self, tokens: &Tensor, rate: f64, random: &mut Random) -> Result<f64> {
            self.0.set_learning_rate(rate)?;
            Ok(self.0.step(tokens, random)?.loss)
        }
        #[allow(missing_docs)]
        pub fn memory(&mut self, temperature: f64, share: f64) -> Result<()> {
            self.0.set_memory_temperature(temperature)?;
            self.0.network.set_memory_share(share);
            Ok(())
        }
        #[allow(missing_docs)]
        pub fn queries(&mut self, tokens: &[f32]) -> Vec<Vec<f32>> {
            self.0.network.memory_queries(tokens)
        }
        #[allow(missing_docs)]
        pub fn slots(&mut self, level: usize) -> &mut [f32] {
            self.0.network.memory_slots_mut(level).unwrap_or(&mut [])
        }
        #[allow(missing_docs)]
        pub fn errors(&mut self, tokens: &[f32]) -> Vec<f32> {
            self.0.network.errors(tokens)
        }
    }

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
