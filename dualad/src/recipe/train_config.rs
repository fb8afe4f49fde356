//! The configuration of a training run.

use serde::{Deserialize, Serialize};

use crate::recipe::adamw::AdamWConfig;
use crate::recipe::augmentation::Augmentation;
use crate::recipe::memory::MemoryConfig;
use crate::recipe::schedule::Schedule;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainConfig {
    /// Passes over the training images.
    pub epochs: u64,
    /// Images a step; an epoch's last step may have fewer.
    pub batch_size: usize,
    /// Seed of the first weights, the order of the images, the noise and the dropout.
    pub seed: u64,
    /// The optimiser.
    pub optimizer: AdamWConfig,
    /// The learning rate over the run.
    pub schedule: Schedule,
    /// How the memory starts, and is read meanwhile.
    pub memory: MemoryConfig,
    /// What is done to training images.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// What steps compute in.
    #[serde(default)]
    pub precision: Precision,
}

/// What training steps compute in. Parameters, moments and the loss are f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of f32, on devices that multiply them faster. A CPU does not, and refuses it.
    Bf16,
}
