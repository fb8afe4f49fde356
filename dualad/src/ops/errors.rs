//! The error of each token's reconstruction (docs/method.md, section 6).

use candle_core::{D, DType, Result, Tensor};

use crate::config::Combination;

/// Returns the product or sum over stages of the root mean squared error, `[batch, tokens]` in f32, limited to `max_error` at
/// each step. Has no gradient.
pub(crate) fn combined_errors(
    clean: &Tensor,
    reconstruction: &Tensor,
    stage_channels: &[usize],
    combination: Combination,
    max_error: f64,
) -> Result<Tensor> {
    if dualad_gpu::supports(&[clean, reconstruction]) && stage_channels.len() <= dualad_gpu::MAX_STAGES {
        let combination = match combination {
            Combination::Product => dualad_gpu::Combination::Product,
            Combination::Sum => dualad_gpu::Combination::Sum,
        };
        return dualad_gpu::CombinedErrors { clean, reconstruction, stage_channels, combination, max_error }.run();
    }
    plain(clean, reconstruction, stage_channels, combination, max_error)
}

/// The plain form.
fn plain(
    clean: &Tensor,
    reconstruction: &Tensor,
    stage_channels: &[usize],
    combination: Combination,
    max_error: f64,
) -> Result<Tensor> {
    let mut combined: Option<Tensor> = None;
    for stage in squared_errors(clean, reconstruction, stage_channels)? {
        let stage = stage.mean(D::Minus1)?.sqrt()?.minimum(max_error)?;
        combined = Some(match (combined, combination) {
            (None, _) => stage,
            (Some(product), Combination::Product) => (product * stage)?.minimum(max_error)?,
            (Some(sum), Combination::Sum) => (sum + stage)?.minimum(max_error)?,
        });
    }
    match combined {
        Some(combined) => Ok(combined),
        None => candle_core::bail!("a score needs at least one stage"),
    }
}

/// Returns the squared errors of each stage, `[batch, tokens, channels of the stage]` in f32, with gradients.
pub(crate) fn squared_errors(clean: &Tensor, reconstruction: &Tensor, stage_channels: &[usize]) -> Result<Vec<Tensor>> {
    let error = (reconstruction.to_dtype(DType::F32)? - clean.to_dtype(DType::F32)?)?.sqr()?;
    let mut start = 0;
    stage_channels
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
    use crate::ops::testing::{DTYPES, assert_near, devices, variable_on};
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
