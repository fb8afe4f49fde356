//! Features in deviations from their channel's mean over the training set.
//!
//! Raw channels differ in scale by orders of magnitude, and a mean squared error sees the largest only. The paper trains on
//! raw features for 1,200 epochs; a short training cannot afford to.

use candle_core::{DType, Device, Result, Tensor};

use crate::cdbn::build::{Init, Scope};
use crate::error::Error;

pub(crate) const MEAN: &str = "standardisation.mean";
pub(crate) const DEVIATION: &str = "standardisation.deviation";
const ERROR: &str = "standardisation.error";

/// Means and deviations, `[channels]` each.
#[derive(Debug, Clone)]
pub(crate) struct Standardisation {
    mean: Tensor,
    deviation: Tensor,
}

impl Standardisation {
    pub(crate) fn new(channels: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        let constant = |name, init| scope.constant(name, &[channels], init);
        Ok(Self { mean: constant(MEAN, Init::Zeros)?, deviation: constant(DEVIATION, Init::Ones)? })
    }

    /// Whether a parameter's name is one that is measured and not trained.
    pub(crate) fn is_part(name: &str) -> bool {
        matches!(name, MEAN | DEVIATION | ERROR)
    }

    /// The two by name; a network made of them checks them ([`check`]).
    pub(crate) fn tensors(
        channels: usize,
        mean: &[f32],
        deviation: &[f32],
        device: &Device,
    ) -> crate::Result<[(String, Tensor); 2]> {
        Ok([named(MEAN, channels, mean, device)?, named(DEVIATION, channels, deviation, device)?])
    }

    /// `(x - mean) / deviation`, `[.., channels]`, in f32 or wider.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (mean, deviation) = self.for_dtype(x)?;
        widened(x)?.broadcast_sub(&mean)?.broadcast_div(&deviation)
    }

    /// `x * deviation + mean`, in f32 or wider.
    pub(crate) fn restore(&self, x: &Tensor) -> Result<Tensor> {
        let (mean, deviation) = self.for_dtype(x)?;
        widened(x)?.broadcast_mul(&deviation)?.broadcast_add(&mean)
    }

    /// The two, on the CPU.
    pub(crate) fn numbers(&self) -> Result<[Vec<f32>; 2]> {
        Ok([numbers(&self.mean)?, numbers(&self.deviation)?])
    }

    fn for_dtype(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let dtype = wide(x.dtype());
        Ok((self.mean.to_dtype(dtype)?, self.deviation.to_dtype(dtype)?))
    }
}

/// What each channel's error usually is on normal images, `[channels]`, in deviations where the network standardises.
#[derive(Debug, Clone)]
pub(crate) struct ErrorDeviation(Tensor);

impl ErrorDeviation {
    pub(crate) fn new(channels: usize, scope: &Scope<'_>) -> crate::Result<Self> {
        Ok(Self(scope.constant(ERROR, &[channels], Init::Ones)?))
    }

    /// It by name.
    pub(crate) fn tensor(channels: usize, deviation: &[f32], device: &Device) -> crate::Result<(String, Tensor)> {
        named(ERROR, channels, deviation, device)
    }

    /// It, on the CPU.
    pub(crate) fn numbers(&self) -> Result<Vec<f32>> {
        numbers(&self.0)
    }

    /// `x / deviation`, `[.., channels]`, in f32 or wider.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        widened(x)?.broadcast_div(&self.0.to_dtype(wide(x.dtype()))?)
    }
}

fn named(name: &str, channels: usize, values: &[f32], device: &Device) -> crate::Result<(String, Tensor)> {
    if values.len() != channels {
        let reason = format!("has {} numbers for {channels} channels", values.len());
        return Err(Error::Parameter { name: name.into(), reason });
    }
    Ok((name.into(), Tensor::from_slice(values, channels, device)?))
}

/// Whether a parameter of this name can be computed with: what is divided by must be above zero, and all must be finite.
/// They are few, and of f32 whatever the network computes in: rounded to half precision, a small deviation is none.
pub(crate) fn check(name: &str, tensor: &Tensor) -> crate::Result<()> {
    let least = match name {
        MEAN => f32::MIN,
        DEVIATION | ERROR => f32::MIN_POSITIVE,
        _ => return Ok(()),
    };
    let values: Vec<f32> = tensor.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    match values.iter().position(|value| !value.is_finite() || *value < least) {
        Some(channel) => {
            let reason = format!("is {} in channel {channel}", values[channel]);
            Err(Error::Parameter { name: name.into(), reason })
        }
        None => Ok(()),
    }
}

/// Raw features may be beyond what half precision holds once they are divided by a small deviation.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    x.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec1()
}

fn widened(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(wide(x.dtype()))
}
