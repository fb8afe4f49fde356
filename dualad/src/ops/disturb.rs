//! Noise as strong as a given deviation, from a random stream. No gradients: what is disturbed is an input.

use candle_core::{DType, Result, Tensor};
use dualad_gpu::{Launch, Source, suffix};

use crate::ops::{is_on_gpu, only};
use crate::random::Stream;

/// `tokens` `[batch, tokens, channels]` plus `scale * sigma * eps`, eps standard normal for each element; sigma, in f32, is
/// `[batch, 1, channels]` or `[batch, tokens, 1]`.
pub(crate) fn disturb(tokens: &Tensor, sigma: &Tensor, scale: f64, stream: Stream) -> Result<Tensor> {
    if !is_on_gpu(&[tokens]) {
        return plain(tokens, sigma, scale, stream);
    }
    let (_, count, channels) = tokens.dims3()?;
    let spatial = u32::from(sigma.dim(1)? == 1 && sigma.dim(2)? == channels);
    let launch = Launch::new(Source::Random, format!("disturb_{}", suffix(tokens.dtype())?)).count(tokens.elem_count());
    let launch = stream.words().into_iter().fold(launch, Launch::word).number(0.0).number(scale);
    let launch = launch.count(count).count(channels).word(spatial).threads(tokens.elem_count().div_ceil(4));
    let made = launch.run(&[&tokens.contiguous()?, &sigma.contiguous()?], &[(tokens.elem_count(), tokens.dtype())])?;
    only(made, tokens.shape())
}

/// In candle's operations, with all noise in memory.
pub(super) fn plain(tokens: &Tensor, sigma: &Tensor, scale: f64, stream: Stream) -> Result<Tensor> {
    let wide = tokens.to_dtype(DType::F32)?;
    let noise = Tensor::from_vec(stream.normal(tokens.elem_count()), tokens.shape(), tokens.device())?;
    let disturbed = (wide + noise.broadcast_mul(&(sigma * scale)?)?)?;
    disturbed.to_dtype(tokens.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::ops::tests::{DTYPES, assert_near, devices, variable_on};
    use candle_core::Device;

    #[test]
    fn devices_agree() {
        for device in devices() {
            for (dtype, tolerance) in DTYPES {
                for (shape, sigma) in
                    [([2, 5, 7], [2, 1, 7]), ([3, 4, 9], [3, 4, 1]), ([2, 1, 7], [2, 1, 7]), ([1, 1, 1], [1, 1, 1])]
                {
                    let stream = Random::new(3).named("noise");
                    let tokens = variable_on(&device, &shape, 1, 1.0).to_dtype(dtype).unwrap();
                    let sigma = variable_on(&device, &sigma, 2, 1.0);
                    let found = disturb(&tokens, &sigma, 3.2, stream).unwrap().to_device(&Device::Cpu).unwrap();
                    let [tokens, sigma] = [&tokens, sigma.as_tensor()].map(|x| x.to_device(&Device::Cpu).unwrap());
                    let expected = plain(&tokens.to_dtype(DType::F32).unwrap(), &sigma, 3.2, stream).unwrap();
                    assert_near(&found, &expected, tolerance, &format!("{device:?} {dtype:?}"));
                }
            }
        }
    }
}
