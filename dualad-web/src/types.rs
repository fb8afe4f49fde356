//! The objects that JavaScript passes and gets, and their TypeScript types.

use js_sys::{Function, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** The files of a model's folder, as bytes. */
export interface ModelFiles {
    /** `config.json` */
    config: Uint8Array;
    /** `model.safetensors` */
    parameters: Uint8Array;
    /** The backbone's weights, such as `backbone.safetensors`: if the model's backbone has weights. */
    backbone?: Uint8Array;
    /** `calibration.json`, the thresholds. Without it nothing is decided. */
    calibration?: Uint8Array;
}

/** Pixels with red, green, blue and alpha: an `ImageData`, or an object like it. Alpha is ignored. */
export interface Pixels {
    readonly width: number;
    readonly height: number;
    readonly data: Uint8ClampedArray | Uint8Array;
}

/** A region of a defect, in pixels of the image. */
export interface Region {
    bounds: { x: number; y: number; width: number; height: number };
    /** The area in pixels. */
    area: number;
    /** The largest score. */
    peak: number;
    /** The column and the row of the largest score. */
    peakAt: [number, number];
    centroid: [number, number];
    /** The mean score. */
    mean: number;
    /** The corners of the outline, x and y. */
    outline: [number, number][];
}

/** The decision on an image, and the thresholds that it was made by. */
export interface Verdict {
    decision: "accept" | "review" | "reject";
    /** The score from which on a person decides. */
    review: number;
    /** The score from which on the image is rejected. */
    reject: number;
    /** The value of the anomaly map from which on a pixel belongs to a region. */
    region: number;
    /** The category whose thresholds decided; `null` for the pooled thresholds of all categories. */
    thresholdsOf: string | null;
}

/** The anomaly score of each pixel, row by row. */
export interface AnomalyMap {
    width: number;
    height: number;
    values: Float32Array;
}

/** The result of an inspection. */
export interface Inspection {
    /** The category that was named. */
    category: string | null;
    /** The size of the image in pixels. */
    width: number;
    height: number;
    /** The image score. Larger is more anomalous; it is not a probability. */
    score: number;
    /** The parts of the score, of the network and of the bank; `null` for a model without a bank. */
    parts: { reconstruction: number; bank: number } | null;
    /** The decision; `null` for a model without thresholds. */
    verdict: Verdict | null;
    /** The category that the image looks like, if the model has a bank of several categories. */
    nearestCategory: string | null;
    /** The defect regions, the most severe first; none without thresholds. */
    regions: Region[];
    /** The number of less severe regions that are not listed. */
    regionsLeftOut: number;
    /** The scores of the pixels at the size of the network's input. */
    map: AnomalyMap;
}

/** The selection of a training. */
export interface FitOptions {
    /** The name of the backbone, such as `resnet18`. Default: `filter-bank`, which has no weights. */
    backbone?: string;
    /** The backbone's weights, a safetensors file. */
    weights?: Uint8Array;
    /** The preset: `fast` (default) or `accurate`. */
    preset?: string;
    /** The number of epochs of the network. Default: 0, the bank of normal features alone. */
    epochs?: number;
    /** The share of the images that set the thresholds alone, at least 0 and below 1. Default: 0.2. */
    holdOut?: number;
    /** The seed of all random values. Default: 0. */
    seed?: number;
}

/** An image of a good part. */
export interface TrainingImage {
    image: Pixels;
    category: string;
}

/** Called during a training: the step's name, and the part that is done. */
export type Progress = (step: string, done: number, total: number) => void;

/** The heat map of an inspection: red, green and blue at the image's size or another. */
export type HeatMap = ImageData;
"#;

#[wasm_bindgen]
extern "C" {
    /// A model's files.
    #[wasm_bindgen(typescript_type = "ModelFiles")]
    pub type ModelFiles;
    #[wasm_bindgen(method, getter, structural)]
    pub fn config(this: &ModelFiles) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub fn parameters(this: &ModelFiles) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub fn backbone(this: &ModelFiles) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub fn calibration(this: &ModelFiles) -> JsValue;

    /// An image.
    #[wasm_bindgen(typescript_type = "Pixels")]
    pub type Pixels;
    #[wasm_bindgen(method, getter, structural)]
    pub fn width(this: &Pixels) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub fn height(this: &Pixels) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    pub fn data(this: &Pixels) -> JsValue;

    /// The options of a training.
    #[wasm_bindgen(typescript_type = "FitOptions")]
    pub type FitOptions;
    #[wasm_bindgen(method, getter, structural)]
    pub fn weights(this: &FitOptions) -> JsValue;

    /// Training images.
    #[wasm_bindgen(typescript_type = "TrainingImage[]")]
    pub type TrainingImages;
    /// One of them.
    pub type TrainingImage;
    #[wasm_bindgen(method, getter, structural)]
    pub fn image(this: &TrainingImage) -> Pixels;
    #[wasm_bindgen(method, getter, structural)]
    pub fn category(this: &TrainingImage) -> JsValue;

    /// The result of an inspection.
    #[wasm_bindgen(typescript_type = "Inspection")]
    pub type Inspection;

    /// The anomaly map of an inspection.
    #[wasm_bindgen(typescript_type = "HeatMap")]
    pub type HeatMap;

    /// The function that is told the progress.
    #[wasm_bindgen(typescript_type = "Progress", extends = Function)]
    pub type Progress;
}

/// Returns the bytes of an optional field.
pub(crate) fn optional_bytes(field: &'static str, value: &JsValue) -> Result<Option<Vec<u8>>, JsValue> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    match value.dyn_ref::<Uint8Array>() {
        Some(bytes) => Ok(Some(bytes.to_vec())),
        None => Err(crate::errors::invalid(field, kind_of(value), "must be a Uint8Array")),
    }
}

/// Returns the bytes of a field that must be there.
pub(crate) fn bytes(field: &'static str, value: &JsValue) -> Result<Vec<u8>, JsValue> {
    optional_bytes(field, value)?.ok_or_else(|| crate::errors::invalid(field, "missing", "must be a Uint8Array"))
}

/// Returns the kind of a value, for messages.
pub(crate) fn kind_of(value: &JsValue) -> String {
    if value.is_null() { "null".into() } else { value.js_typeof().as_string().unwrap_or_default() }
}
