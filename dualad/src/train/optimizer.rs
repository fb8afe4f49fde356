//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) with clipping by the global norm.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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

impl AdamWConfig {
    /// Whether these are constants to train with.
    ///
    /// # Errors
    /// [`Error::Config`] that names the first that is not.
    pub fn validate(&self) -> Result<()> {
        let Self { learning_rate, beta1, beta2, eps, weight_decay, clip_norm } = *self;
        let not_negative = |value: f64| value >= 0.0 && value.is_finite();
        let checks = [
            ("learning_rate", learning_rate, not_negative(learning_rate), "must be finite and not negative"),
            ("beta1", beta1, (0.0..1.0).contains(&beta1), "must be at least 0 and below 1"),
            ("beta2", beta2, (0.0..1.0).contains(&beta2), "must be at least 0 and below 1"),
            ("eps", eps, eps > 0.0 && eps.is_finite(), "must be finite and above 0"),
            ("weight_decay", weight_decay, not_negative(weight_decay), "must be finite and not negative"),
            ("clip_norm", clip_norm.unwrap_or(1.0), clip_norm.is_none_or(|clip| clip > 0.0), "must be above 0"),
        ];
        match checks.into_iter().find(|(_, _, holds, _)| !holds) {
            None => Ok(()),
            Some((field, value, _, reason)) => {
                Err(Error::Config { field, value: value.to_string(), reason: reason.into() })
            }
        }
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
    /// [`crate::Error::Config`] if a constant is out of its range,
    /// [`crate::Error::Candle`] if the device has no memory for the moments.
    pub fn new(variables: &BTreeMap<String, Var>, config: AdamWConfig) -> Result<Self> {
        config.validate()?;
        let state = variables.iter().map(|(name, var)| {
            Ok((name.clone(), (var.clone(), var.as_tensor().zeros_like()?, var.as_tensor().zeros_like()?)))
        });
        Ok(Self { config, step: 0, state: state.collect::<candle_core::Result<_>>()? })
    }

    /// The step size of the next step.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let config = AdamWConfig { learning_rate, ..self.config };
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// The constants, with the step size of the next step.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The mean of gradients and the mean of squared gradients of every variable, by name: with [`Self::steps`] and
    /// the variables themselves, all that later steps depend on.
    pub fn moments(&self) -> (BTreeMap<String, Tensor>, BTreeMap<String, Tensor>) {
        // Every step replaces them: these stay as they are.
        let moment = |name: &String, tensor: &Tensor| (name.clone(), tensor.clone());
        let mean = self.state.iter().map(|(name, (_, mean, _))| moment(name, mean));
        let square = self.state.iter().map(|(name, (.., square))| moment(name, square));
        (mean.collect(), square.collect())
    }

    /// Goes on after `steps` steps with what [`Self::moments`] gave then.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for the first moment that is missing, too many, or of another shape or dtype than its
    /// variable, [`crate::Error::Candle`] if the device cannot take them. Nothing is changed then.
    pub fn restore(
        &mut self,
        steps: u64,
        mean: &BTreeMap<String, Tensor>,
        square: &BTreeMap<String, Tensor>,
    ) -> Result<()> {
        let wrong = |name: &str, reason: String| Err(Error::Parameter { name: name.into(), reason });
        for (what, moments) in [("mean of gradients", mean), ("mean of squared gradients", square)] {
            if let Some(name) = self.state.keys().find(|name| !moments.contains_key(*name)) {
                return wrong(name, format!("has no {what}"));
            }
            for (name, moment) in moments {
                let Some((variable, ..)) = self.state.get(name) else {
                    return wrong(name, format!("has a {what}, and is not one of the network's variables"));
                };
                if moment.shape() != variable.shape() || moment.dtype() != variable.dtype() {
                    let (found, wanted) = (moment.dims(), variable.dims());
                    let (dtype, wanted_dtype) = (moment.dtype(), variable.dtype());
                    return wrong(
                        name,
                        format!("has a {what} of shape {found:?} in {dtype:?}, not {wanted:?} in {wanted_dtype:?}"),
                    );
                }
            }
        }
        let placed = |(name, (variable, ..)): (&String, &(Var, Tensor, Tensor))| {
            let moment = |moments: &BTreeMap<String, Tensor>| moments[name].detach().to_device(variable.device());
            Ok((name.clone(), (variable.clone(), moment(mean)?, moment(square)?)))
        };
        self.state = self.state.iter().map(placed).collect::<candle_core::Result<_>>()?;
        self.step = steps;
        Ok(())
    }

    /// One step along the gradients; returns their global norm before clipping.
    ///
    /// A variable without a gradient is left as it is.
    ///
    /// # Errors
    /// [`crate::Error::Training`] if no variable has a gradient or the norm is not finite: nothing is changed then;
    /// [`crate::Error::Candle`] if the device fails.
    pub fn step(&mut self, gradients: &GradStore) -> Result<f64> {
        let (mut squares, mut found) = (0.0, false);
        for (variable, ..) in self.state.values() {
            if let Some(gradient) = gradients.get(variable) {
                found = true;
                squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let norm = squares.sqrt();
        let refuse = |reason: &str| Error::Training { step: self.step + 1, reason: reason.into() };
        if !found {
            return Err(refuse(
                "no variable has a gradient; the loss must come from the network whose variables these are",
            ));
        }
        if !norm.is_finite() {
            return Err(refuse(
                "the gradient's norm is not finite; look at the loss, the features' scale and the learning rate",
            ));
        }
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
