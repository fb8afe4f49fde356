//! Pixels of JavaScript as pictures of the library.

use dualad::data::image::{Picture, PixelFormat, RawImage};
use js_sys::{Uint8Array, Uint8ClampedArray};
use wasm_bindgen::{JsCast, JsValue};

use crate::errors::{exception, invalid};
use crate::types::{Pixels, kind_of};

/// Returns the picture of an `ImageData`, or of an object like it.
pub(crate) fn picture(image: &Pixels) -> Result<Picture, JsValue> {
    if image.is_undefined() || image.is_null() {
        return Err(invalid("the image", kind_of(image), "must be an ImageData, or have width, height and data"));
    }
    let (width, height) = (side("width", &image.width())?, side("height", &image.height())?);
    let data = image.data();
    let bytes = if let Some(bytes) = data.dyn_ref::<Uint8ClampedArray>() {
        bytes.to_vec()
    } else if let Some(bytes) = data.dyn_ref::<Uint8Array>() {
        bytes.to_vec()
    } else {
        return Err(invalid("the image's data", kind_of(&data), "must be a Uint8ClampedArray or a Uint8Array"));
    };
    let raw = RawImage::new(&bytes, width, height, PixelFormat::Rgba8);
    raw.and_then(|raw| raw.to_picture()).map_err(|error| exception(&error.into()))
}

/// Returns a side of an image in pixels.
pub(crate) fn side(name: &str, value: &JsValue) -> Result<u32, JsValue> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(number));
    let shown = value.as_f64().map_or_else(|| kind_of(value), |number| number.to_string());
    number
        .map(|number| number as u32)
        .ok_or_else(|| invalid(name, shown, "must be a whole number of pixels, at least 1"))
}
