//! The standardization of features and errors, by statistics of the training set (docs/method.md, section 8).
//!
//! The scales of raw feature channels differ by orders of magnitude, and the mean squared error is dominated by the largest. The
//! paper trains on raw features for 1,200 epochs; a short training on standardized features reaches all channels.

use candle_core::{DType, Device, Result, Tensor};

use crate::cdbn::scope::{Init, Scope};
use crate::error::Error;

/// The names of the statistics in a saved network.
pub(crate) const MEAN: &str = "standardisation.mean";
pub(crate) const STD: &str = "standardisation.deviation";
const ERROR_STD: &str = "standardisation.error";

/// Returns whether a parameter is a measured statistic, which training does not change.
pub(super) fn is_statistic(name: &str) -> bool {
    matches!(name, MEAN | STD | ERROR_STD)
}

/// The mean and the standard deviation of each feature channel.
#[derive(Debug, Clone)]
pub(super) struct Standardization {
    /// `[channels]`.
    mean: Tensor,
    /// `[channels]`.
    std: Tensor,
}

impl Standardization {
    pub(super) fn new(channels: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        let constant = |name, init| scope.constant(name, &[channels], init);
        Ok(Self { mean: constant(MEAN, Init::Zeros)?, std: constant(STD, Init::Ones)? })
    }

    /// Returns the tensors for the parameter map. [`check`] checks their values when a network is built from them.
    pub(super) fn tensors(
        channels: usize,
        mean: &[f32],
        std: &[f32],
        device: &Device,
    ) -> crate::Result<[(String, Tensor); 2]> {
        Ok([named(MEAN, channels, mean, device)?, named(STD, channels, std, device)?])
    }

    /// Returns `(x - mean) / std` over the last axis, in f32 or f64.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (mean, std) = self.in_dtype_for(x)?;
        widened(x)?.broadcast_sub(&mean)?.broadcast_div(&std)
    }

    /// Returns `x * std + mean` over the last axis, in f32 or f64.
    pub(super) fn restore(&self, x: &Tensor) -> Result<Tensor> {
        let (mean, std) = self.in_dtype_for(x)?;
        widened(x)?.broadcast_mul(&std)?.broadcast_add(&mean)
    }

    /// Returns copies of the mean and the standard deviation on the CPU.
    pub(super) fn values(&self) -> Result<[Vec<f32>; 2]> {
        Ok([values(&self.mean)?, values(&self.std)?])
    }

    fn in_dtype_for(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let dtype = wide(x.dtype());
        Ok((self.mean.to_dtype(dtype)?, self.std.to_dtype(dtype)?))
    }
}

/// The root mean squared reconstruction error of each channel on normal images, `[channels]`; of standardized features if the
/// network standardizes them.
#[derive(Debug, Clone)]
pub(super) struct ErrorStd(Tensor);

impl ErrorStd {
    pub(super) fn new(channels: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        Ok(Self(scope.constant(ERROR_STD, &[channels], Init::Ones)?))
    }

    /// Returns the tensor for the parameter map.
    pub(super) fn tensor(channels: usize, std: &[f32], device: &Device) -> crate::Result<(String, Tensor)> {
        named(ERROR_STD, channels, std, device)
    }

    /// Returns a copy on the CPU.
    pub(super) fn values(&self) -> Result<Vec<f32>> {
        values(&self.0)
    }

    /// Returns `x / std` over the last axis, in f32 or f64.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        widened(x)?.broadcast_div(&self.0.to_dtype(wide(x.dtype()))?)
    }
}

fn named(name: &str, channels: usize, values: &[f32], device: &Device) -> crate::Result<(String, Tensor)> {
    if values.len() != channels {
        let reason = format!("has {} values for {channels} channels", values.len());
        return Err(Error::Parameter { name: name.into(), reason });
    }
    Ok((name.into(), Tensor::from_slice(values, channels, device)?))
}

/// Checks a parameter if it is a statistic: all values must be finite, and divisors above zero.
///
/// Statistics are f32 in every network: in half precision, a small standard deviation would round to zero.
pub(super) fn check(name: &str, tensor: &Tensor) -> crate::Result<()> {
    let minimum = match name {
        MEAN => f32::MIN,
        STD | ERROR_STD => f32::MIN_POSITIVE,
        _ => return Ok(()),
    };
    let values: Vec<f32> = tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    match values.iter().position(|value| !value.is_finite() || *value < minimum) {
        Some(channel) => {
            let reason = format!("is {} in channel {channel}", values[channel]);
            Err(Error::Parameter { name: name.into(), reason })
        }
        None => Ok(()),
    }
}

/// The dtype to standardize in: a feature divided by a small standard deviation may exceed the range of half precision.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

fn values(x: &Tensor) -> Result<Vec<f32>> {
    x.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec1()
}

fn widened(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(wide(x.dtype()))
}
