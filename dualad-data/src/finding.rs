//! The findings of a check and their severity.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::text::{one_line, shown};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Information.
    Note,
    /// Training works, but the results may be misleading.
    Warning,
    /// Training or evaluation would fail.
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

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// Fatal: a file has 0 bytes.
    EmptyFile,
    /// Fatal: a file is missing, damaged, or of a kind that is not read.
    Unreadable,
    /// Fatal: a file exceeds the limits of the check.
    TooLarge,
    /// Fatal: a mask and its image differ in size.
    MaskSize,
    /// Fatal: a category has no normal training images.
    NoNormalImages,
    /// Fatal: a normal image to train on has a mask that marks a defect.
    MarkedNormal,
    /// Fatal: a normal image to train on has the same pixels as an anomalous test image of its category.
    DefectInTraining,
    /// Fatal: pictures with the few colors of masks lie among the photographs to train on.
    MaskInTraining,
    /// Fatal: folders that are read as products show images that look alike, or their names are those of labels: they may be one
    /// product, and some images defective. [`Dataset::select`](crate::Dataset::select) says that they are products.
    SameProduct,
    /// Warning: an anomalous image, or several in a folder, has no mask. The pixel metrics of its category and the pooled ones are
    /// undefined.
    MissingMask,
    /// Warning: a mask has no image.
    UnpairedMask,
    /// Warning: an image has several possible masks, or a mask several possible images, or several pages.
    AmbiguousMask,
    /// Warning: the mask of an anomalous image marks no pixel.
    EmptyMask,
    /// Warning: a mask has values between black and white. Its [`MaskRule`](crate::MaskRule) maps them to one of the two.
    GrayMask,
    /// Warning: the mask of an anomalous image marks nearly all pixels.
    FullMask,
    /// Warning: a training image and a normal test image, or one of another category, have the same pixels, or two test images, or a table
    /// names an image twice.
    Duplicate,
    /// Warning: a normal and an anomalous test image have the same pixels, or a mask or a list says that a normal test image has a defect.
    Contradiction,
    /// Warning: the name of a defect type may stand for normal images, or the label in a table is not one of VisA's.
    UnclearLabel,
    /// Warning: the names of two categories differ only in upper and lower case, or in how accents are composed.
    SimilarCategories,
    /// Warning: masks lie among the images. They are not read as images if their names are those of masks.
    MaskAmongImages,
    /// Warning: images lie where the layout has none, or are not read because of their names or formats. They are not used.
    LeftOut,
    /// Warning: the images of 16 bits of a category use a small part of their range, as frames of 12 bits do.
    NarrowRange,
    /// Note: the files of a dataset leave something open, such as the images to test on. The message tells the choice made.
    Choice,
    /// Note: files beside the images are neither images nor known, and are not read.
    OtherFiles,
    /// Note: the images of a category differ in size.
    MixedSizes,
    /// Note: a category has test images, but no normal ones. Its AUROC and average precision are undefined.
    NoNormalTests,
    /// Note: EXIF rotates or flips an image but not its mask, and their sizes do not show whether the mask matches.
    RotatedImage,
}

impl FindingKind {
    /// Returns the severity.
    pub fn severity(self) -> Severity {
        match self {
            Self::EmptyFile | Self::Unreadable | Self::TooLarge | Self::MaskSize => Severity::Fatal,
            Self::NoNormalImages | Self::MarkedNormal | Self::DefectInTraining => Severity::Fatal,
            Self::MaskInTraining | Self::SameProduct => Severity::Fatal,
            Self::MissingMask | Self::UnpairedMask | Self::AmbiguousMask => Severity::Warning,
            Self::EmptyMask | Self::GrayMask | Self::FullMask | Self::Duplicate | Self::LeftOut => Severity::Warning,
            Self::Contradiction | Self::UnclearLabel | Self::MaskAmongImages => Severity::Warning,
            Self::NarrowRange | Self::SimilarCategories => Severity::Warning,
            Self::Choice | Self::OtherFiles | Self::MixedSizes | Self::NoNormalTests | Self::RotatedImage => {
                Severity::Note
            }
        }
    }
}

impl fmt::Display for FindingKind {
    /// Writes the name as words in lower case: `empty file`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in format!("{self:?}").chars().enumerate() {
            if index > 0 && letter.is_uppercase() {
                f.write_str(" ")?;
            }
            write!(f, "{}", letter.to_lowercase())?;
        }
        Ok(())
    }
}

/// A fault of a dataset. Displays as one line: severity, file, message. Control characters in names are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The kind.
    pub kind: FindingKind,
    /// The category; empty for a fault outside of all categories.
    pub category: String,
    /// The file or folder at fault.
    pub path: PathBuf,
    /// The fault and its remedy.
    pub message: String,
    /// The number of findings that this one stands for: 1, or more for the one that counts those of its kind that
    /// [`Check`](crate::Check) does not list.
    pub count: usize,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, category: &str, path: &Path, message: String) -> Self {
        Self { kind, category: category.into(), path: path.into(), message, count: 1 }
    }

    /// Returns the severity.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message of an error names the file.
        match self.kind {
            _ if self.count > 1 => write!(f, "{}: {}: {}", self.severity(), shown(&self.path), one_line(&self.message)),
            FindingKind::EmptyFile | FindingKind::Unreadable | FindingKind::TooLarge | FindingKind::MaskSize => {
                write!(f, "{}: {}", self.severity(), one_line(&self.message))
            }
            _ => write!(f, "{}: {}: {}", self.severity(), shown(&self.path), one_line(&self.message)),
        }
    }
}
