//! The training loop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::{DType, Device};
use dualad_data::Cancel;
use dualad_kernels::are_finite;

use crate::error::{Error, Result};
use crate::features::TokenSource;
use crate::recipe::{MemoryInit, Precision, Recipe, TrainConfig};
use crate::train::checkpoint::{Checkpoint, Line, Position};
use crate::train::cpu_step::CpuStepper;
use crate::train::log::{LogLine, TrainLog};
use crate::train::step::{PlainStepper, StepReport, Stepper};
use crate::train::{memory_init, statistics};
use crate::{DualAd, Random};

/// Steps of a log line; an epoch's end also ends a line.
const STEPS_PER_LINE: u64 = 10;
/// At most this share of the time is spent on writing checkpoints.
const CHECKPOINT_SHARE: u32 = 20;

/// What takes the steps: the fastest there is for this network and its device.
fn stepper(network: &DualAd, train: &TrainConfig) -> Result<Box<dyn Stepper>> {
    let config = train.optimizer;
    if train.precision == Precision::Bf16 {
        if network.device().is_cpu() {
            let reason = "a CPU gains nothing from it; leave `f32`, or train on another device";
            return Err(Error::Config { field: "precision", value: "bf16".into(), reason: reason.into() });
        }
        return Ok(Box::new(PlainStepper::new(network, config)?.computing_in(DType::BF16)));
    }
    if network.device().is_cpu() && CpuStepper::covers(network.config()) {
        return Ok(Box::new(CpuStepper::new(network, config)?));
    }
    Ok(Box::new(PlainStepper::new(network, config)?))
}

/// Before the first step.
fn start(random: Random) -> Position {
    Position {
        epoch: 0,
        step_in_epoch: 0,
        step: 0,
        random,
        losses: Vec::new(),
        epoch_sum: 0.0.into(),
        line: Line::default(),
        seconds: 0.0,
    }
}

/// Where a run stands, after each step.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The epoch that the step belongs to, from 1.
    pub epoch: u64,
    /// How many there will be.
    pub epochs: u64,
    /// Steps taken, of all epochs together.
    pub step: u64,
    /// How many there will be.
    pub steps: u64,
    /// The step's loss.
    pub loss: f64,
    /// The gradients' norm before clipping.
    pub gradient_norm: f64,
    /// The step's learning rate.
    pub learning_rate: f64,
    /// Images a second, lately.
    pub images_per_second: f64,
    /// How long the rest will take at that rate.
    pub remaining: Duration,
}

/// Trains one network on one list of images.
///
/// What it does depends on the recipe and the images alone. On the CPU, with the same number of threads, the same recipe
/// gives the same bits, and so does a run that was interrupted, at any point and by anything, and resumed.
///
/// ```
/// use dualad::backbones::Backbone;
/// use dualad::candle_core::Device;
/// use dualad::data::image::Preprocess;
/// use dualad::data::synthetic::{self, Category, Options};
/// use dualad::data::{Cancel, Dataset, Split};
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
/// let cancel = Cancel::default();
/// let mut trainer = Trainer::new(recipe, &features, &Device::Cpu, &cancel)?.checkpoint(folder.join("checkpoint.safetensors"));
/// trainer.run(&cancel, |progress| eprintln!("{}: {}", progress.step, progress.loss))?;
/// assert!(trainer.is_finished());
/// let network = trainer.network()?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Trainer<'a> {
    recipe: Recipe,
    tokens: &'a dyn TokenSource,
    stepper: Box<dyn Stepper>,
    position: Position,
    /// The order of the images in the epoch that has begun.
    order: Vec<usize>,
    checkpoint: Option<PathBuf>,
    interval: Duration,
    log_path: Option<PathBuf>,
    log: Option<TrainLog>,
    /// The memory's temperature and share, once they are set.
    memory: Option<(f64, f64)>,
}

impl<'a> Trainer<'a> {
    /// A run at its start: first weights, the channels' statistics and the memory as the recipe says.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::NoImages`], [`Error::Cancelled`], and whatever keeps the tokens from being had.
    pub fn new(recipe: Recipe, tokens: &'a dyn TokenSource, device: &Device, cancel: &Cancel) -> Result<Self> {
        let random = Random::new(recipe.train.seed);
        let mut network = Self::first(&recipe, tokens, &random, device)?;
        if recipe.network.standardize {
            let (mean, deviation) = statistics::measure(tokens, &recipe.network.stage_channels, cancel)?;
            network = network.with_standardization(&mean, &deviation)?;
        }
        let stepper = stepper(&network, &recipe.train)?;
        Ok(Self::at(recipe, tokens, stepper, start(random)))
    }

    /// A run that trains a network on: its weights and statistics are where it starts. The memory has its slots: `train`'s
    /// [`crate::recipe::MemoryConfig::init`] should be `Drawn`, which leaves them alone.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn further(network: &DualAd, train: TrainConfig, tokens: &'a dyn TokenSource, device: &Device) -> Result<Self> {
        let recipe = Recipe { network: network.config().clone(), train };
        recipe.validate()?;
        if tokens.images() == 0 {
            return Err(Error::NoImages { purpose: "train on" });
        }
        let random = Random::new(recipe.train.seed);
        let stepper = stepper(&network.frozen(DType::F32, device)?, &recipe.train)?;
        Ok(Self::at(recipe, tokens, stepper, start(random)))
    }

    /// A run where a checkpoint left it; [`Self::checkpoint`] is set to the same file.
    ///
    /// # Errors
    /// [`Error::Format`] for a file that cannot be used, [`Error::CheckpointMismatch`] for one of another recipe or other
    /// images, and as [`Self::new`].
    pub fn resume(
        recipe: Recipe,
        tokens: &'a dyn TokenSource,
        device: &Device,
        path: impl Into<PathBuf>,
    ) -> Result<Self> {
        let path = path.into();
        let checkpoint = Checkpoint::load(&path)?;
        checkpoint.check(&path, &recipe, tokens.identity())?;
        let network = Self::first(&recipe, tokens, &Random::new(recipe.train.seed), device)?;
        let mut stepper = stepper(&network, &recipe.train)?;
        stepper.restore(&checkpoint.stepper)?;
        Ok(Self::at(recipe, tokens, stepper, checkpoint.run.position).checkpoint(path))
    }

    fn first(recipe: &Recipe, tokens: &dyn TokenSource, random: &Random, device: &Device) -> Result<DualAd> {
        recipe.validate()?;
        if tokens.images() == 0 {
            return Err(Error::NoImages { purpose: "train on" });
        }
        DualAd::new(recipe.network.clone(), random, device)
    }

    fn at(recipe: Recipe, tokens: &'a dyn TokenSource, stepper: Box<dyn Stepper>, position: Position) -> Self {
        let mut trainer = Self {
            memory: None,
            stepper,
            recipe,
            tokens,
            position,
            order: Vec::new(),
            checkpoint: None,
            interval: Duration::from_secs(60),
            log_path: None,
            log: None,
        };
        trainer.shuffle();
        trainer
    }

    /// Keeps a checkpoint in this file: now and then, at the end, and when cancelled.
    #[must_use]
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// How long to train between checkpoints. Where writing one takes long, they are rarer. Default: a minute.
    #[must_use]
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Writes a [`LogLine`] as JSON into this file every ten steps and at the end of each epoch. A resumed run goes on
    /// with the file, less its lines after the checkpoint.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log_path = Some(path.into());
        self
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// As [`Self::run_to`].
    pub fn run(&mut self, cancel: &Cancel, progress: impl FnMut(&Progress)) -> Result<()> {
        self.run_to(self.recipe.train.epochs, cancel, progress)
    }

    /// Trains until this many epochs are finished, or all of them. `progress` hears of each step.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the step at hand is taken and its checkpoint written; [`Error::Training`] if the loss or
    /// a gradient is not finite: the last checkpoint stays as it is; [`Error::Io`] if a checkpoint or the log cannot be
    /// written; and whatever keeps the tokens from being had.
    pub fn run_to(&mut self, epoch: u64, cancel: &Cancel, mut progress: impl FnMut(&Progress)) -> Result<()> {
        let last = epoch.min(self.recipe.train.epochs);
        if let (Some(path), None) = (&self.log_path, &self.log) {
            self.log = Some(TrainLog::open(path, self.position.step)?);
        }
        let mut rate = Rate::default();
        let (mut saved_at, mut interval) = (Instant::now(), self.interval);
        while self.position.epoch < last {
            if cancel.is_cancelled() {
                self.save()?;
                return Err(Error::Cancelled);
            }
            let begun = Instant::now();
            let (learning_rate, images, epoch, report) = self.step()?;
            rate.add(images, begun.elapsed());
            let (step, steps) = (self.position.step, self.steps());
            let left = (steps - step) as f64 * self.recipe.train.batch_size as f64 / rate.images_per_second().max(1e-9);
            progress(&Progress {
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
                interval = self.interval.max(begun.elapsed() * CHECKPOINT_SHARE);
                saved_at = Instant::now();
            }
        }
        self.save()
    }

    /// One step, and the end of the epoch where it was the last.
    fn step(&mut self) -> Result<(f64, u64, u64, StepReport)> {
        let begun = Instant::now();
        let (batch_size, per_epoch, total) = (self.recipe.train.batch_size, self.steps_per_epoch(), self.steps());
        let (step, epoch) = (self.position.step, self.position.epoch + 1);
        let learning_rate =
            self.recipe.train.optimizer.learning_rate * self.recipe.train.schedule.factor(step, total, per_epoch);
        self.stepper.set_learning_rate(learning_rate)?;
        self.prepare_memory(step, total)?;
        // At most the images in memory: no truncation.
        let start = (self.position.step_in_epoch as usize * batch_size).min(self.order.len());
        let indices = &self.order[start..self.order.len().min(start + batch_size)];
        let images = indices.len() as u64;
        let augmentation = self.recipe.train.augmentation;
        let tokens = if augmentation.is_nothing() {
            self.tokens.batch(indices)?
        } else {
            // A function of the seed and the epoch: a resumed run sees the same images.
            let stream = Random::new(self.recipe.train.seed).named(&format!("augmentation of epoch {epoch}"));
            self.tokens.augmented(indices, augmentation, stream)?
        };
        let report = self.stepper.step(&tokens, &mut self.position.random).map_err(|error| match error {
            // Counted over the whole run, whatever the stepper counts.
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
                // What the network is used at from now on.
                self.stepper.set_memory_temperature(self.recipe.network.memory_temperature)?;
                self.stepper.set_memory_share(1.0)?;
                self.memory = None;
            }
        }
        Ok((learning_rate, images, epoch, report))
    }

    /// The memory as it is in this step: its slots, what it is read at and what it passes on.
    fn prepare_memory(&mut self, step: u64, total: u64) -> Result<()> {
        if self.recipe.network.memory_slots == 0 {
            return Ok(());
        }
        let memory = &self.recipe.train.memory;
        let first = memory.first_step(total);
        if step == first && memory.init != MemoryInit::Drawn {
            // A checkpoint of just before this step has not seen it: a resumed run does the same once more.
            let random = Random::new(self.recipe.train.seed);
            memory_init::from_data(&mut *self.stepper, &self.recipe.network, memory.init, self.tokens, &random)?;
            self.memory = None;
        }
        let last = self.recipe.network.memory_temperature;
        let wanted = (memory.temperature(last, step, total), memory.share(step, total));
        // Setting them may cost something.
        if self.memory != Some(wanted) {
            self.stepper.set_memory_temperature(wanted.0)?;
            self.stepper.set_memory_share(wanted.1)?;
            self.memory = Some(wanted);
        }
        Ok(())
    }

    /// The order of the epoch that has begun: a function of the seed and its number.
    fn shuffle(&mut self) {
        let name = format!("order of epoch {}", self.position.epoch);
        self.order = Random::new(self.recipe.train.seed).named(&name).permutation(self.tokens.images());
    }

    /// Writes the checkpoint, if there is to be one.
    fn save(&self) -> Result<()> {
        let Some(path) = &self.checkpoint else { return Ok(()) };
        let (state, identity) = (self.stepper.state()?, self.tokens.identity());
        for (name, parameter) in &state.parameters {
            let values = parameter.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            if !are_finite(&values) {
                return Err(Error::Training {
                    step: state.steps,
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

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch() * self.recipe.train.epochs
    }

    /// Steps taken.
    pub fn step_count(&self) -> u64 {
        self.position.step
    }

    /// Epochs finished.
    pub fn epoch(&self) -> u64 {
        self.position.epoch
    }

    /// Whether all epochs are.
    pub fn is_finished(&self) -> bool {
        self.position.epoch >= self.recipe.train.epochs
    }

    /// The mean loss of each finished epoch.
    pub fn losses(&self) -> Vec<f64> {
        self.position.losses.iter().map(|&loss| loss.into()).collect()
    }

    /// Seconds trained, those before a resumption included.
    pub fn seconds(&self) -> f64 {
        self.position.seconds
    }

    /// What is trained, and how.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The network as it stands, frozen. Before the memory has joined in altogether, it is to the same degree left out of
    /// this network. Where the recipe standardises errors, they are measured on some of the training images now.
    ///
    /// # Errors
    /// [`Error::Candle`] if the device has no memory for it, and whatever keeps the tokens from being had.
    pub fn network(&self) -> Result<DualAd> {
        let share = match self.position.step.checked_sub(1) {
            Some(last) if !self.is_finished() => self.recipe.train.memory.share(last, self.steps()),
            _ => 1.0,
        };
        let network = self.stepper.network()?.with_memory_share(share);
        if !self.recipe.network.standardize_errors {
            return Ok(network);
        }
        let random = Random::new(self.recipe.train.seed);
        let errors = statistics::measure_errors(&network, self.tokens, &random)?;
        Ok(network.with_error_std(&errors)?.with_memory_share(share))
    }

    /// The checkpoint's file, if there is to be one.
    pub fn checkpoint_path(&self) -> Option<&Path> {
        self.checkpoint.as_deref()
    }
}

/// Images a second, lately.
#[derive(Debug, Default)]
struct Rate {
    images: f64,
    seconds: f64,
}

impl Rate {
    fn add(&mut self, images: u64, time: Duration) {
        // Forgets half within some 20 steps.
        let keep = 0.966;
        self.images = self.images * keep + images as f64;
        self.seconds = self.seconds * keep + time.as_secs_f64();
    }

    fn images_per_second(&self) -> f64 {
        self.images / self.seconds.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use candle_core::Tensor;

    use super::*;
    use crate::features::Identity;
    use crate::recipe::{AdamWConfig, Augmentation, Curve, Schedule};
    use crate::recipe::{MemoryConfig, TrainConfig};
    use crate::testing::{RandomTokens, bits, dataset, small};

    fn recipe() -> Recipe {
        let mut network = small();
        network.memory_temperature = 0.2;
        Recipe {
            network,
            train: TrainConfig {
                epochs: 3,
                batch_size: 3,
                seed: 5,
                optimizer: AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() },
                schedule: Schedule::new(Curve::Cosine).warmup(2),
                augmentation: Augmentation::default(),
                precision: Precision::F32,
                memory: MemoryConfig {
                    init: MemoryInit::KMeans,
                    start: 0.3,
                    ramp: 0.3,
                    temperature_start: Some(1.0),
                    anneal: 0.8,
                },
            },
        }
    }

    /// 7 images: 3 steps an epoch, the last of one image.
    fn source() -> RandomTokens {
        RandomTokens::new(&small(), 7)
    }

    fn go() -> Cancel {
        Cancel::default()
    }

    fn new(source: &RandomTokens) -> Trainer<'_> {
        Trainer::new(recipe(), source, &Device::Cpu, &go()).unwrap()
    }

    #[test]
    fn an_augmented_run_resumes_to_the_same_bits_and_others_refuse_it() {
        let folder = tempfile::tempdir().unwrap();
        let parts = dataset(folder.path());
        let extractor = dualad_backbones::Backbone::FilterBank.extractor().build().unwrap().into();
        let preprocess = dualad_data::image::Preprocess::new(64, 64).unwrap();
        let samples = parts.samples(dualad_data::Split::Train).cloned();
        let features = crate::features::Features::of(samples, extractor, preprocess).compute().unwrap();
        let mut augmented = recipe();
        augmented.network.stage_channels =
            dualad_backbones::Backbone::FilterBank.default_stages().iter().map(|stage| stage.channels).collect();
        augmented.network.grid = [4, 4];
        augmented.train.augmentation =
            Augmentation { flip_vertical: true, quarter_turns: true, ..Augmentation::default() };
        let path = folder.path().join("checkpoint.safetensors");
        let run = |recipe: &Recipe, stop: u64| {
            let mut trainer = Trainer::new(recipe.clone(), &features, &Device::Cpu, &go()).unwrap().checkpoint(&path);
            let cancel = go();
            let result = trainer.run(&cancel, |progress| {
                if progress.step == stop {
                    cancel.cancel();
                }
            });
            assert_eq!(result.is_err(), stop > 0);
            trainer.losses()
        };
        let whole = run(&augmented, 0);
        let mut plain = augmented.clone();
        plain.train.augmentation = Augmentation::default();
        assert_ne!(run(&plain, 0), whole);
        run(&augmented, 3);
        assert!(matches!(
            Trainer::resume(plain, &features, &Device::Cpu, &path),
            Err(Error::CheckpointMismatch { .. })
        ));
        let mut resumed = Trainer::resume(augmented.clone(), &features, &Device::Cpu, &path).unwrap();
        resumed.run(&go(), |_| ()).unwrap();
        assert_eq!(resumed.losses(), whole);
        // Tokens without their images cannot be augmented, and a CPU does not compute in bf16.
        let source = source();
        let mut other = recipe();
        other.train.augmentation = augmented.train.augmentation;
        let error = Trainer::new(other.clone(), &source, &Device::Cpu, &go()).unwrap().run(&go(), |_| ()).unwrap_err();
        assert!(error.to_string().contains("augmentation"), "{error}");
        other.train.precision = Precision::Bf16;
        let error = Trainer::new(other, &source, &Device::Cpu, &go()).unwrap_err().to_string();
        assert!(error.contains("precision") && error.contains("bf16"), "{error}");
    }

    #[test]
    fn a_run_interrupted_after_any_step_and_resumed_has_the_same_bits() {
        let source = source();
        let mut whole = new(&source);
        whole.run(&go(), |_| ()).unwrap();
        assert!(whole.is_finished() && whole.losses().len() == 3 && whole.step_count() == 9);
        assert_eq!(whole.network().unwrap().config().memory_temperature, 0.2);

        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("checkpoint.safetensors"), folder.path().join("train.jsonl"));
        let mut trainer = new(&source).checkpoint(&path).log(&log);
        for interruptions in 0.. {
            let cancel = go();
            let steps = Cell::new(0);
            let result = trainer.run(&cancel, |_| {
                steps.set(steps.get() + 1);
                cancel.cancel();
            });
            assert_eq!(steps.get(), 1);
            if result.is_ok() {
                // Cancelled after the last step, there is nothing left to leave off.
                assert_eq!(interruptions, 8);
                break;
            }
            assert!(matches!(result, Err(Error::Cancelled)));
            drop(trainer);
            trainer = Trainer::resume(recipe(), &source, &Device::Cpu, &path).unwrap().log(&log);
        }
        assert_eq!(trainer.losses(), whole.losses());
        let (one, other) = (whole.stepper.state().unwrap(), trainer.stepper.state().unwrap());
        assert_eq!(bits(&one.parameters), bits(&other.parameters));
        assert_eq!(bits(&one.first_moment), bits(&other.first_moment));
        assert_eq!(bits(&one.second_moment), bits(&other.second_moment));
        // The log has a line for each epoch's end, as that of a run in one go.
        let lines = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<LogLine> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| (line.step, line.epoch)).collect::<Vec<_>>(), [(3, 1), (6, 2), (9, 3)]);
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_others() {
        let source = source();
        let run = |seed| {
            let mut recipe = recipe();
            recipe.train.seed = seed;
            let mut trainer = Trainer::new(recipe, &source, &Device::Cpu, &go()).unwrap();
            trainer.run(&go(), |_| ()).unwrap();
            bits(trainer.network().unwrap().parameters())
        };
        let first = run(1);
        assert!(first == run(1) && first != run(2));
    }

    #[test]
    fn a_run_in_parts_is_the_run() {
        let source = source();
        let (mut whole, mut parts) = (new(&source), new(&source));
        whole.run(&go(), |_| ()).unwrap();
        for epoch in 1..=3 {
            parts.run_to(epoch, &go(), |_| ()).unwrap();
            assert_eq!(parts.epoch(), epoch);
        }
        assert_eq!(bits(whole.network().unwrap().parameters()), bits(parts.network().unwrap().parameters()));
    }

    #[test]
    fn every_image_is_seen_once_an_epoch_in_another_order() {
        #[derive(Debug)]
        struct Seen(RandomTokens, std::sync::Mutex<Vec<usize>>);
        impl TokenSource for Seen {
            fn images(&self) -> usize {
                self.0.images()
            }
            fn batch(&self, indices: &[usize]) -> Result<Tensor> {
                self.1.lock().unwrap().extend(indices);
                self.0.batch(indices)
            }
            fn identity(&self) -> &Identity {
                self.0.identity()
            }
        }
        let source = Seen(source(), Default::default());
        let mut recipe = recipe();
        recipe.train.memory.init = MemoryInit::Drawn;
        let mut trainer = Trainer::new(recipe, &source, &Device::Cpu, &go()).unwrap();
        source.1.lock().unwrap().clear();
        trainer.run(&go(), |_| ()).unwrap();
        let seen = source.1.lock().unwrap().clone();
        let mut epochs: Vec<Vec<usize>> = seen.chunks(7).map(<[_]>::to_vec).collect();
        assert!(epochs.len() == 3 && epochs[0] != epochs[1] && epochs[1] != epochs[2]);
        epochs.iter_mut().for_each(|epoch| epoch.sort_unstable());
        assert!(epochs.iter().all(|epoch| *epoch == (0..7).collect::<Vec<_>>()));
    }

    #[test]
    fn training_reduces_the_loss_and_says_where_it_stands() {
        let source = source();
        let mut recipe = recipe();
        recipe.train.epochs = 40;
        let mut trainer = Trainer::new(recipe, &source, &Device::Cpu, &go()).unwrap();
        let mut heard = Vec::new();
        trainer.run(&go(), |progress| heard.push(*progress)).unwrap();
        let losses = trainer.losses();
        assert!(losses[39] < 0.9 * losses[0], "{losses:?}");
        assert_eq!(heard.len(), 120);
        assert_eq!((heard[0].step, heard[0].epoch, heard[0].steps, heard[0].epochs), (1, 1, 120, 40));
        assert_eq!((heard[119].step, heard[119].epoch, heard[119].remaining), (120, 40, Duration::ZERO));
        assert!(heard[0].learning_rate == 5e-3 && heard[1].learning_rate == 1e-2 && heard[119].learning_rate < 1e-4);
        assert!(heard.iter().all(|progress| progress.images_per_second > 0.0));
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let source = source();
        let mut trainer = new(&source).checkpoint(&path);
        trainer.run_to(1, &go(), |_| ()).unwrap();
        let before = std::fs::read(&path).unwrap();
        trainer.recipe.train.optimizer.learning_rate = 1e30;
        let error = trainer.run(&go(), |_| ()).unwrap_err();
        assert!(matches!(error, Error::Training { step: 4.., .. }) && error.to_string().contains("look at"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn no_images_and_impossible_recipes_are_errors() {
        let empty = RandomTokens::new(&small(), 1);
        let empty = RandomTokens { identity: Identity::default(), ..empty };
        let new = |recipe, source| Trainer::new(recipe, source, &Device::Cpu, &go()).unwrap_err();
        assert!(matches!(new(recipe(), &empty), Error::NoImages { .. }));
        let mut impossible = recipe();
        impossible.train.batch_size = 0;
        assert!(matches!(new(impossible, &source()), Error::Config { field: "batch_size", .. }));
        let cancel = go();
        cancel.cancel();
        let result = Trainer::new(recipe(), &source(), &Device::Cpu, &cancel).map(|_| ());
        assert!(matches!(result, Err(Error::Cancelled)));
    }
}
