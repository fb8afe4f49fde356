//! Networks derived from a network: for training, for inference, in another dtype, with measured statistics.

#[cfg(feature = "train")]
use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{DType, Device, Result as CandleResult, Tensor, Var};

use crate::cdbn::network::{DualAd, check_dtype};
#[cfg(feature = "train")]
use crate::cdbn::scope::{Existing, Scope};
use crate::cdbn::standardization::{ErrorStd, Standardization, is_statistic};
use crate::config::DualAdConfig;
use crate::error::{Error, Result};

impl DualAd {
    /// Returns a copy of the network with variables of its own, to train.
    ///
    /// # Errors
    /// [`Error::Candle`] if the device has no memory for them.
    pub fn trainable(&self) -> Result<Self> {
        // `Var::from_tensor` of a variable returns the same variable, so the tensors are copied.
        let copy = |tensor: &Tensor| tensor.detach().to_dtype(DType::F32)?.copy();
        let (mut variables, mut tensors) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in &self.parameters {
            let mut tensor = copy(tensor)?;
            if !is_statistic(name) {
                let variable = Var::from_tensor(&tensor)?;
                tensor = variable.as_tensor().clone();
                variables.insert(name.clone(), variable);
            }
            tensors.insert(name.clone(), tensor);
        }
        let mut network = Self::from_parameters(self.config.clone(), tensors)?;
        network.variables = variables;
        Ok(network)
    }

    /// Returns the network with its parameters rounded to `dtype`, to compute in it. Gradients still flow to the original
    /// variables.
    #[cfg(feature = "train")]
    pub(crate) fn computing_in(&self, dtype: DType) -> Result<Self> {
        let rounded = |name: &str, tensor: &Tensor| {
            if is_statistic(name) { Ok(tensor.clone()) } else { tensor.to_dtype(dtype) }
        };
        let tensors = self.parameters.iter().map(|(name, tensor)| Ok((name.clone(), rounded(name, tensor)?)));
        let parameters = tensors.collect::<CandleResult<_>>()?;
        // Skips `from_parameters`' checks: they synchronize with the device, and rounding cannot change a shape.
        let mut network = Self::build(self.config.clone(), &Scope::root(&RefCell::new(Existing(&parameters))))?;
        network.parameters = parameters;
        Ok(network.with_memory_share(self.memory_share()))
    }

    /// Returns a copy for inference, in the given dtype and on the given device. It keeps no graph, and later training steps do not
    /// change it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the dtype is not a floating-point one, [`Error::Candle`] if the device cannot hold the
    /// parameters.
    pub fn frozen(&self, dtype: DType, device: &Device) -> Result<Self> {
        check_dtype(dtype)?;
        let freeze = |name: &str, tensor: &Tensor| {
            let dtype = if is_statistic(name) { tensor.dtype() } else { dtype };
            // On Metal, `copy` shares its buffer with the original.
            tensor.detach().to_dtype(dtype)?.to_device(device)?.force_contiguous()
        };
        let tensors = self.parameters.iter().map(|(name, tensor)| Ok((name.clone(), freeze(name, tensor)?)));
        Self::from_parameters(self.config.clone(), tensors.collect::<CandleResult<_>>()?)
    }

    /// Returns the network with the mean and the standard deviation of each feature channel over the training set, `[channels]`
    /// each. Parameters and variables are shared.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration does not standardize the features, [`Error::Parameter`] if there is not one value per
    /// channel, a value is not finite, or a standard deviation is not above zero.
    pub fn with_standardization(&self, mean: &[f32], std: &[f32]) -> Result<Self> {
        if !self.config.standardize {
            let (value, reason) = ("false".into(), "must be true for a network that standardizes its features".into());
            return Err(Error::Config { field: "standardize", value, reason });
        }
        let tensors = Standardization::tensors(self.config.channels(), mean, std, &self.device())?;
        self.with_statistics(tensors)
    }

    /// Returns the network with the root mean squared reconstruction error of each channel on normal images, `[channels]`, for
    /// standardized features if the network standardizes them. [`Self::score`] divides errors by it. Parameters and variables are
    /// shared.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration does not standardize the errors, [`Error::Parameter`] if there is not one value per
    /// channel, or a value is not finite or not above zero.
    pub fn with_error_std(&self, std: &[f32]) -> Result<Self> {
        if !self.config.standardize_errors {
            let (value, reason) = ("false".into(), "must be true for a network that standardizes its errors".into());
            return Err(Error::Config { field: "standardize_errors", value, reason });
        }
        self.with_statistics([ErrorStd::tensor(self.config.channels(), std, &self.device())?])
    }

    /// Returns the network with another temperature of the memory's softmax. Parameters and variables are shared.
    ///
    /// # Errors
    /// [`Error::Config`] if the temperature is out of range.
    pub fn with_memory_temperature(&self, temperature: f64) -> Result<Self> {
        let config = DualAdConfig { memory_temperature: temperature, ..self.config.clone() };
        config.validate()?;
        let mut network = self.clone();
        network.config = config;
        network.memory.iter_mut().for_each(|memory| memory.temperature = temperature);
        Ok(network)
    }

    fn with_statistics(&self, statistics: impl IntoIterator<Item = (String, Tensor)>) -> Result<Self> {
        let mut tensors = self.parameters.clone();
        tensors.extend(statistics);
        let mut network = Self::from_parameters(self.config.clone(), tensors)?;
        network.variables.clone_from(&self.variables);
        Ok(network)
    }

    /// Returns the network with another share of the readout in the memory's output, query + share * (readout - query), for the
    /// start of training. Both networks use the same parameters and variables.
    #[cfg(feature = "train")]
    pub(crate) fn with_memory_share(mut self, share: f64) -> Self {
        self.memory.iter_mut().for_each(|memory| memory.share = share.clamp(0.0, 1.0));
        self
    }

    /// Returns the share set by [`Self::with_memory_share`], by default 1.
    pub(crate) fn memory_share(&self) -> f64 {
        self.memory.first().map_or(1.0, |memory| memory.share)
    }

    /// Returns the mean and the standard deviation of each feature channel, if the network standardizes its features.
    pub(crate) fn feature_statistics(&self) -> Result<Option<[Vec<f32>; 2]>> {
        Ok(self.standardization.as_ref().map(Standardization::values).transpose()?)
    }

    /// Returns the values that [`Self::score`] divides the errors of each channel by, if the network standardizes its errors.
    pub(crate) fn error_std(&self) -> Result<Option<Vec<f32>>> {
        Ok(self.error_std.as_ref().map(ErrorStd::values).transpose()?)
    }
}
