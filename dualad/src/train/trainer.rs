//! The training loop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{Device, Tensor};
use dualad_data::Cancel;
use dualad_kernels::are_finite;

use crate::clock::Instant;
use crate::error::{Error, Result};
use crate::features::TokenSource;
use crate::recipe::{MemoryInit, Recipe};
use crate::train::checkpoint::{Checkpoint, Position};
use crate::train::log::{LogLine, TrainLog};
use crate::train::progress::{Rate, TrainingProgress};
use crate::train::step::{StepReport, Stepper};
use crate::train::{memory_init, statistics};
use crate::{DualAd, Random};

/// The number of steps of a log line. The end of an epoch also ends a line.
const STEPS_PER_LINE: u64 = 10;
/// The minimum time between checkpoints, in multiples of the time that writing one takes.
const CHECKPOINT_PAUSE: u32 = 20;

/// A training run of one network on one list of images.
///
/// The result depends on the recipe and the images only. On the CPU, with the same number of threads, the same recipe gives the
/// same bits. So does a run that was interrupted at any point and resumed.
///
/// ```
/// use dualad::backbones::Backbone;
/// use dualad::data::image::Preprocess;
/// use dualad::data::synthetic::{self, Category, Options};
/// use dualad::data::{Dataset, Split};
/// use dualad::recipe::Recipe;
/// use dualad::features::Features;
/// use dualad::train::Trainer;
/// use dualad::Variant;
///
/// # let folder = std::env::temp_dir().join(format!("dualad-doc-trainer-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let options = Options { size: 64, train: 2, test_good: 1, test_per_defect: 1, categories: vec![Category::Gear], ..Options::default() };
/// synthetic::write(&folder.join("parts"), &options, |_done, _total| {})?;
/// let dataset = Dataset::open(folder.join("parts"))?;
///
/// let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
/// recipe.train.epochs = 1;
/// recipe.network = recipe.network
///     .with_grid([4, 4])
///     .with_neighbor_mask(Some([1, 1]))
///     .with_narrow_width(8)
///     .with_chunk_width(8)
///     .with_ffn_width(8); // 64 x 64 pixels
/// let extractor = Backbone::FilterBank.extractor().build()?.into();
/// let features = Features::of(dataset.samples(Split::Train).cloned(), extractor, Preprocess::new(64, 64)?).compute()?;
///
/// let mut trainer = Trainer::builder(recipe, &features)
///     .checkpoint(folder.join("checkpoint.safetensors"))
///     .progress(|progress| eprintln!("{}: {}", progress.step, progress.loss))
///     .build()?;
/// trainer.run()?;
/// assert!(trainer.is_finished());
/// let network = trainer.network()?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Trainer<'a> {
    pub(super) recipe: Recipe,
    tokens: &'a dyn TokenSource,
    pub(super) stepper: Box<dyn Stepper>,
    position: Position,
    /// The order of the images in the current epoch.
    order: Vec<usize>,
    settings: Settings<'a>,
    log: Option<TrainLog>,
    /// The memory's temperature and share that the stepper has, once they are set.
    memory: Option<(f64, f64)>,
    /// The tokens of a step, read during the step before it.
    next: Option<(u64, Result<Tensor>)>,
}

/// The settings of a run that do not change its result.
pub(super) struct Settings<'a> {
    pub(super) checkpoint: Option<PathBuf>,
    pub(super) interval: Duration,
    pub(super) log: Option<PathBuf>,
    pub(super) cancel: Cancel,
    pub(super) progress: Box<dyn FnMut(&TrainingProgress) + Send + 'a>,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            checkpoint: None,
            interval: Duration::from_secs(60),
            log: None,
            cancel: Cancel::default(),
            progress: Box::new(|_| {}),
        }
    }
}

impl std::fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Settings");
        debug.field("checkpoint", &self.checkpoint).field("interval", &self.interval).field("log", &self.log);
        debug.finish_non_exhaustive()
    }
}

/// A finished step.
struct Step {
    learning_rate: f64,
    images: u64,
    epoch: u64,
    report: StepReport,
}

impl<'a> Trainer<'a> {
    /// Returns a run at a position.
    pub(super) fn at(
        recipe: Recipe,
        tokens: &'a dyn TokenSource,
        stepper: Box<dyn Stepper>,
        position: Position,
        settings: Settings<'a>,
    ) -> Self {
        let (order, log, memory, next) = (Vec::new(), None, None, None);
        let mut trainer = Self { recipe, tokens, stepper, position, order, settings, log, memory, next };
        trainer.shuffle();
        trainer
    }

    /// Replaces the function that is called after each step.
    #[must_use]
    pub fn progress(mut self, progress: impl FnMut(&TrainingProgress) + Send + 'a) -> Self {
        self.settings.progress = Box::new(progress);
        self
    }

    /// Replaces the handle that ends the run with [`Error::Cancelled`].
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.settings.cancel = cancel.clone();
        self
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// Those of [`Self::run_to`].
    pub fn run(&mut self) -> Result<()> {
        self.run_to(self.recipe.train.epochs)
    }

    /// Trains until this number of epochs is finished, at most those of the recipe.
    ///
    /// # Errors
    /// [`Error::Cancelled`] after the current step, when its checkpoint is written; [`Error::Training`] if the loss or a gradient
    /// is not finite, which leaves the last checkpoint as it is; [`Error::Io`] if a checkpoint or the log cannot be written; and
    /// those of the tokens.
    pub fn run_to(&mut self, epoch: u64) -> Result<()> {
        let last = epoch.min(self.recipe.train.epochs);
        let first = self.position.step;
        if let (Some(path), None) = (&self.settings.log, &self.log) {
            self.log = Some(TrainLog::open(path, self.position.step)?);
        }
        let mut rate = Rate::default();
        let (mut saved_at, mut interval) = (Instant::now(), self.settings.interval);
        while self.position.epoch < last {
            if self.settings.cancel.is_cancelled() {
                self.save()?;
                return Err(Error::Cancelled);
            }
            let begun = Instant::now();
            let Step { learning_rate, images, epoch, report } = self.step()?;
            rate.add(images, begun.elapsed());
            let (step, steps) = (self.position.step, self.steps());
            let left = (steps - step) as f64 * self.recipe.train.batch_size as f64 / rate.images_per_second().max(1e-9);
            (self.settings.progress)(&TrainingProgress {
                epoch,
                epochs: self.recipe.train.epochs,
                step,
                steps,
                loss: report.loss,
                gradient_norm: report.gradient_norm,
                learning_rate,
                images_per_second: rate.images_per_second(),
                remaining: Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX),
            });
            if saved_at.elapsed() >= interval && self.position.epoch < last {
                let begun = Instant::now();
                self.save()?;
                interval = self.settings.interval.max(begun.elapsed() * CHECKPOINT_PAUSE);
                saved_at = Instant::now();
            }
        }
        // A run with nothing left to do keeps its checkpoint as it is, to the byte.
        let is_kept =
            self.position.step == first && self.settings.checkpoint.as_ref().is_some_and(|path| path.exists());
        if is_kept { Ok(()) } else { self.save() }
    }

    /// Takes a step, and ends the epoch after its last step.
    fn step(&mut self) -> Result<Step> {
        let begun = Instant::now();
        let (batch_size, per_epoch, total) = (self.recipe.train.batch_size, self.steps_per_epoch(), self.steps());
        let (step, epoch) = (self.position.step, self.position.epoch + 1);
        let learning_rate =
            self.recipe.train.optimizer.learning_rate * self.recipe.train.schedule.factor(step, total, per_epoch);
        self.stepper.set_learning_rate(learning_rate)?;
        self.prepare_memory(step, total)?;
        // At most the number of images: the cast does not truncate.
        let start = (self.position.step_in_epoch as usize * batch_size).min(self.order.len());
        let (indices, rest) = self.order[start..].split_at(batch_size.min(self.order.len() - start));
        let following = &rest[..batch_size.min(rest.len())];
        let images = indices.len() as u64;
        let augmentation = self.recipe.train.augmentation;
        let (source, seed) = (self.tokens, self.recipe.train.seed);
        let read = |indices: &[usize]| {
            if augmentation.is_nothing() {
                return source.batch(indices);
            }
            // The stream depends on the seed and the epoch only, so that a resumed run has the same images.
            let stream = Random::new(seed).named(&format!("augmentation of epoch {epoch}"));
            source.augmented(indices, augmentation, stream)
        };
        let tokens = match self.next.take() {
            Some((of_step, tokens)) if of_step == step => tokens?,
            _ => read(indices)?,
        };
        // The epoch's next tokens are read meanwhile: a device need not wait for them. If that fails, the next step does.
        let (stepper, random) = (&mut self.stepper, &mut self.position.random);
        let (report, next) =
            rayon::join(|| stepper.step(&tokens, random), || (!following.is_empty()).then(|| read(following)));
        self.next = next.map(|tokens| (step + 1, tokens));
        let report = report.map_err(|error| match error {
            // The number of the step in the whole run: the stepper counts its own.
            Error::Training { reason, .. } => Error::Training { step: step + 1, reason },
            error => error,
        })?;

        let position = &mut self.position;
        position.step += 1;
        position.step_in_epoch += 1;
        position.epoch_sum = (f64::from(position.epoch_sum) + report.loss * images as f64).into();
        let seconds = begun.elapsed().as_secs_f64();
        position.seconds += seconds;
        let line = &mut position.line;
        line.loss = (f64::from(line.loss) + report.loss).into();
        line.gradient_norm = f64::from(line.gradient_norm).max(report.gradient_norm).into();
        (line.steps, line.images, line.seconds) = (line.steps + 1, line.images + images, line.seconds + seconds);
        let ends = position.step_in_epoch == per_epoch;
        if ends || line.steps == STEPS_PER_LINE {
            let line = std::mem::take(line);
            if let Some(log) = &mut self.log {
                log.write(&LogLine {
                    step: position.step,
                    epoch,
                    loss: f64::from(line.loss) / line.steps as f64,
                    learning_rate,
                    gradient_norm: line.gradient_norm.into(),
                    images_per_second: line.images as f64 / line.seconds.max(1e-9),
                    seconds: position.seconds,
                })?;
            }
        }
        if ends {
            position.losses.push((f64::from(position.epoch_sum) / self.tokens.images() as f64).into());
            position.epoch_sum = 0.0.into();
            position.epoch += 1;
            position.step_in_epoch = 0;
            self.shuffle();
            if self.is_finished() {
                // The trained network reads its memory at its own temperature, in full.
                self.stepper.set_memory_temperature(self.recipe.network.memory_temperature)?;
                self.stepper.set_memory_share(1.0)?;
                self.memory = None;
            }
        }
        Ok(Step { learning_rate, images, epoch, report })
    }

    /// Sets the memory of a step: its slots, its temperature and its share.
    fn prepare_memory(&mut self, step: u64, total: u64) -> Result<()> {
        if self.recipe.network.memory_slots == 0 {
            return Ok(());
        }
        let memory = &self.recipe.train.memory;
        let first = memory.first_step(total);
        if step == first && memory.init != MemoryInit::Drawn {
            // A checkpoint before this step does not have the new slots: a resumed run computes them again.
            let random = Random::new(self.recipe.train.seed);
            memory_init::from_data(&mut *self.stepper, &self.recipe.network, memory.init, self.tokens, &random)?;
            self.memory = None;
        }
        let last = self.recipe.network.memory_temperature;
        let wanted = (memory.temperature(last, step, total), memory.share(step, total));
        // Setting them may be slow.
        if self.memory != Some(wanted) {
            self.stepper.set_memory_temperature(wanted.0)?;
            self.stepper.set_memory_share(wanted.1)?;
            self.memory = Some(wanted);
        }
        Ok(())
    }

    /// Shuffles the images for the current epoch. The order depends on the seed and the epoch only.
    fn shuffle(&mut self) {
        let name = format!("order of epoch {}", self.position.epoch);
        self.order = Random::new(self.recipe.train.seed).named(&name).permutation(self.tokens.images());
    }

    /// Writes the checkpoint, if one is set.
    fn save(&self) -> Result<()> {
        let Some(path) = &self.settings.checkpoint else { return Ok(()) };
        let (state, identity) = (self.stepper.state()?, self.tokens.identity());
        for (name, parameter) in &state.parameters {
            let values = parameter.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            if !are_finite(&values) {
                return Err(Error::Training {
                    step: state.optimizer.steps,
                    reason: format!(
                        "{name} is no longer finite after it, and the last checkpoint was kept; lower the learning rate or clip more"
                    ),
                });
            }
        }
        Checkpoint::new(state, &self.recipe, identity, self.position.clone())?.save(path)
    }

    fn steps_per_epoch(&self) -> u64 {
        self.tokens.images().div_ceil(self.recipe.train.batch_size) as u64
    }

    /// Returns the number of steps of the run.
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch() * self.recipe.train.epochs
    }

    /// Returns the number of steps taken.
    pub fn step_count(&self) -> u64 {
        self.position.step
    }

    /// Returns the number of finished epochs.
    pub fn epoch(&self) -> u64 {
        self.position.epoch
    }

    /// Returns whether all epochs are finished.
    pub fn is_finished(&self) -> bool {
        self.position.epoch >= self.recipe.train.epochs
    }

    /// Returns the mean loss of each finished epoch.
    pub fn losses(&self) -> Vec<f64> {
        self.position.losses.iter().map(|&loss| loss.into()).collect()
    }

    /// Returns the training time in seconds, including the time before a resumption.
    pub fn seconds(&self) -> f64 {
        self.position.seconds
    }

    /// Returns the recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Returns the network in its current state, frozen, with the memory's current share. If the recipe standardizes errors, their
    /// scale is measured on some of the training images.
    ///
    /// # Errors
    /// [`Error::Candle`] if the device has no memory for it, and those of the tokens.
    pub fn network(&self) -> Result<DualAd> {
        let share = match self.position.step.checked_sub(1) {
            Some(last) if !self.is_finished() => self.recipe.train.memory.share(last, self.steps()),
            _ => 1.0,
        };
        let network = self.stepper.network()?.with_memory_share(share);
        if !self.recipe.network.standardize_errors || self.recipe.train.epochs == 0 {
            return Ok(network);
        }
        let random = Random::new(self.recipe.train.seed);
        let errors = statistics::measure_errors(&network, self.tokens, &random)?;
        Ok(network.with_error_std(&errors)?.with_memory_share(share))
    }

    /// Returns the file of the checkpoint, if one is set.
    pub fn checkpoint_path(&self) -> Option<&Path> {
        self.settings.checkpoint.as_deref()
    }
}
