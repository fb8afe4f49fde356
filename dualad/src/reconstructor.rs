//! A network to infer with, laid out for where it runs.

use candle_core::{DType, Device, Tensor};
use dualad_kernels::{Isa, are_finite, in_pool};

use crate::engine::InferenceEngine;
use crate::error::{Error, Result};
use crate::ops::with_values;
use crate::score::Enlargement;
use crate::{DualAd, DualAdConfig, Scores};

/// A network's inference form: on the CPU in f32 its weights are laid out once for the processor's kernels, attention and scoring
/// are single passes, and buffers are kept from call to call; elsewhere it is the network itself. Results are the
/// network's but for rounding (1e-4 of the largest value).
///
/// It is `Send + Sync`; calls from several threads have buffers of their own. Work runs on the current rayon pool, and its
/// results do not depend on how many threads that has.
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
    packed: Option<InferenceEngine>,
    enlargement: Enlargement,
}

impl DualAd {
    /// This network as it stands, laid out to infer with.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] if the parameters cannot be read, or the device has no memory for them.
    pub fn reconstructor(&self) -> Result<Reconstructor> {
        Reconstructor::new(self, Some(Isa::best()))
    }
}

impl Reconstructor {
    pub(crate) fn new(network: &DualAd, isa: Option<Isa>) -> Result<Self> {
        let fits = network.device().is_cpu() && network.dtype() == DType::F32;
        let packed = isa.filter(|_| fits).map(|isa| InferenceEngine::new(network, isa)).transpose()?;
        let network = if network.variables().is_empty() {
            network.clone()
        } else {
            network.frozen(network.dtype(), &network.device())?
        };
        let enlargement = Enlargement::new(network.config().grid, &network.device())?;
        Ok(Self { network, packed, enlargement })
    }

    /// What the network is made of.
    pub fn config(&self) -> &DualAdConfig {
        self.network.config()
    }

    /// Where it computes: tokens must be there.
    pub fn device(&self) -> Device {
        self.network.device()
    }

    /// What it computes in.
    pub fn dtype(&self) -> DType {
        self.network.dtype()
    }

    /// Whether it is laid out for the CPU's kernels.
    #[cfg(test)]
    pub(crate) fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// [`DualAd::reconstruct`].
    ///
    /// # Errors
    /// As there.
    pub fn reconstruct(&self, tokens: &Tensor) -> Result<Tensor> {
        let Some(packed) = &self.packed else { return self.network.reconstruct(tokens) };
        let reconstruction = self.with_tokens(tokens, |tokens| packed.reconstruct(tokens))?;
        Ok(Tensor::from_vec(reconstruction, tokens.shape(), &Device::Cpu)?)
    }

    /// Anomaly map and image score of clean tokens `[batch, tokens, channels]`: [`DualAd::score`] of them and their
    /// reconstruction.
    ///
    /// # Errors
    /// As [`DualAd::reconstruct`].
    pub fn score(&self, tokens: &Tensor) -> Result<Scores> {
        let Some(packed) = &self.packed else {
            return self.network.score(tokens, &self.network.reconstruct(tokens)?);
        };
        let errors = self.with_tokens(tokens, |tokens| packed.errors(tokens))?;
        let [rows, columns] = self.config().grid;
        let map = Tensor::from_vec(errors, (tokens.dim(0)?, rows, columns), &Device::Cpu)?;
        Ok(self.enlargement.scores(&map)?)
    }

    fn with_tokens<R: Send>(&self, tokens: &Tensor, f: impl FnOnce(&[f32]) -> R + Send) -> Result<R> {
        self.network.check(tokens)?;
        let tokens = tokens.detach().to_dtype(DType::F32)?.contiguous()?;
        let run = |[tokens]: [&[f32]; 1]| Ok(are_finite(tokens).then(|| in_pool(|| f(tokens))));
        with_values([&tokens], "reconstruction", run)?.ok_or_else(Error::tokens_not_finite)
    }
}
