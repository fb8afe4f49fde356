//! The configuration of a training run: the network, the optimizer, the schedule and the memory.
//!
//! A [`Recipe`] holds all of it: [`Recipe::paper`], [`Recipe::fast`], or JSON on top of either.

mod adamw;
mod augmentation;
mod definition;
mod memory;
pub(crate) mod presets;
mod schedule;
mod train_config;

pub use adamw::AdamWConfig;
pub use augmentation::Augmentation;
pub use definition::Recipe;
pub use memory::{MemoryConfig, MemoryInit};
pub use presets::Preset;
pub use schedule::{Curve, Schedule};
pub use train_config::{Precision, TrainConfig};
