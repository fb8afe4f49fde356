//! The folder of a saved model.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use dualad_backbones::weights::SafetensorsReader;
use dualad_backbones::{Backbone, Provenance};
use dualad_data::image::Picture;
use dualad_store::{self as store, Transaction, sha256, sha256_of_file};

use crate::bank::{Bank, BankFile, is_bank_key};
use crate::calibration::Calibration;
use crate::cdbn::DualAd;
use crate::error::{Error, Result};
use crate::model::card::card;
use crate::model::config::{self, FORMAT, FORMAT_WITHOUT_BANK, ModelBank, ModelConfig};
use crate::model::earlier::keep_thresholds;
use crate::model::files::{BACKBONE, CALIBRATION, CARD, CONFIG, PARAMETERS, TRAINING_IMAGES};
use crate::model::foreign::check_occupied;
use crate::model::input::Input;
use crate::model::trained_on::TrainedOn;
use crate::recipe::{Preset, TrainConfig};
use crate::scorer::bank_stages;

/// A trained network with its bank, if it has one, and its description.
///
/// ```
/// use dualad::backbones::{Backbone, FeatureExtractor};
/// use dualad::candle_core::Device;
/// use dualad::{DualAd, DualAdConfig, Model, Random, Variant};
///
/// // Small, for an example.
/// let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
///     .with_narrow_width(16)
///     .with_chunk_width(16)
///     .with_ffn_width(32);
/// let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
/// let extractor = Backbone::FilterBank.extractor().build()?;
///
/// let folder = std::env::temp_dir().join(format!("dualad-doc-model-{}", std::process::id()));
/// Model::new(network, Backbone::FilterBank, &[1, 2, 3], extractor.provenance().clone())
///     .with_categories(vec!["screw".into()])
///     .save(&folder, "Untrained.")?;
/// let model = Model::load(&folder, &Device::Cpu)?;
/// assert_eq!(model.config().backbone, Backbone::FilterBank);
/// assert_eq!(model.config().input.preprocess()?.height(), 224);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Model {
    /// `config.network` is always the network's own configuration.
    config: ModelConfig,
    network: DualAd,
    /// `config.bank` is always its size.
    bank: Option<Bank>,
    /// `None` for a model of an earlier version, and for one whose training images are not known.
    trained_on: Option<Arc<TrainedOn>>,
}

impl Model {
    /// Returns a model of a network that was trained on features of this backbone, at the stages numbered from 1.
    pub fn new(network: DualAd, backbone: Backbone, stages: &[usize], weights: Provenance) -> Self {
        let config = ModelConfig {
            format: FORMAT_WITHOUT_BANK,
            dualad: env!("CARGO_PKG_VERSION").into(),
            backbone,
            stages: stages.into(),
            weights,
            input: Input::of_network(network.config()),
            network: network.config().clone(),
            bank: None,
            sha256: String::new(),
            categories: Vec::new(),
            train_images: 0,
            held_out: Vec::new(),
            preset: None,
            train: None,
        };
        Self { config, network, bank: None, trained_on: None }
    }

    /// Returns the description.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the reconstruction network.
    pub fn network(&self) -> &DualAd {
        &self.network
    }

    /// Returns the bank of normal tokens, if the model has one.
    pub fn bank(&self) -> Option<&Bank> {
        self.bank.as_ref()
    }

    /// Sets the bank of normal tokens.
    #[must_use]
    pub fn with_bank(mut self, bank: Option<Bank>) -> Self {
        self.config.format = if bank.is_some() { FORMAT } else { FORMAT_WITHOUT_BANK };
        self.config.bank = bank.as_ref().map(ModelBank::of);
        self.bank = bank;
        self
    }

    /// Sets the record of the backbone's weights.
    pub(crate) fn with_weights(mut self, weights: Provenance) -> Self {
        self.config.weights = weights;
        self
    }

    /// Sets the preprocessing of images.
    #[must_use]
    pub fn with_input(mut self, input: Input) -> Self {
        self.config.input = input;
        self
    }

    /// Sets the categories that the model was trained on.
    #[must_use]
    pub fn with_categories(mut self, categories: Vec<String>) -> Self {
        self.config.categories = categories;
        self
    }

    /// Sets [`ModelConfig::train_images`].
    #[must_use]
    pub fn with_train_images(mut self, images: usize) -> Self {
        self.config.train_images = images;
        self
    }

    /// Sets the digests of the images that were not trained on; see [`ModelConfig::held_out`].
    #[must_use]
    pub fn with_held_out(mut self, digests: Vec<String>) -> Self {
        self.config.held_out = digests;
        self
    }

    /// Sets the configuration of the training, and the preset that its recipe started from.
    #[must_use]
    pub fn with_train(mut self, train: TrainConfig, preset: Option<Preset>) -> Self {
        (self.config.train, self.config.preset) = (Some(train), preset);
        self
    }

    /// Sets the record of the training images.
    #[must_use]
    pub(crate) fn with_trained_on(mut self, trained_on: Option<TrainedOn>) -> Self {
        self.trained_on = trained_on.map(Arc::new);
        self
    }

    /// Returns the record of the training images.
    pub(crate) fn trained_on(&self) -> Option<&TrainedOn> {
        self.trained_on.as_deref()
    }

    /// Returns the number of different training images that the model has a record of, `training-images.json`. `None` for a model
    /// without a record: those of earlier versions, and those that were trained without [`Detector::fit`](crate::Detector::fit).
    pub fn known_training_images(&self) -> Option<usize> {
        self.trained_on().map(TrainedOn::len)
    }

    /// Returns whether the model was trained on this picture, or on a copy in another lossless format. `None` for a model without
    /// a record of its training images.
    pub fn was_trained_on(&self, picture: &Picture) -> Option<bool> {
        self.trained_on().map(|trained_on| trained_on.contains(picture))
    }

    /// Sets the digest of the parameters, which a model that was not loaded does not have.
    pub(crate) fn with_sha256(mut self) -> Result<Self> {
        self.config.sha256 = sha256(&self.parameters()?);
        Ok(self)
    }

    /// Returns the model with a frozen network in f32 on a device.
    ///
    /// # Errors
    /// [`Error::Candle`] if the device has no memory for it.
    pub fn on_device(&self, device: &Device) -> Result<Self> {
        let network = self.network.frozen(candle_core::DType::F32, device)?;
        let Self { config, bank, trained_on, .. } = self.clone();
        Ok(Self { config, network, bank, trained_on })
    }

    /// Writes the folder, which is created if it does not exist. `results` is a section of the model card, in Markdown.
    ///
    /// All files replace those of an earlier model together: if the process ends, the folder holds one model or the other. Backbone
    /// weights of another model are removed. Thresholds of another model are kept as `calibration.previous.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written, [`Error::Parameter`] if a parameter is not finite, [`Error::Busy`] while another
    /// process writes there, [`Error::Occupied`] if a file of something else would be replaced.
    pub fn save(&self, folder: impl AsRef<Path>, results: &str) -> Result<()> {
        let folder = folder.as_ref();
        check_occupied(folder)?;
        let transaction = Transaction::begin(folder)?;
        let sha256 = self.save_in(&transaction, results, None)?;
        let thresholds = folder.join(CALIBRATION);
        if store::exists(&thresholds) {
            let text = config::read(&folder.join(CONFIG), folder);
            let earlier = text.and_then(|text| ModelConfig::from_json(folder, &text));
            let same = earlier.is_ok_and(|earlier| earlier.sha256 == sha256);
            // Thresholds that name no model belong to the model that the folder held before.
            let named = Calibration::load(&thresholds).ok().and_then(|thresholds| thresholds.model);
            if named.map_or(!same, |named| named != sha256) {
                keep_thresholds(&transaction, folder, |_| true)?;
                transaction.remove(CALIBRATION)?;
            }
        }
        self.remove_other_backbone(&transaction, folder)?;
        Ok(transaction.commit()?)
    }

    /// Removes backbone weights that this model would not load with.
    pub(crate) fn remove_other_backbone(&self, transaction: &Transaction, folder: &Path) -> Result<()> {
        let weights = folder.join(BACKBONE);
        if weights.exists() && sha256_of_file(&weights).ok() != self.config.weights.sha256 {
            transaction.remove(BACKBONE)?;
        }
        Ok(())
    }

    /// Returns the content of `model.safetensors`: the tensors of the network and of the bank.
    fn parameters(&self) -> Result<Vec<u8>> {
        match &self.bank {
            None => self.network.to_safetensors(),
            Some(bank) => self.network.to_safetensors_with(bank.tensors(self.config.held_out.len())?),
        }
    }

    /// Returns the description with the digest of the parameters, and the parameters.
    fn described_parameters(&self) -> Result<(ModelConfig, Vec<u8>)> {
        let parameters = self.parameters()?;
        Ok((ModelConfig { sha256: sha256(&parameters), ..self.config.clone() }, parameters))
    }

    /// Writes the model's files in a transaction, and returns the SHA-256 of the parameters. `thresholds` are described in the card.
    pub(crate) fn save_in(
        &self,
        transaction: &Transaction,
        results: &str,
        thresholds: Option<&Calibration>,
    ) -> Result<String> {
        let (config, parameters) = self.described_parameters()?;
        let sha256 = config.sha256.clone();
        transaction.write(PARAMETERS, &parameters)?;
        transaction.write(CARD, card(&config, self.image_counts(), results, thresholds).as_bytes())?;
        match self.trained_on() {
            Some(trained_on) => transaction.write(TRAINING_IMAGES, trained_on.to_json(&sha256)?.as_bytes())?,
            None => transaction.remove(TRAINING_IMAGES)?,
        }
        Self::write_config(&config, transaction)?;
        Ok(sha256)
    }

    /// Writes a model's description in a transaction.
    pub(crate) fn write_config(config: &ModelConfig, transaction: &Transaction) -> Result<()> {
        Ok(transaction.write(CONFIG, config_text(config)?.as_bytes())?)
    }

    /// Returns the content of `config.json` and of `model.safetensors`.
    pub(crate) fn to_bytes(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let (config, parameters) = self.described_parameters()?;
        Ok((config_text(&config)?.into_bytes(), parameters))
    }

    /// Reads a folder. While another process saves there, the result is the earlier model or the new one. A save that a killed process
    /// committed is completed.
    ///
    /// # Errors
    /// [`Error::Format`] for a folder that is no model, one of a newer format, and one whose files do not belong together;
    /// [`Error::Io`], and those of [`DualAd::load`].
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        store::read(folder, CONFIG, || Self::load_once(folder, device))
    }

    /// Reads a folder inside of [`store::read`], for callers that read more of its files.
    pub(crate) fn load_once(folder: &Path, device: &Device) -> Result<Self> {
        if folder.as_os_str().is_empty() {
            return Err(Error::invalid_argument(
                "the model's folder",
                "an empty path",
                "name the folder of a saved model",
            ));
        }
        if folder.is_file() {
            return Err(Error::model(folder, "it is a file; name the folder that has the model's files"));
        }
        let model = Self::from_files(folder, &store::find(folder, CONFIG), &store::find(folder, PARAMETERS), device)?;
        model.with_record(folder, store::find_optional(folder, TRAINING_IMAGES).as_deref())
    }

    /// Reads two files that may be in different folders. `name` is the model's name in errors.
    pub(crate) fn from_files(name: &Path, config: &Path, parameters: &Path, device: &Device) -> Result<Self> {
        let config = config::read(config, name)?;
        // Checked before the parameters are read, which may be large.
        ModelConfig::from_json(name, &config)?;
        let parameters = dualad_backbones::weights::read_file(parameters)?;
        Self::from_bytes(name, config.as_bytes(), &parameters, device)
    }

    /// Reads the record of the training images, if there is one. `name` is the model's name in errors.
    pub(crate) fn with_record(self, name: &Path, file: Option<&Path>) -> Result<Self> {
        let read = file.map(|file| TrainedOn::read(file, name, &self.config.sha256)).transpose()?;
        Ok(self.with_trained_on(read.flatten()))
    }

    /// Reads the content of a `config.json` and a `model.safetensors`. `name` is the model's name in errors.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub fn from_bytes(name: &Path, config: &[u8], parameters: &[u8], device: &Device) -> Result<Self> {
        let wrong = |reason: String| Error::model(name, reason);
        let text = std::str::from_utf8(config).map_err(|_| wrong(format!("its {CONFIG} is no UTF-8 text")))?;
        let config = ModelConfig::from_json(name, text)?;
        let found = sha256(parameters);
        if found != config.sha256 {
            let expected = &config.sha256;
            return Err(wrong(format!(
                "its {PARAMETERS} has SHA-256 {found}, and its {CONFIG} says {expected}; copy both from the same model"
            )));
        }
        let source_name = name.join(PARAMETERS).display().to_string();
        // The bank's tensors are read by the numbers of the network's configuration.
        config.network.validate()?;
        let reader = SafetensorsReader::new(&source_name, parameters)?;
        let stages = bank_stages(&config.network.stage_channels);
        let categories = config.categories.len();
        let file = config.bank.as_ref().map(|bank| BankFile {
            bank,
            stage_channels: stages,
            categories,
            held_out: config.held_out.len(),
        });
        let bank = file.map(|file| Bank::read(name, &reader, file)).transpose()?;
        let is_banks = |key: &str| bank.as_ref().is_some_and(|bank| is_bank_key(bank.config(), key));
        let keys = reader.keys().filter(|key| !is_banks(key)).map(str::to_owned).collect();
        let network = DualAd::from_reader(config.network.clone(), &source_name, &reader, keys, device)?;
        Ok(Self { config, network, bank, trained_on: None })
    }
}

/// Returns the content of `config.json`.
fn config_text(config: &ModelConfig) -> Result<String> {
    let no_json = |error: serde_json::Error| Error::Io { action: "write", path: CONFIG.into(), error: error.into() };
    Ok(serde_json::to_string_pretty(config).map_err(no_json)? + "\n")
}

#[cfg(test)]
mod tests {
    use dualad_backbones::{Backbone, Provenance};

    use super::*;
    use crate::Random;
    use crate::model::files::PREVIOUS_CALIBRATION;
    use crate::testing::{bits, small};

    fn model() -> Model {
        let network = DualAd::new(small(), &Random::new(0), &Device::Cpu).unwrap();
        Model::new(network, Backbone::FilterBank, &[1, 2, 3], Provenance::default())
            .with_categories(vec!["gear".into(), "plate".into()])
    }

    fn load_error(folder: &Path) -> String {
        let error = Model::load(folder, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains(&folder.display().to_string()), "{error}");
        error
    }

    #[test]
    fn a_model_is_loaded_as_saved() {
        let folder = tempfile::tempdir().unwrap();
        let saved = model();
        saved.save(folder.path(), "It was not.").unwrap();
        let loaded = Model::load(folder.path(), &Device::Cpu).unwrap();
        assert_eq!(bits(saved.network.parameters()), bits(loaded.network.parameters()));
        assert_eq!(loaded.network.config(), saved.network.config());
        assert_eq!(loaded.config, ModelConfig { sha256: loaded.config.sha256.clone(), ..saved.config });
        assert_eq!((loaded.config.input.height, loaded.config.input.width), (48, 64));
        let card = std::fs::read_to_string(folder.path().join(CARD)).unwrap();
        assert!(card.contains("gear, plate") && card.contains("It was not.") && card.contains("48 x 64"), "{card}");
    }

    #[test]
    fn a_folder_with_the_field_names_of_an_earlier_version_loads() {
        let folder = tempfile::tempdir().unwrap();
        let saved = model();
        saved.save(folder.path(), "").unwrap();
        let path = folder.path().join(CONFIG);
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (old, new) in [("window", "neighbor_mask"), ("head_width", "chunk_width"), ("standardise", "standardize")] {
            assert!(text.contains(&format!("\"{new}\"")) && !text.contains(&format!("\"{old}\"")), "{text}");
            text = text.replace(&format!("\"{new}\""), &format!("\"{old}\""));
        }
        std::fs::write(&path, text).unwrap();
        let loaded = Model::load(folder.path(), &Device::Cpu).unwrap();
        assert_eq!(loaded.config.network, saved.config.network);
    }

    #[test]
    fn a_folder_without_a_valid_model_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load_error(folder.path()).contains("it has no config.json"));
        model().save(folder.path(), "").unwrap();
        let path = folder.path().join(CONFIG);
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, word) in [
            (r#""format": 1"#, r#""format": 3"#, "update"),
            (r#""format": 1"#, r#""format": "one""#, "unknown `format`"),
            (r#""categories""#, r#""kategories""#, "kategories"),
            ("{", "", "not a model configuration"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            assert!(load_error(folder.path()).contains(word), "{word}");
        }
        // The parameters of another model.
        std::fs::write(&path, &text).unwrap();
        let other = DualAd::new(small(), &Random::new(1), &Device::Cpu).unwrap();
        other.save(folder.path().join(PARAMETERS)).unwrap();
        assert!(load_error(folder.path()).contains("SHA-256"));
        std::fs::remove_file(folder.path().join(PARAMETERS)).unwrap();
        load_error(folder.path());
    }

    #[test]
    fn thresholds_of_another_model_are_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let save = |seed: u64| {
            let network = DualAd::new(small(), &Random::new(seed), &Device::Cpu).unwrap();
            let model = Model::new(network, Backbone::FilterBank, &[1, 2, 3], Provenance::default());
            model.save(folder.path(), "").unwrap();
        };
        for written in [r#"{"pooled": {"reject": 5}}"#, "no JSON"] {
            save(0);
            std::fs::write(path(CALIBRATION), written).unwrap();
            // The same model, for example with another card.
            save(0);
            assert_eq!(std::fs::read_to_string(path(CALIBRATION)).unwrap(), written);
            save(1);
            assert!(!path(CALIBRATION).exists());
            assert_eq!(std::fs::read_to_string(path(PREVIOUS_CALIBRATION)).unwrap(), written);
        }
    }
}
