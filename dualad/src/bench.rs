//! Internals that benchmarks measure. Not part of the public interface.

use candle_core::{Result, Tensor};
use dualad_kernels::NeighborMask;

use crate::ops::attention::{self, attention};
use crate::ops::layer_norm::{self, layer_norm};
use crate::ops::memory_read::{self, memory_read};
#[cfg(feature = "train")]
use crate::train::{
    builder::stepper,
    cpu_step::CpuStepper,
    step::{PlainStepper, Stepper},
};

/// The form of an operation to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In candle's own operations.
    Plain,
    /// The form for the tensors' device and dtype.
    Fast,
}

/// Attention under the paper's neighbor mask of 7 x 7 tokens.
///
/// # Errors
/// Returns candle's error if the shapes do not fit.
pub fn attention_of(form: Form, [query, key, value]: [&Tensor; 3], heads: usize, grid: [usize; 2]) -> Result<Tensor> {
    let window = Some(NeighborMask { grid, size: [7, 7] });
    let operation = if form == Form::Fast { attention } else { attention::plain };
    operation(query, key, value, heads, window)
}

/// A memory read with temperature 1.
///
/// # Errors
/// Returns candle's error if the shapes do not fit.
pub fn memory_read_of(form: Form, x: &Tensor, memory: &Tensor) -> Result<Tensor> {
    let operation = if form == Form::Fast { memory_read } else { memory_read::plain };
    operation(x, memory, 1.0)
}

/// Layer norm.
///
/// # Errors
/// Returns candle's error if the shapes do not fit.
pub fn layer_norm_of(form: Form, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let operation = if form == Form::Fast { layer_norm } else { layer_norm::plain };
    operation(x, weight, bias, 1e-5)
}

/// Training steps of a network.
#[cfg(feature = "train")]
#[derive(Debug)]
pub struct Steps(Box<dyn Stepper>);

#[cfg(feature = "train")]
impl Steps {
    /// Prepares steps on a copy of the network. The plain form is candle's graph, the fast form the training engine.
    ///
    /// # Errors
    /// Returns an error if the optimizer's constants are out of range or a parameter cannot be read.
    pub fn new(form: Form, network: &crate::DualAd, optimizer: crate::recipe::AdamWConfig) -> crate::Result<Self> {
        Ok(Self(match form {
            Form::Plain => Box::new(PlainStepper::new(network, optimizer)?),
            Form::Fast => Box::new(CpuStepper::new(network, optimizer)?),
        }))
    }

    /// Prepares the steps that training takes on a copy of the network, on the network's device and in a precision.
    ///
    /// # Errors
    /// Those of [`Self::new`], and an error if the device does not compute in the precision.
    pub fn of_training(network: &crate::DualAd, precision: crate::recipe::Precision) -> crate::Result<Self> {
        Ok(Self(stepper(network, crate::recipe::AdamWConfig::default(), precision, &[])?))
    }

    /// Runs one step and returns its loss.
    ///
    /// # Errors
    /// Returns an error if the tokens do not fit the network, or if the loss or its gradient is not finite.
    pub fn step(&mut self, tokens: &Tensor, random: &mut crate::Random) -> crate::Result<f64> {
        Ok(self.0.step(tokens, random)?.loss)
    }
}
