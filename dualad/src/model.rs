//! A trained model on disk: a folder of `config.json`, `model.safetensors` and a model card.

use std::path::{Path, PathBuf};

use candle_core::Device;
use dualad_backbones::{Backbone, Provenance, weights};
use dualad_data::image::{IMAGENET_MEAN, IMAGENET_STD, Preprocess};
use dualad_store::{self as store, Transaction};
use serde::{Deserialize, Serialize};

use crate::DualAd;
use crate::calibration::Calibration;
use crate::config::DualAdConfig;
use crate::detector::Tiling;
use crate::error::{Error, Result};
use crate::recipe::TrainConfig;

/// To be raised when a folder's content changes in a way that older versions cannot read.
const FORMAT: u64 = 1;
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PARAMETERS: &str = "model.safetensors";
pub(crate) const CALIBRATION: &str = "calibration.json";
/// Thresholds of the model that was in a folder before.
const PREVIOUS_CALIBRATION: &str = "calibration.previous.json";
/// The backbone's weights, where a folder has them.
pub(crate) const BACKBONE: &str = "backbone.safetensors";
const CARD: &str = "README.md";
/// No configuration comes near it.
const LARGEST_CONFIG: u64 = 16 << 20;

/// Everything but the numbers: what `config.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The version of this format.
    format: u64,
    /// The version of the library that wrote it.
    pub dualad: String,
    /// The frozen backbone.
    pub backbone: Backbone,
    /// Which of its stages are read, by number from 1.
    pub stages: Vec<usize>,
    /// Where its weights are from.
    pub weights: Provenance,
    /// How images become its input.
    pub input: Input,
    /// The reconstruction network.
    pub network: DualAdConfig,
    /// SHA-256 of `model.safetensors`, in lower-case hexadecimal.
    pub sha256: String,
    /// The categories it was trained on.
    pub categories: Vec<String>,
    /// How many images it was trained on.
    pub train_images: usize,
    /// The images that were kept back from training, to set thresholds by: the first half of each one's SHA-256, in
    /// hexadecimal. What is trained on later keeps them back again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out: Vec<String>,
    /// The name of the recipe that was started from; may be empty.
    pub preset: String,
    /// How it was trained.
    pub train: Option<TrainConfig>,
}

/// How images become a backbone's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Input {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// How pictures are resampled: `bilinear`.
    pub filter: String,
    /// What happens to other aspect ratios: `stretch`.
    pub fit: String,
    /// Subtracted from red, green and blue on `[0, 1]`.
    pub mean: [f32; 3],
    /// What they are then divided by.
    pub standard_deviation: [f32; 3],
    /// How pictures are cut into tiles, each of which is an input of its own; whole pictures without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiling: Option<Tiling>,
}

impl Input {
    /// What a network of this grid of tokens was trained on: the paper's preprocessing.
    pub fn of_grid([rows, columns]: [usize; 2]) -> Self {
        // Grids have at most 256 rows and columns.
        let side = |tokens: usize| u32::try_from(tokens * 16).unwrap_or(u32::MAX);
        Self {
            height: side(rows),
            width: side(columns),
            filter: "bilinear".into(),
            fit: "stretch".into(),
            mean: IMAGENET_MEAN,
            standard_deviation: IMAGENET_STD,
            tiling: None,
        }
    }

    /// The preprocessing.
    ///
    /// # Errors
    /// [`Error::Config`] for a filter or a fit that this version does not know, [`Error::Data`] for numbers out of range.
    pub fn preprocess(&self) -> Result<Preprocess> {
        let known = [("input.filter", &self.filter, "bilinear"), ("input.fit", &self.fit, "stretch")];
        for (field, value, known) in known {
            if value != known {
                let reason = format!("must be {known}: this version knows no other");
                return Err(Error::Config { field, value: value.clone(), reason });
            }
        }
        Ok(Preprocess::new(self.height, self.width)?.normalise(self.mean, self.standard_deviation)?)
    }
}

/// A trained network and all that is needed to use it.
///
/// ```
/// use dualad::backbones::{Backbone, FeatureExtractor};
/// use dualad::candle_core::Device;
/// use dualad::{DualAd, DualAdConfig, Model, Random, Variant};
///
/// let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
///     .with_narrow_width(16)
///     .with_chunk_width(16)
///     .with_ffn_width(32); // small, for an example
/// let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
/// let extractor = Backbone::FilterBank.extractor().build()?;
///
/// let folder = std::env::temp_dir().join(format!("dualad-doc-model-{}", std::process::id()));
/// Model::new(network, Backbone::FilterBank, &[1, 2, 3], extractor.provenance().clone()).save(&folder, "Untrained.")?;
/// let model = Model::load(&folder, &Device::Cpu)?;
/// assert_eq!(model.config.backbone, Backbone::FilterBank);
/// assert_eq!(model.config.input.preprocess()?.height(), 224);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Model {
    /// Everything but the numbers.
    pub config: ModelConfig,
    /// The reconstruction network.
    pub network: DualAd,
}

impl Model {
    /// A model of a network that was trained on features of this backbone.
    pub fn new(network: DualAd, backbone: Backbone, stages: &[usize], weights: Provenance) -> Self {
        let config = ModelConfig {
            format: FORMAT,
            dualad: env!("CARGO_PKG_VERSION").into(),
            backbone,
            stages: stages.into(),
            weights,
            input: Input::of_grid(network.config().grid),
            network: network.config().clone(),
            sha256: String::new(),
            categories: Vec::new(),
            train_images: 0,
            held_out: Vec::new(),
            preset: String::new(),
            train: None,
        };
        Self { config, network }
    }

    /// Writes the folder, which is made if it is not there; `results` is a section of the model card, in Markdown.
    ///
    /// All of them take the place of an earlier model's together: whenever the process ends, the folder holds one model or the other.
    /// Backbone weights of another model go with it, and so do its thresholds, which are kept as `calibration.previous.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written, [`Error::Parameter`] if a parameter is not finite, [`Error::Busy`] while another
    /// process writes there.
    pub fn save(&self, folder: impl AsRef<Path>, results: &str) -> Result<()> {
        let folder = folder.as_ref();
        let change = Transaction::begin(folder)?;
        let sha256 = self.save_in(&change, results)?;
        let thresholds = folder.join(CALIBRATION);
        if store::exists(&thresholds) {
            let earlier = read(&folder.join(CONFIG), folder).and_then(|text| Self::config(folder, &text));
            let same = earlier.is_ok_and(|earlier| earlier.sha256 == sha256);
            // Those that do not say whose they are were for the model that was here.
            let named = Calibration::load(&thresholds).ok().and_then(|thresholds| thresholds.model);
            if named.map_or(!same, |named| named != sha256) {
                if std::fs::metadata(&thresholds).is_ok_and(|found| found.is_file() && found.len() <= LARGEST_CONFIG) {
                    let io = |error| Error::Io { action: "read", path: thresholds.clone(), error };
                    change.write(PREVIOUS_CALIBRATION, &std::fs::read(&thresholds).map_err(io)?)?;
                }
                change.remove(CALIBRATION)?;
            }
        }
        self.remove_other_backbone(&change, folder)?;
        Ok(change.commit()?)
    }

    /// Weights that this model would not load with.
    pub(crate) fn remove_other_backbone(&self, change: &Transaction, folder: &Path) -> Result<()> {
        let weights = folder.join(BACKBONE);
        if weights.exists() && weights::sha256_of_file(&weights).ok() != self.config.weights.sha256 {
            change.remove(BACKBONE)?;
        }
        Ok(())
    }

    /// Its files, for a folder that others change with them; the parameters' SHA-256.
    pub(crate) fn save_in(&self, change: &Transaction, results: &str) -> Result<String> {
        let parameters = self.network.to_safetensors()?;
        let sha256 = weights::sha256(&parameters);
        let config = ModelConfig { sha256: sha256.clone(), ..self.config.clone() };
        change.write(PARAMETERS, &parameters)?;
        change.write(CARD, card(&config, results).as_bytes())?;
        let unsaid = |error: serde_json::Error| Error::Io { action: "write", path: CONFIG.into(), error: error.into() };
        let mut text = serde_json::to_string_pretty(&config).map_err(unsaid)?;
        text.push('\n');
        change.write(CONFIG, text.as_bytes())?;
        Ok(sha256)
    }

    /// Reads a folder. One that another process is just writing to gives the earlier model or the new one; what a killed process
    /// had begun to save is put in order.
    ///
    /// # Errors
    /// [`Error::Format`] for a folder that is no model, one of a newer format, or one whose files do not belong together;
    /// [`Error::Io`], and as [`DualAd::load`].
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        store::read(folder, CONFIG, || Self::load_once(folder, device))
    }

    /// [`Self::load`] for who reads more of the folder.
    pub(crate) fn load_once(folder: &Path, device: &Device) -> Result<Self> {
        Self::from_files(folder, &store::find(folder, CONFIG), &store::find(folder, PARAMETERS), device)
    }

    /// [`Self::load`] of two files that need not lie side by side. `name` is what errors call the model.
    pub(crate) fn from_files(name: &Path, config: &Path, parameters: &Path, device: &Device) -> Result<Self> {
        let config = read(config, name)?;
        // Before what may be large.
        Self::config(name, &config)?;
        let parameters = weights::read_file(parameters)?;
        Self::from_bytes(name, config.as_bytes(), &parameters, device)
    }

    /// A model from the content of its `config.json` and its `model.safetensors`; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_bytes(name: &Path, config: &[u8], parameters: &[u8], device: &Device) -> Result<Self> {
        let wrong = |reason: String| Error::model(name, reason);
        let text = std::str::from_utf8(config).map_err(|_| wrong(format!("its {CONFIG} is no UTF-8 text")))?;
        let config = Self::config(name, text)?;
        let found = weights::sha256(parameters);
        if found != config.sha256 {
            let expected = &config.sha256;
            return Err(wrong(format!(
                "its {PARAMETERS} has SHA-256 {found}, and its {CONFIG} says {expected}; copy both from the same model"
            )));
        }
        let source_name = name.join(PARAMETERS).display().to_string();
        let network = DualAd::from_safetensors(config.network.clone(), &source_name, parameters, device)?;
        Ok(Self { config, network })
    }

    fn config(name: &Path, text: &str) -> Result<ModelConfig> {
        let wrong = |reason: String| Error::model(name, reason);
        let malformed = |error: serde_json::Error| wrong(format!("its {CONFIG} is no model's: {error}"));
        let value: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        // The version first: of another one, the rest may look different.
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(FORMAT) => {}
            Some(format) if format > FORMAT => {
                return Err(wrong(format!(
                    "it has format {format}, and this version knows up to {FORMAT}; update dualad"
                )));
            }
            _ => return Err(wrong(format!("its {CONFIG} has no format that was ever written; save the model again"))),
        }
        serde_json::from_value(value).map_err(malformed)
    }
}

/// The files of a saved model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelFiles {
    /// `config.json`: the [`ModelConfig`].
    pub config: PathBuf,
    /// `model.safetensors`: the parameters of the reconstruction network.
    pub parameters: PathBuf,
    /// `calibration.json`: the thresholds, if there are any.
    pub calibration: PathBuf,
    /// `calibration.previous.json`: the thresholds of the model that was in the folder before, if it had any.
    pub previous_calibration: PathBuf,
    /// `backbone.safetensors`: the backbone's weights, if the folder has them.
    pub backbone: PathBuf,
    /// `README.md`: the model card.
    pub card: PathBuf,
}

impl ModelFiles {
    /// The files of the model in this folder, whether they exist or not.
    pub fn of(folder: impl AsRef<Path>) -> Self {
        let file = |name| folder.as_ref().join(name);
        Self {
            config: file(CONFIG),
            parameters: file(PARAMETERS),
            calibration: file(CALIBRATION),
            previous_calibration: file(PREVIOUS_CALIBRATION),
            backbone: file(BACKBONE),
            card: file(CARD),
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<PathBuf> {
        let Self { config, parameters, calibration, previous_calibration, backbone, card } = self.clone();
        vec![config, parameters, calibration, previous_calibration, backbone, card]
    }
}

fn read(path: &Path, folder: &Path) -> Result<String> {
    let io = |error| Error::Io { action: "read", path: path.into(), error };
    let wrong = |reason: String| Error::model(folder, reason);
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(wrong(format!("it has no {CONFIG}; name the folder of a trained model")));
        }
        Err(error) => return Err(io(error)),
    };
    // Opening a pipe, or reading a device, may never end.
    if !metadata.is_file() || metadata.len() > LARGEST_CONFIG {
        return Err(wrong(format!("its {CONFIG} is not a file of at most {} MiB", LARGEST_CONFIG >> 20)));
    }
    std::fs::read_to_string(path).map_err(io)
}

/// The model card.
fn card(config: &ModelConfig, results: &str) -> String {
    let ModelConfig { backbone, weights, network, categories, train_images, input, .. } = config;
    let origin = match (weights.source.as_str(), &weights.revision) {
        ("none", _) => "needs no weights".to_owned(),
        (source, Some(revision)) => format!("weights from {source}: {}, revision {revision}", weights.location),
        (source, None) => format!("weights from {source} {}", weights.location),
    };
    let digest = weights.sha256.as_ref().map(|digest| format!(", SHA-256 `{digest}`")).unwrap_or_default();
    let variant = network.variant;
    let trained = match &config.train {
        Some(train) => format!(
            "{train_images} normal images, epochs: {}, images a step: {}, seed: {}",
            train.epochs, train.batch_size, train.seed
        ),
        None => format!("{train_images} normal images"),
    };
    format!(
        "---\nlibrary_name: dualad\ntags:\n- anomaly-detection\n---\n\n\
         # Anomaly detection: {}\n\n\
         A DualAD model (S. He et al., Electronics 2025, 14(3), 594), trained by dualad {}. It scores how far an image, and each of \
         its pixels, departs from the normal images it was trained on; it has seen no defects, and its scores are no \
         probabilities. What it was not trained on, be it another product, camera or light, looks anomalous to it.\n\n\
         | | |\n|---|---|\n| backbone | `{backbone}`, {origin}{digest} |\n| network | {variant}, narrow width {} |\n\
         | input | RGB, {} x {} pixels (height x width), {}, {} |\n| trained on | {trained} |\n| categories | {} |\n\n\
         ## Results\n\n{}\n\n## Files\n\n`config.json` says how to rebuild it, `model.safetensors` holds the reconstruction \
         network, `calibration.json`, where there is one, the thresholds.{}\n",
        categories.join(", "),
        config.dualad,
        network.narrow_width,
        input.height,
        input.width,
        input.filter,
        input.fit,
        categories.join(", "),
        if results.trim().is_empty() { "Not measured." } else { results.trim() },
        if weights.source == "none" {
            ""
        } else {
            " The backbone's weights are not included, and have a licence of their own."
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::testing::{bits, small};

    fn model() -> Model {
        let network = DualAd::new(small(), &Random::new(0), &Device::Cpu).unwrap();
        let mut model = Model::new(network, Backbone::FilterBank, &[1, 2, 3], Provenance::default());
        model.config.categories = vec!["gear".into(), "plate".into()];
        model
    }

    fn load_error(folder: &Path) -> String {
        let error = Model::load(folder, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains(&folder.display().to_string()), "{error}");
        error
    }

    #[test]
    fn a_model_comes_back_as_it_was() {
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
    fn what_is_no_model_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load_error(folder.path()).contains("it has no config.json"));
        model().save(folder.path(), "").unwrap();
        let path = folder.path().join(CONFIG);
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, word) in [
            (r#""format": 1"#, r#""format": 2"#, "update"),
            (r#""format": 1"#, r#""format": "one""#, "no format"),
            (r#""categories""#, r#""kategories""#, "kategories"),
            ("{", "", "no model"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            assert!(load_error(folder.path()).contains(word), "{word}");
        }
        // The numbers of another model.
        std::fs::write(&path, &text).unwrap();
        let other = DualAd::new(small(), &Random::new(1), &Device::Cpu).unwrap();
        other.save(folder.path().join(PARAMETERS)).unwrap();
        assert!(load_error(folder.path()).contains("SHA-256"));
        std::fs::remove_file(folder.path().join(PARAMETERS)).unwrap();
        load_error(folder.path());
    }

    #[test]
    fn thresholds_of_the_model_that_was_here_do_not_stay_with_another() {
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
            // The same model, such as with another card.
            save(0);
            assert_eq!(std::fs::read_to_string(path(CALIBRATION)).unwrap(), written);
            save(1);
            assert!(!path(CALIBRATION).exists());
            assert_eq!(std::fs::read_to_string(path(PREVIOUS_CALIBRATION)).unwrap(), written);
        }
    }

    #[test]
    fn an_input_that_is_not_known_is_refused() {
        let mut input = Input::of_grid([3, 4]);
        assert_eq!(input.preprocess().unwrap().width(), 64);
        input.filter = "lanczos".into();
        assert!(input.preprocess().unwrap_err().to_string().contains("lanczos"));
        let mut input = Input::of_grid([3, 4]);
        input.standard_deviation[1] = 0.0;
        assert!(matches!(input.preprocess(), Err(Error::Data(_))));
    }
}
