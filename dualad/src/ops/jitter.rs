//! Feature jitter: normal noise of a given standard deviation. Has no gradient: the noise is added to an input.

use candle_core::{DType, Result, Tensor};

use crate::ops::support::philox;
use crate::random::Stream;

/// Returns `tokens + scale * sigma * eps`, with `eps` standard normal.
///
/// `tokens` is `[batch, tokens, channels]`; `sigma`, in f32, is `[batch, 1, channels]` or `[batch, tokens, 1]`.
pub(crate) fn jitter(tokens: &Tensor, sigma: &Tensor, scale: f64, stream: Stream) -> Result<Tensor> {
    if dualad_gpu::supports(&[tokens]) {
        return dualad_gpu::Jitter { tokens, sigma, scale, stream: philox(stream) }.run();
    }
    plain(tokens, sigma, scale, stream)
}

/// The plain form, with all noise in memory.
fn plain(tokens: &Tensor, sigma: &Tensor, scale: f64, stream: Stream) -> Result<Tensor> {
    let wide = tokens.to_dtype(DType::F32)?;
    let noise = Tensor::from_vec(stream.normal(tokens.elem_count()), tokens.shape(), tokens.device())?;
    let jittered = (wide + noise.broadcast_mul(&(sigma * scale)?)?)?;
    jittered.to_dtype(tokens.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::ops::testing::{DTYPES, assert_near, devices, variable_on};
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
                    let found = jitter(&tokens, &sigma, 3.2, stream).unwrap().to_device(&Device::Cpu).unwrap();
                    let [tokens, sigma] = [&tokens, sigma.as_tensor()].map(|x| x.to_device(&Device::Cpu).unwrap());
                    let expected = plain(&tokens.to_dtype(DType::F32).unwrap(), &sigma, 3.2, stream).unwrap();
                    assert_near(&found, &expected, tolerance, &format!("{device:?} {dtype:?}"));
                }
            }
        }
    }
}
