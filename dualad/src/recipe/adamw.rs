//! The constants of the optimizer.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The constants of AdamW and of gradient clipping. The default is the paper's (docs/method.md, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// The step size; finite and not negative.
    pub learning_rate: f64,
    /// The decay rate of the first moment, in [0, 1).
    pub beta1: f64,
    /// The decay rate of the second moment, in [0, 1).
    pub beta2: f64,
    /// The term added to the root of the second moment; above 0.
    pub eps: f64,
    /// The decoupled weight decay; finite and not negative.
    pub weight_decay: f64,
    /// The largest L2 norm of all gradients together; larger gradients are scaled down to it. `None` turns clipping off.
    pub clip_norm: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-4, clip_norm: Some(0.1) }
    }
}

impl AdamWConfig {
    /// Checks that every constant is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] for the first constant that is not.
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
