//! The loading and saving of a detector.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device};
#[cfg(feature = "hub")]
use dualad_backbones::{
    HubFile,
    hub::{Hub, HubError},
};
use dualad_backbones::{Provenance, Weights, WeightsSource};
use dualad_data::image::Limits;
use dualad_store::{self as store, Transaction};
use rayon::ThreadPool;

use crate::calibration::Calibration;
use crate::detector::Detector;
use crate::detector::regions::RegionOptions;
use crate::detector::threads::Threads;
use crate::error::{Error, Result};
use crate::features::size;
use crate::file::sha256_of_file;
use crate::model::{BACKBONE, CALIBRATION, CONFIG, Model, ModelConfig, Tiling, keep_thresholds};
#[cfg(feature = "hub")]
use crate::model::{PARAMETERS, TRAINING_IMAGES};
use crate::scorer::Scorer;

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
    threads: ThreadSetting,
    weights: Option<Weights>,
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
            threads: ThreadSetting::Given(Threads::Callers),
            weights: None,
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
    /// was trained with: their SHA-256 is compared.
    pub fn weights(mut self, weights: Weights) -> Self {
        self.weights = Some(weights);
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
    /// they are not those that the model was trained with, and for thresholds of a category that it was not trained on; [`Error::InvalidArgument`] for a number of threads out of range.
    pub fn load(self, folder: impl AsRef<Path>) -> Result<Detector> {
        let folder = folder.as_ref();
        store::read(folder, CONFIG, || {
            let model = Model::load_once(folder, &Device::Cpu)?;
            // A missing file is no thresholds; a file that cannot be read is an error.
            let path = store::find_optional(folder, CALIBRATION).filter(|_| self.calibration.is_saved());
            let calibration = path.map(Calibration::load).transpose()?;
            let included = store::find_optional(folder, BACKBONE).map(Weights::file);
            self.clone().assemble(model, calibration, included, folder)
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
        let name = PathBuf::from(repository);
        let model = Model::from_files(&name, &config.path, &parameters.path, &Device::Cpu)?;
        let model = model.with_record(&name, optional(TRAINING_IMAGES)?.as_deref())?;
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
            return Err(missing_weights(&model, &name));
        }
        self.assemble(model, calibration, included, &name)
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
        self.assemble(model, calibration.transpose()?, included, name)
    }

    /// Makes a detector of a model in memory, without thresholds.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_model(self, model: Model) -> Result<Detector> {
        self.assemble(model.with_sha256()?, None, None, Path::new("<model>"))
    }

    fn assemble(
        self,
        model: Model,
        calibration: Option<Calibration>,
        included: Option<Weights>,
        name: &Path,
    ) -> Result<Detector> {
        let calibration = self.calibration.or_saved(calibration);
        let config = model.config();
        calibration.as_ref().map_or(Ok(()), |calibration| check_calibration(config, calibration, name))?;
        let recorded = &config.weights;
        let weights = match self.weights.clone().or(included) {
            _ if !config.backbone.has_weights() => Weights::default(),
            Some(weights) => weights,
            None => self.recorded_weights(&model, name)?,
        };
        let builder = config.backbone.extractor().stages(&config.stages).weights(weights.clone());
        let extractor = builder.device(&self.device).dtype(self.dtype).build()?;
        let found = extractor.provenance();
        if found.sha256 != recorded.sha256 {
            let shown = |provenance: &Provenance| provenance.sha256.clone().unwrap_or_else(|| "none".into());
            let (wanted, found) = (shown(recorded), shown(found));
            let reason =
                format!("the backbone's weights have SHA-256 {found}, and it was trained with {wanted}; give those");
            return Err(Error::ModelWeights { model: name.into(), reason });
        }
        if extractor.token_channels() != config.network.channels() {
            let reason = format!(
                "its backbone gives {} channels, and its network takes {}; config.json was changed",
                extractor.token_channels(),
                config.network.channels()
            );
            return Err(Error::model(name, reason));
        }
        let (token_stride, found) = (config.network.token_stride, config.backbone.token_stride());
        if token_stride != found {
            let reason = format!(
                "its backbone's tokens have {found} pixels a side, and its network's {token_stride}; config.json was changed"
            );
            return Err(Error::model(name, reason));
        }
        let [rows, columns] = config.network.grid;
        let preprocess = config.input.preprocess()?;
        if [preprocess.height() as usize, preprocess.width() as usize]
            != [rows, columns].map(|tokens| tokens.saturating_mul(token_stride))
        {
            let reason = format!(
                "its input is not {token_stride} times its network's grid of {rows}x{columns}; config.json was changed"
            );
            return Err(Error::model(name, reason));
        }
        let tiling = self.tiling.or_saved(config.input.tiling);
        tiling.map_or(Ok(()), |tiling| tiling.validate())?;
        let threads = self.threads.threads()?;
        let network = if self.dtype == DType::F32 && self.device.is_cpu() {
            model.network().reconstructor()?
        } else {
            model.network().frozen(self.dtype, &self.device)?.reconstructor()?
        };
        let size = size(&preprocess);
        let scorer = Scorer::new(network, model.bank().cloned(), extractor.stages(), size)?;
        Ok(Detector {
            model: Arc::new(model),
            scorer: Arc::new(scorer),
            extractor: Arc::from(extractor),
            weights,
            preprocess,
            tiling,
            calibration: calibration.map(Arc::new),
            regions: self.regions,
            limits: self.limits,
            threads,
        })
    }

    /// Returns the source of the backbone's weights that a model's configuration names. `name` is the model's folder or name.
    fn recorded_weights(&self, model: &Model, name: &Path) -> Result<Weights> {
        let recorded = &model.config().weights;
        Ok(match recorded.source {
            WeightsSource::File => {
                Weights::file(recorded_file(recorded, name).ok_or_else(|| missing_weights(model, name))?)
            }
            WeightsSource::Bytes => return Err(missing_weights(model, name)),
            #[cfg(feature = "hub")]
            WeightsSource::Hub => {
                let file = recorded.location.splitn(3, '/').collect::<Vec<_>>();
                let mut weights = match file.as_slice() {
                    [owner, name, filename] => {
                        let mut file = HubFile::new(format!("{owner}/{name}")).filename(*filename);
                        if let Some(revision) = &recorded.revision {
                            file = file.revision(revision);
                        }
                        Weights::hub_file(file)
                    }
                    _ => Weights::hub(),
                };
                if let Some(hub) = &self.hub {
                    weights = weights.with_hub(hub.clone());
                }
                weights
            }
            WeightsSource::Synthetic => {
                let seed = recorded.location.strip_prefix("seed ").and_then(|seed| seed.parse().ok());
                seed.map_or_else(Weights::default, Weights::synthetic)
            }
            // The extractor reports missing weights.
            _ => Weights::default(),
        })
    }
}

/// Returns the file that a configuration names, or, for a model that was moved with it, the one of its name and content in the
/// model's folder.
fn recorded_file(recorded: &Provenance, folder: &Path) -> Option<PathBuf> {
    let file = PathBuf::from(&recorded.location);
    if file.exists() {
        return Some(file);
    }
    // The path may be of another operating system.
    let beside = folder.join(recorded.location.rsplit(['/', '\\']).next()?);
    // The model's own parameters may have the same name.
    (beside.is_file() && sha256_of_file(&beside).ok() == recorded.sha256).then_some(beside)
}

/// Returns the error of a model whose backbone's weights are not at hand.
fn missing_weights(model: &Model, name: &Path) -> Error {
    let config = model.config();
    let (backbone, recorded) = (config.backbone, &config.weights);
    let place = match recorded.source {
        WeightsSource::File => format!("they were in {}, which is not here", recorded.location),
        _ => "its configuration names no file of them".into(),
    };
    let digest = recorded.sha256.as_ref().map_or_else(String::new, |sha256| format!(" (SHA-256 {sha256})"));
    let reason = format!(
        "it needs the weights of its backbone {backbone}, and {place}; give that file{digest}, or copy it into the model's folder as {BACKBONE}"
    );
    Error::ModelWeights { model: name.into(), reason }
}

/// Refuses thresholds of another model, whose scores differ, and of a category that the model was not trained on: with a misspelt
/// name, the pooled thresholds would decide without a word.
pub(super) fn check_calibration(config: &ModelConfig, calibration: &Calibration, name: &Path) -> Result<()> {
    if calibration.model.as_ref().is_some_and(|chosen_on| *chosen_on != config.sha256) {
        let reason = format!(
            "its thresholds ({CALIBRATION}) were made for another model, whose scores differ; calibrate again, or delete the line \"model\" to use them anyway"
        );
        return Err(Error::model(name, reason));
    }
    let known = &config.categories;
    let unknown = calibration.categories.keys().find(|category| !known.is_empty() && !known.contains(category));
    unknown.map_or(Ok(()), |unknown| {
        let reason = format!(
            "the thresholds are for \"{unknown}\", and it was trained on {}; correct the name there, or remove it",
            known.join(", ")
        );
        Err(Error::model(name, reason))
    })
}

#[cfg(feature = "hub")]
fn hub_error(error: HubError) -> Error {
    Error::Backbone(error.into())
}

/// Writes a detector's folder; see [`Detector::save`] and, for `results`, [`Detector::save_with_results`].
pub(super) fn save(detector: &Detector, folder: &Path, with_backbone: bool, results: Option<&str>) -> Result<()> {
    // The folder could not be loaded.
    detector.calibration().map_or(Ok(()), |found| check_calibration(detector.config(), found, folder))?;
    let change = Transaction::begin(folder)?;
    let recorded = &detector.config().weights;
    let mut model = detector.model.as_ref().clone();
    if with_backbone && detector.config().backbone.has_weights() {
        let copy = change.path(BACKBONE)?;
        let converted = detector.weights.save(detector.config().backbone, &copy)?;
        let written = sha256_of_file(&copy)?;
        let found = converted.as_ref().unwrap_or(&written);
        if recorded.sha256.as_ref() != Some(found) {
            let reason = format!("the backbone's weights have changed since they were loaded: SHA-256 {found}");
            return Err(Error::model(folder, reason));
        }
        if converted.is_some() {
            // The model is loaded with the copy, whose digest is another.
            model = model.with_weights(recorded.clone().with_sha256(Some(written)));
        }
    } else {
        model.remove_other_backbone(&change, folder)?;
    }
    match detector.calibration() {
        Some(thresholds) => {
            let text = thresholds.to_json()?;
            if results.is_some() {
                keep_thresholds(&change, folder, |old| old != text.as_bytes())?;
            }
            change.write(CALIBRATION, text.as_bytes())?;
        }
        None => change.remove(CALIBRATION)?,
    }
    // Without new results, the card of the same model is kept, with its section on results.
    let is_kept = |saved: &Model| results.is_none() && saved.trained_on() == model.trained_on();
    match Model::load_once(folder, &Device::Cpu) {
        Ok(saved) if is_kept(&saved) && saved.config() == model.config() => {}
        Ok(saved) if is_kept(&saved) && saved.config() == detector.config() => {
            Model::write_config(model.config(), &change)?;
        }
        _ => drop(model.save_in(&change, results.unwrap_or_default(), detector.calibration())?),
    }
    Ok(change.commit()?)
}
