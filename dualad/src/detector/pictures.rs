//! Tokens of pictures that are in memory, or of their tiles.

use candle_core::{DType, Device, Tensor};
use dualad_backbones::FeatureExtractor;
use dualad_backbones::weights::sha256;
use dualad_data::Cancel;
use dualad_data::image::{Picture, Preprocess};

use crate::detector::engine::BATCH;
use crate::error::{Error, Result};
use crate::train::features::{available_memory, extraction};
use crate::train::{Identity, TokenSource};

/// Every input's tokens, in memory.
#[derive(Debug)]
pub(super) struct PictureTokens {
    /// `[inputs][tokens * channels]`.
    values: Vec<Box<[f32]>>,
    shape: [usize; 2],
    identity: Identity,
}

impl PictureTokens {
    pub(super) fn new(extractor: &dyn FeatureExtractor, preprocess: &Preprocess) -> Self {
        let tokens = preprocess.height() as usize / 16 * (preprocess.width() as usize / 16);
        let identity = Identity { extraction: extraction(extractor, preprocess, None), images: Vec::new() };
        Self { values: Vec::new(), shape: [tokens, extractor.token_channels()], identity }
    }

    /// Adds inputs, each with a name to call it by.
    ///
    /// # Errors
    /// [`Error::Config`] where they no longer fit into half of the memory that can be had.
    pub(super) fn add(
        &mut self,
        extractor: &dyn FeatureExtractor,
        preprocess: &Preprocess,
        inputs: &[(String, Picture)],
        cancel: &Cancel,
    ) -> Result<()> {
        for inputs in inputs.chunks(BATCH) {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let size = (preprocess.height() as usize, preprocess.width() as usize);
            let mut pixels = Vec::with_capacity(inputs.len() * 3 * size.0 * size.1);
            for (_, picture) in inputs {
                pixels.extend(preprocess.pixels(picture)?);
            }
            let images = Tensor::from_vec(pixels, (inputs.len(), 3, size.0, size.1), &Device::Cpu)?;
            let tokens = extractor.tokens(&images)?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
            let tokens: Vec<f32> = tokens.flatten_all()?.to_vec1()?;
            let each = self.shape[0] * self.shape[1];
            // What is held counts as taken: what is available shrinks with it.
            if available_memory() < (inputs.len() * each * size_of::<f32>()) as u64 {
                let reason =
                    "their features do not fit into memory; train on a folder with a feature cache, or on fewer";
                let value = (self.values.len() + inputs.len()).to_string();
                return Err(Error::Config { field: "images", value, reason: reason.into() });
            }
            for ((name, picture), tokens) in inputs.iter().zip(tokens.chunks_exact(each.max(1))) {
                if tokens.iter().any(|value| !value.is_finite()) {
                    let reason = "they hold NaN or infinity; look at the image and the backbone's weights".into();
                    return Err(Error::Features { path: name.into(), reason });
                }
                let digest = sha256(picture.pixels());
                self.identity.images.push((digest.get(..32).unwrap_or_default().into(), name.clone()));
                self.values.push(tokens.into());
            }
        }
        Ok(())
    }
}

impl TokenSource for PictureTokens {
    fn images(&self) -> usize {
        self.values.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Tensor> {
        let [tokens, channels] = self.shape;
        let mut values = Vec::with_capacity(indices.len() * tokens * channels);
        for &index in indices {
            let Some(found) = self.values.get(index) else {
                let value = index.to_string();
                let reason = format!("there are {} images", self.values.len());
                return Err(Error::Config { field: "image", value, reason });
            };
            values.extend_from_slice(found);
        }
        Ok(Tensor::from_vec(values, (indices.len(), tokens, channels), &Device::Cpu)?)
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}
