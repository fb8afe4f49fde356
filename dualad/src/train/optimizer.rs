//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) with clipping by the global norm.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The optimiser's constants; the default is the method's (section 5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Share of a parameter that a step of size 1 takes away.
    pub weight_decay: f64,
    /// Largest L2 norm of all gradients together; they are scaled down to it.
    pub clip_norm: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-4, clip_norm: Some(0.1) }
    }
}

/// The optimiser of a set of variables.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    step: u64,
    /// Variable, mean of gradients, mean of squared gradients, by name.
    state: BTreeMap<String, (Var, Tensor, Tensor)>,
}

impl AdamW {
    /// For variables by name, as [`crate::DualAd::variables`] gives them.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] if the device has no memory for the moments.
    pub fn new(variables: &BTreeMap<String, Var>, config: AdamWConfig) -> Result<Self> {
        let state = variables.iter().map(|(name, var)| {
            Ok((name.clone(), (var.clone(), var.as_tensor().zeros_like()?, var.as_tensor().zeros_like()?)))
        });
        Ok(Self { config, step: 0, state: state.collect::<candle_core::Result<_>>()? })
    }

    /// The step size of the next step.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One step along the gradients; returns their global norm before clipping.
    ///
    /// A variable without a gradient is left as it is.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] if the device fails.
    pub fn step(&mut self, gradients: &GradStore) -> Result<f64> {
        let mut squares = 0.0;
        for (variable, ..) in self.state.values() {
            if let Some(gradient) = gradients.get(variable) {
                squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let norm = squares.sqrt();
        let AdamWConfig { learning_rate, beta1, beta2, eps, weight_decay, clip_norm } = self.config;
        // PyTorch's clip_grad_norm_, its 1e-6 included.
        let scale = clip_norm.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        self.step += 1;
        let (bias1, bias2) = (1.0 - beta1.powf(self.step as f64), 1.0 - beta2.powf(self.step as f64));
        for (variable, mean, square) in self.state.values_mut() {
            let Some(gradient) = gradients.get(variable) else { continue };
            let gradient = (gradient.detach() * scale)?;
            *mean = ((&*mean * beta1)? + (&gradient * (1.0 - beta1))?)?;
            *square = ((&*square * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let root = ((&*square / bias2)?.sqrt()? + eps)?;
            let decayed = (variable.as_tensor().detach() * (1.0 - learning_rate * weight_decay))?;
            variable.set(&(decayed - ((&*mean * (learning_rate / bias1))? / root)?)?)?;
        }
        Ok(norm)
    }
}
