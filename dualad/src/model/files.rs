//! The names of a saved model's files.

use std::path::{Path, PathBuf};

/// The model's description.
pub(crate) const CONFIG: &str = "config.json";
/// The parameters of the reconstruction network, and the bank.
pub(crate) const PARAMETERS: &str = "model.safetensors";
/// The thresholds.
pub(crate) const CALIBRATION: &str = "calibration.json";
/// The thresholds that the folder held before.
pub(crate) const PREVIOUS_CALIBRATION: &str = "calibration.previous.json";
/// The record of the images that the model was trained on.
pub(crate) const TRAINING_IMAGES: &str = "training-images.json";
/// The backbone's weights.
pub(crate) const BACKBONE: &str = "backbone.safetensors";
/// The model card.
pub(crate) const CARD: &str = "README.md";

/// The files of a saved model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelFiles {
    /// `config.json`: the [`crate::ModelConfig`].
    pub config: PathBuf,
    /// `model.safetensors`: the parameters of the reconstruction network, and the bank of normal tokens.
    pub parameters: PathBuf,
    /// `calibration.json`: the thresholds, if there are any.
    pub calibration: PathBuf,
    /// `calibration.previous.json`: the thresholds that were in the folder before, if there were any. [`Self::earlier_calibrations`] has
    /// the older ones.
    pub previous_calibration: PathBuf,
    /// `training-images.json`: digests of the images that the model was trained on. Models of earlier versions have none.
    pub training_images: PathBuf,
    /// `backbone.safetensors`: the backbone's weights, if the folder has them.
    pub backbone: PathBuf,
    /// `README.md`: the model card.
    pub card: PathBuf,
}

impl ModelFiles {
    /// Returns the paths of the files of the model in this folder, whether they exist or not.
    pub fn of(folder: impl AsRef<Path>) -> Self {
        let file = |name| folder.as_ref().join(name);
        Self {
            config: file(CONFIG),
            parameters: file(PARAMETERS),
            calibration: file(CALIBRATION),
            previous_calibration: file(PREVIOUS_CALIBRATION),
            training_images: file(TRAINING_IMAGES),
            backbone: file(BACKBONE),
            card: file(CARD),
        }
    }

    /// Returns all of them.
    pub fn all(&self) -> Vec<PathBuf> {
        let Self { config, parameters, calibration, previous_calibration, training_images, backbone, card } =
            self.clone();
        vec![config, parameters, calibration, previous_calibration, training_images, backbone, card]
    }
}
