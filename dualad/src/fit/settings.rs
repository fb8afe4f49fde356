//! The settings of a run.

use std::path::PathBuf;
use std::time::Duration;

use candle_core::Device;
use dualad_backbones::{Backbone, Weights};
use dualad_data::Cancel;
use dualad_data::image::Limits;

use crate::calibration::Calibrator;
use crate::detector::{Detector, Tiling};
use crate::features::FeatureCache;
use crate::fit::images::TrainingImages;
use crate::progress::Progress;
use crate::recipe::{Preset, Recipe};
use crate::train::TrainingProgress;

/// The default share of each category's images that are held out for the thresholds.
const HELD_OUT: f64 = 0.2;
/// The default time between two checkpoints.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// The progress of a [`Fit`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum FitProgress {
    /// The images are read for the first time.
    Reading(Progress),
    /// The features of training images are computed.
    Features(Progress),
    /// The tokens of the bank are collected from the training images.
    Bank(Progress),
    /// A training step was taken.
    Training(TrainingProgress),
    /// Held-out images are scored.
    Scoring(Progress),
}

/// A training run: made by [`Detector::fit`] and [`Detector::extend`].
///
/// By default it trains the heterogeneous network by [`Recipe::fast`] on the filter bank, which needs no weights.
/// **For pictures of real parts name a pretrained backbone** ([`Fit::backbone`]): its features are far better. A fifth of each
/// category's images is held out, and their scores set the thresholds.
///
/// The same images, recipe and seed give the same model, bit for bit, on the CPU with the same number of threads.
///
/// ```no_run
/// use dualad::Detector;
/// use dualad::backbones::{Backbone, Weights};
///
/// // One folder of good pictures for each product.
/// let fitted = Detector::fit("pictures")
///     .backbone(Backbone::ResNet18, Weights::file("resnet18.safetensors"))
///     .checkpoint("training.safetensors") // an interrupted run continues from here
///     .progress(|progress| eprintln!("{progress:?}"))
///     .run()?;
/// for notice in &fitted.notices {
///     eprintln!("{notice}");
/// }
/// fitted.detector.save_with_backbone("model")?;
///
/// // A new product: pictures of it and of the old ones.
/// let extended = fitted.detector.extend("all-pictures").run()?;
/// for change in &extended.changes {
///     eprintln!("{change:?}");
/// }
/// # Ok::<(), dualad::Error>(())
/// ```
///
/// [`Recipe::fast`]: crate::recipe::Recipe::fast
#[must_use = "nothing is trained until `run` is called"]
pub struct Fit {
    pub(super) images: TrainingImages,
    /// The model whose training continues.
    pub(super) base: Option<Detector>,
    pub(super) backbone: Backbone,
    pub(super) weights: Weights,
    pub(super) recipe: Option<Recipe>,
    pub(super) preset: Option<Preset>,
    pub(super) epochs: Option<u64>,
    pub(super) seed: Option<u64>,
    pub(super) tiling: Option<Tiling>,
    pub(super) cache: Option<FeatureCache>,
    pub(super) checkpoint: Option<PathBuf>,
    pub(super) checkpoint_interval: Duration,
    pub(super) resume: bool,
    pub(super) log: Option<PathBuf>,
    pub(super) held_out: f64,
    pub(super) calibrator: Calibrator,
    pub(super) device: Device,
    /// Devices that share each step with it.
    pub(super) others: Vec<Device>,
    pub(super) limits: Limits,
    pub(super) skip_broken: bool,
    pub(super) cancel: Cancel,
    pub(super) progress: Box<dyn FnMut(FitProgress) + Send>,
}

impl std::fmt::Debug for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let images = match &self.images {
            TrainingImages::Folder(folder) => format!("{folder:?}"),
            TrainingImages::Dataset(dataset) => format!("{:?}", dataset.root),
            TrainingImages::Files(files) => format!("{} files", files.len()),
            TrainingImages::Pictures(pictures) => format!("{} pictures", pictures.len()),
        };
        f.debug_struct("Fit").field("images", &images).field("backbone", &self.backbone).finish_non_exhaustive()
    }
}

impl Fit {
    pub(super) fn new(images: TrainingImages) -> Self {
        Self {
            images,
            base: None,
            backbone: Backbone::FilterBank,
            weights: Weights::default(),
            recipe: None,
            preset: None,
            epochs: None,
            seed: None,
            tiling: None,
            cache: None,
            checkpoint: None,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            resume: true,
            log: None,
            held_out: HELD_OUT,
            calibrator: Calibrator::default(),
            device: Device::Cpu,
            others: Vec::new(),
            limits: Limits::default(),
            skip_broken: false,
            cancel: Cancel::default(),
            progress: Box::new(|_| {}),
        }
    }

    pub(super) fn extending(base: &Detector, images: TrainingImages) -> Self {
        Self {
            base: Some(base.clone()),
            backbone: base.config().backbone,
            weights: base.weights.clone(),
            tiling: base.config().input.tiling,
            device: base.device().clone(),
            others: Vec::new(),
            limits: base.limits,
            ..Self::new(images)
        }
    }

    /// Sets the frozen backbone and its weights. Default: the filter bank, which needs none.
    pub fn backbone(mut self, backbone: Backbone, weights: Weights) -> Self {
        (self.backbone, self.weights) = (backbone, weights);
        self
    }

    /// Sets the recipe: the network and its training. The network's grid sets the size of the input: its rows and columns times
    /// the side of a token in pixels.
    pub fn recipe(mut self, recipe: Recipe) -> Self {
        self.recipe = Some(recipe);
        self
    }

    /// Sets the preset of a new model: its recipe is trained unless [`Self::recipe`] gives another, and the model records its name.
    /// Default: [`Preset::Fast`]; none for a recipe without a preset. A model that is continued keeps its recipe.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = Some(preset);
        self
    }

    /// Sets the number of epochs. Default: the recipe's. With a bank, 0 epochs train nothing: the bank alone scores. A continued model without a recipe trains 10 epochs, at a quarter of the
    /// learning rate that it was trained with.
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// Sets the seed of the run. Default: the recipe's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the tiles that pictures are cut into, in training and in use: for small defects in large pictures. Default: none.
    pub fn tiling(mut self, tiling: Option<Tiling>) -> Self {
        self.tiling = tiling;
        self
    }

    /// Sets the cache that keeps the features of image files on disk. Default: none, features stay in memory. Pictures in
    /// memory and tiles are never cached on disk.
    pub fn cache(mut self, cache: FeatureCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sets the checkpoint file, written at intervals, at the end and when the run is cancelled. Where the file exists, the run
    /// continues from it; see [`Self::resume`]. Where it is of a finished run with other images or another recipe, the run begins
    /// anew, and a notice says so.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Sets the training time between two checkpoints. Default: 60 s. Where writing one takes long, they are rarer.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = interval;
        self
    }

    /// Sets what happens to an existing checkpoint file. `true`, the default: the run continues from it. `false`: the run
    /// begins anew, and the earlier run's checkpoint and log are renamed to `NAME.previous.EXTENSION`.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Sets the log file: one JSON object a line, a [`LogLine`](crate::train::LogLine), every ten steps and at the end of each
    /// epoch.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Sets the share of each category's images, in `[0, 1)`, that are not trained on and set the thresholds. Default: 0.2.
    /// With 0 the detector has no thresholds.
    pub fn hold_out(mut self, share: f64) -> Self {
        self.held_out = share;
        self
    }

    /// Sets the rules for the thresholds. They must not need images of defects: [`Rule::F1Max`](crate::calibration::Rule::F1Max) and
    /// [`Rule::Recall`](crate::calibration::Rule::Recall) are refused before an image is read.
    pub fn calibrator(mut self, calibrator: Calibrator) -> Self {
        self.calibrator = calibrator;
        self
    }

    /// Sets the device that trains, and on which the detector then computes. Default: the CPU.
    pub fn device(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self
    }

    /// Sets further devices that train with it: see [`crate::train::TrainerBuilder::data_parallel`]. Features, the bank and the
    /// thresholds are computed on the first device.
    pub fn data_parallel(mut self, others: &[Device]) -> Self {
        self.others = others.to_vec();
        self
    }

    /// Sets the limits for images: file size, pixels and memory.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what happens with images that cannot be read. `false`, the default: [`Error::Images`](crate::Error::Images) lists all
    /// of them. `true`: they are left out, and a notice lists them.
    pub fn skip_broken(mut self, skip: bool) -> Self {
        self.skip_broken = skip;
        self
    }

    /// Sets a handle by which another thread can cancel the run. The run returns [`Error::Cancelled`](crate::Error::Cancelled). If
    /// training has begun and a checkpoint file is set, it is written first.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Sets a function that is called as the run progresses.
    pub fn progress(mut self, progress: impl FnMut(FitProgress) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }
}
