//! Everything that can go wrong, sorted by who is at fault.

use std::path::PathBuf;

use dualad_backbones::WeightsError;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Every message names the file, key, field or value at fault and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration's field has a value that makes no network.
    #[error("configuration field `{field}` is {value}: {reason}")]
    Config {
        /// The field's name, as in the JSON.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// The tokens do not fit the network.
    #[error(
        "expected tokens of shape [batch, {tokens}, {channels}] and a floating-point dtype, got {found}; the grid and the backbone's stages must be those of the configuration"
    )]
    Tokens {
        /// Tokens of the configuration's grid.
        tokens: usize,
        /// Channels of the configuration's stages.
        channels: usize,
        /// Shape and dtype of the tensor given.
        found: String,
    },
    /// The tokens hold NaN or infinity.
    #[error("the tokens hold NaN or infinity; check the image's normalisation and the backbone's weights")]
    TokensNotFinite,
    /// A parameter does not belong to the network, or has another shape or dtype.
    #[error("parameter \"{}\" {reason}; the network's are listed by DualAdConfig::parameters", name.escape_debug())]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A dtype that the network cannot compute in.
    #[error("the network computes in f32, f16, bf16 or f64, not in {dtype}")]
    DType {
        /// The dtype asked for.
        dtype: String,
    },
    /// A training step cannot be taken. Nothing was changed.
    #[error("training step {step} was not taken: {reason}")]
    Training {
        /// The step's number, from 1.
        step: u64,
        /// Why, and what to look at.
        reason: String,
    },
    /// A report holds something that JSON cannot say.
    #[error("cannot report {field}: {reason}")]
    Report {
        /// What is at fault, named as in the JSON.
        field: String,
        /// Why, and what to look at.
        reason: String,
    },
    /// Scores, labels or masks cannot be measured.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::Error),
    /// A file of weights is at fault.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried: read or write.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        error: std::io::Error,
    },
    /// A backbone is at fault.
    #[error(transparent)]
    Backbone(#[from] dualad_backbones::Error),
    /// The device or candle is at fault.
    #[error("candle could not compute: {0}")]
    Candle(#[from] candle_core::Error),
}
