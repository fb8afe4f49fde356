//! The inference form of a network.

use candle_core::{DType, Device, Tensor};
use dualad_kernels::{Isa, Precision, are_finite, in_pool};

use crate::engine::InferenceEngine;
use crate::error::{Error, Result};
use crate::ops::with_values;
use crate::score::{POOL, Upsampling};
use crate::{DualAd, DualAdConfig, Scores};

/// The inference form of a network.
///
/// On the CPU in f32, the weights are laid out once for the processor's kernels, attention and scoring are single passes, and
/// buffers are kept between calls. With another device or dtype, it is the network itself. Results equal the network's up to
/// rounding (1e-4 of the largest value).
///
/// It is `Send + Sync`: calls from several threads use separate buffers. Work runs on the current rayon pool, and results do not
/// depend on the number of threads.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use dualad::backbones::Backbone;
/// use dualad::{DualAd, DualAdConfig, Random, Variant};
///
/// let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18)
///     .with_narrow_width(16)
///     .with_chunk_width(16)
///     .with_ffn_width(32); // small, for an example
/// let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
///
/// let reconstructor = network.reconstructor()?;
/// let tokens = Tensor::ones((2, 14 * 14, 448), DType::F32, &Device::Cpu)?;
/// let scores = reconstructor.score(&tokens)?;
/// assert_eq!(scores.anomaly_map.dims(), [2, 1, 224, 224]);
/// assert_eq!(scores.image_score.dims(), [2]);
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug)]
pub struct Reconstructor {
    network: DualAd,
    engine: Option<InferenceEngine>,
    upsampling: Upsampling,
}

impl DualAd {
    /// Returns the inference form of this network, with its current parameters.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] if the parameters cannot be read, or if the device has no memory for them.
    pub fn reconstructor(&self) -> Result<Reconstructor> {
        self.reconstructor_in(Precision::F32)
    }

    /// Returns the inference form of this network whose linear layers multiply numbers of a precision. On a device other than the
    /// CPU and in a dtype other than f32, it is the network itself.
    ///
    /// # Errors
    /// As [`Self::reconstructor`].
    pub fn reconstructor_in(&self, precision: Precision) -> Result<Reconstructor> {
        Reconstructor::new(self, Some(Isa::best()), precision)
    }
}

impl Reconstructor {
    /// Lays out a network for an instruction set. Without one, or if the engine does not support the device or the dtype, the
    /// network itself is used.
    pub(crate) fn new(network: &DualAd, isa: Option<Isa>, precision: Precision) -> Result<Self> {
        let is_supported = network.device().is_cpu() && network.dtype() == DType::F32;
        let engine =
            isa.filter(|_| is_supported).map(|isa| InferenceEngine::new(network, isa, precision)).transpose()?;
        let network = if network.variables().is_empty() {
            network.clone()
        } else {
            network.frozen(network.dtype(), &network.device())?
        };
        let DualAdConfig { grid, token_stride, .. } = *network.config();
        let upsampling = Upsampling::new(grid, token_stride, [POOL; 2], &network.device())?;
        Ok(Self { network, engine, upsampling })
    }

    /// The configuration of the network.
    pub fn config(&self) -> &DualAdConfig {
        self.network.config()
    }

    /// The device of the network. Tokens must be on it.
    pub fn device(&self) -> Device {
        self.network.device()
    }

    /// The dtype of the network.
    pub fn dtype(&self) -> DType {
        self.network.dtype()
    }

    /// Returns `true` if it uses the inference engine.
    #[cfg(test)]
    pub(crate) fn uses_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// Returns the reconstruction of tokens `[batch, tokens, channels]`: see [`DualAd::reconstruct`].
    ///
    /// # Errors
    /// Those of [`DualAd::reconstruct`].
    pub fn reconstruct(&self, tokens: &Tensor) -> Result<Tensor> {
        let Some(engine) = &self.engine else { return self.network.reconstruct(tokens) };
        let reconstruction = self.with_tokens(tokens, |tokens| engine.reconstruct(tokens))?;
        Ok(Tensor::from_vec(reconstruction, tokens.shape(), &Device::Cpu)?)
    }

    /// Returns the anomaly maps and image scores of clean tokens `[batch, tokens, channels]`: [`DualAd::score`] of the tokens and
    /// their reconstruction.
    ///
    /// # Errors
    /// Those of [`DualAd::reconstruct`].
    pub fn score(&self, tokens: &Tensor) -> Result<Scores> {
        Ok(self.upsampling.scores(&self.errors(tokens)?)?)
    }

    /// Returns the combined errors of all stages, `[batch, rows, columns]`, of clean tokens `[batch, tokens, channels]`.
    pub(crate) fn errors(&self, tokens: &Tensor) -> Result<Tensor> {
        let Some(engine) = &self.engine else {
            return self.network.token_errors(tokens, &self.network.reconstruct(tokens)?);
        };
        let [rows, columns] = self.config().grid;
        let errors = self.with_tokens(tokens, |tokens| engine.errors(tokens))?;
        Ok(Tensor::from_vec(errors, (tokens.dim(0)?, rows, columns), &Device::Cpu)?)
    }

    /// Checks the tokens and calls `f` with their values, on a thread of the current pool.
    fn with_tokens<R: Send>(&self, tokens: &Tensor, f: impl FnOnce(&[f32]) -> R + Send) -> Result<R> {
        self.network.check(tokens)?;
        let tokens = tokens.detach().to_dtype(DType::F32)?.contiguous()?;
        let run = |[tokens]: [&[f32]; 1]| Ok(are_finite(tokens).then(|| in_pool(|| f(tokens))));
        with_values([&tokens], "reconstruction", run)?.ok_or_else(Error::tokens_not_finite)
    }
}
