//! The constants of the optimizer.

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
