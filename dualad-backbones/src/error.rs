//! Everything that can go wrong, sorted by who is at fault.

use std::path::PathBuf;

use crate::backbone::Backbone;
use crate::stage::TOKEN_STRIDE;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Every message names the file, key, field or value at fault and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller named a backbone that does not exist.
    #[error("there is no backbone \"{name}\"; choose one of {}", Backbone::ALL.map(Backbone::name).join(", "))]
    UnknownBackbone {
        /// The name given.
        name: String,
    },
    /// The caller asked for stages that the backbone does not have.
    #[error(
        "{backbone} has stages {available:?} here, but stages {wanted:?} were asked for; name at least one, \
         in ascending order and each once"
    )]
    Stages {
        /// The backbone.
        backbone: &'static str,
        /// The numbers asked for.
        wanted: Vec<usize>,
        /// The numbers there are.
        available: Vec<usize>,
    },
    /// The input's height or width does not fit the token grid.
    #[error(
        "an input of {height}x{width} pixels (height x width) does not fit: both must be a positive multiple of {TOKEN_STRIDE}; resize it first"
    )]
    InputSize {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// The input is not an image batch.
    #[error("expected an image batch of shape [batch, 3, height, width] in f16, bf16, f32 or f64, got {found}")]
    InputBatch {
        /// Shape and dtype of the tensor given.
        found: String,
    },
    /// The input holds NaN or infinity.
    #[error("the image batch holds NaN or infinity; check how it was decoded and normalised")]
    InputNotFinite,
    /// The maps given to [`crate::aggregate()`] do not belong together.
    #[error("feature map {index} does not fit: {reason}")]
    FeatureMap {
        /// Which map, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A dtype that features cannot be computed in.
    #[error("features can be computed in f32, f16 or bf16, not in {dtype}")]
    DType {
        /// The dtype asked for.
        dtype: String,
    },
    /// The weights are at fault.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The hub, or the way to it, is at fault.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// The device or candle is at fault.
    #[error("candle could not compute the features: {0}")]
    Candle(#[from] candle_core::Error),
}

/// What is wrong with a weight file.
///
/// `source_name` is the file's path, `<bytes>` or `<synthetic>`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The backbone needs weights and none were named.
    #[error("{backbone} needs weights: name a safetensors file{}", if *.on_hub { " or take them from the hub" } else { " (the hub has none for it)" })]
    NotGiven {
        /// The backbone.
        backbone: Backbone,
        /// Whether the hub has some.
        on_hub: bool,
    },
    /// The file cannot be opened or read.
    #[error("cannot read the weights {}: {error}; check the path and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        error: std::io::Error,
    },
    /// The path leads to something else than a file.
    #[error("{} is a folder or a device, not a file of weights", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// What should be a SHA-256 is none.
    #[error("\"{}\" is no SHA-256; write its 64 hexadecimal digits and nothing else", value.escape_debug())]
    NotADigest {
        /// The value.
        value: String,
    },
    /// The file is not of its format, or not all of it.
    #[error(
        "{source_name} is not a complete {format} file ({}); it may be truncated or of another format: delete it, then fetch or convert it again",
        shown(reason)
    )]
    Malformed {
        /// The weights.
        source_name: String,
        /// The format it should have.
        format: &'static str,
        /// What the reader found.
        reason: String,
    },
    /// The file's content is not the one that was expected.
    #[error(
        "{source_name} has SHA-256 {found}, expected {expected}; delete it and fetch it again, or correct the expected value"
    )]
    Sha256 {
        /// The weights.
        source_name: String,
        /// Expected digest.
        expected: String,
        /// The file's digest.
        found: String,
    },
    /// A tensor that the network needs is not there.
    #[error(
        "{source_name} has no tensor \"{}\", which {network} needs ({missing} missing in all); these may be the weights of another network",
        shown(key)
    )]
    MissingKey {
        /// The weights.
        source_name: String,
        /// The network.
        network: &'static str,
        /// The first key that is missing.
        key: String,
        /// How many are.
        missing: usize,
    },
    /// A tensor is there that the network does not know.
    #[error(
        "{source_name} holds a tensor \"{}\", which {network} does not know ({extra} such in all); these may be the weights of another network, or allow extra keys when loading",
        shown(key)
    )]
    ExtraKey {
        /// The weights.
        source_name: String,
        /// The network.
        network: &'static str,
        /// The first key that is too many.
        key: String,
        /// How many are.
        extra: usize,
    },
    /// A tensor has another shape than the network's.
    #[error(
        "{source_name}: tensor \"{}\" has shape {found:?}, but the network needs {expected:?}; these may be the weights of another network",
        shown(key)
    )]
    Shape {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
        /// The shape needed.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A tensor has a dtype that is no floating-point one.
    #[error("{source_name}: tensor \"{}\" has dtype {found}; convert it to F32, F16, BF16 or F64", shown(key))]
    DType {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
        /// The dtype found.
        found: String,
    },
    /// A tensor holds NaN or infinity.
    #[error(
        "{source_name}: tensor \"{}\" holds NaN or infinity; the file is damaged: fetch or convert it again",
        shown(key)
    )]
    NotFinite {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
    },
    /// A tensor's numbers are finite, but not once its batch norm is folded in, or not in the dtype asked for.
    #[error(
        "{source_name}: tensor \"{}\" becomes NaN or infinite once its batch norm is folded in and it is held in {dtype}; choose f32, or check its batch norm's running_var",
        shown(key)
    )]
    Overflow {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
        /// The dtype asked for.
        dtype: String,
    },
}

/// A name out of a file: without control characters, and no longer than a line.
fn shown(key: &str) -> String {
    let mut shown: String = key.chars().take(200).flat_map(char::escape_debug).collect();
    if key.chars().nth(200).is_some() {
        shown.push_str("...");
    }
    shown
}
