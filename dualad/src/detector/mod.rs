//! What an application embeds: a trained model that is loaded once and asked about images, from many threads, for months.
//!
//! - [`Detector`] holds a model; [`DetectorBuilder`] says where it computes and how.
//! - [`Request`] is one image to look at, [`Inspection`] what was found: score, anomaly map, decision, defect regions.
//! - [`Detector::fit`] trains one on good images, [`Detector::extend`] teaches it another product.
//!
//! `docs/embedding.md` goes from `cargo add` to the first decision.

mod builder;
mod engine;
mod inspection;
mod merge;
mod original;
mod outline;
mod regions;
mod request;
#[cfg(test)]
mod tests;

pub use crate::model::Tiling;
pub use builder::{DetectorBuilder, ModelBytes};
pub use inspection::{AnomalyMap, Inspection};
pub use original::{OriginalRegion, Stretch};
pub use regions::{Bounds, Region, RegionOptions, Regions, regions};
pub use request::Request;

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device};
use dualad_backbones::FeatureExtractor;
#[cfg(feature = "train")]
use dualad_data::Sample;
use dualad_data::image::{Limits, Picture, Preprocess};
use dualad_data::{Cancel, Label};
use rayon::ThreadPool;

use crate::Reconstructor;
use crate::calibration::{Calibration, Calibrator, Scored};
use crate::error::{Error, Result};
#[cfg(feature = "train")]
use crate::features::{Features, FeaturesBuilder};
use crate::model::{Model, ModelConfig};
use crate::progress::Progress;

/// A trained model, ready to inspect images.
///
/// It is `Send + Sync`, and a clone shares everything: hand it to as many threads as there are. It keeps nothing of what it
/// has inspected.
///
/// An image's scores are the same alone, in any batch and on any thread, to 1e-5 of their size.
///
/// ```
/// use dualad::backbones::Backbone;
/// use dualad::data::synthetic::{self, Category, Options};
/// use dualad::detector::Request;
/// use dualad::recipe::Recipe;
/// use dualad::{Detector, Variant};
///
/// # let folder = std::env::temp_dir().join(format!("dualad-doc-detector-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let options = Options { size: 64, train: 10, test_good: 1, test_per_defect: 1, categories: vec![Category::Gear], ..Options::default() };
/// # let images = folder.join("parts");
/// # synthetic::write(&images, &options, |_done, _total| {})?;
/// # let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
/// # recipe.train.epochs = 1;
/// # recipe.network = recipe.network
/// #     .with_grid([4, 4])
/// #     .with_neighbor_mask(Some([1, 1]))
/// #     .with_narrow_width(8)
/// #     .with_chunk_width(8)
/// #     .with_ffn_width(8);
/// // Once: train on a folder of good images, and keep the model.
/// let fitted = Detector::fit(images.as_path()).recipe(recipe).run()?;
/// fitted.detector.save(folder.join("model"))?;
///
/// // In the application: load it, and ask.
/// let detector = Detector::load(folder.join("model"))?;
/// let image = images.join("gear/test/good/000.png");
/// let inspection = detector.inspect(Request::from(&image).category("gear"))?;
/// println!("{} {:?}", inspection.image_score, inspection.verdict);
/// for region in &inspection.regions {
///     println!("{region:?}");
/// }
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Detector {
    /// In f32 on the CPU, as it is saved.
    pub(crate) model: Arc<Model>,
    /// Where and in what it computes.
    pub(crate) network: Arc<Reconstructor>,
    pub(crate) extractor: Arc<dyn FeatureExtractor>,
    pub(crate) weights: dualad_backbones::Weights,
    pub(crate) preprocess: Preprocess,
    pub(crate) tiling: Option<Tiling>,
    pub(crate) calibration: Option<Arc<Calibration>>,
    pub(crate) regions: RegionOptions,
    pub(crate) limits: Limits,
    pub(crate) pool: Option<Arc<ThreadPool>>,
}

impl Detector {
    /// What to load a model with: device, dtype, threads, weights, limits.
    pub fn builder() -> DetectorBuilder {
        DetectorBuilder::default()
    }

    /// Loads a saved model's folder on the CPU. The backbone's weights are those in the folder, else where its
    /// configuration says: a file, or the hub.
    ///
    /// # Errors
    /// As [`DetectorBuilder::load`].
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        Self::builder().load(folder)
    }

    /// Loads a model from the Hugging Face hub, `owner/name`, on the CPU: fetched once, then from the hub's cache.
    ///
    /// # Errors
    /// As [`DetectorBuilder::from_pretrained`].
    #[cfg(feature = "hub")]
    pub fn from_pretrained(repository: &str) -> Result<Self> {
        Self::builder().from_pretrained(repository)
    }

    /// Loads a model from memory, on the CPU: no file system is asked.
    ///
    /// # Errors
    /// As [`DetectorBuilder::from_bytes`].
    pub fn from_bytes(bytes: &ModelBytes<'_>) -> Result<Self> {
        Self::builder().from_bytes(bytes)
    }

    /// Inspects one image.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that cannot be read or decoded, or is beyond the limits; [`Error::NotFinite`] where the
    /// device's numbers overflow; [`Error::Candle`] and [`Error::Backbone`] if it fails.
    pub fn inspect<'a>(&self, request: impl Into<Request<'a>>) -> Result<Inspection> {
        let request = request.into();
        match self.inspect_batch([request]).pop() {
            Some(result) => result,
            // One request, one answer.
            None => Err(Error::NoImages { purpose: "inspect" }),
        }
    }

    /// Inspects images: one answer for each, in order. One that fails has an error; the others are inspected all the same.
    pub fn inspect_batch<'a, R: Into<Request<'a>>>(
        &self,
        requests: impl IntoIterator<Item = R>,
    ) -> Vec<Result<Inspection>> {
        self.inspect_batch_with(requests, &Cancel::default(), |_| {})
    }

    /// [`Self::inspect_batch`] that can be cancelled, from another thread or from `progress`, which hears how many of how
    /// many are done. What was not inspected then is [`Error::Cancelled`].
    ///
    /// A few images are in memory at a time, however many there are; the answers hold their maps.
    pub fn inspect_batch_with<'a, R: Into<Request<'a>>>(
        &self,
        requests: impl IntoIterator<Item = R>,
        cancel: &Cancel,
        progress: impl FnMut(Progress),
    ) -> Vec<Result<Inspection>> {
        let requests: Vec<Request<'a>> = requests.into_iter().map(Into::into).collect();
        engine::inspect(self, &requests, cancel, progress)
    }

    /// The picture that a request is about, as the detector reads it.
    ///
    /// # Errors
    /// As [`Self::inspect`] for an image that cannot be read.
    pub fn picture<'a>(&self, request: impl Into<Request<'a>>) -> Result<Picture> {
        Ok(request.into().picture(&self.limits)?.into_owned())
    }

    /// Everything about the model but its numbers.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// The model: its configuration and its network, in f32 on the CPU.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns a builder of the features of images, as this model sees them: with its extractor, preprocessing and limits.
    #[cfg(feature = "train")]
    pub fn features<'a>(&self, samples: impl IntoIterator<Item = Sample>) -> FeaturesBuilder<'a> {
        Features::of(samples, self.extractor.clone(), self.preprocess.clone()).limits(self.limits)
    }

    /// The products it was trained on.
    pub fn categories(&self) -> &[String] {
        &self.model.config().categories
    }

    /// The thresholds it decides by, if it has any.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_deref()
    }

    /// The same detector with other thresholds, or none. Nothing else changes, and nothing is loaded.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Option<Calibration>) -> Self {
        self.calibration = calibration.map(Arc::new);
        self
    }

    /// Thresholds from images that are known: each with its category, if it has one, and whether something is wrong with
    /// what it shows. Images that the model was trained on score lower than others, and do not belong here.
    ///
    /// `progress` hears how many images are done. The detector stays as it is: [`Self::with_calibration`].
    ///
    /// # Errors
    /// That of the first image which cannot be inspected; as [`Calibrator::calibrate`]; [`Error::Cancelled`].
    pub fn calibrate<'a>(
        &self,
        calibrator: &Calibrator,
        images: impl IntoIterator<Item = (Request<'a>, Label)>,
        cancel: &Cancel,
        progress: impl FnMut(Progress),
    ) -> Result<Calibration> {
        let (requests, labels): (Vec<Request<'a>>, Vec<Label>) = images.into_iter().unzip();
        let scores = self.image_scores(&requests, cancel, progress)?;
        let images = requests.iter().zip(labels).zip(scores);
        let scored = images.map(|((request, label), score)| {
            // An image without a category counts in the pooled thresholds alone, under a name that no category has.
            let category = request.named_category().unwrap_or_default();
            Scored { category, score, anomalous: label.is_anomalous() }
        });
        self.calibrate_scores(calibrator, scored)
    }

    /// Returns the image score of each request, in order. Maps are not kept: a few images are in memory at a time.
    pub(crate) fn image_scores<'a>(
        &self,
        requests: &[Request<'a>],
        cancel: &Cancel,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<f32>> {
        let mut scores = Vec::with_capacity(requests.len());
        for batch in requests.chunks(engine::BATCH) {
            for found in self.inspect_batch_with(batch.iter().copied(), cancel, |_| {}) {
                scores.push(found?.image_score);
            }
            progress(Progress { done: scores.len(), total: requests.len() });
        }
        Ok(scores)
    }

    /// Chooses thresholds for this model from its scores. Those of images whose category is empty count in the pooled
    /// thresholds alone.
    pub(crate) fn calibrate_scores<'a>(
        &self,
        calibrator: &Calibrator,
        scored: impl IntoIterator<Item = Scored<'a>>,
    ) -> Result<Calibration> {
        let mut calibration = calibrator.calibrate(scored)?;
        calibration.categories.remove("");
        calibration.model = Some(self.config().sha256.clone());
        Ok(calibration)
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.extractor.device()
    }

    /// What it computes in.
    pub fn dtype(&self) -> DType {
        self.extractor.dtype()
    }

    /// Writes the model's folder (`config.json`, `model.safetensors`, `calibration.json` if there are thresholds, the
    /// card), which is made if it is not there. The backbone's weights stay where they are: [`Self::save_with_backbone`].
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written, [`Error::Parameter`] if a parameter is not finite.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        builder::save(self, folder.as_ref(), false)
    }

    /// [`Self::save`] with a copy of the backbone's weights, `backbone.safetensors`: all that another machine needs. They
    /// have a licence of their own.
    ///
    /// # Errors
    /// As [`Self::save`]; [`Error::Backbone`] for weights that are no file, or cannot be had any more.
    pub fn save_with_backbone(&self, folder: impl AsRef<Path>) -> Result<()> {
        builder::save(self, folder.as_ref(), true)
    }

    /// Runs in the detector's own threads, if it has some, else in those of the caller.
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}
