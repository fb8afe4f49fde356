//! The errors of this crate, by who is at fault.

#[cfg(feature = "render")]
mod render;
#[cfg(feature = "synthetic")]
mod synthetic;

use std::path::{Path, PathBuf};

use crate::finding::Finding;
use crate::text::{one_line, shown};
#[cfg(feature = "render")]
pub use render::RenderError;
#[cfg(feature = "synthetic")]
pub use synthetic::SyntheticError;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate. Every message names the file, field or value at fault and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {error}", shown(path))]
    Io {
        /// The operation, such as `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The arguments of the generator are invalid, or the folder that it writes to.
    #[cfg(feature = "synthetic")]
    #[error(transparent)]
    Synthetic(#[from] SyntheticError),
    /// The arguments of a drawing function are invalid.
    #[cfg(feature = "render")]
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The caller gave an invalid value.
    #[error("{field} cannot be {value}: {reason}")]
    Value {
        /// The option.
        field: &'static str,
        /// The value given.
        value: String,
        /// The reason, and the valid values.
        reason: String,
    },
    /// A folder has no known layout.
    #[error("{} is not a dataset that can be read: {}", shown(path), one_line(reason))]
    Layout {
        /// The folder.
        path: PathBuf,
        /// The missing part.
        reason: String,
    },
    /// The dataset does not have the requested category.
    #[error("there is no category \"{name}\"; choose from {available}")]
    UnknownCategory {
        /// The name given.
        name: String,
        /// The names of the dataset's categories.
        available: String,
    },
    /// A table that describes a dataset is invalid.
    #[error("{}, line {line}: {}", shown(path), one_line(reason))]
    Table {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column and its fault.
        reason: String,
    },
    /// A file of annotations is invalid.
    #[error("cannot use the annotations {}: {}", shown(path), one_line(reason))]
    Annotations {
        /// The file.
        path: PathBuf,
        /// The fault and its remedy.
        reason: String,
    },
    /// An image file has no content.
    #[error("{} is empty (0 bytes); fetch it again or remove it", shown(path))]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is not an image, or the image is damaged.
    #[error("cannot decode {}: {}; the data are damaged or are not an image", shown(path), one_line(reason))]
    Decode {
        /// The file.
        path: PathBuf,
        /// The message of the decoder.
        reason: String,
    },
    /// This crate does not read this kind of image.
    #[error("cannot read {}: {}; convert it to png", shown(path), one_line(reason))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The kind of image.
        reason: String,
    },
    /// The format of an image was left out of the build.
    #[error(
        "cannot read {}: it is a {feature} file, and this build of dualad-data lacks the feature `{feature}`; enable it, \
         or convert the file",
        shown(path)
    )]
    FormatDisabled {
        /// The file.
        path: PathBuf,
        /// The Cargo feature of the format.
        feature: &'static str,
    },
    /// An image exceeds the limits of the caller.
    #[error(
        "{} is too large: {found} {unit}, but the limit is {limit}; shrink it, or raise the limit if the file can be trusted",
        shown(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The exceeded unit, such as `pixels`.
        unit: &'static str,
        /// The amount in the file; the limit plus one if the decoder does not report the amount.
        found: u64,
        /// The largest amount allowed.
        limit: u64,
    },
    /// A picture is far wider than high: resizing it would take many times its memory.
    #[error(
        "{} has {width}x{height} pixels (width x height), which is too wide to be resized; cut it into pieces that are less wide",
        shown(path)
    )]
    TooWide {
        /// The file, or a word for a picture in memory.
        path: PathBuf,
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
    /// A mask and its image differ in size.
    #[error(
        "the mask {} is {}x{} pixels, but its image {} is {}x{} (width x height); a mask needs its image's size",
        shown(mask), mask_size.0, mask_size.1, shown(image), image_size.0, image_size.1
    )]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// The width and height of the mask.
        mask_size: (u32, u32),
        /// The image.
        image: PathBuf,
        /// The width and height of the image.
        image_size: (u32, u32),
    },
    /// A check found faults that prevent training. Holds those that its report lists; the message lists the first 20.
    #[error("the dataset has {} fatal {}:{}", total(findings), if total(findings) == 1 { "fault" } else { "faults" }, list(findings))]
    Dataset {
        /// The fatal findings.
        findings: Vec<Finding>,
    },
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Returns an error of annotations that names the image that they belong to.
    pub(crate) fn of_image(self, image: &Path) -> Self {
        match self {
            Self::Annotations { path, reason } => {
                Self::Annotations { path, reason: format!("the annotations of {}: {reason}", shown(image)) }
            }
            error => error,
        }
    }
}

/// The number of findings that a message lists. The rest is counted.
const MAX_LISTED: usize = 20;

fn list(findings: &[Finding]) -> String {
    let mut text: String = findings.iter().take(MAX_LISTED).map(|finding| format!("\n  {finding}")).collect();
    if let Some(rest @ [_, ..]) = findings.get(MAX_LISTED..) {
        text += &format!("\n  and {} more", total(rest));
    }
    text
}

/// Returns the number of findings that these stand for.
fn total(findings: &[Finding]) -> usize {
    findings.iter().map(|finding| finding.count).sum()
}

/// Returns the message of an error, without the path if it is `known` to the reader.
pub(crate) fn without_path(error: &Error, known: &Path) -> String {
    match error {
        Error::Io { action, path, error } if path == known => format!("cannot {action} it: {error}"),
        error => error.to_string(),
    }
}
