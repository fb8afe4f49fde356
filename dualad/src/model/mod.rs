//! A trained model on disk: a folder of `config.json`, `model.safetensors` and a model card.

mod card;
mod config;
mod earlier;
mod files;
mod folder;
mod foreign;
mod images;
mod input;
mod thresholds;
mod tiling;
mod trained_on;

pub use config::{ModelBank, ModelConfig};
pub(crate) use earlier::keep_thresholds;
pub use files::ModelFiles;
pub(crate) use files::{BACKBONE, CALIBRATION, CONFIG};
#[cfg(feature = "hub")]
pub(crate) use files::{PARAMETERS, TRAINING_IMAGES};
pub use folder::Model;
pub(crate) use foreign::check_occupied;
pub use images::ImageCounts;
pub use input::{AspectRatio, Input, Resampling};
pub(crate) use tiling::Tile;
pub use tiling::Tiling;
#[cfg(feature = "train")]
pub(crate) use trained_on::{PixelDigest, TrainedOn, pixel_digest};
