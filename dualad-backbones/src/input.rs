//! Checks of image batches.

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};

/// The maximum number of pixels of a batch: 12 GiB of f32.
const MAX_PIXELS: usize = 1 << 30;

/// Checks that both sides of an input are positive multiples of the side of a token.
pub(crate) fn check_input_size(height: usize, width: usize, token_stride: usize) -> Result<()> {
    let fits = |side: usize| side > 0 && token_stride > 0 && side.is_multiple_of(token_stride);
    if fits(height) && fits(width) { Ok(()) } else { Err(Error::InputSize { height, width, token_stride }) }
}

/// Returns whether images and maps may have this dtype.
pub(crate) fn is_supported(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
}

/// Checks an image batch for tokens of `token_stride` pixels a side, and brings it to the device and dtype, contiguous and without
/// gradients.
pub(crate) fn prepare(images: &Tensor, device: &Device, dtype: DType, token_stride: usize) -> Result<Tensor> {
    match *images.dims() {
        [batch, 3, height, width] if batch > 0 && is_supported(images.dtype()) => {
            check_input_size(height, width, token_stride)?;
            // A broadcast tensor claims more elements than it has; making it contiguous would allocate them all.
            let pixels = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(batch));
            if pixels.is_none_or(|pixels| pixels > MAX_PIXELS) {
                return Err(Error::InputBatch { found: format!("{:?}, more than 2^30 pixels", images.dims()) });
            }
        }
        ref shape => return Err(Error::InputBatch { found: format!("{shape:?} {:?}", images.dtype()) }),
    }
    // On a CPU the check costs little beside the network. On an accelerator it would wait for the device.
    // Zero times NaN or infinity is NaN. `max` would not do: candle's skips NaN.
    if images.device().is_cpu() && images.affine(0.0, 0.0)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? != 0.0
    {
        return Err(Error::InputNotFinite);
    }
    Ok(images.detach().to_device(device)?.to_dtype(dtype)?.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::nearest_multiple;

    #[test]
    fn an_error_names_the_nearest_size_that_fits() {
        for ((side, step), nearest) in
            [((225, 14), 224), ((232, 14), 238), ((231, 14), 224), ((3, 16), 16), ((0, 14), 14)]
        {
            assert_eq!(nearest_multiple(side, step), nearest, "{side} {step}");
        }
        let error = check_input_size(225, 256, 14).unwrap_err().to_string();
        assert!(error.contains("225x256") && error.contains("multiple of 14") && error.contains("224x252"), "{error}");
        assert!(check_input_size(224, 28, 14).is_ok());
        for (height, width, stride) in [(0, 14, 14), (14, 0, 14), (14, 14, 0), (usize::MAX, usize::MAX, 14)] {
            assert!(!check_input_size(height, width, stride).unwrap_err().to_string().is_empty());
        }
    }
}
