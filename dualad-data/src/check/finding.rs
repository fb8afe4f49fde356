//! What a check finds, and how bad it is.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, one_line, shown};

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
pub enum Kind {
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
    GreyMask,
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
    TurnedImage,
}

impl Kind {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::EmptyFile | Self::Unreadable | Self::MaskSize | Self::NoNormalImages => Severity::Fatal,
            Self::MissingMask | Self::UnpairedMask | Self::AmbiguousMask => Severity::Warning,
            Self::EmptyMask | Self::GreyMask | Self::FullMask | Self::Duplicate | Self::LeftOut => Severity::Warning,
            Self::Contradiction | Self::UnclearLabel | Self::MaskAmongImages => Severity::Warning,
            Self::MixedSizes | Self::NoNormalTests | Self::TurnedImage => Severity::Note,
        }
    }
}

/// One thing that is wrong. Prints as one line: severity, file, what it is; control characters in names are
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// The category it belongs to; empty for what lies beside all categories.
    pub category: String,
    /// The file or folder at fault.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl Finding {
    pub(crate) fn new(kind: Kind, category: &str, path: &Path, what: String) -> Self {
        Self { kind, category: category.into(), path: path.into(), what }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }

    pub(super) fn of_error(category: &str, path: &Path, error: &Error) -> Self {
        let kind = match error {
            Error::EmptyFile { .. } => Kind::EmptyFile,
            Error::MaskSize { .. } => Kind::MaskSize,
            _ => Kind::Unreadable,
        };
        Self::new(kind, category, path, error.to_string())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An error's own message names the file already.
        match self.kind {
            Kind::EmptyFile | Kind::Unreadable | Kind::MaskSize => {
                write!(f, "{}: {}", self.severity(), one_line(&self.what))
            }
            _ => write!(f, "{}: {}: {}", self.severity(), shown(&self.path), one_line(&self.what)),
        }
    }
}

/// All that a check found.
///
/// ```
/// use dualad_data::{Dataset, Kind};
/// # use dualad_data::synthetic::{self, Category, Options};
///
/// # let folder = std::env::temp_dir().join(format!("dualad-doc-check-{}", std::process::id()));
/// # let categories = vec![Category::Plate];
/// # let options = Options { size: 32, train: 2, test_good: 1, test_per_defect: 1, categories, ..Options::default() };
/// # synthetic::write(&folder, &options, |_done, _total| {})?;
/// // A transfer that broke off.
/// std::fs::write(folder.join("plate/train/good/001.png"), "")?;
/// let report = Dataset::open(&folder)?.check().run()?;
/// assert_eq!((report.images, report.findings[0].kind), (6, Kind::EmptyFile));
/// assert!(report.is_fatal());
/// assert!(report.into_result().is_err());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The worst first; by file among equals.
    pub findings: Vec<Finding>,
    /// How many images were looked at.
    pub images: usize,
}

impl Report {
    /// Whether training must not start.
    pub fn is_fatal(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity() == Severity::Fatal)
    }

    /// The report, or, if anything in it is fatal, an error that lists all that is.
    pub fn into_result(self) -> Result<Self> {
        if !self.is_fatal() {
            return Ok(self);
        }
        let fatal = self.findings.into_iter().filter(|finding| finding.severity() == Severity::Fatal);
        Err(Error::Dataset { findings: fatal.collect() })
    }
}
