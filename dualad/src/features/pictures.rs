//! The features of pictures in memory, or of their tiles.

use candle_core::{Device, Tensor};
use dualad_backbones::FeatureExtractor;
use dualad_data::Cancel;
use dualad_data::image::{Picture, Preprocess};
use dualad_store::sha256;

use crate::error::{Error, Result};
use crate::features::identity::{Identity, extraction};
use crate::features::memory::memory_budget;
use crate::features::source::TokenSource;
use crate::features::tokens::{self, pixels};

/// The tokens of pictures, in memory.
#[derive(Debug)]
pub(crate) struct PictureTokens {
    /// The values of each picture, `[tokens, channels]`.
    values: Vec<Box<[f32]>>,
    shape: [usize; 2],
    identity: Identity,
}

impl PictureTokens {
    /// The number of pictures that the extractor computes at a time.
    pub(crate) const BATCH: usize = 8;

    pub(crate) fn new(extractor: &dyn FeatureExtractor, preprocess: &Preprocess) -> Self {
        let identity = Identity { extraction: extraction(extractor, preprocess, None), images: Vec::new() };
        Self { values: Vec::new(), shape: tokens::shape(extractor, preprocess), identity }
    }

    /// Adds pictures, each with a name for errors.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the features do not fit into half of the available memory.
    pub(crate) fn add(
        &mut self,
        extractor: &dyn FeatureExtractor,
        preprocess: &Preprocess,
        inputs: &[(String, Picture)],
        cancel: &Cancel,
    ) -> Result<()> {
        for inputs in inputs.chunks(Self::BATCH) {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let pictures: Vec<&Picture> = inputs.iter().map(|(_, picture)| picture).collect();
            let name = |index: usize| inputs.get(index).map(|(name, _)| name.into()).unwrap_or_default();
            let tokens = tokens::values(extractor, &pixels(preprocess, &pictures)?, name)?;
            let each = self.shape[0] * self.shape[1];
            // The limit is measured again: stored pictures already count as used.
            if memory_budget() < (inputs.len() * each * size_of::<f32>()) as u64 {
                let reason =
                    "the features do not fit into memory; train on a folder with a feature cache, or on fewer images";
                let value = format_args!("{} long", self.values.len() + inputs.len());
                return Err(Error::invalid_argument("the list of images", value, reason));
            }
            for ((name, picture), tokens) in inputs.iter().zip(tokens.chunks_exact(each.max(1))) {
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
                let reason = format!("must be below {}, the number of images", self.values.len());
                return Err(Error::invalid_argument("the image's index", index, reason));
            };
            values.extend_from_slice(found);
        }
        Ok(Tensor::from_vec(values, (indices.len(), tokens, channels), &Device::Cpu)?)
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}
