//! The class `Detector`.

use dualad::detector::{ModelBytes, Request};
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::errors::{exception, internal, invalid};
use crate::inspection::to_object;
use crate::pixels::picture;
use crate::types::{Inspection, ModelFiles, Pixels, bytes, kind_of, optional_bytes};

/// A trained model that inspects images. `free()` gives its memory back; later calls, a second `free()`
/// among them, throw an `Error`.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Detector {
    pub(crate) detector: dualad::Detector,
}

#[wasm_bindgen]
impl Detector {
    /// Loads a model from the bytes of its files.
    ///
    /// Throws a `DualadError` for files that are no model, do not belong together, or are of a newer format.
    #[wasm_bindgen(js_name = fromBytes)]
    pub fn from_bytes(files: &ModelFiles) -> Result<Detector, JsValue> {
        if !files.is_object() {
            return Err(invalid("the files", kind_of(files), "must be an object with `config` and `parameters`"));
        }
        let (config, parameters) = (bytes("config", &files.config())?, bytes("parameters", &files.parameters())?);
        let backbone = optional_bytes("backbone", &files.backbone())?;
        let calibration = optional_bytes("calibration", &files.calibration())?;
        let bytes = ModelBytes {
            config: &config,
            parameters: &parameters,
            backbone: backbone.as_deref(),
            calibration: calibration.as_deref(),
        };
        let detector = dualad::Detector::from_bytes(&bytes).map_err(|error| exception(&error))?;
        Ok(Self { detector })
    }

    /// Inspects pixels: an `ImageData`, or an object with `width`, `height` and `data`. `category` is the product's, whose thresholds
    /// decide; without it the pooled thresholds do.
    ///
    /// A browser decodes a jpeg file with other rounding than the program `dualad`, and may convert its colors: for the program's
    /// scores use `inspectFile`.
    pub fn inspect(&self, image: &Pixels, category: Option<String>) -> Result<Inspection, JsValue> {
        self.inspect_picture(Request::from(&picture(image)?), category)
    }

    /// Inspects the content of an image file: png, jpeg, webp or bmp. `name` is its name in messages.
    #[wasm_bindgen(js_name = inspectFile)]
    pub fn inspect_file(&self, file: &[u8], name: &str, category: Option<String>) -> Result<Inspection, JsValue> {
        self.inspect_picture(Request::encoded(file, name), category)
    }

    /// Returns the model's files, to keep them or to load them elsewhere. The backbone's weights are not among them.
    #[wasm_bindgen(js_name = toBytes)]
    pub fn to_bytes(&self) -> Result<ModelFiles, JsValue> {
        let files = self.detector.to_bytes().map_err(|error| exception(&error))?;
        let object = Object::new();
        let set = |name: &str, bytes: &[u8]| Reflect::set(&object, &name.into(), &Uint8Array::from(bytes).into());
        set("config", &files.config)?;
        set("parameters", &files.parameters)?;
        files.calibration.map_or(Ok(true), |thresholds| set("calibration", &thresholds))?;
        Ok(object.unchecked_into())
    }

    /// The categories that the model was trained on.
    #[wasm_bindgen(getter)]
    pub fn categories(&self) -> Vec<String> {
        self.detector.categories().to_vec()
    }

    /// True if the model has thresholds.
    #[wasm_bindgen(getter, js_name = hasThresholds)]
    pub fn has_thresholds(&self) -> bool {
        self.detector.calibration().is_some()
    }

    /// The precision of the scores, `f32` or `int8`: that of the model's thresholds.
    #[wasm_bindgen(getter, unchecked_return_type = "\"f32\" | \"int8\"")]
    pub fn precision(&self) -> String {
        self.detector.precision().name().to_owned()
    }

    /// The name of the backbone, such as `resnet18`.
    #[wasm_bindgen(getter)]
    pub fn backbone(&self) -> String {
        self.detector.config().backbone.to_string()
    }

    /// The model's configuration, the content of `config.json`, as an object.
    #[wasm_bindgen(getter, unchecked_return_type = "unknown")]
    pub fn config(&self) -> Result<JsValue, JsValue> {
        js_sys::JSON::parse(&serde_json::to_string(self.detector.config()).map_err(internal)?)
    }
}

impl Detector {
    fn inspect_picture(&self, request: Request<'_>, category: Option<String>) -> Result<Inspection, JsValue> {
        let known = self.detector.categories();
        let request = match &category {
            // A misspelt name would be decided by the pooled thresholds.
            Some(name) if !known.is_empty() && !known.contains(name) => {
                let reason = format!("the model was not trained on it, but on {}", known.join(", "));
                return Err(invalid("the category", format!("\"{name}\""), reason));
            }
            Some(name) => request.category(name),
            None => request,
        };
        to_object(&self.detector.inspect(request).map_err(|error| exception(&error))?)
    }
}
