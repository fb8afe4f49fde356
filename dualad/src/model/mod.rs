//! A trained model on disk: a folder of `config.json`, `model.safetensors` and a model card.

mod card;
mod config;
mod files;
mod folder;
mod input;
mod tiling;

pub use config::{ModelBank, ModelConfig};
pub use files::ModelFiles;
#[cfg(feature = "hub")]
pub(crate) use files::PARAMETERS;
pub(crate) use files::{BACKBONE, CALIBRATION, CONFIG};
pub use folder::Model;
pub use input::{AspectRatio, Input, Resampling};
pub(crate) use tiling::Tile;
pub use tiling::Tiling;
