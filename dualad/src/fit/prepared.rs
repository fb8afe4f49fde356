//! A run with its features: the trainer, the model and the detector.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use dualad_backbones::FeatureExtractor;
use dualad_data::Sample;
use dualad_data::image::{Picture, Preprocess};
use rayon::prelude::*;

use crate::ahead::ahead;
use crate::clock::Instant;
use crate::detector::{Detector, RegionOptions};
use crate::error::{Error, Result};
use crate::features::{Features, FeaturesBuilder, Identity, PictureTokens, TokenSource, extraction, name_of, size};
use crate::fit::bank::{self, FittedBank};
use crate::fit::images::{Image, Images, Known, Numbers, TrainingImages, cut, list};
use crate::fit::outcome::{Fitted, changes};
use crate::fit::read::Reading;
use crate::fit::recipe;
use crate::fit::run_folder::{previous, set_aside};
use crate::fit::settings::{Fit, FitProgress};
use crate::fit::thresholds::{self, score_without};
use crate::model::{Input, Model, TrainedOn};
use crate::progress::Progress;
use crate::recipe::{Preset, Recipe};
use crate::scorer::Scorer;
use crate::train::{self, Earlier, Trainer};
use crate::{DualAd, Random};

/// A run with the features of its training images: made by [`Fit::prepare`].
///
/// [`Fit::run`] does all that follows at once. A program that evaluates during training takes the steps itself:
///
/// ```no_run
/// use dualad::Detector;
///
/// let prepared = Detector::fit("pictures").prepare()?;
/// let mut trainer = prepared.trainer()?.progress(|step| eprintln!("{}", step.loss));
/// for epoch in (10..=30).step_by(10) {
///     trainer.run_to(epoch)?;
///     prepared.model(trainer.network()?)?.save(format!("model-{epoch}"), "")?;
/// }
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug)]
pub struct PreparedFit {
    fit: Fit,
    recipe: Recipe,
    preset: Option<Preset>,
    images: Images,
    /// As in [`ModelConfig::held_out`](crate::model::ModelConfig::held_out).
    held_out: Vec<String>,
    numbers: Numbers,
    /// The reason why the run does not continue from its checkpoint.
    begins_anew: Option<String>,
    notices: Vec<String>,
    extractor: Arc<dyn FeatureExtractor>,
    input: Input,
    preprocess: Preprocess,
    tokens: Box<dyn TokenSource>,
    bank: Option<FittedBank>,
    /// The categories of the model, sorted.
    categories: Vec<String>,
    seconds: f64,
}

impl PreparedFit {
    pub(super) fn new(mut fit: Fit) -> Result<Self> {
        let (recipe, preset) = recipe::resolve(&fit)?;
        if !(0.0..1.0).contains(&fit.held_out) {
            return Err(Error::invalid_argument("hold_out", fit.held_out, "must be at least 0 and below 1"));
        }
        fit.tiling.map_or(Ok(()), |tiling| tiling.validate())?;
        train::check_devices(&recipe.network, recipe.train.precision, &fit.device, &fit.others)?;
        if fit.held_out > 0.0 {
            fit.calibrator.check_for_good_images()?;
        }
        [&fit.checkpoint, &fit.log].into_iter().flatten().try_for_each(|file| check_folder(file))?;
        if let Some(log) = &fit.log {
            if fit.checkpoint.as_ref() == Some(log) {
                let reason = "is the checkpoint's file too; name another file";
                return Err(Error::invalid_argument("the file of the log", log.display(), reason));
            }
            train::check_log(log)?;
        }
        let random = Random::new(recipe.train.seed);
        let source = std::mem::replace(&mut fit.images, TrainingImages::Pictures(Vec::new()));
        let base = fit.base.clone();
        let known = base.as_ref().map(|base| {
            let config = base.config();
            Known { categories: &config.categories, held_out: &config.held_out }
        });
        let extractor = extractor(&fit, &recipe)?;
        let mut input = Input::of_network(&recipe.network);
        input.tiling = fit.tiling;
        let preprocess = input.preprocess()?;
        let Fit { limits, tiling, skip_broken, cancel, progress, .. } = &mut fit;
        let reading = Reading { limits, tiling: *tiling, preprocess: &preprocess, skip_broken: *skip_broken, cancel };
        let (read, left_out) = reading.read(list(source, limits)?, |done| progress(FitProgress::Reading(done)))?;
        let images = Images::new(read, fit.held_out, &random, known)?;
        let mut notices = notices(&fit, &images, recipe.train.epochs > 0);
        notices.splice(..0, left_out);
        let alone = recipe.bank.is_some() && bank::is_alone(&fit, &recipe);
        // Before anything is computed: features may take hours.
        let begins_anew = begins_anew(&fit, &recipe, &identity(&fit, &images.train, &*extractor, &preprocess, alone))?;
        fit.resume &= begins_anew.is_none();
        let begun = Instant::now();
        let categories = categories(&fit, &images);
        let held_out = images.held_out_digests(base.as_ref().map_or(&[], |base| &base.config().held_out));
        let numbers = Numbers::new(&held_out, &images.train);
        let bank = bank::build(&mut fit, &recipe, &images, &numbers, &categories, &*extractor, &preprocess)?;
        let tokens = if alone {
            // Nothing is trained.
            Box::new(PictureTokens::new(&*extractor, &preprocess))
        } else {
            tokens(&mut fit, &images.train, &extractor, &preprocess)?
        };
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Self {
            fit,
            recipe,
            preset,
            images,
            held_out,
            numbers,
            begins_anew,
            notices,
            extractor,
            input,
            preprocess,
            tokens,
            bank,
            categories,
            seconds,
        })
    }

    /// The recipe of the run, with the settings of [`Fit`].
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The number of images that are trained on.
    pub fn train_images(&self) -> usize {
        self.images.train.len()
    }

    /// The number of images that are held out for the thresholds.
    pub fn held_out_images(&self) -> usize {
        self.images.held_out.len()
    }

    /// Notices for the user, such as of categories with too few images.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The notice that the run begins anew although it has a checkpoint: that of a finished run with other images or another
    /// recipe. `None` for any other run.
    pub fn begins_anew(&self) -> Option<&str> {
        self.begins_anew.as_deref()
    }

    /// The seconds that the features took.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Returns a builder of the features of other images, such as those of the test set: with the run's extractor,
    /// preprocessing, cache, limits and cancel handle.
    pub fn features<'a>(&self, samples: impl IntoIterator<Item = Sample>) -> FeaturesBuilder<'a> {
        features(&self.fit, samples, &self.extractor, &self.preprocess)
    }

    /// Returns the trainer: at the run's start, or where its checkpoint left it.
    ///
    /// # Errors
    /// [`Error::Format`] for a checkpoint that cannot be used, [`Error::CheckpointMismatch`] for one of another run, [`Error::Io`] if
    /// an earlier run's files cannot be renamed, [`Error::Cancelled`], and those of [`crate::train::TrainerBuilder::build`].
    pub fn trainer(&self) -> Result<Trainer<'_>> {
        let Fit { base, device, others, cancel, checkpoint, log, resume, checkpoint_interval, .. } = &self.fit;
        let builder = Trainer::builder(self.recipe.clone(), &*self.tokens).device(device).data_parallel(others);
        let mut builder = builder.cancel(cancel);
        if let Some(path) = checkpoint {
            builder = builder.checkpoint(path).checkpoint_interval(*checkpoint_interval);
        }
        if let Some(path) = log {
            builder = builder.log(path);
        }
        let resumes = *resume && checkpoint.as_ref().is_some_and(|path| path.exists());
        let trainer = match base {
            _ if resumes => builder.resume()?,
            Some(base) => builder.fine_tune(base.model.network())?,
            None => builder.build()?,
        };
        if let Some(path) = checkpoint.as_ref().filter(|_| !resume) {
            set_aside(path, log.as_deref())?;
        }
        Ok(trainer)
    }

    /// Trains to the end. Returns the network, and the mean loss of each epoch.
    pub(super) fn train(&mut self) -> Result<(DualAd, Vec<f64>)> {
        let mut progress = std::mem::replace(&mut self.fit.progress, Box::new(|_| {}));
        let mut trainer = self.trainer()?.progress(|step| progress(FitProgress::Training(*step)));
        trainer.run()?;
        let trained = (trainer.network()?, trainer.losses());
        drop(trainer);
        self.fit.progress = progress;
        Ok(trained)
    }

    /// Returns the model of a network that the run trained.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a parameter is not finite.
    pub fn model(&self, network: DualAd) -> Result<Model> {
        let stages: Vec<usize> = self.extractor.stages().iter().map(|stage| stage.index).collect();
        let measure = |bank: &FittedBank| {
            let stages = self.extractor.stages();
            bank.measured(network.reconstructor()?, stages, size(&self.preprocess), &*self.tokens)
        };
        let bank = self.bank.as_ref().map(measure).transpose()?;
        Model::new(network, self.fit.backbone, &stages, self.extractor.provenance().clone())
            .with_input(self.input.clone())
            .with_bank(bank)
            .with_categories(self.categories.clone())
            .with_train_images(self.images.train.len())
            .with_held_out(self.held_out.clone())
            .with_trained_on(Some(self.trained_on()))
            .with_train(self.recipe.train.clone(), self.preset)
            .with_sha256()
    }

    /// Returns the record of the training images, with those of a continued model. A bank has tokens of the held-out images too.
    fn trained_on(&self) -> TrainedOn {
        let kept = if self.bank.is_some() { &self.images.held_out[..] } else { &[] };
        let own: TrainedOn = self.images.train.iter().chain(kept).map(|image| image.content.pixels).collect();
        own.union(self.fit.base.as_ref().and_then(|base| base.model().trained_on()))
    }

    /// Scores the held-out images with a network that the run trained and sets the thresholds. An image is scored without its own
    /// tokens in the bank, as a new one. With a bank that scores alone, training images set the thresholds, too: up to 320
    /// images of each category. `losses` are passed on.
    ///
    /// # Errors
    /// As [`Self::model`]; [`Error::Data`] for a held-out image, [`Error::Cancelled`], and as
    /// [`Calibrator::calibrate`](crate::calibration::Calibrator::calibrate).
    pub fn finish(self, network: DualAd, losses: Vec<f64>) -> Result<Fitted> {
        let model = self.model(network)?;
        let Self { mut fit, images, numbers, mut notices, begins_anew, extractor, preprocess, tokens, .. } = self;
        notices.splice(..0, begins_anew);
        // Their memory may be needed now.
        drop(tokens);
        let mut detector = detector(&fit, model, extractor, preprocess)?;
        let kept: Vec<&Image> = images.held_out.iter().collect();
        let held_out = score_without(&mut fit, &detector, &kept, &numbers)?;
        let changes = match fit.base.clone() {
            Some(base) => {
                let numbers = Numbers::of_held_out(&base.config().held_out);
                changes(base.categories(), &score_without(&mut fit, &base, &kept, &numbers)?, &held_out)
            }
            None => Vec::new(),
        };
        if !held_out.is_empty() {
            let calibration = thresholds::first(&mut fit, &detector, &images, &held_out, &numbers)?;
            notices.extend(calibration.warnings());
            detector = detector.with_calibration(Some(calibration));
        }
        Ok(Fitted { detector, losses, held_out, changes, notices })
    }
}

/// Returns the identity that the tokens of the training images will have. `alone` is true if nothing is trained.
fn identity(
    fit: &Fit,
    images: &[Image],
    extractor: &dyn FeatureExtractor,
    preprocess: &Preprocess,
    alone: bool,
) -> Identity {
    if alone {
        return PictureTokens::new(extractor, preprocess).identity().clone();
    }
    let from_files = fit.tiling.is_none() && images.iter().all(|image| image.file().is_some());
    let cache = fit.cache.as_ref().filter(|_| from_files);
    let inputs = |image: &Image| match (&image.content.tiles, image.file()) {
        (Some(tiles), _) => {
            let name = image.name();
            let tiles = tiles.iter().enumerate();
            tiles.map(|(number, digest)| (digest.clone(), tile_name(&name, number))).collect()
        }
        (None, Some(sample)) if from_files => vec![(image.content.digest.clone(), name_of(sample))],
        (None, _) => vec![(image.content.digest.clone(), image.name())],
    };
    Identity { extraction: extraction(extractor, preprocess, cache), images: images.iter().flat_map(inputs).collect() }
}

fn tile_name(name: &str, number: usize) -> String {
    format!("{name}, tile {number}")
}

/// Returns an error if the folder of a file to write is not there: hours may pass before it is written.
fn check_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let error = match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => std::io::ErrorKind::NotADirectory.into(),
        Err(error) => error,
    };
    Err(Error::Io { action: "write", path: file.into(), error })
}

/// Compares the run with its checkpoint, if it would continue from one. Returns a notice if the earlier run was another one and
/// is finished: this one begins anew.
fn begins_anew(fit: &Fit, recipe: &Recipe, identity: &Identity) -> Result<Option<String>> {
    let Some(path) = fit.checkpoint.as_ref().filter(|path| fit.resume && path.exists()) else { return Ok(None) };
    Ok(match train::compare(path, recipe, identity)? {
        Earlier::Same => None,
        Earlier::Finished(Error::CheckpointMismatch { field, found, wanted, .. }) => Some(format!(
            "training begins anew, because {} is of a finished run in which {field} was {found} and not {wanted}; it is kept as {}",
            path.display(),
            previous(path).display()
        )),
        Earlier::Finished(error) => return Err(error),
    })
}

/// Returns the notices for the user. `trains` is false if no network is trained: then nothing is forgotten.
fn notices(fit: &Fit, images: &Images, trains: bool) -> Vec<String> {
    let mut notices = Vec::new();
    let then = if images.held_out.is_empty() {
        "No thresholds are set: nothing is decided until the detector is calibrated"
    } else {
        "The pooled thresholds decide"
    };
    for category in &images.small {
        notices
            .push(format!("{category} has too few images to hold any out, so it has no thresholds of its own. {then}"));
    }
    for (category, count) in &images.copies {
        notices.push(format!(
            "{category} has {count} copies of images: a copy is held out with its image, and counts once"
        ));
    }
    for category in &images.seen {
        notices.push(format!(
            "the model may have been trained on every image of {category}: it has no thresholds of its own; calibrate with others"
        ));
    }
    for category in fit.base.iter().flat_map(|base| base.categories()) {
        if trains && !images.categories.contains(category) {
            notices.push(format!("there are no images of {category}: the model may forget it"));
        }
    }
    notices
}

fn extractor(fit: &Fit, recipe: &Recipe) -> Result<Arc<dyn FeatureExtractor>> {
    if let Some(base) = &fit.base {
        return Ok(base.extractor.clone());
    }
    let extractor = fit.backbone.extractor().weights(fit.weights.clone()).device(&fit.device).build()?;
    let (found, wanted) = (extractor.token_channels(), recipe.network.channels());
    if found != wanted {
        let value = format!("for {wanted} channels");
        let reason = format!("the backbone {} gives {found}; make the recipe for it", fit.backbone);
        return Err(Error::Config { field: "network.stage_channels", value, reason });
    }
    let (found, wanted) = (fit.backbone.token_stride(), recipe.network.token_stride);
    if found != wanted {
        let reason =
            format!("the tokens of the backbone {} have {found} pixels a side; make the recipe for it", fit.backbone);
        return Err(Error::Config { field: "network.token_stride", value: wanted.to_string(), reason });
    }
    Ok(Arc::from(extractor))
}

fn features<'a>(
    fit: &Fit,
    samples: impl IntoIterator<Item = Sample>,
    extractor: &Arc<dyn FeatureExtractor>,
    preprocess: &Preprocess,
) -> FeaturesBuilder<'a> {
    let builder = Features::of(samples, extractor.clone(), preprocess.clone()).cancel(&fit.cancel).limits(fit.limits);
    match &fit.cache {
        Some(cache) => builder.cache(cache.clone()),
        None => builder,
    }
}

/// Computes the features of the training images: of files through the cache, of pictures in memory and of tiles in memory.
fn tokens(
    fit: &mut Fit,
    images: &[Image],
    extractor: &Arc<dyn FeatureExtractor>,
    preprocess: &Preprocess,
) -> Result<Box<dyn TokenSource>> {
    let files: Option<Vec<Sample>> = images.iter().map(|image| image.file().cloned()).collect();
    if let (Some(files), None) = (files, fit.tiling) {
        let builder = features(fit, files, extractor, preprocess);
        let progress = &mut fit.progress;
        let builder = builder.progress(|done| progress(FitProgress::Features(done)));
        return Ok(Box::new(builder.compute()?));
    }
    let mut tokens = PictureTokens::new(&**extractor, preprocess);
    let total = images.len();
    let (limits, tiling, cancel, progress) = (&fit.limits, fit.tiling, &fit.cancel, &mut fit.progress);
    progress(FitProgress::Features(Progress { done: 0, total }));
    let read = |image: &Image| {
        let (name, picture) = (image.name(), image.picture(limits)?);
        let Some(tiles) = cut(tiling, &picture)? else { return Ok(vec![(name, picture)]) };
        let named = |(number, tile)| (tile_name(&name, number), tile);
        Ok(tiles.into_iter().enumerate().map(named).collect())
    };
    // An image in tiles is a batch of its own.
    let at_a_time = if tiling.is_some() { 1 } else { PictureTokens::BATCH };
    let chunks: Vec<&[Image]> = images.chunks(at_a_time).collect();
    let mut done = 0;
    let read_chunk = |images: &&[Image]| images.par_iter().map(read).collect::<Result<Vec<Vec<(String, Picture)>>>>();
    ahead(&chunks, read_chunk, |images, inputs| {
        let inputs: Vec<(String, Picture)> = inputs.into_iter().flatten().collect();
        tokens.add(&**extractor, preprocess, &inputs, cancel)?;
        done += images.len();
        progress(FitProgress::Features(Progress { done, total }));
        Ok(())
    })?;
    Ok(Box::new(tokens))
}

/// Returns the categories of the model: those of the images, and those of a continued model.
fn categories(fit: &Fit, images: &Images) -> Vec<String> {
    let mut categories = images.categories.clone();
    if let Some(base) = &fit.base {
        categories.extend(base.categories().iter().cloned());
        categories.sort();
        categories.dedup();
    }
    categories
}

fn detector(fit: &Fit, model: Model, extractor: Arc<dyn FeatureExtractor>, preprocess: Preprocess) -> Result<Detector> {
    let network = model.network().frozen(extractor.dtype(), &fit.device)?.reconstructor()?;
    let model = model.on_device(&Device::Cpu)?;
    let scorer = Scorer::new(network, model.bank().cloned(), extractor.stages(), size(&preprocess))?.into();
    Ok(Detector {
        precision: crate::Precision::F32,
        model: Arc::new(model),
        scorer,
        extractor,
        weights: fit.weights.clone(),
        preprocess,
        tiling: fit.tiling,
        calibration: None,
        regions: fit.base.as_ref().map_or(RegionOptions::default().with_outlines(true), |base| base.regions),
        limits: fit.limits,
        threads: fit.base.as_ref().map(|base| base.threads.clone()).unwrap_or_default(),
    })
}
