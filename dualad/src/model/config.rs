//! The content of a model's `config.json`.

use std::path::Path;

use dualad_backbones::{Backbone, Provenance};
use serde::{Deserialize, Serialize};

use crate::bank::{Bank, BankConfig};
use crate::config::DualAdConfig;
use crate::error::{Error, Result};
use crate::model::files::CONFIG;
use crate::model::input::Input;
use crate::recipe::{Preset, TrainConfig};

/// The newest version of the folder's format. Raised when older versions of the library cannot read a folder.
pub(super) const FORMAT: u64 = 2;
/// The version of the format of a model without a bank.
pub(super) const FORMAT_WITHOUT_BANK: u64 = 1;
/// The maximum size of the file, in bytes.
pub(super) const MAX_CONFIG: u64 = 16 << 20;

/// The description of a model: everything but the parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The version of this format.
    pub(super) format: u64,
    /// The version of the library that wrote it.
    pub dualad: String,
    /// The frozen backbone.
    pub backbone: Backbone,
    /// The backbone's stages that are read, numbered from 1.
    pub stages: Vec<usize>,
    /// The origin of the backbone's weights.
    pub weights: Provenance,
    /// The preprocessing of images.
    pub input: Input,
    /// The reconstruction network.
    pub network: DualAdConfig,
    /// The bank of normal tokens, if the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank: Option<ModelBank>,
    /// The SHA-256 of `model.safetensors`, in lower-case hexadecimal.
    pub sha256: String,
    /// The categories that the model was trained on.
    pub categories: Vec<String>,
    /// The number of images that the network was trained on or, where the bank alone scores, of the images that were not held out;
    /// see [`ImageCounts`](crate::ImageCounts).
    pub train_images: usize,
    /// The images that the network was not trained on, and that the thresholds are chosen by: the first half of the SHA-256 of each,
    /// in hexadecimal. Training that continues leaves them out again. A bank has tokens of them: for the thresholds, each is scored
    /// without its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out: Vec<String>,
    /// The preset that the run's recipe started from.
    #[serde(with = "crate::recipe::presets::name_or_empty")]
    pub preset: Option<Preset>,
    /// The configuration of the training.
    pub train: Option<TrainConfig>,
}

/// The description of a model's bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelBank {
    /// The number of tokens of each scale, of all categories.
    pub tokens: Vec<usize>,
    /// True if the bank alone scores: the network is not trained.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// The configuration that the tokens were chosen with.
    pub config: BankConfig,
}

impl ModelBank {
    pub(super) fn of(bank: &Bank) -> Self {
        Self { tokens: bank.tokens_of_scales(), alone: bank.is_alone(), config: bank.config().clone() }
    }
}

impl ModelConfig {
    /// Reads the text of a `config.json`. `name` is the model's name in errors.
    pub(super) fn from_json(name: &Path, text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::model(name, reason);
        let malformed = |error: serde_json::Error| wrong(format!("its {CONFIG} is not a model configuration: {error}"));
        let value: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        // The version first: other versions may have other fields.
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(FORMAT_WITHOUT_BANK..=FORMAT) => {}
            Some(format) if format > FORMAT => {
                return Err(wrong(format!(
                    "it has format {format}, and this version knows up to {FORMAT}; update dualad"
                )));
            }
            _ => return Err(wrong(format!("its {CONFIG} has an unknown `format`; save the model again"))),
        }
        serde_json::from_value(value).map_err(malformed)
    }
}

/// Reads the text of a model's `config.json`. `name` is the model's name in errors.
pub(super) fn read(path: &Path, name: &Path) -> Result<String> {
    let io = |error| Error::Io { action: "read", path: path.into(), error };
    let wrong = |reason: String| Error::model(name, reason);
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let missing = path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.exists());
            let what = if missing { "there is no such folder".to_owned() } else { format!("it has no {CONFIG}") };
            return Err(wrong(format!("{what}; name the folder of a trained model")));
        }
        Err(error) => return Err(io(error)),
    };
    // Opening a pipe may block forever, and reading a device may never end.
    if !metadata.is_file() || metadata.len() > MAX_CONFIG {
        return Err(wrong(format!("its {CONFIG} is not a file of at most {} MiB", MAX_CONFIG >> 20)));
    }
    std::fs::read_to_string(path).map_err(io)
}
