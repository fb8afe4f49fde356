//! The result of an inspection as an object, and its heat map.

use dualad::calibration::{Decision, ThresholdSource};
use dualad::data::image_crate::RgbImage;
use dualad::data::render::{ColorMap, Scale, heat_map};
use dualad::detector::OriginalRegion;
use js_sys::{Float32Array, JSON, Object, Reflect, Uint8ClampedArray};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::errors::{exception, internal, invalid};
use crate::pixels::side;
use crate::types::{HeatMap, Inspection, kind_of};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    category: Option<&'a str>,
    width: u32,
    height: u32,
    score: f32,
    parts: Option<dualad::ScoreParts>,
    verdict: Option<Verdict<'a>>,
    nearest_category: Option<&'a str>,
    regions: Vec<Region<'a>>,
    regions_left_out: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict<'a> {
    decision: Decision,
    review: f32,
    reject: f32,
    region: f32,
    thresholds_of: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region<'a> {
    bounds: dualad::detector::Bounds,
    area: f64,
    peak: f32,
    peak_at: [u32; 2],
    centroid: [f64; 2],
    mean: f64,
    outline: &'a [[f64; 2]],
}

impl<'a> From<&'a OriginalRegion> for Region<'a> {
    fn from(region: &'a OriginalRegion) -> Self {
        Self {
            bounds: region.bounds,
            area: region.area,
            peak: region.peak,
            peak_at: region.peak_at,
            centroid: region.centroid,
            mean: region.mean,
            outline: &region.outline,
        }
    }
}

/// Returns an inspection as an object that a worker can post.
pub(crate) fn to_object(found: &dualad::detector::Inspection) -> Result<Inspection, JsValue> {
    let verdict = found.verdict.as_ref().map(|verdict| Verdict {
        decision: verdict.decision,
        review: verdict.review,
        reject: verdict.reject,
        region: verdict.region,
        thresholds_of: match &verdict.source {
            ThresholdSource::Category { name } => Some(name),
            _ => None,
        },
    });
    let view = Found {
        category: found.category.as_deref(),
        width: found.width,
        height: found.height,
        score: found.image_score,
        parts: found.parts,
        verdict,
        nearest_category: found.nearest_category.as_deref(),
        regions: found.regions.iter().map(Region::from).collect(),
        regions_left_out: found.regions_left_out,
    };
    let object = JSON::parse(&serde_json::to_string(&view).map_err(internal)?)?;
    let map = Object::new();
    set(&map, "width", found.anomaly_map.width as f64)?;
    set(&map, "height", found.anomaly_map.height as f64)?;
    set(&map, "values", Float32Array::from(found.anomaly_map.values.as_slice()))?;
    set(&object, "map", map)?;
    Ok(object.unchecked_into())
}

/// Sets a field of an object.
pub(crate) fn set(object: &JsValue, field: &str, value: impl Into<JsValue>) -> Result<(), JsValue> {
    Reflect::set(object, &field.into(), &value.into()).map(drop)
}

#[wasm_bindgen]
extern "C" {
    /// The class of the browser; Node has none.
    #[wasm_bindgen(js_name = ImageData)]
    type ImageData;
    #[wasm_bindgen(constructor, js_class = "ImageData", catch)]
    fn new(data: Uint8ClampedArray, width: u32, height: u32) -> Result<ImageData, JsValue>;
}

/// Returns the colors of an inspection's anomaly map, to be drawn over the image: at the image's size, or at the given one.
///
/// The colors range from half the review threshold to one and a half times the reject threshold, so that images can be compared.
/// Without thresholds they range from the map's smallest value to its largest. Alpha is 255 everywhere. In Node, which has no
/// `ImageData`, the result is an object with `width`, `height` and `data`.
#[wasm_bindgen(js_name = heatMap)]
pub fn heat_map_of(inspection: &Inspection, width: Option<f64>, height: Option<f64>) -> Result<HeatMap, JsValue> {
    let field = |object: &JsValue, name: &str| match object.is_object() {
        true => Reflect::get(object, &name.into()),
        false => Err(invalid("the inspection", kind_of(object), "must be the result of `inspect`")),
    };
    let map = field(inspection, "map")?;
    let sides = [field(&map, "height")?, field(&map, "width")?];
    let [rows, columns] = [side("map.height", &sides[0])? as usize, side("map.width", &sides[1])? as usize];
    let values = field(&map, "values")?;
    let Some(values) = values.dyn_ref::<Float32Array>().map(Float32Array::to_vec) else {
        return Err(invalid("map.values", kind_of(&values), "must be a Float32Array"));
    };
    let own = |name: &str, given: Option<f64>| match given {
        Some(given) => side(name, &given.into()),
        None => side(name, &field(inspection, name)?),
    };
    let (width, height) = (own("width", width)?, own("height", height)?);
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(invalid("the heat map", format!("{width}x{height}"), format!("may have {MAX_PIXELS} pixels")));
    }
    let verdict = field(inspection, "verdict")?;
    let threshold = |name: &str| -> Option<f32> {
        let value = verdict.is_object().then(|| Reflect::get(&verdict, &name.into()).ok()).flatten();
        value.and_then(|value| value.as_f64()).map(|value| value as f32)
    };
    let scale = match (threshold("review"), threshold("reject")) {
        (Some(review), Some(reject)) if review > 0.0 => Scale::new(0.5 * review, 1.5 * reject),
        _ => Scale::over([values.as_slice()], 0.0, 100.0),
    };
    let colors = scale.and_then(|scale| {
        heat_map(&RgbImage::new(width, height), &values, [rows, columns], scale, ColorMap::Inferno, 1.0)
    });
    let colors = colors.map_err(|error| exception(&error.into()))?;
    let mut rgba = Vec::with_capacity(colors.len() / 3 * 4);
    for pixel in colors.pixels() {
        rgba.extend_from_slice(&[pixel.0[0], pixel.0[1], pixel.0[2], 255]);
    }
    image(&rgba, width, height)
}

/// The largest heat map in pixels. A browser's canvas is smaller.
const MAX_PIXELS: u64 = 100_000_000;

/// Returns an `ImageData`, or an object like it where there is no such class.
fn image(rgba: &[u8], width: u32, height: u32) -> Result<HeatMap, JsValue> {
    let data = Uint8ClampedArray::from(rgba);
    if Reflect::has(&js_sys::global(), &"ImageData".into())? {
        return ImageData::new(data, width, height).map(JsCast::unchecked_into);
    }
    let object = Object::new();
    set(&object, "width", width)?;
    set(&object, "height", height)?;
    set(&object, "data", data)?;
    Ok(object.unchecked_into())
}
