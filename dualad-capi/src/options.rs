//! The settings for loading a model.

use std::path::PathBuf;

use dualad::Detector;
use dualad::backbones::Weights;
use dualad::data::image::Limits;
use dualad::detector::{DetectorBuilder, RegionOptions};

/// Settings for loading a model. They are copied by the functions that load one.
#[derive(Default)]
pub struct DualadOptions {
    /// The number of threads; 0 for those that the process shares.
    pub(crate) threads: u32,
    /// The file of the backbone's weights, if it is not the model's own.
    pub(crate) weights: Option<PathBuf>,
    /// The largest number of pixels of an image.
    pub(crate) pixels: Option<u64>,
    /// The selection of regions.
    pub(crate) regions: RegionOptions,
}

impl DualadOptions {
    /// Returns the builder of a detector with these settings.
    pub(crate) fn builder(&self) -> DetectorBuilder {
        let mut builder = Detector::builder().regions(self.regions);
        if self.threads != 0 {
            builder = builder.threads(self.threads as usize);
        }
        if let Some(weights) = &self.weights {
            builder = builder.weights(Weights::file(weights));
        }
        if let Some(pixels) = self.pixels {
            builder = builder.limits(Limits::for_pixels(pixels));
        }
        builder
    }
}
