//! AdamW steps, and the sum of squares that gradient clipping needs.

use candle_core::{DType, Result, Tensor};

use crate::launch::Launch;
use crate::params::{params, size};
use crate::run::on_tensors;
use crate::source::Source;
use crate::support::check_dtype;

const ADAMW: &str = "adamw_float";
const SUM_OF_SQUARES: &str = "sum_of_squares_float";

params! {
    struct AdamWParams {
        count: u32,
        first_sum: u32,
        gradient_scale: f32,
        beta1: f32,
        beta2: f32,
        eps: f32,
        decay: f32,
        step_size: f32,
        correction: f32,
        one_minus_beta1: f32,
        one_minus_beta2: f32,
    }
}

/// One AdamW step of one variable, in place. All tensors are contiguous, f32, and of one shape.
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep<'a> {
    /// The gradient.
    pub gradient: &'a Tensor,
    /// The variable; changed in place.
    pub variable: &'a Tensor,
    /// The running mean of gradients; changed in place.
    pub first_moment: &'a Tensor,
    /// The running mean of squared gradients; changed in place.
    pub second_moment: &'a Tensor,
    /// The step's constants.
    pub constants: AdamWConstants,
}

/// The constants of an AdamW step, the same for all variables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConstants {
    /// The factor that the gradient is multiplied with, for clipping.
    pub gradient_scale: f64,
    /// The decay of the first moment.
    pub beta1: f64,
    /// The decay of the second moment.
    pub beta2: f64,
    /// The term added to the root of the second moment.
    pub eps: f64,
    /// The step size.
    pub learning_rate: f64,
    /// The decoupled weight decay.
    pub weight_decay: f64,
    /// The first moment's bias correction, `1 - beta1^step`.
    pub bias1: f64,
    /// The second moment's bias correction, `1 - beta2^step`.
    pub bias2: f64,
}

impl AdamWStep<'_> {
    /// Changes the variable and its moments.
    ///
    /// # Errors
    /// Returns candle's error if the tensors differ in shape or are not f32, or the device fails.
    pub fn run(&self) -> Result<()> {
        let Self { gradient, variable, first_moment, second_moment, constants } = *self;
        for tensor in [gradient, variable, first_moment, second_moment] {
            check_dtype("AdamW", tensor, DType::F32)?;
            if tensor.shape() != variable.shape() {
                candle_core::bail!("AdamW: a tensor is {:?}, and the variable {:?}", tensor.dims(), variable.dims());
            }
        }
        let AdamWConstants { gradient_scale, beta1, beta2, eps, learning_rate, weight_decay, bias1, bias2 } = constants;
        let params = AdamWParams {
            count: size(variable.elem_count())?,
            first_sum: 0,
            gradient_scale: gradient_scale as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            eps: eps as f32,
            decay: (1.0 - learning_rate * weight_decay) as f32,
            step_size: (learning_rate / bias1) as f32,
            correction: (1.0 / bias2) as f32,
            one_minus_beta1: (1.0 - beta1) as f32,
            one_minus_beta2: (1.0 - beta2) as f32,
        };
        let launch = Launch::new(Source::AdamW, ADAMW, &params).changes(3).at_least(variable.elem_count());
        on_tensors(&launch, &[gradient, variable, first_moment, second_moment], &[])?;
        Ok(())
    }
}

/// Elements that a group of the kernel sums.
const ELEMENTS_PER_GROUP: usize = 8192;

/// Returns partial sums of the squares of all elements of all tensors, which are f32 and on one device. The sums stay on the device:
/// the host does not wait for it.
///
/// # Errors
/// Returns candle's error if there is no tensor or one is not f32, or the device fails.
pub fn sums_of_squares(tensors: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = tensors.first() else { candle_core::bail!("the sum of squares of no tensors") };
    let groups = |tensor: &Tensor| tensor.elem_count().div_ceil(ELEMENTS_PER_GROUP);
    let sums = Tensor::zeros(tensors.iter().map(|tensor| groups(tensor)).sum::<usize>(), DType::F32, first.device())?;
    let mut first_sum = 0;
    for tensor in tensors {
        check_dtype("the sum of squares", tensor, DType::F32)?;
        let params =
            AdamWParams { count: size(tensor.elem_count())?, first_sum: size(first_sum)?, ..AdamWParams::default() };
        let launch = Launch::new(Source::AdamW, SUM_OF_SQUARES, &params);
        let launch = launch.changes(1).groups([groups(tensor), 1, 1], 256, 256);
        on_tensors(&launch, &[&tensor.contiguous()?, &sums], &[])?;
        first_sum += groups(tensor);
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::assert_declares;

    #[test]
    fn parameters_match_the_kernel() {
        AdamWParams::assert_matches(Source::AdamW);
        let per_group = format!("#define PER_GROUP {ELEMENTS_PER_GROUP}\n");
        assert!(Source::AdamW.text().contains(&per_group));
    }

    #[test]
    fn kernels_exist() {
        assert_declares(Source::AdamW, ADAMW);
        assert_declares(Source::AdamW, SUM_OF_SQUARES);
    }
}
