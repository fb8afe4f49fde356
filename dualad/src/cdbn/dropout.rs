//! The dropout of a forward pass.

use candle_core::{Result, Tensor};

use crate::Random;
use crate::ops;

/// The dropout of all layers: active in training, the identity in evaluation.
#[derive(Debug)]
pub(super) struct Dropout<'a>(Option<Active<'a>>);

#[derive(Debug)]
struct Active<'a> {
    probability: f32,
    random: &'a mut Random,
}

impl<'a> Dropout<'a> {
    /// No dropout.
    pub(super) fn off() -> Self {
        Self(None)
    }

    /// Dropout with the given probability. Every application takes the next stream of `random`.
    pub(super) fn on(probability: f64, random: &'a mut Random) -> Self {
        Self(Some(Active { probability: probability as f32, random }))
    }

    pub(super) fn apply(&mut self, x: Tensor) -> Result<Tensor> {
        match &mut self.0 {
            None => Ok(x),
            Some(Active { probability, random }) => ops::dropout(&x, *probability, random.stream()),
        }
    }
}
