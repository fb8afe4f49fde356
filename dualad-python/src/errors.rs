//! Errors of the library as Python's exceptions: the classes of `dualad._errors`.

use std::path::Path;

use dualad::backbones::WeightsError;
use dualad::{Error, ErrorKind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::fork::Fault;

/// Returns the exception of a class in `dualad._errors`.
pub(crate) fn exception(py: Python<'_>, class: &str, message: &str) -> PyErr {
    build(py, class, message).map_or_else(|error| error, PyErr::from_value)
}

fn build<'py>(py: Python<'py>, class: &str, message: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("dualad._errors")?.getattr(class)?.call1((message,))
}

/// Returns the exception of an error.
pub(crate) fn from_error(py: Python<'_>, error: &Error) -> PyErr {
    let io = io_error(error);
    let class = match error.kind() {
        ErrorKind::InvalidInput => "InvalidInputError",
        ErrorKind::Data => "ImageError",
        ErrorKind::File => "ModelError",
        ErrorKind::Numeric => "NumericError",
        ErrorKind::System => match io {
            Some((_, io)) if io.kind() == std::io::ErrorKind::NotFound => "FileMissingError",
            _ => "FileError",
        },
        ErrorKind::Device => "DeviceError",
        ErrorKind::Cancelled => "CancelledError",
        _ => "DualadError",
    };
    let exception = match build(py, class, &error.to_string()) {
        Ok(exception) => exception,
        Err(error) => return error,
    };
    if let Some((path, io)) = io {
        let described = exception
            .setattr("errno", io.raw_os_error())
            .and_then(|()| exception.setattr("strerror", io.to_string()))
            .and_then(|()| exception.setattr("filename", path.as_os_str()));
        if let Err(error) = described {
            return error;
        }
    }
    PyErr::from_value(exception)
}

/// Returns the exception of a fault after a fork.
pub(crate) fn from_fault(py: Python<'_>, fault: &Fault) -> PyErr {
    exception(py, "ForkError", &fault.to_string())
}

/// Returns the exception of a panic, which is a fault of this library.
pub(crate) fn from_panic(py: Python<'_>, panic: &(dyn std::any::Any + Send)) -> PyErr {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let message = format!("internal error: {}; please report it", text.unwrap_or("no message"));
    exception(py, "InternalError", &message)
}

/// Returns the exception of a value that this library should be able to convert.
pub(crate) fn internal(error: impl std::fmt::Display) -> PyErr {
    let message = format!("internal error: {error}; please report it");
    // Without an interpreter there is nobody to raise it for.
    Python::try_attach(|py| exception(py, "InternalError", &message))
        .unwrap_or_else(|| PyRuntimeError::new_err(message.clone()))
}

/// Returns the error of an argument.
pub(crate) fn invalid(argument: &str, value: impl std::fmt::Display, reason: impl std::fmt::Display) -> Error {
    Error::InvalidArgument { argument: argument.into(), value: value.to_string(), reason: reason.to_string() }
}

/// Returns the operating system's error inside an error, and its file.
fn io_error(error: &Error) -> Option<(&Path, &std::io::Error)> {
    use dualad::backbones::Error as Backbone;
    use dualad::data::Error as Data;

    match error {
        Error::Io { path, error, .. }
        | Error::Cache { folder: path, error }
        | Error::Data(Data::Io { path, error, .. })
        | Error::Weights(WeightsError::Io { path, error })
        | Error::Backbone(Backbone::Weights(WeightsError::Io { path, error })) => Some((path, error)),
        _ => None,
    }
}
