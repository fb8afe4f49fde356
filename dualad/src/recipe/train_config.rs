//! The configuration of a training run.

use serde::{Deserialize, Serialize};

use crate::recipe::adamw::AdamWConfig;
use crate::recipe::augmentation::Augmentation;
use crate::recipe::memory::MemoryConfig;
use crate::recipe::schedule::Schedule;

/// The configuration of the training of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainConfig {
    /// The number of passes over the training images; from 1 to 1,000,000. With a bank, 0 too: the bank alone scores.
    pub epochs: u64,
    /// The number of images of a step; from 1 to 65,536. The last step of an epoch may have fewer.
    pub batch_size: usize,
    /// The seed of the initial weights, the order of the images, the noise and the dropout.
    pub seed: u64,
    /// The constants of the optimizer.
    pub optimizer: AdamWConfig,
    /// The schedule of the learning rate.
    pub schedule: Schedule,
    /// The initialization and the schedule of the memory.
    pub memory: MemoryConfig,
    /// The augmentation of training images.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// The precision of the steps.
    #[serde(default)]
    pub precision: Precision,
}

/// The precision of training steps. Parameters, moments and the loss are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// f32 with products in tf32, which has 10 bits of precision: several times as fast on CUDA devices since compute capability 8.0.
    /// A run on another device refuses it. During a step, the products of the whole process are in tf32.
    Tf32,
    /// bf16, for GPUs that multiply it faster. A CPU does not, and a run on a CPU refuses it.
    Bf16,
}
