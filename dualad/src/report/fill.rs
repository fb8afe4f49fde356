//! The fields of a report that come from a model and its scores.

use std::path::Path;

use dualad_data::Sample;

use crate::ImageScores;
use crate::error::Result;
use crate::model::{ImageCounts, ModelConfig};
use crate::report::ImageResult;
use crate::report::Report;

impl Report {
    /// Sets the fields that describe the model: backbone and weights, network, recipe and numbers of training images. For a model
    /// whose training was continued, set [`Self::bank_images`] by [`Model::image_counts`](crate::Model::image_counts), which knows earlier
    /// images.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a configuration without a valid network.
    pub fn with_model(mut self, config: &ModelConfig) -> Result<Self> {
        self.backbone = Some(config.backbone);
        self.variant = Some(config.network.variant);
        self.preset = config.preset;
        if let Some(train) = &config.train {
            self.seed = train.seed;
            self.epochs = usize::try_from(train.epochs).unwrap_or(usize::MAX);
        }
        self.parameters = config.network.parameter_count()?;
        self.train_images = config.train_images;
        self.bank_images = ImageCounts::of(config, None).bank;
        self.weights = Some(config.weights.clone());
        Ok(self)
    }

    /// Sets the images: each sample, in order, with its score. Names are relative to `root` where a path is below it.
    #[must_use]
    pub fn with_images(mut self, samples: &[Sample], scores: &[ImageScores], root: &Path) -> Self {
        let result = |(sample, scores): (&Sample, &ImageScores)| {
            let name = sample.path.strip_prefix(root).unwrap_or(&sample.path).display().to_string();
            ImageResult::new(&sample.category, name, &sample.label, scores.image_score)
        };
        self.images = samples.iter().zip(scores).map(result).collect();
        self
    }
}
