//! Training.

use dualad::backbones::{Backbone, Weights};
use dualad::calibration::Rule;
use dualad::data::image::Limits;
use dualad::detector::Tiling;
use dualad::fit::{Fit, TrainingImages};
use dualad::recipe::{Preset, Recipe};
use dualad::{Error, Variant};
use pyo3::prelude::*;
use serde::Deserialize;

use crate::calibration::calibrator;
use crate::errors::invalid;
use crate::images::{Image, picture};
use crate::progress::Step;
use crate::source::Source;
use crate::work::Caller;

/// Training images: a folder, or images with their categories.
#[derive(Debug, FromPyObject)]
pub(crate) enum Images {
    Folder(std::path::PathBuf),
    List(Vec<(String, Image)>),
}

/// The model that training starts from.
pub(crate) enum Start {
    New(Option<Source>),
    From(dualad::Detector),
}

/// The options of a run, as the Python half writes them. All are optional.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    backbone: Option<String>,
    preset: Option<String>,
    /// The fields of the recipe that differ from the preset's.
    recipe: Option<serde_json::Value>,
    epochs: Option<u64>,
    seed: Option<u64>,
    hold_out: Option<f64>,
    tile: Option<u32>,
    tile_overlap: Option<f64>,
    checkpoint: Option<String>,
    resume: Option<bool>,
    log: Option<String>,
    skip_broken: Option<bool>,
    max_pixels: Option<u64>,
    reject: Option<Rule>,
    review: Option<Rule>,
}

/// Trains a model. Returns it with the JSON of its report.
pub(crate) fn run(
    start: Start,
    images: Images,
    options: &str,
    caller: Caller,
) -> Result<(dualad::Detector, String), Error> {
    let options: Options = serde_json::from_str(options).map_err(|error| invalid("the options", options, error))?;
    let limits = options.max_pixels.map_or_else(Limits::default, Limits::for_pixels);
    let (images, left_out) = read(images, &limits, options.skip_broken.unwrap_or(false), &caller)?;
    let mut fit = match start {
        Start::New(weights) => new(images, weights, &options)?,
        Start::From(base) => base.extend(images),
    };
    if options.max_pixels.is_some() {
        fit = fit.limits(limits);
    }
    if let Some(epochs) = options.epochs {
        fit = fit.epochs(epochs);
    }
    if let Some(seed) = options.seed {
        fit = fit.seed(seed);
    }
    if let Some(share) = options.hold_out {
        fit = fit.hold_out(share);
    }
    if let Some(path) = options.checkpoint {
        fit = fit.checkpoint(path);
    }
    if let Some(path) = options.log {
        fit = fit.log(path);
    }
    let fit = fit.resume(options.resume.unwrap_or(true)).skip_broken(options.skip_broken.unwrap_or(false));
    let fit = fit.calibrator(calibrator(options.reject, options.review)).cancel(&caller.cancel);
    let report = caller.into_report();
    let fitted = fit.progress(move |progress| Step::of_fit(progress).into_iter().for_each(&report)).run()?;
    let json = serde_json::json!({
        "losses": fitted.losses,
        "held_out": fitted.held_out,
        "changes": fitted.changes,
        "notices": left_out.iter().chain(&fitted.notices).collect::<Vec<_>>(),
    });
    Ok((fitted.detector, json.to_string()))
}

/// Returns the run of a new model.
fn new(images: TrainingImages, weights: Option<Source>, options: &Options) -> Result<Fit, Error> {
    let mut fit = dualad::Detector::fit(images);
    let backbone = options.backbone.as_deref().map_or(Ok(Backbone::FilterBank), str::parse::<Backbone>)?;
    if options.backbone.is_some() || weights.is_some() {
        fit = fit.backbone(backbone, weights.as_ref().map_or_else(Weights::default, Source::weights));
    }
    let preset = options.preset.as_deref().unwrap_or(Preset::Fast.name());
    let Some(preset) = Preset::ALL.into_iter().find(|known| known.name() == preset) else {
        let names = Preset::ALL.map(Preset::name).join(", ");
        return Err(invalid("the preset", preset, format!("must be one of {names}")));
    };
    fit = fit.preset(preset);
    if let Some(changes) = &options.recipe {
        let recipe: Recipe = preset.recipe(Variant::Heterogeneous, backbone);
        // No file is at fault: the recipe is an argument.
        let changed = recipe.with_json("the recipe", &changes.to_string());
        fit = fit.recipe(changed.map_err(|error| invalid("recipe", changes, error))?);
    }
    if let Some(tile) = options.tile {
        let tiling = Tiling::new(tile)?;
        fit = fit.tiling(Some(options.tile_overlap.map_or(Ok(tiling), |share| tiling.overlap(share))?));
    }
    Ok(fit)
}

/// Returns the training images, and a notice on those that are left out because they cannot be read. Files stay files; if any image is in
/// memory, all are.
fn read(
    images: Images,
    limits: &Limits,
    skip_broken: bool,
    caller: &Caller,
) -> Result<(TrainingImages, Option<String>), Error> {
    let images = match images {
        Images::Folder(folder) => return Ok((TrainingImages::Folder(folder), None)),
        Images::List(images) => images,
    };
    if images.iter().all(|(_, image)| matches!(image, Image::Path(_))) {
        let files = images.into_iter().filter_map(|(category, image)| match image {
            Image::Path(path) => Some((category, path)),
            _ => None,
        });
        return Ok((TrainingImages::files(files), None));
    }
    let total = images.len();
    let (mut pictures, mut broken) = (Vec::with_capacity(total), Vec::new());
    for (index, (category, image)) in images.into_iter().enumerate() {
        if caller.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match picture(&image, limits) {
            Ok(picture) => pictures.push((category, picture)),
            Err(error @ (Error::Data(_) | Error::Io { .. })) if skip_broken => {
                broken.push(format!("picture {index} ({category}): {error}"));
            }
            Err(error) => return Err(error),
        }
        caller.report(Step::counted("reading", index + 1, total));
    }
    let left_out = match broken.len() {
        0 => None,
        1 => Some(format!("an image is left out: {}", broken.join(""))),
        count => Some(format!("{count} images are left out, such as {}", broken.first().map_or("", String::as_str))),
    };
    Ok((TrainingImages::pictures(pictures), left_out))
}
