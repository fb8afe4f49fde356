//! Training on pictures in memory.

use std::cell::RefCell;

use dualad::backbones::{Backbone, Weights};
use dualad::data::image::Picture;
use dualad::fit::{FitProgress, TrainingImages as Images};
use dualad::recipe::Preset;
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use crate::detector::Detector;
use crate::errors::{exception, invalid};
use crate::pixels::picture;
use crate::types::{FitOptions, Progress, TrainingImage, TrainingImages, kind_of, optional_bytes};

/// The options but the weights.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Options {
    backbone: Option<String>,
    preset: Option<String>,
    epochs: u64,
    hold_out: Option<f64>,
    seed: Option<u64>,
}

thread_local! {
    /// The function that is told the progress of the training: it cannot leave its thread, and the library's closure may.
    static PROGRESS: RefCell<Option<js_sys::Function>> = const { RefCell::new(None) };
}

#[wasm_bindgen]
impl Detector {
    /// Trains a model on images of good parts, by default the bank of normal features alone, which needs no epochs. A fifth of each
    /// category's images sets the thresholds; with fewer than five there are none. `progress` is called after each step.
    ///
    /// Throws a `DualadError` for wrong options and images.
    pub fn fit(
        images: &TrainingImages,
        options: Option<FitOptions>,
        progress: Option<Progress>,
    ) -> Result<Detector, JsValue> {
        let pictures = pictures(images)?;
        let (options, weights) = match &options {
            None => (Options::default(), None),
            Some(given) => (parsed(given)?, optional_bytes("weights", &given.weights())?),
        };
        let backbone = match &options.backbone {
            None => Backbone::FilterBank,
            Some(name) => name.parse().map_err(|error: dualad::backbones::Error| exception(&error.into()))?,
        };
        let preset = options.preset.as_deref().unwrap_or(Preset::Fast.name());
        let Some(preset) = Preset::ALL.into_iter().find(|known| known.name() == preset) else {
            let names = Preset::ALL.map(Preset::name).join(", ");
            return Err(invalid("the preset", format!("\"{preset}\""), format!("must be one of {names}")));
        };
        let mut fit = dualad::Detector::fit(Images::pictures(pictures))
            .backbone(backbone, weights.map_or_else(Weights::default, Weights::bytes))
            .preset(preset)
            .epochs(options.epochs)
            .progress(|progress| report(&progress));
        if let Some(share) = options.hold_out {
            fit = fit.hold_out(share);
        }
        if let Some(seed) = options.seed {
            fit = fit.seed(seed);
        }
        PROGRESS.set(progress.map(|function| function.unchecked_into()));
        let fitted = fit.run();
        PROGRESS.set(None);
        let detector = fitted.map_err(|error| exception(&error))?.detector;
        Ok(Detector { detector })
    }
}

fn pictures(images: &TrainingImages) -> Result<Vec<(String, Picture)>, JsValue> {
    let Some(images) = images.dyn_ref::<js_sys::Array>() else {
        return Err(invalid("the images", kind_of(images), "must be an array of objects with `image` and `category`"));
    };
    let mut pictures = Vec::with_capacity(images.length() as usize);
    for (number, item) in images.iter().enumerate() {
        if !item.is_object() {
            let reason = "must be an object with `image` and `category`";
            return Err(invalid(&format!("image number {number}"), kind_of(&item), reason));
        }
        let item: TrainingImage = item.unchecked_into();
        let category = item.category();
        let Some(name) = category.as_string().filter(|name| !name.is_empty()) else {
            let argument = format!("the category of image number {number}");
            return Err(invalid(&argument, kind_of(&category), "must be the product's name"));
        };
        pictures.push((name, picture(&item.image())?));
    }
    Ok(pictures)
}

/// Returns the options; bytes among them are `{}` or numbers in JSON, which is ignored.
fn parsed(options: &FitOptions) -> Result<Options, JsValue> {
    let without = js_sys::Object::assign(&js_sys::Object::new(), options.unchecked_ref());
    js_sys::Reflect::delete_property(&without, &"weights".into())?;
    let text = js_sys::JSON::stringify(&without)?.as_string().unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| invalid("the options", &text, error))
}

/// Tells the caller's function a step. An exception that it throws is ignored: the training has no fault.
fn report(progress: &FitProgress) {
    let (step, done, total) = match progress {
        FitProgress::Reading(at) => ("reading", at.done, at.total),
        FitProgress::Features(at) => ("features", at.done, at.total),
        FitProgress::Bank(at) => ("bank", at.done, at.total),
        FitProgress::Training(at) => ("training", at.step as usize, at.steps as usize),
        FitProgress::Scoring(at) => ("scoring", at.done, at.total),
        _ => return,
    };
    PROGRESS.with_borrow(|function| {
        if let Some(function) = function {
            let _ = function.call3(&JsValue::NULL, &step.into(), &(done as f64).into(), &(total as f64).into());
        }
    });
}
