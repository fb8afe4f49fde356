//! Errors of the library as exceptions of JavaScript.

use dualad::{Error, ErrorKind};
use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// The name of the exceptions.
const NAME: &str = "DualadError";

/// Returns the exception of an error.
pub(crate) fn exception(error: &Error) -> JsValue {
    let kind = match error.kind() {
        ErrorKind::InvalidInput => "input",
        ErrorKind::Data => "image",
        ErrorKind::File => "model",
        ErrorKind::Numeric => "numeric",
        ErrorKind::System => "system",
        ErrorKind::Device => "device",
        ErrorKind::Cancelled => "cancelled",
        _ => "other",
    };
    of_kind(kind, &error.to_string())
}

/// Returns the exception of an argument.
pub(crate) fn invalid(argument: &str, value: impl std::fmt::Display, reason: impl std::fmt::Display) -> JsValue {
    let error =
        Error::InvalidArgument { argument: argument.into(), value: value.to_string(), reason: reason.to_string() };
    exception(&error)
}

/// Returns the exception of a fault of this library.
pub(crate) fn internal(error: impl std::fmt::Display) -> JsValue {
    of_kind("other", &format!("internal error: {error}; please report it"))
}

fn of_kind(kind: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    error.set_name(NAME);
    // It fails for a frozen object only, and this one is new.
    let _ = Reflect::set(&error, &"kind".into(), &kind.into());
    error.into()
}
