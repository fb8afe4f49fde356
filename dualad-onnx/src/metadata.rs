//! The metadata of a file: text by name, most of it JSON.

use dualad::Detector;
use serde::Serialize;

use crate::check::Check;
use crate::error::Result;
use crate::proto::Property;

/// The preprocessing that callers do before they run the graph.
#[derive(Debug, Serialize)]
struct Input<'a> {
    name: &'static str,
    shape: [Side; 4],
    dtype: &'static str,
    layout: &'static str,
    channels: &'static str,
    range: [u32; 2],
    resize: Resize,
    normalization: Normalization,
    #[serde(skip_serializing_if = "Option::is_none")]
    tiling: Option<&'a dualad::detector::Tiling>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Side {
    Name(&'static str),
    Number(u32),
}

#[derive(Debug, Serialize)]
struct Resize {
    height: u32,
    width: u32,
    filter: String,
    antialias: bool,
    half_pixel_centers: bool,
    aspect_ratio: String,
    rounded_to: &'static str,
    passes: &'static str,
    weight_bits: &'static str,
}

/// The normalization, which is a part of the graph.
#[derive(Debug, Serialize)]
struct Normalization {
    in_graph: bool,
    divisor: u32,
    mean: [f32; 3],
    standard_deviation: [f32; 3],
}

/// Returns the metadata of a model's file.
pub(crate) fn properties(detector: &Detector, check: Option<&Check>) -> Result<Vec<Property>> {
    let config = detector.config();
    let dualad::Input { height, width, filter, fit, mean, standard_deviation, .. } = &config.input;
    let input = Input {
        name: crate::model::IMAGE,
        shape: [Side::Name("batch"), Side::Number(3), Side::Number(*height), Side::Number(*width)],
        dtype: "float32",
        layout: "NCHW",
        channels: "RGB",
        range: [0, 255],
        resize: Resize {
            height: *height,
            width: *width,
            filter: filter.to_string(),
            antialias: false,
            half_pixel_centers: true,
            aspect_ratio: fit.to_string(),
            rounded_to: "whole levels, after each pass",
            passes: "between rows, then between columns; a side that has its size already is left out",
            weight_bits: "15, or 14 in a pass with a weight of 1",
        },
        normalization: Normalization {
            in_graph: true,
            divisor: 255,
            mean: *mean,
            standard_deviation: *standard_deviation,
        },
        tiling: config.input.tiling.as_ref(),
    };
    let mut properties = Vec::new();
    let mut add = |key: &str, value: String| properties.push(Property { key: format!("dualad.{key}"), value });
    add("version", env!("CARGO_PKG_VERSION").into());
    add("model_sha256", config.sha256.clone());
    add("backbone", config.backbone.to_string());
    if let Some(sha256) = &config.weights.sha256 {
        add("backbone_sha256", sha256.clone());
    }
    add("categories", json(&config.categories));
    add("input", json(&input));
    if let Some(thresholds) = detector.calibration() {
        add("thresholds", thresholds.to_json()?);
    }
    add("check", check.map_or_else(|| "null".into(), json));
    Ok(properties)
}

/// Returns a value as JSON.
fn json(value: &impl Serialize) -> String {
    // Text, numbers and lists of them always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}
