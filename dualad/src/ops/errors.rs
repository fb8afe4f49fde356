//! From tokens and their reconstruction to one value for each token (method, section 6). No gradients.

use candle_core::{D, DType, Result, Tensor};
use dualad_gpu::{Launch, Source, suffix};

use crate::config::Combination;
use crate::ops::{is_on_gpu, only};

/// Stages that a kernel has parameters for.
const MOST_STAGES: usize = 8;

/// The product or sum over stages of the root mean squared error, `[batch, tokens]` in f32, at most `largest` at each step.
pub(crate) fn combined_errors(
    clean: &Tensor,
    reconstruction: &Tensor,
    stages: &[usize],
    combination: Combination,
    largest: f64,
) -> Result<Tensor> {
    if !is_on_gpu(&[clean, reconstruction]) || stages.len() > MOST_STAGES {
        return plain(clean, reconstruction, stages, combination, largest);
    }
    let (batch, count, channels) = clean.dims3()?;
    if stages.is_empty() || stages.iter().sum::<usize>() != channels || clean.dims() != reconstruction.dims() {
        candle_core::bail!("a score of {:?} and {:?} in stages {stages:?}", clean.dims(), reconstruction.dims());
    }
    let launch = Launch::new(Source::Score, format!("combined_errors_{}", suffix(clean.dtype())?));
    let mut launch = launch.count(batch * count).count(channels).count(stages.len());
    let mut end = 0;
    for stage in 0..MOST_STAGES {
        end += stages.get(stage).copied().unwrap_or(0);
        launch = launch.count(end);
    }
    let product = u32::from(combination == Combination::Product);
    let launch = launch.word(product).number(largest).warps(batch * count);
    let made = launch.run(&[&clean.contiguous()?, &reconstruction.contiguous()?], &[(batch * count, DType::F32)])?;
    only(made, &(batch, count).into())
}

/// In candle's operations.
pub(super) fn plain(
    clean: &Tensor,
    reconstruction: &Tensor,
    stages: &[usize],
    combination: Combination,
    largest: f64,
) -> Result<Tensor> {
    let mut combined: Option<Tensor> = None;
    for stage in squared_errors(clean, reconstruction, stages)? {
        let stage = stage.mean(D::Minus1)?.sqrt()?.minimum(largest)?;
        combined = Some(match (combined, combination) {
            (None, _) => stage,
            (Some(product), Combination::Product) => (product * stage)?.minimum(largest)?,
            (Some(sum), Combination::Sum) => (sum + stage)?.minimum(largest)?,
        });
    }
    match combined {
        Some(combined) => Ok(combined),
        None => candle_core::bail!("a score of no stages"),
    }
}

/// The stages' squared errors, `[batch, tokens, channels of the stage]`, in f32.
pub(crate) fn squared_errors(clean: &Tensor, reconstruction: &Tensor, stages: &[usize]) -> Result<Vec<Tensor>> {
    let error = (reconstruction.to_dtype(DType::F32)? - clean.to_dtype(DType::F32)?)?.sqr()?;
    let mut start = 0;
    stages
        .iter()
        .map(|&channels| {
            let stage = error.narrow(D::Minus1, start, channels);
            start += channels;
            stage
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{DTYPES, assert_near, devices, variable_on};
    use candle_core::Device;

    #[test]
    fn devices_agree() {
        let cases =
            [(&[3][..], Combination::Product), (&[3, 40, 65], Combination::Product), (&[2, 33, 7], Combination::Sum)];
        for device in devices() {
            for (dtype, _) in DTYPES {
                for (stages, combination) in cases {
                    let shape = [2, 13, stages.iter().sum::<usize>()];
                    let [clean, other] =
                        [1, 2].map(|seed| variable_on(&device, &shape, seed, 1.0).to_dtype(dtype).unwrap());
                    let found = combined_errors(&clean, &other, stages, combination, 1e18).unwrap();
                    let [clean, other] = [clean, other].map(|x| x.to_device(&Device::Cpu).unwrap());
                    let expected = plain(&clean, &other, stages, combination, 1e18).unwrap();
                    let found = found.to_device(&Device::Cpu).unwrap();
                    assert_near(&found, &expected, 2e-5, &format!("{device:?} {dtype:?}"));
                }
            }
        }
    }
}
