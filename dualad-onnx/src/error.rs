//! The errors of the crate.

use std::path::PathBuf;

/// The result of the crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the crate. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model has a part that cannot be written as ONNX yet.
    #[error("{part} cannot be exported to ONNX yet; export a model with {instead}")]
    Unsupported {
        /// The part.
        part: String,
        /// The parts that can be exported.
        instead: &'static str,
    },
    /// The constants do not fit into one file.
    #[error(
        "the constants of the model have {} MiB, and an ONNX file can hold 2,032; train a model with fewer tokens in its bank, or with a smaller backbone",
        bytes >> 20
    )]
    TooLarge {
        /// The size of the constants in bytes.
        bytes: usize,
    },
    /// A parameter of the network is missing or has another shape. It does not happen with a model that was loaded.
    #[error("the network has no parameter {name} of the expected shape; load the model again")]
    Parameter {
        /// The name.
        name: String,
    },
    /// The library of onnxruntime cannot be used.
    #[error("onnxruntime cannot be loaded from {}: {reason}; name the library of version 1.17 or newer", path.display())]
    Library {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// onnxruntime refuses the graph, or fails.
    #[error("onnxruntime {action} failed: {reason}; report this model as a fault of dualad")]
    Runtime {
        /// The step.
        action: &'static str,
        /// The reason.
        reason: String,
    },
    /// The graph gives other results than the model.
    #[error(
        "onnxruntime's {values} of image {image} differ from the model's by {difference:.1e} of its largest value, and at most {tolerance:.0e} is allowed; nothing was written"
    )]
    Differs {
        /// The values.
        values: &'static str,
        /// The image's name.
        image: String,
        /// The largest relative difference.
        difference: f32,
        /// The largest difference that is allowed.
        tolerance: f32,
    },
    /// The library reports an error.
    #[error(transparent)]
    Dualad(#[from] dualad::Error),
}

impl From<dualad::candle_core::Error> for Error {
    fn from(error: dualad::candle_core::Error) -> Self {
        Self::Dualad(error.into())
    }
}
