//! The anomaly of each token: the errors of a reconstruction, combined over stages.

use candle_core::{DType, Result, Tensor};

use crate::launch::{Launch, Output};
use crate::params::{params, size};
use crate::run::on_tensors_to;
use crate::source::Source;
use crate::support::{check_dtype, dtype_name};

/// The largest number of stages that the kernel takes.
pub const MAX_STAGES: usize = 8;

params! {
    struct ScoreParams {
        tokens: u32,
        channels: u32,
        stages: u32,
        stage_ends: [u32; MAX_STAGES],
        product: u32,
        max_error: f32,
    }
}

/// The way to combine the errors of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Multiplies them.
    Product,
    /// Adds them.
    Sum,
}

/// The product or sum over stages of the root mean squared error of each token. Has no gradient.
#[derive(Debug, Clone, Copy)]
pub struct CombinedErrors<'a> {
    /// The clean tokens, `[batch, tokens, channels]`.
    pub clean: &'a Tensor,
    /// Their reconstruction, of the same shape and dtype.
    pub reconstruction: &'a Tensor,
    /// The number of channels of each stage, at most [`MAX_STAGES`] of them.
    pub stage_channels: &'a [usize],
    /// The way to combine the stages.
    pub combination: Combination,
    /// The bound of every error, product and sum.
    pub max_error: f64,
}

fn kernel(dtype: DType) -> Result<String> {
    Ok(format!("combined_errors_{}", dtype_name(dtype)?))
}

impl CombinedErrors<'_> {
    /// Returns the combined errors, `[batch, tokens]` in f32.
    ///
    /// # Errors
    /// Returns candle's error if the shapes or stages do not fit, the dtype has no kernel, or the device fails.
    pub fn run(&self) -> Result<Tensor> {
        let Self { clean, reconstruction, stage_channels: stages, combination, max_error } = *self;
        let (batch, count, channels) = clean.dims3()?;
        let is_count_valid = (1..=MAX_STAGES).contains(&stages.len());
        if !is_count_valid || stages.iter().sum::<usize>() != channels || clean.dims() != reconstruction.dims() {
            let (clean, reconstruction) = (clean.dims(), reconstruction.dims());
            candle_core::bail!("a score of {clean:?} and {reconstruction:?} in stages {stages:?}");
        }
        check_dtype("a score", reconstruction, clean.dtype())?;
        let mut stage_ends = [size(channels)?; MAX_STAGES];
        let mut end = 0;
        for (stage_end, stage) in stage_ends.iter_mut().zip(stages) {
            end += stage;
            *stage_end = size(end)?;
        }
        let params = ScoreParams {
            tokens: size(batch * count)?,
            channels: size(channels)?,
            stages: size(stages.len())?,
            stage_ends,
            product: u32::from(combination == Combination::Product),
            max_error: max_error as f32,
        };
        let launch = Launch::new(Source::Score, kernel(clean.dtype())?, &params).warp_per_row(batch * count);
        let output = Output { count: batch * count, dtype: DType::F32 };
        let [errors] = on_tensors_to(&launch, &[&clean.contiguous()?, &reconstruction.contiguous()?], [output])?;
        errors.reshape((batch, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::assert_declares;

    #[test]
    fn parameters_match_the_kernel() {
        ScoreParams::assert_matches(Source::Score);
        assert!(Source::Score.text().contains(&format!("#define MAX_STAGES {MAX_STAGES}\n")));
    }

    #[test]
    fn kernels_exist() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            assert_declares(Source::Score, &kernel(dtype).unwrap());
        }
    }
}
