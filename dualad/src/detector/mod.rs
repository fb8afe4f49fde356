//! The use of a trained model in an application: load it once and inspect images from any number of threads.
//!
//! - [`Detector`] holds a model. [`DetectorBuilder`] sets its device, dtype, threads and thresholds.
//! - [`Request`] is an image to inspect, [`OwnedRequest`] one that can be sent to another thread. [`Inspection`] is the result:
//!   score, anomaly map, decision, defect regions.
//! - [`Replicas`] are detectors of one model on several devices.
//! - `Detector::fit` trains a model on normal images. `Detector::extend` continues its training with
//!   images of the old products and new ones.
//!
//! `docs/embedding.md` is a guide from the dependency in `Cargo.toml` to the first decision.

mod builder;
mod contents;
mod engine;
mod idle;
mod inspection;
mod known;
mod merge;
mod original;
mod outline;
mod own_thresholds;
mod owned;
mod parts;
mod regions;
mod replicas;
mod request;
mod save;
#[cfg(test)]
mod tests;
mod threads;
mod turns;
mod unseen;

pub use crate::model::Tiling;
pub use builder::{DetectorBuilder, ModelBytes};
pub use contents::ModelContents;
pub use inspection::{AnomalyMap, Inspection};
pub use known::{KnownImages, TrainedImages};
pub use original::{OriginalRegion, Stretch};
pub use owned::OwnedRequest;
pub use regions::{Bounds, Region, RegionOptions, Regions, regions};
pub use replicas::Replicas;
pub use request::Request;
pub(crate) use threads::Threads;

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device};
use dualad_backbones::FeatureExtractor;
#[cfg(feature = "train")]
use dualad_data::Sample;
use dualad_data::image::{Limits, Picture, Preprocess};
use dualad_data::{Cancel, Label};

use crate::Precision;
use crate::calibration::{Calibration, Calibrator, LabeledScore};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "train")]
use crate::features::{Features, FeaturesBuilder};
use crate::model::{Model, ModelConfig};
use crate::progress::Progress;
use crate::scorer::Scorer;

/// A trained model, ready to inspect images.
///
/// It is `Send + Sync`. Share a reference or a clone; both are cheap. It keeps no state between images.
///
/// An image's scores are the same alone, in any batch and on any thread, to a relative difference of 1e-5.
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
/// // Once: train on a folder of normal images, and save the model.
/// let fitted = Detector::fit(images.as_path()).recipe(recipe).run()?;
/// fitted.detector.save(folder.join("model"))?;
///
/// // In the application: load the model and inspect images.
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
    /// The model in f32 on the CPU, as it is saved.
    pub(crate) model: Arc<Model>,
    /// The network on the detector's device and in its dtype, and the bank.
    pub(crate) scorer: Arc<Scorer>,
    pub(crate) extractor: Arc<dyn FeatureExtractor>,
    pub(crate) precision: Precision,
    pub(crate) weights: dualad_backbones::Weights,
    pub(crate) preprocess: Preprocess,
    pub(crate) tiling: Option<Tiling>,
    pub(crate) calibration: Option<Arc<Calibration>>,
    pub(crate) regions: RegionOptions,
    pub(crate) limits: Limits,
    pub(crate) threads: Threads,
}

impl Detector {
    /// Returns a builder with the settings of a detector: device, dtype, threads, weights, limits.
    pub fn builder() -> DetectorBuilder {
        DetectorBuilder::default()
    }

    /// Loads a saved model's folder on the CPU. The backbone's weights are those in the folder, or else those that the model's
    /// configuration names: a file, or the hub.
    ///
    /// # Errors
    /// As [`DetectorBuilder::load`].
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        Self::builder().load(folder)
    }

    /// Loads a model from the Hugging Face hub, `owner/name`, on the CPU. The model is downloaded once. Later calls use the cache,
    /// also if the branch has moved: name a commit ([`DetectorBuilder::revision`]) to update.
    ///
    /// # Errors
    /// As [`DetectorBuilder::from_pretrained`].
    #[cfg(feature = "hub")]
    pub fn from_pretrained(repository: &str) -> Result<Self> {
        Self::builder().from_pretrained(repository)
    }

    /// Loads a model from memory on the CPU, without access to the file system.
    ///
    /// # Errors
    /// As [`DetectorBuilder::from_bytes`].
    pub fn from_bytes(bytes: &ModelBytes<'_>) -> Result<Self> {
        Self::builder().from_bytes(bytes)
    }

    /// Inspects one image.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that cannot be read or decoded, or exceeds the limits; [`Error::NotFinite`] if values
    /// overflow; [`Error::InvalidArgument`] if the tiling gives too many tiles; [`Error::Candle`] and [`Error::Backbone`] if the
    /// device fails. [`Error::kind`] separates a bad image (`Data`), a file that cannot be read (`System`) and the device (`Device`).
    pub fn inspect<'a>(&self, request: impl Into<Request<'a>>) -> Result<Inspection> {
        engine::only(self.inspect_batch([request.into()]))
    }

    /// Inspects images. There is one answer for each, in order; an image that fails does not affect the others.
    pub fn inspect_batch<'a, R: Into<Request<'a>>>(
        &self,
        requests: impl IntoIterator<Item = R>,
    ) -> Vec<Result<Inspection>> {
        self.inspect_batch_with(requests, &Cancel::default(), |_| {})
    }

    /// Inspects images as [`Self::inspect_batch`] does, with a handle for cancelling and a function that is called after each
    /// batch. Images that are not inspected when the work is cancelled are [`Error::Cancelled`].
    ///
    /// A few images are in memory at a time, however many there are. The answers hold their maps.
    pub fn inspect_batch_with<'a, R: Into<Request<'a>>>(
        &self,
        requests: impl IntoIterator<Item = R>,
        cancel: &Cancel,
        progress: impl FnMut(Progress),
    ) -> Vec<Result<Inspection>> {
        let requests: Vec<Request<'a>> = requests.into_iter().map(Into::into).collect();
        engine::inspect(self, &requests, cancel, progress)
    }

    /// Returns the picture of a request as the detector reads it.
    ///
    /// # Errors
    /// As [`Self::inspect`] for an image that cannot be read.
    pub fn picture<'a>(&self, request: impl Into<Request<'a>>) -> Result<Picture> {
        Ok(request.into().picture(&self.limits)?.into_owned())
    }

    /// Returns the model's configuration.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// Returns the model: its configuration and its network, in f32 on the CPU.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns a builder of the features of images, with this model's extractor, preprocessing and limits.
    #[cfg(feature = "train")]
    pub fn features<'a>(&self, samples: impl IntoIterator<Item = Sample>) -> FeaturesBuilder<'a> {
        Features::of(samples, self.extractor.clone(), self.preprocess.clone()).limits(self.limits)
    }

    /// Returns the categories that the model was trained on.
    pub fn categories(&self) -> &[String] {
        &self.model.config().categories
    }

    /// Returns the limits of images.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the thresholds, if the detector has any.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_deref()
    }

    /// Returns the detector with other thresholds, or none. Nothing is loaded, and the thresholds are not checked: those of another
    /// model decide by scores that differ, and [`Self::save`] refuses them. [`Self::check_calibration`] checks thresholds of a file.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Option<Calibration>) -> Self {
        self.calibration = calibration.map(Arc::new);
        self
    }

    /// Checks that thresholds are of this model and of the detector's precision, as [`DetectorBuilder::load`] does. Thresholds without
    /// [`Calibration::model`] and [`Calibration::precision`] are of any.
    ///
    /// # Errors
    /// [`Error::Format`] for thresholds of another model, or of a category that this model was not trained on; [`Error::OtherPrecision`].
    pub fn check_calibration(&self, calibration: &Calibration) -> Result<()> {
        own_thresholds::check_calibration(self.config(), self.precision, calibration, Path::new("<model>"))
    }

    /// Returns the precision that scores are computed in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the detector with threads of its own, as [`DetectorBuilder::threads`] gives it. Nothing is loaded: the detectors share
    /// their weights.
    ///
    /// ```no_run
    /// use dualad::Detector;
    ///
    /// let detector = Detector::builder().threads(2).load("model")?;
    /// // For work in the background, which the inspections with `detector` do not wait for.
    /// let background = detector.clone().with_threads(1)?;
    /// # Ok::<(), dualad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a number of threads that is not from 1 to 1024.
    pub fn with_threads(mut self, count: usize) -> Result<Self> {
        self.threads = Threads::own(count)?;
        Ok(self)
    }

    /// Chooses thresholds from the scores of images with known labels. An image counts for the category of its request, if it has
    /// one, and for the pooled thresholds. Copies count once. Images that the model was trained on are refused, because their scores
    /// are too low; see [`Calibrator::training_images`]. A model of an earlier version does not know them, and a notice says so.
    ///
    /// The thresholds are checked against the good images; [`Calibration::summary`] has the share that they would reject. The
    /// detector's own thresholds stay for categories without images, and the pooled ones unless there are images of every category: see
    /// [`Calibration::joined`]. For new thresholds alone, use [`Self::with_calibration`] with `None` first.
    ///
    /// `progress` is called after each batch. To use the thresholds, call [`Self::with_calibration`]. [`Self::known_images`] and
    /// [`Self::calibrate_on`] are the two steps of this method, with more choices.
    ///
    /// # Errors
    /// As [`Self::known_images`], [`Self::calibrate_on`] and [`Calibration::joined`].
    pub fn calibrate<'a>(
        &self,
        calibrator: &Calibrator,
        images: impl IntoIterator<Item = (Request<'a>, Label)>,
        cancel: &Cancel,
        progress: impl FnMut(Progress),
    ) -> Result<Calibration> {
        let trained = if calibrator.takes_training_images() { TrainedImages::Use } else { TrainedImages::Refuse };
        let known = self.known_images(images, trained, false, cancel, |_| {})?;
        let new = self.calibrate_on(calibrator, &known, &[], cancel, progress)?;
        new.joined(
            self.calibration().filter(|earlier| self.check_calibration(earlier).is_ok()),
            self.categories(),
            false,
        )
    }

    /// Returns the image score of each request, in order. Maps are not kept: a few images are in memory at a time.
    #[cfg(feature = "train")]
    pub(crate) fn image_scores<'a>(
        &self,
        requests: &[Request<'a>],
        cancel: &Cancel,
        progress: impl FnMut(Progress),
    ) -> Result<Vec<f32>> {
        let mut scores = Vec::with_capacity(requests.len());
        self.for_each(requests, cancel, |found| scores.push(found.image_score), progress)?;
        Ok(scores)
    }

    /// Calls `each` with the inspection of each request, in order. A few images are in memory at a time.
    fn for_each<'a>(
        &self,
        requests: &[Request<'a>],
        cancel: &Cancel,
        mut each: impl FnMut(Inspection),
        mut progress: impl FnMut(Progress),
    ) -> Result<()> {
        let mut done = 0;
        for batch in requests.chunks(engine::BATCH) {
            for found in self.inspect_batch_with(batch.iter().copied(), cancel, |_| {}) {
                each(found?);
            }
            done += batch.len();
            progress(Progress { done, total: requests.len() });
        }
        Ok(())
    }

    /// Chooses thresholds for this model from its scores. Scores with an empty category count in the pooled thresholds alone.
    pub(crate) fn calibrate_scores<'a>(
        &self,
        calibrator: &Calibrator,
        scored: impl IntoIterator<Item = LabeledScore<'a>>,
    ) -> Result<Calibration> {
        let mut calibration = calibrator.calibrate(scored)?;
        calibration.categories.remove("");
        calibration.model = Some(self.config().sha256.clone());
        calibration.set_precision(self.precision);
        Ok(calibration)
    }

    /// Returns the tiling, if images are cut into tiles.
    pub fn tiling(&self) -> Option<&Tiling> {
        self.tiling.as_ref()
    }

    /// Returns the device that it computes on.
    pub fn device(&self) -> &Device {
        self.extractor.device()
    }

    /// Returns the dtype that it computes in.
    pub fn dtype(&self) -> DType {
        self.extractor.dtype()
    }

    /// Writes the model's folder and creates it if it is missing: `config.json`, `model.safetensors`, `calibration.json` if
    /// there are thresholds, `training-images.json` if the training images are known, and the card. The backbone's weights are not
    /// copied; see [`Self::save_with_backbone`].
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written, [`Error::Parameter`] if a parameter is not finite, [`Error::Busy`] while
    /// another process writes to the folder, [`Error::Occupied`] if a file of something else would be replaced, and those of
    /// [`Self::check_calibration`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        save::save(self, folder.as_ref(), false, None)
    }

    /// Writes the folder as [`Self::save`] does, with this section on results in the model card, in Markdown. Other thresholds that
    /// these replace are kept as `calibration.previous.json`.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn save_with_results(&self, folder: impl AsRef<Path>, results: &str) -> Result<()> {
        save::save(self, folder.as_ref(), false, Some(results))
    }

    /// Writes the folder as [`Self::save`] does, with a copy of the backbone's weights, `backbone.safetensors`, so that another
    /// machine needs nothing else. The weights have a license of their own.
    ///
    /// # Errors
    /// As [`Self::save`]; [`Error::Format`] if the weights have changed since they were loaded; [`Error::Backbone`] if they are not
    /// a file or cannot be loaded.
    pub fn save_with_backbone(&self, folder: impl AsRef<Path>) -> Result<()> {
        save::save(self, folder.as_ref(), true, None)
    }
}
