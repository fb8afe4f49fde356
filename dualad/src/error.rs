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
    /// A recipe's JSON cannot be read, or is not one.
    #[error("{source_name} is no recipe: {reason}")]
    Recipe {
        /// What was read.
        source_name: String,
        /// The field or the place, and what is wrong there.
        reason: String,
    },
    /// An image's features cannot be used.
    #[error("cannot use the features of {}: {reason}", path.display())]
    Features {
        /// The image.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// There are no images to learn from or to score.
    #[error("there are no images to {purpose}; check the folder and the categories asked for")]
    NoImages {
        /// What they are needed for.
        purpose: &'static str,
    },
    /// The feature cache cannot be written or listed.
    #[error(
        "cannot write to the feature cache {}: {error}; free some space there, name another folder (--cache DIR, or DUALAD_CACHE), or keep no cache (--no-cache)",
        folder.display()
    )]
    Cache {
        /// The cache's folder.
        folder: PathBuf,
        /// The operating system's word.
        error: std::io::Error,
    },
    /// A checkpoint is damaged, or of another version.
    #[error("cannot resume from {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A checkpoint is of another run.
    #[error(
        "cannot resume from {}: {field} is {wanted} now, and was {found} there; ask for the same, or start anew in another folder",
        path.display()
    )]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// The first field that differs.
        field: String,
        /// The checkpoint's value.
        found: String,
        /// The value now.
        wanted: String,
    },
    /// A saved model cannot be used.
    #[error("cannot use the model in {}: {reason}", folder.display())]
    Model {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An image's scores came out as NaN or infinity.
    #[error(
        "an image's scores came out as NaN or infinity in {dtype}; compute in f32, and check the model's and the backbone's weights"
    )]
    NotFinite {
        /// What was computed in.
        dtype: String,
    },
    /// Another process writes to the same folder.
    #[error("another run is writing to {}; wait for it, or name another folder", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// A report holds something that JSON cannot say.
    #[error("cannot report {field}: {reason}")]
    Report {
        /// What is at fault, named as in the JSON.
        field: String,
        /// Why, and what to look at.
        reason: String,
    },
    /// A threshold cannot be chosen or used.
    #[error("{field} is {value}: {reason}")]
    Calibration {
        /// What is at fault.
        field: String,
        /// Its value.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// A calibration's JSON cannot be read, or is not one.
    #[error("{source_name} is no calibration: {reason}")]
    CalibrationFile {
        /// What was read.
        source_name: String,
        /// The field or the place, and what is wrong there.
        reason: String,
    },
    /// An anomaly map has no regions that could be found.
    #[error("{field} is {value}: {reason}")]
    Regions {
        /// What is at fault.
        field: String,
        /// Its value.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// There is not one score for each image.
    #[error("there are {found} scores for {images} images; give one for each, in order")]
    Scores {
        /// Images.
        images: usize,
        /// Scores given.
        found: usize,
    },
    /// Scores, labels or masks cannot be measured.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::Error),
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
    /// The dataset or an image is at fault.
    #[error(transparent)]
    Data(dualad_data::Error),
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

impl From<dualad_store::Error> for Error {
    fn from(error: dualad_store::Error) -> Self {
        match error {
            dualad_store::Error::Busy { folder } => Self::Busy { folder },
            dualad_store::Error::Io { action, path, error } => Self::Io { action, path, error },
            error => Self::Io { action: "use", path: PathBuf::new(), error: std::io::Error::other(error) },
        }
    }
}

impl From<dualad_data::Error> for Error {
    fn from(error: dualad_data::Error) -> Self {
        match error {
            // One word for one thing: a caller has one case to look for.
            dualad_data::Error::Cancelled => Self::Cancelled,
            error => Self::Data(error),
        }
    }
}
