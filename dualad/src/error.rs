//! The errors of this crate.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use dualad_backbones::WeightsError;
use dualad_store::printable;

use crate::Precision;

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate. Every message names the file, key, argument or value at fault and says what to do.
///
/// [`Error::kind`] groups the variants by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument of a call is out of its range or does not match the others.
    #[error("{argument} is {value}: {reason}")]
    InvalidArgument {
        /// The argument, or the part of it that is at fault.
        argument: String,
        /// Its value.
        value: String,
        /// The values that are allowed.
        reason: String,
    },
    /// A field of the network's or the training's configuration is out of its range.
    #[error("configuration field `{field}` is {value}: {reason}")]
    Config {
        /// The field's name in the JSON.
        field: &'static str,
        /// Its value.
        value: String,
        /// The values that are allowed.
        reason: String,
    },
    /// The set of images is empty.
    #[error(
        "there are no images to {purpose}; give at least one; if a folder or categories were named, check the names"
    )]
    NoImages {
        /// The purpose of the images, such as `train on`.
        purpose: &'static str,
    },
    /// A file or a text of this crate's own formats cannot be used: a saved model, checkpoint, recipe or calibration.
    #[error(transparent)]
    Format(FormatError),
    /// A checkpoint belongs to another run.
    #[error(
        "cannot resume from {}: {field} is {wanted} now, and was {found} there; ask for the same, or start anew: without resuming, or in another folder",
        path.display()
    )]
    CheckpointMismatch {
        /// The checkpoint file.
        path: PathBuf,
        /// The first field that differs.
        field: String,
        /// The checkpoint's value.
        found: String,
        /// The present run's value.
        wanted: String,
    },
    /// A parameter is not one of the network's, or has a wrong shape, dtype or value.
    #[error("parameter \"{}\" {reason}; the network's are listed by DualAdConfig::parameters", printable(name))]
    Parameter {
        /// The parameter's name.
        name: String,
        /// The fault, as it follows the name.
        reason: String,
    },
    /// The features of an image cannot be used.
    #[error("cannot use the features of {}: {reason}", path.display())]
    Features {
        /// The image file.
        path: PathBuf,
        /// The cause, and what to do.
        reason: String,
    },
    /// Values are NaN or infinite.
    #[error("{values} hold NaN or infinity; {advice}")]
    NotFinite {
        /// The values at fault, such as `the tokens`.
        values: String,
        /// The likely causes.
        advice: &'static str,
    },
    /// A training step was refused. The network and the optimizer are unchanged.
    #[error("training step {step} was not taken: {reason}")]
    Training {
        /// The step's number, from 1.
        step: u64,
        /// The cause, and what to look at.
        reason: String,
    },
    /// The feature cache cannot be written or listed.
    #[error(
        "cannot write to the feature cache {}: {error}; free some space there, or use another folder, which the environment variable DUALAD_CACHE can name",
        folder.display()
    )]
    Cache {
        /// The cache's folder.
        folder: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// Another process writes to the same folder.
    #[error("another run is writing to {}; wait for it, or name another folder", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// A model's folder has a file of something else, which saving a model would replace.
    #[error(
        "cannot save a model beside {}: it is no file of a model, and would be replaced; name another folder, or move it away",
        file.display()
    )]
    Occupied {
        /// The file.
        file: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// The action that failed: `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// Scores, labels or masks cannot be measured.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::Error),
    /// A dataset or an image cannot be used.
    #[error(transparent)]
    Data(dualad_data::Error),
    /// The weights of a saved model's backbone are not where its configuration says, or are others than it was trained with.
    #[error("cannot use the model in {}: {reason}", model.display())]
    ModelWeights {
        /// The model's folder or name.
        model: PathBuf,
        /// The fault, and what to do.
        reason: String,
    },
    /// Thresholds were set for scores of another precision than those that are computed.
    #[error(
        "cannot use the model in {}: its thresholds (calibration.json) were made for scores in {found}, and those in {wanted} differ a little; calibrate in {wanted}, or compute in {found}",
        model.display()
    )]
    OtherPrecision {
        /// The model's folder or name.
        model: PathBuf,
        /// The precision of the thresholds.
        found: Precision,
        /// The precision that scores are computed in.
        wanted: Precision,
    },
    /// Several images cannot be read. Holds the errors of all of them.
    #[error("{} images cannot be read; repair or remove them, or have them left out: {}", errors.len(), listed(errors))]
    Images {
        /// The error of each image, at least two.
        errors: Vec<Error>,
    },
    /// Images are to set thresholds, and the model was trained on them: their scores are too low.
    #[error(
        "the model was trained on {} of the {of} images, whose scores are too low to set thresholds; give images that it has not seen: {}",
        images.len(),
        listed(images)
    )]
    TrainedOn {
        /// The names of the images.
        images: Vec<String>,
        /// The number of images that were given.
        of: usize,
    },
    /// A file of weights cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A backbone cannot be built or run.
    #[error(transparent)]
    Backbone(#[from] dualad_backbones::Error),
    /// The device or candle failed.
    #[error("candle could not compute: {0}")]
    Candle(#[from] candle_core::Error),
    /// One of several devices failed ([`Replicas`](crate::detector::Replicas)).
    #[error("on the device {device}: {error}")]
    Replica {
        /// The device, such as `cuda:1`.
        device: String,
        /// The error of the computation on it.
        error: Box<Error>,
    },
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
}

/// The part of the system that is at fault for an [`enum@Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller: an argument or a configuration is wrong, or the set of images is empty.
    InvalidInput,
    /// A dataset or an image, by its content.
    Data,
    /// A file or text in a format of this crate, or a file of weights: damaged, of another version, or of another model.
    File,
    /// The computed values, which overflowed or diverged.
    Numeric,
    /// The operating system or the network: files, folders, memory, the hub.
    System,
    /// The device or candle.
    Device,
    /// Nobody: the work was cancelled.
    Cancelled,
}

impl Error {
    /// The part of the system that is at fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidArgument { .. }
            | Self::Config { .. }
            | Self::NoImages { .. }
            | Self::TrainedOn { .. }
            | Self::Metrics(_) => ErrorKind::InvalidInput,
            Self::Format(_)
            | Self::CheckpointMismatch { .. }
            | Self::Parameter { .. }
            | Self::ModelWeights { .. }
            | Self::OtherPrecision { .. } => ErrorKind::File,
            Self::Weights(error) => weights_kind(error),
            Self::Data(error) => data_kind(error),
            Self::Features { .. } | Self::Images { .. } => ErrorKind::Data,
            Self::NotFinite { .. } | Self::Training { .. } => ErrorKind::Numeric,
            Self::Cache { .. } | Self::Busy { .. } | Self::Occupied { .. } | Self::Io { .. } => ErrorKind::System,
            Self::Backbone(error) => backbone_kind(error),
            Self::Candle(_) | Self::Replica { .. } => ErrorKind::Device,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }

    pub(crate) fn invalid_argument(
        argument: impl Into<String>,
        value: impl Display,
        reason: impl Into<String>,
    ) -> Self {
        Self::InvalidArgument { argument: argument.into(), value: value.to_string(), reason: reason.into() }
    }

    /// Tokens of another shape or dtype than `[batch, tokens, channels]` of floating point; `found` is what was given.
    pub(crate) fn tokens(tokens: usize, channels: usize, found: impl Display) -> Self {
        let reason = format!(
            "must have shape [batch, {tokens}, {channels}] and a floating-point dtype; the grid and the backbone's \
             stages must be those of the configuration"
        );
        Self::invalid_argument("the tensor of tokens", found, reason)
    }

    /// Tokens that hold NaN or infinity.
    pub(crate) fn tokens_not_finite() -> Self {
        let advice = "check the image's normalization and the backbone's weights";
        Self::NotFinite { values: "the tokens".into(), advice }
    }

    /// The model `name`, a folder or what the caller calls it, cannot be used.
    pub(crate) fn model(name: &Path, reason: impl Into<String>) -> Self {
        Self::format(Format::Model, name.display(), reason)
    }

    #[cfg(feature = "train")]
    pub(crate) fn checkpoint(path: &Path, reason: impl Into<String>) -> Self {
        Self::format(Format::Checkpoint, path.display(), reason)
    }

    pub(crate) fn recipe(source: &str, reason: impl Into<String>) -> Self {
        Self::format(Format::Recipe, source, reason)
    }

    pub(crate) fn calibration(source: &str, reason: impl Into<String>) -> Self {
        Self::format(Format::Calibration, source, reason)
    }

    fn format(format: Format, source: impl Display, reason: impl Into<String>) -> Self {
        Self::Format(FormatError { format, source: source.to_string(), reason: reason.into() })
    }
}

/// The number of entries of a list that a message shows. The others are counted.
const MAX_LISTED: usize = 20;

/// Returns the first entries, and the number of the others.
pub(crate) fn listed<T: Display>(entries: &[T]) -> String {
    let mut text: Vec<String> = entries.iter().take(MAX_LISTED).map(T::to_string).collect();
    if let Some(more @ 1..) = entries.len().checked_sub(MAX_LISTED) {
        text.push(format!("and {more} more"));
    }
    text.join("; ")
}

fn weights_kind(error: &WeightsError) -> ErrorKind {
    match error {
        WeightsError::NotGiven { .. } | WeightsError::NotUsed { .. } | WeightsError::NotADigest { .. } => {
            ErrorKind::InvalidInput
        }
        WeightsError::Io { .. } => ErrorKind::System,
        _ => ErrorKind::File,
    }
}

fn data_kind(error: &dualad_data::Error) -> ErrorKind {
    use dualad_data::Error as E;

    match error {
        E::Io { .. } => ErrorKind::System,
        E::Value { .. } | E::UnknownCategory { .. } => ErrorKind::InvalidInput,
        #[cfg(feature = "render")]
        E::Render(_) => ErrorKind::InvalidInput,
        #[cfg(feature = "synthetic")]
        E::Synthetic(_) => ErrorKind::InvalidInput,
        E::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Data,
    }
}

fn backbone_kind(error: &dualad_backbones::Error) -> ErrorKind {
    use dualad_backbones::Error as E;

    match error {
        E::UnknownBackbone { .. }
        | E::Stages { .. }
        | E::InputSize { .. }
        | E::InputBatch { .. }
        | E::FeatureMap { .. }
        | E::DType { .. } => ErrorKind::InvalidInput,
        E::InputNotFinite => ErrorKind::Numeric,
        E::Weights(error) => weights_kind(error),
        #[cfg(feature = "hub")]
        E::Hub(error) => hub_kind(error),
        _ => ErrorKind::Device,
    }
}

#[cfg(feature = "hub")]
fn hub_kind(error: &dualad_backbones::hub::HubError) -> ErrorKind {
    use dualad_backbones::hub::HubError as E;

    match error {
        E::Name { .. } | E::Endpoint { .. } | E::Token => ErrorKind::InvalidInput,
        _ => ErrorKind::System,
    }
}

/// A format of this crate's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A saved model: a folder.
    Model,
    /// A checkpoint of a training run.
    Checkpoint,
    /// A recipe's JSON.
    Recipe,
    /// A calibration's JSON.
    Calibration,
}

/// A file or a text that is damaged, of another version, or not of the expected format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    format: Format,
    source: String,
    reason: String,
}

impl FormatError {
    /// The expected format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The path or the name of the file or text.
    pub fn source_name(&self) -> &str {
        &self.source
    }

    /// The fault, and what to do.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl Display for FormatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, reason, .. } = self;
        match self.format {
            Format::Model => write!(f, "cannot use the model in {source}: {reason}"),
            Format::Checkpoint => write!(f, "cannot resume from {source}: {reason}"),
            Format::Recipe => write!(f, "{source} is not a valid recipe: {reason}"),
            Format::Calibration => write!(f, "{source} is not a valid calibration: {reason}"),
        }
    }
}

impl std::error::Error for FormatError {}

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
            // A caller has one variant to look for.
            dualad_data::Error::Cancelled => Self::Cancelled,
            error => Self::Data(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_found() -> std::io::Error {
        std::io::ErrorKind::NotFound.into()
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names = |count: usize| (0..count).map(|index| index.to_string()).collect::<Vec<_>>();
        assert!(listed(&names(MAX_LISTED)).ends_with("; 19"));
        assert!(listed(&names(MAX_LISTED + 3)).ends_with("; 19; and 3 more"));
        let error = Error::TrainedOn { images: names(23), of: 40 };
        assert!(error.to_string().contains("23 of the 40 images") && error.to_string().ends_with("and 3 more"));
        let errors = (0..23).map(|_| Error::NoImages { purpose: "train on" }).collect();
        assert!(Error::Images { errors }.to_string().ends_with("and 3 more"));
    }

    #[test]
    fn a_file_that_cannot_be_read_has_the_same_kind_from_every_crate() {
        let weights = Error::from(WeightsError::Io { path: "a".into(), error: not_found() });
        let data = Error::from(dualad_data::Error::Io { action: "read", path: "a".into(), error: not_found() });
        let own = Error::Io { action: "read", path: "a".into(), error: not_found() };
        assert_eq!([weights, data, own].map(|error| error.kind()), [ErrorKind::System; 3]);
    }

    #[test]
    fn the_kind_of_an_error_of_weights_is_the_same_from_a_backbone() {
        let missing = || WeightsError::Io { path: "w".into(), error: not_found() };
        let folder = || WeightsError::NotAFile { path: "w".into() };
        let value = || WeightsError::NotADigest { value: "w".into() };
        for (error, in_backbone, kind) in [
            (missing(), missing(), ErrorKind::System),
            (folder(), folder(), ErrorKind::File),
            (value(), value(), ErrorKind::InvalidInput),
        ] {
            assert_eq!(Error::from(error).kind(), kind);
            assert_eq!(Error::from(dualad_backbones::Error::Weights(in_backbone)).kind(), kind);
        }
    }

    #[test]
    fn the_kind_of_an_error_of_a_backbone_looks_inside() {
        use dualad_backbones::Error as E;

        for (error, kind) in [
            (E::UnknownBackbone { name: "b".into() }, ErrorKind::InvalidInput),
            (E::InputSize { height: 15, width: 16, token_stride: 16 }, ErrorKind::InvalidInput),
            (E::InputNotFinite, ErrorKind::Numeric),
            (E::Candle(candle_core::Error::Msg("out of memory".into())), ErrorKind::Device),
        ] {
            assert_eq!(Error::from(error).kind(), kind);
        }
        #[cfg(feature = "hub")]
        {
            use dualad_backbones::hub::HubError;

            assert_eq!(Error::from(E::Hub(HubError::NoCacheFolder)).kind(), ErrorKind::System);
            let name = HubError::Name { part: "revision", value: "..".into(), file: "owner/name@../file".into() };
            assert_eq!(Error::from(E::Hub(name)).kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn the_kind_of_an_error_of_data_looks_inside() {
        use dualad_data::Error as E;

        for (error, kind) in [
            (E::Io { action: "read", path: "a".into(), error: not_found() }, ErrorKind::System),
            (E::Value { field: "size", value: "0".into(), reason: "too small".into() }, ErrorKind::InvalidInput),
            (E::EmptyFile { path: "a".into() }, ErrorKind::Data),
            (E::Cancelled, ErrorKind::Cancelled),
        ] {
            assert_eq!(Error::from(error).kind(), kind);
        }
        #[cfg(feature = "render")]
        {
            use dualad_data::render::RenderError;

            let error = RenderError::Argument { argument: "opacity", value: "2".into(), advice: "0 to 1" };
            assert_eq!(Error::from(E::Render(error)).kind(), ErrorKind::InvalidInput);
        }
    }
}
