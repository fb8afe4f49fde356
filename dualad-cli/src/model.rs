//! Parts that subcommands with a trained model share: the flags that name it, and the line of JSON for an image.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use dualad::backbones::{Backbone, Weights};
use dualad::calibration::Calibration;
use dualad::candle_core::Device;
use dualad::data::image::Limits;
use dualad::data::render;
use dualad::detector::{DetectorBuilder, Inspection, Replicas};
use dualad::store::write_atomically;
use dualad::{Detector, ModelFiles, Precision};
#[cfg(feature = "hub")]
use dualad::{Error, backbones};
use serde::Serialize;

use crate::common::{CommonArgs, Result, message, parse_count};
use crate::guard::check_heat_map;
use crate::limits::LimitArgs;

/// The flags that name a model.
#[derive(Debug, Args)]
pub(crate) struct ModelSource {
    /// A trained model: its folder, or owner/name on the Hugging Face hub
    #[arg(long, value_name = "DIR|owner/name")]
    pub(crate) model: String,
    /// The backbone's weights: a safetensors or PyTorch file, or `hub` for the Hugging Face hub [default: the file in the model's folder, or the weights that its configuration names]
    #[arg(long, value_name = "FILE|hub")]
    pub(crate) weights: Option<String>,
    /// Number of threads to compute with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub(crate) threads: Option<usize>,
    /// Numbers to compute with: int8 is faster, f32 more exact. Thresholds are valid for one of them [default: that of the thresholds, f32 without any]
    #[arg(long, value_name = "f32|int8", value_parser = precisions(), hide_possible_values = true)]
    pub(crate) precision: Option<Precision>,
}

/// Returns the parser of a precision's name.
fn precisions() -> impl TypedValueParser<Value = Precision> {
    let unknown = "neither f32 nor int8";
    PossibleValuesParser::new(Precision::ALL.map(Precision::name))
        .try_map(move |name| Precision::from_name(&name).ok_or(unknown))
}

pub(crate) fn parse_threads(text: &str) -> std::result::Result<usize, String> {
    parse_count(text, 1024)
}

impl ModelSource {
    pub(crate) fn builder(&self, common: &CommonArgs) -> Result<DetectorBuilder> {
        self.builder_on(&common.device()?)
    }

    fn builder_on(&self, device: &Device) -> Result<DetectorBuilder> {
        let mut builder = Detector::builder().device(device);
        if let Some(threads) = self.threads {
            builder = builder.threads(threads);
        }
        if let Some(precision) = self.precision {
            builder = builder.precision(precision);
        }
        if let Some(weights) = &self.weights {
            builder = builder.weights(weights_of(weights)?);
        }
        Ok(builder)
    }

    pub(crate) fn load(&self, builder: DetectorBuilder) -> Result<Detector> {
        match self.folder()? {
            Some(folder) => Ok(builder.load(folder)?),
            None => from_hub(builder, &self.model),
        }
    }

    /// Returns the model's folder, unless the model is on the hub.
    pub(crate) fn folder(&self) -> Result<Option<&Path>> {
        model_folder(&self.model)
    }

    /// Returns the files of the model, which output must not replace.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let ModelFiles { config, parameters, backbone, card, .. } = ModelFiles::of(&self.model);
        [config, parameters, backbone, card].into_iter().chain(self.weights.as_ref().map(PathBuf::from)).collect()
    }
}

/// The flags that name a model and its thresholds.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    pub(crate) source: ModelSource,
    /// Thresholds to use instead of the model's own, a calibration.json
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: LimitArgs,
}

impl ModelArgs {
    /// Loads the model on every device that the flags name.
    pub(crate) fn replicas(&self, common: &CommonArgs) -> Result<Replicas> {
        self.replicas_within(common, self.images.limits())
    }

    /// Returns the file that the thresholds are read from; `None` if the model has none, or is on the hub.
    pub(crate) fn thresholds(&self) -> Result<Option<PathBuf>> {
        if let Some(path) = &self.calibration {
            return Ok(Some(path.clone()));
        }
        let own = self.source.folder()?.map(|folder| ModelFiles::of(folder).calibration);
        Ok(own.filter(|path| path.exists()))
    }

    /// Loads the model on every device that the flags name, with limits for images from others.
    pub(crate) fn replicas_within(&self, common: &CommonArgs, limits: Limits) -> Result<Replicas> {
        let (device, others) = common.device.all()?;
        let mut builder = self.source.builder_on(&device)?.limits(limits);
        if let Some(path) = &self.calibration {
            builder = builder.calibration(Some(Calibration::load(path)?));
        }
        Ok(Replicas::new(self.source.load(builder)?, &others)?)
    }

    /// Returns the files of the model, which output must not replace.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = self.source.files();
        files.extend(self.calibration.clone());
        files
    }
}

/// Returns the warning that a file of thresholds has changed since it was read.
pub(crate) fn thresholds_changed(path: &Path) -> String {
    let path = path.display();
    format!(
        "warning: {path} has changed, and the program keeps the thresholds that it has read; start it again to use the new ones"
    )
}

/// Returns the parser of a backbone's name.
pub(crate) fn backbones() -> impl TypedValueParser<Value = Backbone> {
    PossibleValuesParser::new(Backbone::ALL.map(Backbone::name)).try_map(|name| name.parse())
}

/// Returns the weights that a flag names: `hub`, or a file.
pub(crate) fn weights_of(flag: &str) -> Result<Weights> {
    if flag == "hub" { hub() } else { Ok(Weights::file(flag)) }
}

#[cfg(feature = "hub")]
fn hub() -> Result<Weights> {
    Ok(Weights::hub())
}

#[cfg(not(feature = "hub"))]
fn hub() -> Result<Weights> {
    Err("this program was built without the hub; give --weights FILE".into())
}

/// Returns the folder that a model's name is, unless it names a model on the hub: `owner/name`, where no such folder exists.
/// Anything else that exists is refused, such as a file of the model, or a pipe, which would block its reader.
pub(crate) fn model_folder(name: &str) -> Result<Option<&Path>> {
    let folder = Path::new(name);
    if folder.exists() && !folder.is_dir() {
        return Err(format!("--model {name} is not a folder; give the folder of a trained model").into());
    }
    Ok((folder.exists() || !is_hub_name(name)).then_some(folder))
}

fn is_hub_name(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.');
    matches!(text.split('/').collect::<Vec<_>>().as_slice(), [owner, name] if part(owner) && part(name))
}

#[cfg(feature = "hub")]
pub(crate) fn from_hub(builder: DetectorBuilder, name: &str) -> Result<Detector> {
    builder.from_pretrained(name).map_err(|error| match &error {
        // The weights may be of another repository.
        Error::Backbone(backbones::Error::Hub(hub)) if hub.to_string().contains(&format!("{name}@")) => {
            let folder = "give --model the folder of a copy of the model";
            format!("there is no folder {name}, and {error}; or {folder}").into()
        }
        _ => error.into(),
    })
}

#[cfg(not(feature = "hub"))]
pub(crate) fn from_hub(_: DetectorBuilder, name: &str) -> Result<Detector> {
    Err(format!("{name} is no folder, and this was built without the hub").into())
}

/// The number of images that a device inspects at a time.
const BATCH: usize = 8;

/// The number of batches for each of several devices: images are decoded while others are inspected.
const BATCHES: usize = 4;

/// Returns the number of images that are given to all devices together.
pub(crate) fn at_a_time(replicas: &Replicas) -> usize {
    match replicas.devices().len() {
        0 | 1 => BATCH,
        devices => BATCH * BATCHES * devices,
    }
}

/// Saves the heat map of an inspected image as a PNG file, which may replace an earlier heat map only.
pub(crate) fn save_heat_map(detector: &Detector, image: &Path, inspection: &Inspection, file: &Path) -> Result<()> {
    check_heat_map(file)?;
    write_atomically(file, &heat_map(detector, image, inspection)?)
        .map_err(|error| format!("cannot write {}: {error}", file.display()).into())
}

/// Returns the heat map of an inspected image as the bytes of a PNG file.
pub(crate) fn heat_map(detector: &Detector, image: &Path, inspection: &Inspection) -> Result<Vec<u8>> {
    Ok(render::encode_heat_map(&inspection.heat_map(&detector.picture(image)?)?)?)
}

/// The line of JSON for an image.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Line<'a> {
    Found {
        image: &'a str,
        #[serde(flatten)]
        inspection: &'a Inspection,
        #[serde(skip_serializing_if = "Option::is_none")]
        heatmap: Option<String>,
    },
    Failed {
        image: &'a str,
        error: String,
    },
}

impl<'a> Line<'a> {
    pub(crate) fn failed(image: &'a str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed { image, error: message(error) }
    }

    /// Returns the line with its line break.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(format!("{}\n", serde_json::to_string(self)?))
    }
}

/// Refuses categories that were typed and that the model was not trained on.
pub(crate) fn check_categories(detector: &Detector, categories: &[String]) -> Result<()> {
    categories.iter().try_for_each(|category| check_category(detector, Some(category)))
}

/// Refuses a category that the model was not trained on: a typing error would be decided by the pooled thresholds.
pub(crate) fn check_category(detector: &Detector, category: Option<&str>) -> Result<()> {
    let Some(category) = category else { return Ok(()) };
    let known = detector.categories();
    if !known.is_empty() && !known.iter().any(|name| name == category) {
        return Err(format!("the model was not trained on \"{category}\", but on {}", known.join(", ")).into());
    }
    Ok(())
}
