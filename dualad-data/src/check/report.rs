//! The result of a check.

use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};

/// The findings of a check.
///
/// ```
/// use dualad_data::{Dataset, FindingKind};
/// # use dualad_data::synthetic::{self, Category, Options};
///
/// # let folder = std::env::temp_dir().join(format!("dualad-doc-check-{}", std::process::id()));
/// # let categories = vec![Category::Plate];
/// # let options = Options { size: 32, train: 2, test_good: 1, test_per_defect: 1, categories, ..Options::default() };
/// # synthetic::write(&folder, &options, |_done, _total| {})?;
/// // An interrupted transfer.
/// std::fs::write(folder.join("plate/train/good/001.png"), "")?;
/// let report = Dataset::open(&folder)?.check().run()?;
/// assert_eq!((report.images, report.findings[0].kind), (6, FindingKind::EmptyFile));
/// assert!(report.is_fatal());
/// assert!(report.into_result().is_err());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The findings, the most severe first, then by path, those of files that are not there after others. [`Check::listed`](crate::Check::listed) bounds them: the first 20 of each
    /// kind, and one with the number of the others.
    pub findings: Vec<Finding>,
    /// The number of images checked.
    pub images: usize,
}

impl Report {
    /// Returns the number of findings of this severity, those that are not listed among them.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity() == severity).map(|finding| finding.count).sum()
    }

    /// Returns whether a finding is fatal.
    pub fn is_fatal(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity() == Severity::Fatal)
    }

    /// Returns the report, unless a finding is fatal.
    ///
    /// # Errors
    /// [`Error::Dataset`] with the fatal findings.
    pub fn into_result(self) -> Result<Self> {
        if !self.is_fatal() {
            return Ok(self);
        }
        let fatal = self.findings.into_iter().filter(|finding| finding.severity() == Severity::Fatal);
        Err(Error::Dataset { findings: fatal.collect() })
    }
}
