//! The settings and the loading of a detector.

mod assemble;
mod weights;

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device};
#[cfg(feature = "hub")]
use dualad_backbones::{
    HubFile,
    hub::{Hub, HubError},
};
use dualad_backbones::{Weights, WeightsSource};
use dualad_data::image::Limits;
use dualad_store as store;
use rayon::ThreadPool;

use self::weights::missing_weights;
use crate::Precision;
use crate::calibration::Calibration;
use crate::detector::Detector;
use crate::detector::regions::RegionOptions;
use crate::detector::threads::Threads;
use crate::error::{Error, Result};
use crate::model::{BACKBONE, CALIBRATION, CONFIG, Model, Tiling};
#[cfg(feature = "hub")]
use crate::model::{PARAMETERS, TRAINING_IMAGES};

/// The files of a model in memory, such as from `include_bytes!`.
#[derive(Debug, Clone, Copy)]
pub struct ModelBytes<'a> {
    /// The content of `config.json`.
    pub config: &'a [u8],
    /// The content of `model.safetensors`.
    pub parameters: &'a [u8],
    /// The backbone's weights, a safetensors or PyTorch file. `None` for a backbone without weights, for weights that the configuration names
    /// on the hub, and if [`DetectorBuilder::weights`] is called. A file that the configuration names is not opened.
    pub backbone: Option<&'a [u8]>,
    /// The content of `calibration.json`.
    pub calibration: Option<&'a [u8]>,
}

/// The settings of a [`Detector`]: device, dtype, threads, weights, thresholds and limits.
///
/// ```no_run
/// use dualad::Detector;
/// use dualad::candle_core::{DType, Device};
///
/// let detector = Detector::builder().device(&Device::new_cuda_with_stream(0)?).dtype(DType::F16).load("model")?;
/// let on_two_threads = Detector::builder().threads(2).load("model")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is loaded until `load`, `from_pretrained` or `from_bytes` is called"]
pub struct DetectorBuilder {
    device: Device,
    dtype: DType,
    precision: Option<Precision>,
    threads: ThreadSetting,
    weights: Option<Weights>,
    backbone_of: Option<Detector>,
    tiling: Setting<Option<Tiling>>,
    calibration: Setting<Option<Calibration>>,
    regions: RegionOptions,
    limits: Limits,
    #[cfg(feature = "hub")]
    hub: Option<Hub>,
    #[cfg(feature = "hub")]
    revision: Option<String>,
}

/// A setting that the saved model has too.
#[derive(Debug, Clone)]
enum Setting<T> {
    /// The saved model's.
    Saved,
    /// The caller's.
    Given(T),
}

impl<T: Clone> Setting<T> {
    fn is_saved(&self) -> bool {
        matches!(self, Self::Saved)
    }

    fn or_saved(&self, saved: T) -> T {
        match self {
            Self::Saved => saved,
            Self::Given(given) => given.clone(),
        }
    }
}

/// The threads that a detector computes on.
#[derive(Debug, Clone)]
enum ThreadSetting {
    /// Threads that exist.
    Given(Threads),
    /// A new pool of this many threads.
    Own(usize),
}

impl ThreadSetting {
    fn threads(&self) -> Result<Threads> {
        match self {
            Self::Given(threads) => Ok(threads.clone()),
            Self::Own(count) => Threads::own(*count),
        }
    }
}

impl Default for DetectorBuilder {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: DType::F32,
            precision: None,
            threads: ThreadSetting::Given(Threads::Callers),
            weights: None,
            backbone_of: None,
            tiling: Setting::Saved,
            calibration: Setting::Saved,
            regions: RegionOptions::default().with_outlines(true),
            limits: Limits::default(),
            #[cfg(feature = "hub")]
            hub: None,
            #[cfg(feature = "hub")]
            revision: None,
        }
    }
}

impl DetectorBuilder {
    /// Sets the device. Default: the CPU.
    pub fn device(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self
    }

    /// Sets the dtype of the computation. Default: f32. Thresholds are valid for the dtype that they were chosen with.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Sets the precision of the products of matrices and convolutions. Default: that of the thresholds, or f32 without thresholds.
    /// [`Precision::Int8`] takes a fraction of the time and of the memory on processors that multiply bytes; it needs the CPU and f32.
    /// Scores move a little, so thresholds of another precision are refused: see docs/precision.md.
    ///
    /// ```no_run
    /// use dualad::calibration::Calibrator;
    /// use dualad::data::{Cancel, Dataset, Split};
    /// use dualad::detector::Request;
    /// use dualad::{Detector, Precision};
    ///
    /// let fast = Detector::builder().precision(Precision::Int8).calibration(None).load("model")?;
    /// let images = Dataset::open("images")?;
    /// let test = images.samples(Split::Test);
    /// let labeled = test.map(|sample| (Request::from(&sample.path).category(&sample.category), sample.label.clone()));
    /// let thresholds = fast.calibrate(&Calibrator::default(), labeled, &Cancel::default(), |_| {})?;
    /// let fast = fast.with_calibration(Some(thresholds));
    /// # Ok::<(), dualad::Error>(())
    /// ```
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = Some(precision);
        self
    }

    /// Gives the detector its own pool of 1 to 1024 threads. The pool ends with the detector's last clone.
    /// Default: work runs in the rayon pool of the caller.
    ///
    /// Callers that inspect at the same time take turns, in the order in which they came: one at a time, on pools of 8 threads or
    /// more one for each 4. A thread of a rayon pool takes no turn. An image that is inspected alone is decoded by the
    /// calling thread, before its turn.
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = ThreadSetting::Own(count);
        self
    }

    /// Sets a thread pool that is shared with other work.
    pub fn pool(mut self, pool: Arc<ThreadPool>) -> Self {
        self.threads = ThreadSetting::Given(Threads::shared(pool));
        self
    }

    /// Sets the backbone's weights. Default: those that the model's configuration names. They must be the weights that the model
    /// was trained with: their SHA-256 is compared. A model whose backbone has no weights is not loaded with them.
    pub fn weights(mut self, weights: Weights) -> Self {
        self.weights = Some(weights);
        self
    }

    /// Takes the backbone from a detector that is loaded: several models in one process then hold its weights once. The two must have
    /// the same backbone, stages, weights, device, dtype and precision. The weights of this model are not read.
    ///
    /// ```no_run
    /// use dualad::Detector;
    ///
    /// let top = Detector::load("top")?;
    /// let side = Detector::builder().backbone_of(&top).load("side")?;
    /// # Ok::<(), dualad::Error>(())
    /// ```
    pub fn backbone_of(mut self, detector: &Detector) -> Self {
        self.backbone_of = Some(detector.clone());
        self
    }

    /// Sets the tiling, or none. Default: the tiling that the model was trained with.
    pub fn tiling(mut self, tiling: Option<Tiling>) -> Self {
        self.tiling = Setting::Given(tiling);
        self
    }

    /// Sets the thresholds, or none. Default: the model's own. With this setting, the model's `calibration.json` is not read.
    ///
    /// ```no_run
    /// use dualad::Detector;
    /// use dualad::calibration::Calibration;
    ///
    /// let strict = Calibration::from_json("strict", r#"{"pooled": {"reject": 2.5}}"#)?;
    /// let detector = Detector::builder().calibration(Some(strict)).load("model")?;
    /// # Ok::<(), dualad::Error>(())
    /// ```
    pub fn calibration(mut self, calibration: Option<Calibration>) -> Self {
        self.calibration = Setting::Given(calibration);
        self
    }

    /// Sets the selection of defect regions that an [`crate::detector::Inspection`] lists. Default: the 100 most severe, with
    /// outlines.
    pub fn regions(mut self, options: RegionOptions) -> Self {
        self.regions = options;
        self
    }

    /// Sets the limits for images: file size, pixels and memory.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the client for the hub. Default: a client that is configured by environment variables.
    #[cfg(feature = "hub")]
    pub fn hub(mut self, hub: Hub) -> Self {
        self.hub = Some(hub);
        self
    }

    /// Sets the branch, tag or commit for [`Self::from_pretrained`]. Default: `main`. A commit never changes.
    #[cfg(feature = "hub")]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = Some(revision.into());
        self
    }

    /// Loads a saved model's folder.
    ///
    /// # Errors
    /// As [`Model::load`] and [`Calibration::load`]; [`Error::Backbone`] if the weights cannot be loaded, [`Error::Format`] if
    /// they are not those that the model was trained with, and for thresholds of a category that it was not trained on;
    /// [`Error::InvalidArgument`] for a number of threads out of range, and for a detector whose backbone differs.
    pub fn load(self, folder: impl AsRef<Path>) -> Result<Detector> {
        let folder = folder.as_ref();
        store::read(folder, CONFIG, || {
            let model = Model::load_once(folder, &Device::Cpu)?;
            // A missing file is no thresholds; a file that cannot be read is an error.
            let path = store::find_optional(folder, CALIBRATION).filter(|_| self.calibration.is_saved());
            let calibration = path.map(Calibration::load).transpose()?;
            let included = store::find_optional(folder, BACKBONE).map(Weights::file);
            self.clone().assemble(model.into(), calibration, included, folder)
        })
    }

    /// Fetches a model, `owner/name`, from the hub and loads it. All its files are of one commit.
    ///
    /// # Errors
    /// [`Error::Backbone`] for errors of the hub, and as [`Self::load`].
    #[cfg(feature = "hub")]
    pub fn from_pretrained(self, repository: &str) -> Result<Detector> {
        let hub = match &self.hub {
            Some(hub) => hub.clone(),
            None => Hub::from_env().map_err(hub_error)?,
        };
        let file = |name: &str, revision: &str| HubFile::new(repository).filename(name).revision(revision);
        let revision = self.revision.clone().unwrap_or_else(|| "main".into());
        let config = hub.fetch(&file(CONFIG, &revision)).map_err(hub_error)?;
        // A branch may move between two requests.
        let commit = config.commit;
        let parameters = hub.fetch(&file(PARAMETERS, &commit)).map_err(hub_error)?;
        let optional = |name: &str| match hub.fetch(&file(name, &commit)) {
            Ok(fetched) => Ok(Some(fetched.path)),
            // Offline, a file that the model did not have when it was fetched is not in the cache.
            Err(HubError::NotFound { .. } | HubError::Offline { .. }) => Ok(None),
            Err(error) => Err(hub_error(error)),
        };
        let name = Path::new(repository);
        let model = Model::from_files(name, &config.path, &parameters.path, &Device::Cpu)?;
        let model = model.with_record(name, optional(TRAINING_IMAGES)?.as_deref())?;
        let calibration = match self.calibration {
            Setting::Given(_) => None,
            Setting::Saved => optional(CALIBRATION)?.map(Calibration::load).transpose()?,
        };
        // Not fetched if the configuration names another source.
        let source = model.config().weights.source;
        let elsewhere = matches!(source, WeightsSource::None | WeightsSource::Hub | WeightsSource::Synthetic)
            || self.weights.is_some();
        let included = if elsewhere { None } else { optional(BACKBONE)?.map(Weights::file) };
        if !elsewhere && included.is_none() {
            // A path of another machine must not be opened on this one.
            return Err(missing_weights(&model, name));
        }
        self.assemble(model.into(), calibration, included, name)
    }

    /// Loads a model from memory.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_bytes(self, bytes: &ModelBytes<'_>) -> Result<Detector> {
        let name = Path::new("<bytes>");
        let model = Model::from_bytes(name, bytes.config, bytes.parameters, &Device::Cpu)?;
        let calibration = bytes.calibration.filter(|_| self.calibration.is_saved()).map(|bytes| {
            let no_text = |_| Error::model(name, format!("its {CALIBRATION} is not UTF-8 text"));
            Calibration::from_json(CALIBRATION, std::str::from_utf8(bytes).map_err(no_text)?)
        });
        let included = bytes.backbone.map(|bytes| Weights::bytes(bytes.to_vec()));
        let is_given = included.is_some() || self.weights.is_some() || !model.config().backbone.has_weights();
        if !is_given && model.config().weights.source == WeightsSource::File {
            // The configuration may come from elsewhere: no file that it names is opened.
            return Err(missing_weights(&model, name));
        }
        self.assemble(model.into(), calibration.transpose()?, included, name)
    }

    /// Makes a detector of a model in memory, without thresholds.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_model(self, model: Model) -> Result<Detector> {
        self.assemble(model.with_sha256()?.into(), None, None, Path::new("<model>"))
    }
}

#[cfg(feature = "hub")]
fn hub_error(error: HubError) -> Error {
    Error::Backbone(error.into())
}
