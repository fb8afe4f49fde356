//! The start of a run: new, resumed from a checkpoint, or from a trained network.

use std::path::PathBuf;
use std::time::Duration;

use candle_core::{DType, Device};
use dualad_data::Cancel;

use crate::device_name::device_name;
use crate::error::{Error, Result};
use crate::features::TokenSource;
use crate::recipe::{AdamWConfig, Precision, Recipe};
use crate::train::checkpoint::{Checkpoint, Position};
use crate::train::cpu_step::CpuStepper;
use crate::train::device_step::DeviceStepper;
use crate::train::progress::TrainingProgress;
use crate::train::statistics;
use crate::train::step::{PlainStepper, Stepper};
use crate::train::trainer::{Settings, Trainer};
use crate::{DualAd, DualAdConfig, Random};

/// The settings of a run, made by [`Trainer::builder`].
#[must_use = "nothing is trained until `build`, `resume` or `fine_tune` gives a trainer that runs"]
#[derive(Debug)]
pub struct TrainerBuilder<'a> {
    recipe: Recipe,
    tokens: &'a dyn TokenSource,
    device: Device,
    /// Devices that share each step with it.
    others: Vec<Device>,
    settings: Settings<'a>,
}

impl<'a> Trainer<'a> {
    /// Returns the settings of a run that trains on these tokens, on the CPU.
    pub fn builder(recipe: Recipe, tokens: &'a dyn TokenSource) -> TrainerBuilder<'a> {
        TrainerBuilder { recipe, tokens, device: Device::Cpu, others: Vec::new(), settings: Settings::default() }
    }
}

impl<'a> TrainerBuilder<'a> {
    /// Sets the device that computes.
    pub fn device(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self
    }

    /// Sets further devices: each computes a part of every batch, and all take the step on the sum of the gradients. They must have the
    /// kind of the first device, CUDA or the CPU, and the network must be heterogeneous with a wide-shallow branch. The noise of a step
    /// depends on the number of devices. With the feature `nccl`, CUDA devices exchange their gradients by NCCL.
    pub fn data_parallel(mut self, others: &[Device]) -> Self {
        self.others = others.to_vec();
        self
    }

    /// Sets the file of the checkpoint, which is written at intervals, at the end of the run and when it is cancelled.
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.checkpoint = Some(path.into());
        self
    }

    /// Sets the minimum time between two checkpoints. If writing one takes long, the time is longer. Default: a minute.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.settings.interval = interval;
        self
    }

    /// Sets the file of the log: a [`crate::train::LogLine`] as JSON every ten steps and at the end of each epoch. A resumed run
    /// removes the lines after its checkpoint and continues the file.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.log = Some(path.into());
        self
    }

    /// Sets the handle that ends the run with [`Error::Cancelled`], after the current step and its checkpoint.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.settings.cancel = cancel.clone();
        self
    }

    /// Sets a function that is called after each step.
    pub fn progress(mut self, progress: impl FnMut(&TrainingProgress) + Send + 'a) -> Self {
        self.settings.progress = Box::new(progress);
        self
    }

    /// Returns a new run: a network with random weights. If it standardizes features, it has the statistics of all training images.
    ///
    /// # Errors
    /// [`Error::Config`] for a recipe that cannot be trained, [`Error::NoImages`], [`Error::Cancelled`], and those of the tokens.
    pub fn build(self) -> Result<Trainer<'a>> {
        let mut network = self.initial_network()?;
        if self.recipe.network.standardize && self.recipe.train.epochs > 0 {
            let channels = &self.recipe.network.stage_channels;
            let (mean, std) = statistics::measure(self.tokens, channels, &self.settings.cancel)?;
            network = network.with_standardization(&mean, &std)?;
        }
        let stepper = stepper(&network, self.recipe.train.optimizer, self.recipe.train.precision, &self.others)?;
        let position = Position::start(Random::new(self.recipe.train.seed));
        Ok(self.at(stepper, position))
    }

    /// Returns a run that continues from its checkpoint, the file of [`Self::checkpoint`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if no checkpoint is set, [`Error::Format`] for a file that cannot be used,
    /// [`Error::CheckpointMismatch`] for the checkpoint of another recipe or other images, and those of [`Self::build`].
    pub fn resume(self) -> Result<Trainer<'a>> {
        let Some(path) = &self.settings.checkpoint else {
            return Err(Error::invalid_argument("checkpoint", "none", "a run resumes from a file; name it"));
        };
        let checkpoint = Checkpoint::load(path)?;
        checkpoint.check(path, &self.recipe, self.tokens.identity())?;
        let train = &self.recipe.train;
        let mut stepper = stepper(&self.initial_network()?, train.optimizer, train.precision, &self.others)?;
        stepper.restore(&checkpoint.stepper)?;
        Ok(self.at(stepper, checkpoint.run.position))
    }

    /// Returns a run that starts from a trained network: its weights, its statistics and its memory. Use
    /// [`crate::recipe::MemoryConfig::paper`] in the recipe: it replaces no slots and reads them from the first step.
    ///
    /// # Errors
    /// [`Error::Config`] if the recipe is for another network, and those of [`Self::build`].
    pub fn fine_tune(self, network: &DualAd) -> Result<Trainer<'a>> {
        self.check()?;
        if self.recipe.network != *network.config() {
            let (field, reason) = ("network", "a trained network keeps its configuration; change `train` only");
            return Err(Error::Config { field, value: "another one".into(), reason: reason.into() });
        }
        let train = &self.recipe.train;
        let stepper =
            stepper(&network.frozen(DType::F32, &self.device)?, train.optimizer, train.precision, &self.others)?;
        let position = Position::start(Random::new(self.recipe.train.seed));
        Ok(self.at(stepper, position))
    }

    fn check(&self) -> Result<()> {
        self.recipe.validate()?;
        if self.tokens.images() == 0 && self.recipe.train.epochs > 0 {
            return Err(Error::NoImages { purpose: "train on" });
        }
        Ok(())
    }

    fn initial_network(&self) -> Result<DualAd> {
        self.check()?;
        DualAd::new(self.recipe.network.clone(), &Random::new(self.recipe.train.seed), &self.device)
    }

    fn at(self, stepper: Box<dyn Stepper>, position: Position) -> Trainer<'a> {
        Trainer::at(self.recipe, self.tokens, stepper, position, self.settings)
    }
}

/// Returns the fastest stepper for a network, its device and others that share each step with it.
///
/// # Errors
/// Those of [`check_devices`] and of the stepper.
pub(crate) fn stepper(
    network: &DualAd,
    config: AdamWConfig,
    precision: Precision,
    others: &[Device],
) -> Result<Box<dyn Stepper>> {
    let device = network.device();
    check_devices(network.config(), precision, &device, others)?;
    let covered = DeviceStepper::covers(network.config(), precision);
    Ok(if !others.is_empty() || device.is_cuda() && covered {
        Box::new(DeviceStepper::new(network, config, precision, others)?)
    } else if device.is_cpu() && CpuStepper::covers(network.config()) {
        Box::new(CpuStepper::new(network, config)?)
    } else {
        Box::new(PlainStepper::new(network, config)?.computing_in(precision))
    })
}

/// Checks that the device computes in the precision, and that the others can share each step with it.
///
/// # Errors
/// [`Error::Config`] for the precision, [`Error::InvalidArgument`] for the devices.
pub(crate) fn check_devices(
    network: &DualAdConfig,
    precision: Precision,
    device: &Device,
    others: &[Device],
) -> Result<()> {
    let refuse = |value: &str, reason: &str| {
        Err(Error::Config { field: "precision", value: value.into(), reason: reason.into() })
    };
    match precision {
        Precision::Tf32 if !device.is_cuda() => {
            return refuse("tf32", "only CUDA devices have it; use `f32`, or train on a CUDA device");
        }
        Precision::Bf16 if device.is_cpu() => {
            return refuse("bf16", "a CPU gains nothing from it; use `f32`, or train on another device");
        }
        _ => {}
    }
    if others.is_empty() {
        return Ok(());
    }
    let all: Vec<&Device> = std::iter::once(device).chain(others).collect();
    let names = || all.iter().map(|device| device_name(device)).collect::<Vec<_>>().join(", ");
    let refuse = |reason: &str| Err(Error::invalid_argument("devices to train on", names(), reason));
    if device.is_metal() || others.iter().any(|other| other.is_cuda() != device.is_cuda() || other.is_metal()) {
        return refuse("all must be CUDA devices, or all the CPU; train on one");
    }
    let repeated =
        |(index, device): (usize, &&Device)| all[..index].iter().any(|other| other.location() == device.location());
    if device.is_cuda() && all.iter().enumerate().any(repeated) {
        return refuse("each must be named once");
    }
    if !DeviceStepper::covers(network, precision) {
        return refuse(
            "only a heterogeneous network with a wide-shallow branch, in f32 or tf32, is trained on several devices; \
             train on one",
        );
    }
    Ok(())
}
