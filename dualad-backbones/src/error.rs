//! The errors of the crate.

use std::path::PathBuf;

use crate::backbone::Backbone;
use crate::text::shown;

/// The result of the crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the crate. Every message names the file, key, field or value at fault and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The backbone's name is unknown.
    #[error("there is no backbone \"{name}\"; choose one of {}", Backbone::ALL.map(Backbone::name).join(", "))]
    UnknownBackbone {
        /// The given name.
        name: String,
    },
    /// The backbone does not have the requested stages, or they do not ascend.
    #[error(
        "{backbone} has stages {available:?}, but stages {wanted:?} were requested; name at least one, in ascending order and each once"
    )]
    Stages {
        /// The backbone.
        backbone: &'static str,
        /// The requested numbers.
        wanted: Vec<usize>,
        /// The numbers of the backbone's stages.
        available: Vec<usize>,
    },
    /// The input's height or width is not a positive multiple of the side of a token.
    #[error(
        "an input of {height}x{width} pixels (height x width) does not fit: both must be a positive multiple of {token_stride}; resize it first, for example to {}x{}",
        nearest_multiple(*height, *token_stride), nearest_multiple(*width, *token_stride)
    )]
    InputSize {
        /// The height in pixels.
        height: usize,
        /// The width in pixels.
        width: usize,
        /// The side of a token in pixels.
        token_stride: usize,
    },
    /// The input is not an image batch.
    #[error("expected an image batch of shape [batch, 3, height, width] in f16, bf16, f32 or f64, got {found}")]
    InputBatch {
        /// The shape and dtype of the given tensor.
        found: String,
    },
    /// The input holds NaN or infinity.
    #[error("the image batch holds NaN or infinity; check how it was decoded and normalized")]
    InputNotFinite,
    /// A map given to [`crate::aggregate()`] does not fit its stage or the other maps.
    #[error("feature map {index} does not fit: {reason}")]
    FeatureMap {
        /// The index of the map, from 0.
        index: usize,
        /// The reason.
        reason: String,
    },
    /// Features cannot be computed in the dtype.
    #[error("features can be computed in f32, f16 or bf16, not in {dtype}")]
    DType {
        /// The requested dtype.
        dtype: String,
    },
    /// Products cannot be computed in the precision: on another device than the CPU, in another dtype than f32, or with candle's own
    /// operations.
    #[error(
        "products in {precision} need the CPU, the dtype f32 and the fast operations; use them, or the precision f32"
    )]
    Precision {
        /// The requested precision.
        precision: dualad_kernels::Precision,
    },
    /// The weights cannot be loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weights cannot be downloaded.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// The device or candle failed.
    #[error("candle could not compute the features: {0}")]
    Candle(#[from] candle_core::Error),
}

/// An error of a weight file.
///
/// `source_name` is the file's path, `<bytes>` or `<synthetic>`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The backbone needs weights and none were given.
    #[error("{backbone} needs weights: name a safetensors or PyTorch file{}", if *.on_hub { " or take them from the hub" } else { " (the hub has none for it)" })]
    NotGiven {
        /// The backbone.
        backbone: Backbone,
        /// True if the hub has weights for it.
        on_hub: bool,
    },
    /// Weights were given for a backbone that has none.
    #[error("the backbone {backbone} has no weights; leave them out, or name a backbone that has some")]
    NotUsed {
        /// The backbone.
        backbone: Backbone,
    },
    /// The file cannot be opened or read.
    #[error("cannot read the weights {}: {error}; check the path and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// The path leads to a folder or a device.
    #[error("{} is a folder or a device, not a file of weights", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file has no content.
    #[error("{source_name} is empty (0 bytes); fetch it again, or name another file")]
    Empty {
        /// The weights.
        source_name: String,
    },
    /// A value is not a SHA-256.
    #[error("\"{}\" is not a SHA-256; write its 64 hexadecimal digits and nothing else", shown(value))]
    NotADigest {
        /// The value.
        value: String,
    },
    /// The file is truncated or of another format.
    #[error(
        "{source_name} is not a complete {format} file ({}); it may be truncated or of another format: compare it with its source, and fetch or convert it again",
        shown(reason)
    )]
    Malformed {
        /// The weights.
        source_name: String,
        /// The expected format.
        format: &'static str,
        /// The reader's error.
        reason: String,
    },
    /// The file is of a known format that holds no weights for this library.
    #[error("{source_name} is {found}, not a safetensors or PyTorch file; {advice}")]
    OtherFormat {
        /// The weights.
        source_name: String,
        /// The format.
        found: &'static str,
        /// The way to the right file.
        advice: &'static str,
    },
    /// A file in the hub's cache was damaged after it was fetched.
    #[error("{} in the hub's cache is damaged (it {}); delete it, and it is fetched again", path.display(), shown(reason))]
    DamagedCache {
        /// The file.
        path: PathBuf,
        /// The damage, as it follows the file's name.
        reason: String,
    },
    /// The file does not have the expected SHA-256.
    #[error(
        "{source_name} has SHA-256 {found}, expected {expected}; it is another file or damaged: give the right one, or correct the expected value"
    )]
    Sha256 {
        /// The weights.
        source_name: String,
        /// The expected digest.
        expected: String,
        /// The file's digest.
        found: String,
    },
    /// The file lacks a tensor that the network needs.
    #[error(
        "{source_name} has no tensor \"{}\", which {network} needs ({missing} missing in all); these may be the weights of another network, or have other names than torchvision's (ResNets) and timm's (the others)",
        shown(key)
    )]
    MissingKey {
        /// The weights.
        source_name: String,
        /// The network.
        network: &'static str,
        /// The first missing key.
        key: String,
        /// The number of missing keys.
        missing: usize,
    },
    /// The file holds a tensor that the network does not know.
    #[error(
        "{source_name} holds a tensor \"{}\", which {network} does not know ({extra} unknown in all); these may be the weights of another network: choose that one, or remove the unknown tensors from the file if they have no part in it",
        shown(key)
    )]
    ExtraKey {
        /// The weights.
        source_name: String,
        /// The network.
        network: &'static str,
        /// The first extra key.
        key: String,
        /// The number of extra keys.
        extra: usize,
    },
    /// The file holds the network more than once, with different values.
    #[error(
        "{source_name} holds {network} more than once, such as under \"{}\" and \"{}\"; save the tensors under the one to use in a file of its own",
        shown(&prefixes[0]), shown(&prefixes[1])
    )]
    SeveralNetworks {
        /// The weights.
        source_name: String,
        /// The network.
        network: &'static str,
        /// Two of the places.
        prefixes: [String; 2],
    },
    /// A tensor's shape is not the network's.
    #[error(
        "{source_name}: tensor \"{}\" has shape {found:?}, but the network needs {expected:?}; these may be the weights of another network",
        shown(key)
    )]
    Shape {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The tensor's shape.
        found: Vec<usize>,
    },
    /// A tensor's dtype is not a floating-point one.
    #[error("{source_name}: tensor \"{}\" has dtype {found}; convert it to F32, F16, BF16 or F64", shown(key))]
    DType {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
        /// The tensor's dtype.
        found: String,
    },
    /// A tensor holds NaN or infinity.
    #[error(
        "{source_name}: tensor \"{}\" holds NaN or infinity; the file is damaged, or its training diverged: fetch or convert it again",
        shown(key)
    )]
    NotFinite {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
    },
    /// A tensor that training never makes 0 everywhere is 0 everywhere.
    #[error(
        "{source_name}: tensor \"{}\" holds only zeros, as the end of a file that was not written completely does: fetch or convert it again",
        shown(key)
    )]
    OnlyZeros {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
    },
    /// A part of a tensor is 0, and pruning does not make such parts.
    #[error(
        "{source_name}: tensor \"{}\" holds {count} zeros in a row from value {from} on, as a file that was not written completely does: fetch or convert it again",
        shown(key)
    )]
    Gap {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
        /// The index of the first of these zeros, row-major.
        from: usize,
        /// The number of zeros.
        count: usize,
    },
    /// A tensor's values are finite, but not after its batch norm or layer scale is folded in, or not in the requested dtype.
    #[error(
        "{source_name}: tensor \"{}\" becomes NaN or infinite when its batch norm or layer scale is folded in and it is converted to {dtype}; {}",
        shown(key), if dtype == "f32" { "its running_var or its scale is wrong: fetch or convert the file again" } else { "choose f32" }
    )]
    Overflow {
        /// The weights.
        source_name: String,
        /// The tensor.
        key: String,
        /// The requested dtype.
        dtype: String,
    },
}

/// Returns the multiple of `step` that is nearest to a side, at least `step` itself.
pub(crate) fn nearest_multiple(side: usize, step: usize) -> usize {
    let step = step.max(1);
    (side / step + usize::from(side % step > step / 2)).max(1).saturating_mul(step)
}
