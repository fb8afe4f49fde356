//! The training of a network on features.
//!
//! 1. A [`crate::recipe::Recipe`] configures the network and its training.
//! 2. [`crate::features::Features`] computes the tokens of the training images once.
//! 3. A [`Trainer`] trains on them. An interrupted run resumes from its checkpoint.
//!
//! `docs/training.md` describes training from the command line.

pub(crate) mod builder;
mod checkpoint;
pub(crate) mod cpu_step;
pub(crate) mod device_step;
mod exchange;
mod k_means;
mod log;
mod memory_init;
mod optimizer;
mod progress;
mod statistics;
pub(crate) mod step;
mod step_constants;
#[cfg(test)]
mod tests;
mod tf32;
mod trainer;

pub use builder::TrainerBuilder;
pub(crate) use builder::check_devices;
pub(crate) use checkpoint::{Earlier, compare};
pub use log::LogLine;
pub(crate) use log::check_log;
pub use optimizer::{AdamW, AdamWState};
pub use progress::TrainingProgress;
pub use trainer::Trainer;
