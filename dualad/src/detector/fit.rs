//! Training a detector, and training one on.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Device;
use dualad_backbones::weights::sha256;
use dualad_backbones::{Backbone, FeatureExtractor, Weights};
use dualad_data::image::{Limits, Picture, Preprocess};
use dualad_data::{Cancel, Sample};
use serde::Serialize;

use crate::calibration::{Calibrator, Scored};
use crate::detector::request::Request;
use crate::detector::tiling::Tiling;
use crate::detector::training_images::{Image, Images, Known, TrainingImages};
use crate::detector::{Detector, RegionOptions};
use crate::error::{Error, Result};
use crate::features::{FeatureCache, Features, PictureTokens, TokenSource};
use crate::model::{Input, Model};
use crate::recipe::{MemoryConfig, Recipe, TrainConfig};
use crate::train::{Progress, Trainer};
use crate::{Random, Variant};

/// Share of each category's images that thresholds are set by, unless told otherwise.
const HELD_OUT: f64 = 0.2;
/// Epochs of a model that is trained on, unless told otherwise.
const FURTHER_EPOCHS: u64 = 10;
/// It begins near where it ended: the recipe's rate would first undo what was learned.
const FURTHER_RATE: f64 = 0.25;

/// How far a [`Fit`] is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum FitProgress {
    /// Features are computed: so many of so many images.
    Features {
        /// Images done.
        done: usize,
        /// Images in all.
        total: usize,
    },
    /// A training step was taken.
    Training(Progress),
    /// Held-out images are scored: so many of so many.
    Scoring {
        /// Images done.
        done: usize,
        /// Images in all.
        total: usize,
    },
}

/// A detector to be trained; made by [`Detector::fit`] and [`Detector::extend`].
///
/// Without further words: the heterogeneous network by the recipe [`Recipe::fast`] on the filter bank, which needs no weights.
/// **For pictures of real parts name a pretrained backbone** ([`Fit::backbone`]): it is worth far more. A fifth of each
/// category's images is not trained on; the thresholds are set by their scores.
///
/// Same images, recipe and seed, same model, on the CPU with the same number of threads.
///
/// ```no_run
/// use dualad::Detector;
/// use dualad::backbones::{Backbone, Weights};
///
/// // One folder of good pictures for each product.
/// let fitted = Detector::fit("pictures")
///     .backbone(Backbone::ResNet18, Weights::file("resnet18.safetensors"))
///     .checkpoint("training.safetensors") // an interrupted run goes on from here
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
#[must_use = "nothing is trained until `run` is called"]
pub struct Fit {
    images: TrainingImages,
    base: Option<Detector>,
    backbone: Backbone,
    weights: Weights,
    recipe: Option<Recipe>,
    epochs: Option<u64>,
    seed: Option<u64>,
    tiling: Option<Tiling>,
    cache: Option<FeatureCache>,
    checkpoint: Option<PathBuf>,
    held_out: f64,
    calibrator: Calibrator,
    device: Device,
    limits: Limits,
    cancel: Cancel,
    progress: Box<dyn FnMut(FitProgress) + Send>,
}

impl std::fmt::Debug for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let images = match &self.images {
            TrainingImages::Folder(folder) => format!("{folder:?}"),
            TrainingImages::Dataset(dataset) => format!("{:?}", dataset.root),
            TrainingImages::Pictures(pictures) => format!("{} pictures", pictures.len()),
        };
        f.debug_struct("Fit").field("images", &images).field("backbone", &self.backbone).finish_non_exhaustive()
    }
}

/// What a [`Fit`] made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fitted {
    /// The trained detector, with thresholds where images were held out.
    pub detector: Detector,
    /// The mean loss of each epoch.
    pub losses: Vec<f64>,
    /// Category and image score of every image that was held out.
    pub held_out: Vec<(String, f32)>,
    /// What training on did to the categories that the model knew; empty for a new model.
    pub changes: Vec<CategoryChange>,
    /// What a user should know: too few images, categories without images.
    pub notices: Vec<String>,
}

/// Image scores of a category's held-out images before and after a model was trained on. Where scores rise much, the model
/// forgets: give it more images of the category, or more epochs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CategoryChange {
    /// The category.
    pub category: String,
    /// How many images.
    pub images: usize,
    /// The mean score before, and after.
    pub mean: [f64; 2],
    /// The largest score before, and after.
    pub largest: [f32; 2],
}

impl Fit {
    pub(super) fn new(images: TrainingImages) -> Self {
        Self {
            images,
            base: None,
            backbone: Backbone::FilterBank,
            weights: Weights::default(),
            recipe: None,
            epochs: None,
            seed: None,
            tiling: None,
            cache: None,
            checkpoint: None,
            held_out: HELD_OUT,
            calibrator: Calibrator::default(),
            device: Device::Cpu,
            limits: Limits::default(),
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
            limits: base.limits,
            ..Self::new(images)
        }
    }

    /// The frozen backbone and its weights.
    pub fn backbone(mut self, backbone: Backbone, weights: Weights) -> Self {
        (self.backbone, self.weights) = (backbone, weights);
        self
    }

    /// The network and how it is trained. Its grid decides the input's size: 16 pixels a token.
    pub fn recipe(mut self, recipe: Recipe) -> Self {
        self.recipe = Some(recipe);
        self
    }

    /// Passes over the images: the recipe's unless told otherwise, and 10 for a model that is trained on.
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// Seed of everything random: the recipe's unless told otherwise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Cuts pictures into tiles, here and whenever the model is used: for small defects in large pictures.
    pub fn tiling(mut self, tiling: Option<Tiling>) -> Self {
        self.tiling = tiling;
        self
    }

    /// Keeps the features of a folder's images, for the next run too. Without it, and for pictures and tiles, they are kept
    /// in memory.
    pub fn cache(mut self, cache: FeatureCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Keeps the run in this file, now and then, at the end and when cancelled; where it is there already, goes on from it.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// The share of each category's images that thresholds are set by, and that is not trained on: a fifth unless told
    /// otherwise. 0: all are trained on, and there are no thresholds.
    pub fn hold_out(mut self, share: f64) -> Self {
        self.held_out = share;
        self
    }

    /// How thresholds are set.
    pub fn calibrator(mut self, calibrator: Calibrator) -> Self {
        self.calibrator = calibrator;
        self
    }

    /// Where to train, and where the detector then computes.
    pub fn device(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self
    }

    /// The largest images that are accepted.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets another thread end it: [`Self::run`] is then [`Error::Cancelled`], once the checkpoint is written.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Hears how far it is.
    pub fn progress(mut self, progress: impl FnMut(FitProgress) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Trains.
    ///
    /// # Errors
    /// [`Error::NoImages`], [`Error::Data`] for an image or a folder, [`Error::Backbone`] for the weights, [`Error::Config`]
    /// for a recipe that cannot be, [`Error::Training`], [`Error::Checkpoint`] and [`Error::OtherRun`] for a checkpoint of
    /// another run, [`Error::Cancelled`].
    pub fn run(mut self) -> Result<Fitted> {
        let (recipe, preset) = self.full_recipe()?;
        if !(0.0..1.0).contains(&self.held_out) {
            let (value, reason) = (self.held_out.to_string(), "must be at least 0 and below 1".into());
            return Err(Error::Config { field: "hold_out", value, reason });
        }
        self.tiling.map_or(Ok(()), |tiling| tiling.validate())?;
        let random = Random::new(recipe.train.seed);
        let source = std::mem::replace(&mut self.images, TrainingImages::Pictures(Vec::new()));
        let knows = self.base.as_ref().map(|base| {
            let config = base.config();
            Known { categories: &config.categories, held_out: &config.held_out }
        });
        let images = Images::new(source, self.held_out, &random, knows)?;
        let mut notices = self.notices(&images);

        let extractor = self.extractor(&recipe)?;
        let mut input = Input::of_grid(recipe.network.grid);
        input.tiling = self.tiling;
        let preprocess = input.preprocess()?;
        let tokens = self.tokens(&images.train, &extractor, &preprocess)?;
        let (network, losses) = self.train(&recipe, tokens.as_ref())?;
        drop(tokens);

        let stages: Vec<usize> = extractor.stages().iter().map(|stage| stage.index).collect();
        let mut model = Model::new(network, self.backbone, &stages, extractor.provenance().clone());
        model.config.input = input;
        model.config.categories.clone_from(&images.categories);
        if let Some(base) = &self.base {
            model.config.categories.extend(base.categories().iter().cloned());
            model.config.categories.sort();
            model.config.categories.dedup();
        }
        model.config.train_images = images.train.len();
        model.config.held_out.clone_from(&images.digests);
        model.config.preset = preset;
        model.config.train = Some(recipe.train);
        model.config.sha256 = sha256(&model.network.to_safetensors()?);
        let detector = self.detector(model, extractor, preprocess)?;

        let held_out = self.score(&detector, &images.held_out)?;
        let changes = match self.base.clone() {
            Some(base) => {
                let before = self.score(&base, &images.held_out)?;
                changes(base.categories(), &before, &held_out)
            }
            None => Vec::new(),
        };
        let detector = if held_out.is_empty() {
            detector
        } else {
            let scored = held_out.iter().map(|(category, score)| Scored { category, score: *score, anomalous: false });
            let mut calibration = self.calibrator.calibrate(scored)?;
            calibration.model = Some(detector.config().sha256.clone());
            notices.extend(calibration.warnings());
            detector.with_calibration(Some(calibration))
        };
        Ok(Fitted { detector, losses, held_out, changes, notices })
    }

    /// The recipe, and the name of the one that it started from.
    fn full_recipe(&self) -> Result<(Recipe, String)> {
        let mut recipe = match (&self.recipe, &self.base) {
            (Some(recipe), _) => recipe.clone(),
            (None, None) => Recipe::fast(Variant::Heterogeneous, self.backbone),
            (None, Some(base)) => {
                let network = base.config().network.clone();
                let fast = Recipe::fast(network.variant, self.backbone).train;
                let mut train = base.config().train.clone().unwrap_or(fast);
                train.epochs = FURTHER_EPOCHS;
                train.optimizer.learning_rate *= FURTHER_RATE;
                // The slots that it has are the ones it was trained with.
                train.memory = MemoryConfig::paper();
                Recipe { network, train }
            }
        };
        let TrainConfig { epochs, seed, .. } = &mut recipe.train;
        *epochs = self.epochs.unwrap_or(*epochs);
        *seed = self.seed.unwrap_or(*seed);
        recipe.validate()?;
        if let Some(base) = &self.base
            && recipe.network != base.config().network
        {
            let (field, reason) = ("network", "a model that is trained on keeps its network; change `train` alone");
            return Err(Error::Config { field, value: "another one".into(), reason: reason.into() });
        }
        let preset = match (&self.recipe, &self.base) {
            (Some(_), _) => String::new(),
            (None, Some(base)) => base.config().preset.clone(),
            (None, None) => "fast".into(),
        };
        Ok((recipe, preset))
    }

    fn notices(&self, images: &Images) -> Vec<String> {
        let mut notices = Vec::new();
        for category in &images.small {
            let then = if images.held_out.is_empty() {
                "there are none at all, and nothing is decided until the detector is calibrated"
            } else {
                "the pooled ones decide"
            };
            notices.push(format!(
                "{category} has too few images to keep any back: it has no thresholds of its own, and {then}"
            ));
        }
        for category in &images.seen {
            notices.push(format!(
                "the model may have been trained on every image of {category}: it has no thresholds of its own; calibrate on others"
            ));
        }
        for category in self.base.iter().flat_map(|base| base.categories()) {
            if !images.categories.contains(category) {
                notices.push(format!("there are no images of {category}: the model may forget it"));
            }
        }
        notices
    }

    fn extractor(&self, recipe: &Recipe) -> Result<Arc<dyn FeatureExtractor>> {
        if let Some(base) = &self.base {
            return Ok(base.extractor.clone());
        }
        let builder = self.backbone.extractor().weights(self.weights.clone()).device(&self.device);
        let extractor = builder.build()?;
        let (found, wanted) = (extractor.token_channels(), recipe.network.channels());
        if found != wanted {
            let value = format!("for {wanted} channels");
            let reason = format!("the backbone {} gives {found}; make the recipe for it", self.backbone);
            return Err(Error::Config { field: "network.stage_channels", value, reason });
        }
        Ok(Arc::from(extractor))
    }

    fn tokens(
        &mut self,
        images: &[Image],
        extractor: &Arc<dyn FeatureExtractor>,
        preprocess: &Preprocess,
    ) -> Result<Box<dyn TokenSource>> {
        let file = |image: &Image| match image {
            Image::File(sample) => Some(sample.clone()),
            Image::Picture { .. } => None,
        };
        let files: Option<Vec<Sample>> = images.iter().map(file).collect();
        let progress = &mut self.progress;
        if let (Some(files), None) = (files, self.tiling) {
            let mut features = Features::of(files, extractor.clone(), preprocess.clone()).cancel(&self.cancel);
            features = features.limits(self.limits);
            if let Some(cache) = &self.cache {
                features = features.cache(cache.clone());
            }
            let features =
                features.progress(|done, total| progress(FitProgress::Features { done, total })).compute()?;
            return Ok(Box::new(features));
        }
        let mut tokens = PictureTokens::new(&**extractor, preprocess);
        let total = images.len();
        progress(FitProgress::Features { done: 0, total });
        for (index, image) in images.iter().enumerate() {
            let (name, picture) = (image.name(), image.picture(&self.limits)?);
            let inputs: Vec<(String, Picture)> = match &self.tiling {
                None => vec![(name, picture)],
                Some(tiling) => {
                    let tiles = tiling.tiles(picture.width(), picture.height())?.into_iter().enumerate();
                    let cut = |(number, tile): (usize, crate::detector::tiling::Tile)| {
                        Ok((format!("{name}, tile {number}"), tile.cut(&picture)?))
                    };
                    tiles.map(cut).collect::<Result<_>>()?
                }
            };
            tokens.add(&**extractor, preprocess, &inputs, &self.cancel)?;
            progress(FitProgress::Features { done: index + 1, total });
        }
        Ok(Box::new(tokens))
    }

    fn train(&mut self, recipe: &Recipe, tokens: &dyn TokenSource) -> Result<(crate::DualAd, Vec<f64>)> {
        let resumed = self.checkpoint.as_ref().filter(|path| path.exists());
        let mut trainer = match (resumed, &self.base) {
            (Some(path), _) => Trainer::resume(recipe.clone(), tokens, &self.device, path)?,
            (None, Some(base)) => Trainer::further(&base.model.network, recipe.train.clone(), tokens, &self.device)?,
            (None, None) => Trainer::new(recipe.clone(), tokens, &self.device, &self.cancel)?,
        };
        if let Some(path) = &self.checkpoint {
            trainer = trainer.checkpoint(path);
        }
        let progress = &mut self.progress;
        trainer.run(&self.cancel, |step| progress(FitProgress::Training(*step)))?;
        Ok((trainer.network()?, trainer.losses()))
    }

    fn detector(&self, model: Model, extractor: Arc<dyn FeatureExtractor>, preprocess: Preprocess) -> Result<Detector> {
        let network = model.network.frozen(extractor.dtype(), &self.device)?.reconstructor()?.into();
        let model = Model { network: model.network.frozen(candle_core::DType::F32, &Device::Cpu)?, ..model };
        Ok(Detector {
            model: Arc::new(model),
            network,
            extractor,
            weights: self.weights.clone(),
            preprocess,
            tiling: self.tiling,
            calibration: None,
            regions: self.base.as_ref().map_or(RegionOptions::default().outlines(true), |base| base.regions),
            limits: self.limits,
            pool: self.base.as_ref().and_then(|base| base.pool.clone()),
        })
    }

    /// Category and image score of each image.
    fn score(&mut self, detector: &Detector, images: &[Image]) -> Result<Vec<(String, f32)>> {
        let request = |image: &Image| -> Result<f32> {
            let picture = image.picture(&self.limits)?;
            Ok(detector.inspect(Request::from(&picture))?.image_score)
        };
        let mut scores = Vec::with_capacity(images.len());
        for image in images {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            scores.push((image.category().to_owned(), request(image)?));
            (self.progress)(FitProgress::Scoring { done: scores.len(), total: images.len() });
        }
        Ok(scores)
    }
}

fn changes(known: &[String], before: &[(String, f32)], after: &[(String, f32)]) -> Vec<CategoryChange> {
    let of = |scores: &[(String, f32)], category: &str| -> Vec<f32> {
        scores.iter().filter(|(name, _)| name == category).map(|(_, score)| *score).collect()
    };
    let change = |category: &String| {
        let scores = [of(before, category), of(after, category)];
        if scores[0].is_empty() {
            return None;
        }
        let mean = |scores: &Vec<f32>| scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64;
        let largest = |scores: &Vec<f32>| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Some(CategoryChange {
            category: category.clone(),
            images: scores[0].len(),
            mean: [mean(&scores[0]), mean(&scores[1])],
            largest: [largest(&scores[0]), largest(&scores[1])],
        })
    };
    known.iter().filter_map(change).collect()
}
