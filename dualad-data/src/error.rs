//! Everything that can go wrong, sorted by who is at fault.

use std::path::{Path, PathBuf};

use crate::finding::Finding;
use crate::text::{one_line, shown};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Every message names the file, field or value at fault and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {error}", shown(path))]
    Io {
        /// What was tried, such as `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's word.
        error: std::io::Error,
    },
    /// A request for synthetic pictures is at fault, or the folder that is to take them.
    #[cfg(feature = "synthetic")]
    #[error(transparent)]
    Synthetic(#[from] crate::synthetic::error::SyntheticError),
    /// The material for a picture is at fault.
    #[cfg(feature = "render")]
    #[error(transparent)]
    Render(#[from] crate::render::error::RenderError),
    /// The caller gave a value that cannot be used.
    #[error("{field} cannot be {value}: {reason}")]
    Value {
        /// The option.
        field: &'static str,
        /// What was given.
        value: String,
        /// Why not, and what can be.
        reason: String,
    },
    /// A folder is not laid out in a way that is known.
    #[error("{} is not a dataset that can be read: {}", shown(path), one_line(reason))]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A category was asked for that the dataset does not have.
    #[error("there is no category \"{name}\"; choose from {available}")]
    UnknownCategory {
        /// The name given.
        name: String,
        /// The names there are.
        available: String,
    },
    /// A table that describes a dataset is at fault.
    #[error("{}, line {line}: {}", shown(path), one_line(reason))]
    Table {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column and what is wrong with it.
        reason: String,
    },
    /// An image file has no content.
    #[error("{} is empty (0 bytes); fetch it again or remove it", shown(path))]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is no image, or a damaged one.
    #[error("cannot decode {}: {}; fetch it again or remove it", shown(path), one_line(reason))]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's word.
        reason: String,
    },
    /// An image is of a kind that this crate does not read.
    #[error("cannot read {}: {}; convert it to png", shown(path), one_line(reason))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The kind.
        reason: String,
    },
    /// An image has a format that was left out of the build.
    #[error(
        "cannot read {}: it is a {feature} file, and this build of dualad-data lacks the feature `{feature}`; enable it, or convert \
        the file",
        shown(path)
    )]
    FormatDisabled {
        /// The file.
        path: PathBuf,
        /// The Cargo feature of its format.
        feature: &'static str,
    },
    /// An image is larger than the caller's limits.
    #[error(
        "{} is too large: {found} {unit}, but the limit is {limit}; shrink it, or raise the limit if the file can be trusted",
        shown(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The exceeded unit, such as `pixels`.
        unit: &'static str,
        /// How many it has; one more than the limit where a decoder says only that it is too many.
        found: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// A mask does not fit its image.
    #[error(
        "the mask {} is {}x{} pixels, but its image {} is {}x{} (width x height); a mask needs its image's size",
        shown(mask), mask_size.0, mask_size.1, shown(image), image_size.0, image_size.1
    )]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// The mask's width and height.
        mask_size: (u32, u32),
        /// The image.
        image: PathBuf,
        /// The image's width and height.
        image_size: (u32, u32),
    },
    /// A check found what training must not start with. Holds every such finding, not the first alone.
    #[error("the dataset has {} fatal {}:{}", findings.len(), if findings.len() == 1 { "fault" } else { "faults" }, list(findings))]
    Dataset {
        /// What was found.
        findings: Vec<Finding>,
    },
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("\n  {finding}")).collect()
}

/// An error's words where this path stands before them.
pub(crate) fn without_path(error: &Error, known: &Path) -> String {
    match error {
        Error::Io { action, path, error } if path == known => format!("cannot {action} it: {error}"),
        error => error.to_string(),
    }
}
