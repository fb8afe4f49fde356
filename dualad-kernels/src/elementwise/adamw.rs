//! The AdamW optimizer.

use crate::vectorized::{mul_add, vectorized};

/// The constants of one AdamW step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The learning rate.
    pub learning_rate: f64,
    /// The decay rate of the first moment.
    pub beta1: f64,
    /// The decay rate of the second moment.
    pub beta2: f64,
    /// The summand of the denominator.
    pub eps: f64,
    /// The decoupled weight decay.
    pub weight_decay: f64,
    /// 1 - beta1^t and 1 - beta2^t at step t = 1, 2, ...
    pub bias_correction: [f64; 2],
    /// The factor that the gradient is multiplied by first: below 1 where the gradient is clipped.
    pub scale: f32,
}

vectorized! {
    /// Updates some parameters and their moments by one step of AdamW. All slices have the same length.
    pub fn adamw(
        step: &AdamWStep, parameters: &mut [f32], gradient: &[f32], first_moment: &mut [f32], second_moment: &mut [f32],
    ) = adamw_body
}

#[inline(always)]
fn adamw_body<const FMA: bool>(
    step: &AdamWStep,
    parameters: &mut [f32],
    gradient: &[f32],
    first_moment: &mut [f32],
    second_moment: &mut [f32],
) {
    let AdamWStep { learning_rate, beta1: b1, beta2: b2, eps, weight_decay, bias_correction: [bias1, bias2], scale } =
        *step;
    let (beta1, beta2) = (b1 as f32, b2 as f32);
    let (rest1, rest2) = ((1.0 - b1) as f32, (1.0 - b2) as f32);
    let decay = (1.0 - learning_rate * weight_decay) as f32;
    let (size, unbias, eps) = ((learning_rate / bias1) as f32, (1.0 / bias2) as f32, eps as f32);
    for (((p, g), m), v) in parameters.iter_mut().zip(gradient).zip(first_moment).zip(second_moment) {
        let g = g * scale;
        *m = mul_add::<FMA>(*m, beta1, g * rest1);
        *v = mul_add::<FMA>(*v, beta2, g * g * rest2);
        *p = *p * decay - size * *m / ((*v * unbias).sqrt() + eps);
    }
}
