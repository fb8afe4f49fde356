//! What a check finds, and how bad it is.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::text::{one_line, shown};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Training works, but what comes out may not mean what it seems to.
    Warning,
    /// Training or evaluation would stop at it.
    Fatal,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fatal => "fatal",
        })
    }
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// Fatal: a file of 0 bytes.
    EmptyFile,
    /// Fatal: a file that is missing, damaged, too large, or of a kind that is not read.
    Unreadable,
    /// Fatal: a mask and its image differ in size.
    MaskSize,
    /// Fatal: a category has no normal images to learn from.
    NoNormalImages,
    /// Warning: an anomalous image has no mask, and no part in what is measured per pixel.
    MissingMask,
    /// Warning: a mask has no image.
    UnpairedMask,
    /// Warning: more than one mask fits an image, or more than one image a mask.
    AmbiguousMask,
    /// Warning: an anomalous image's mask marks no pixel.
    EmptyMask,
    /// Warning: a mask has values between black and white, which its rule takes for one of the two.
    GrayMask,
    /// Warning: an anomalous image's mask marks nearly all of it.
    FullMask,
    /// Warning: the same picture, pixel for pixel, is used for training and for testing, or a table names it twice.
    Duplicate,
    /// Warning: the same picture, pixel for pixel, is a normal and an anomalous test image.
    Contradiction,
    /// Warning: a type of defect has a name that may be meant for normal images, or a table's label is none of VisA's.
    UnclearLabel,
    /// Warning: masks that lie among the images, and are taken for some.
    MaskAmongImages,
    /// Warning: images where the dataset's layout has none, and that are not used.
    LeftOut,
    /// Note: a category's images differ in size.
    MixedSizes,
    /// Note: a category has test images, but no normal ones, without which nothing can be told apart.
    NoNormalTests,
    /// Note: an image is turned by its EXIF orientation, its mask is not, and their sizes do not tell which way it was drawn.
    RotatedImage,
}

impl FindingKind {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::EmptyFile | Self::Unreadable | Self::MaskSize | Self::NoNormalImages => Severity::Fatal,
            Self::MissingMask | Self::UnpairedMask | Self::AmbiguousMask => Severity::Warning,
            Self::EmptyMask | Self::GrayMask | Self::FullMask | Self::Duplicate | Self::LeftOut => Severity::Warning,
            Self::Contradiction | Self::UnclearLabel | Self::MaskAmongImages => Severity::Warning,
            Self::MixedSizes | Self::NoNormalTests | Self::RotatedImage => Severity::Note,
        }
    }
}

/// One thing that is wrong. Prints as one line: severity, file, what it is; control characters in names are
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The category it belongs to; empty for what lies beside all categories.
    pub category: String,
    /// The file or folder at fault.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, category: &str, path: &Path, what: String) -> Self {
        Self { kind, category: category.into(), path: path.into(), what }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An error's own message names the file already.
        match self.kind {
            FindingKind::EmptyFile | FindingKind::Unreadable | FindingKind::MaskSize => {
                write!(f, "{}: {}", self.severity(), one_line(&self.what))
            }
            _ => write!(f, "{}: {}: {}", self.severity(), shown(&self.path), one_line(&self.what)),
        }
    }
}
