//! What is wrong with a dataset, said before training starts.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Sample, Split};
use crate::error::{Error, Result};
use crate::image::{Limits, Mask, Picture};
use crate::loader::Cancel;
use crate::parallel::{Ordered, thread_count};

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
    /// Warning: the same picture, pixel for pixel, is used for training and for testing.
    Duplicate,
    /// Warning: files that a dataset of this layout should not have, and that are not used.
    LeftOut,
    /// Note: a category's images differ in size.
    MixedSizes,
}

impl Kind {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::EmptyFile | Self::Unreadable | Self::MaskSize | Self::NoNormalImages => Severity::Fatal,
            Self::MissingMask | Self::UnpairedMask | Self::AmbiguousMask => Severity::Warning,
            Self::EmptyMask | Self::Duplicate | Self::LeftOut => Severity::Warning,
            Self::MixedSizes => Severity::Note,
        }
    }
}

/// One thing that is wrong. Prints as one line: severity, file, what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// The category it belongs to.
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

    fn of_error(category: &str, path: &Path, error: &Error) -> Self {
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
            Kind::EmptyFile | Kind::Unreadable | Kind::MaskSize => write!(f, "{}: {}", self.severity(), self.what),
            _ => write!(f, "{}: {}: {}", self.severity(), self.path.display(), self.what),
        }
    }
}

/// All that a check found.
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

/// A check of every file of a dataset: each image and mask is decoded once.
///
/// ```no_run
/// use dualad_data::{Dataset, Severity};
///
/// let dataset = Dataset::open("mvtec")?;
/// let report = dataset.check().threads(4).run()?;
/// for finding in report.findings.iter().filter(|finding| finding.severity() >= Severity::Warning) {
///     eprintln!("{finding}");
/// }
/// report.into_result()?;
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a check does nothing until it is run"]
pub struct Check<'a> {
    dataset: &'a Dataset,
    limits: Limits,
    threads: usize,
    cancel: Cancel,
}

/// What one sample's files turned out to be.
#[derive(Default)]
struct Seen {
    size: Option<(u32, u32)>,
    digest: Option<[u8; 32]>,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(dataset: &'a Dataset) -> Self {
        Self { dataset, limits: Limits::default(), threads: 0, cancel: Cancel::default() }
    }

    /// Sets how large images may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the number of threads; 0, the default, is one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Lets another thread end the check early, with [`Error::Cancelled`].
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Looks at every file. Faults of the dataset are in the report; an error means that there is none.
    pub fn run(self) -> Result<Report> {
        self.run_with(|_, _| ())
    }

    /// [`Check::run`], telling after each image how many are done, and how many there are.
    pub fn run_with(self, mut progress: impl FnMut(usize, usize)) -> Result<Report> {
        let samples: Arc<[Sample]> = self.dataset.categories.iter().flat_map(|c| c.samples.iter().cloned()).collect();
        let threads = thread_count(self.threads);
        let work = {
            let (samples, limits, cancel) = (Arc::clone(&samples), self.limits, self.cancel.clone());
            move |index: usize| if cancel.is_cancelled() { Seen::default() } else { look(&samples[index], &limits) }
        };
        let mut all = Ordered::start(samples.len(), threads, threads.saturating_mul(4), work)
            .map_err(|error| Error::Io { action: "start threads to read", path: self.dataset.root.clone(), error })?;
        let mut seen = Vec::with_capacity(samples.len());
        for (done, sample) in samples.iter().enumerate() {
            let next = all.next();
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            seen.push(next.ok_or_else(|| Error::Decode {
                path: sample.path.clone(),
                reason: "a thread that checks images, perhaps this one, ended early".into(),
            })?);
            progress(done + 1, samples.len());
        }

        let mut findings = self.dataset.findings.clone();
        self.without_normal_images(&mut findings);
        mixed_sizes(&samples, &seen, &mut findings);
        duplicates(&samples, &seen, &mut findings);
        findings.extend(seen.into_iter().flat_map(|seen| seen.findings));
        findings.sort_by(|a, b| b.severity().cmp(&a.severity()).then_with(|| a.path.cmp(&b.path)));
        Ok(Report { findings, images: samples.len() })
    }

    fn without_normal_images(&self, findings: &mut Vec<Finding>) {
        for category in &self.dataset.categories {
            if !category.samples.iter().any(|sample| sample.split == Split::Train && !sample.label.is_anomalous()) {
                let what = format!(
                    "category \"{}\" has no normal images to train on; add some or leave it out",
                    category.name
                );
                findings.push(Finding::new(Kind::NoNormalImages, &category.name, &self.dataset.root, what));
            }
        }
    }
}

fn look(sample: &Sample, limits: &Limits) -> Seen {
    let mut seen = Seen::default();
    let category = &sample.category;
    match Picture::read(&sample.path, limits) {
        Ok(picture) => {
            let size = (picture.width(), picture.height());
            let digest = Sha256::new().chain_update(size.0.to_le_bytes()).chain_update(picture.pixels()).finalize();
            (seen.size, seen.digest) = (Some(size), Some(digest.into()));
        }
        Err(error) => seen.findings.push(Finding::of_error(category, &sample.path, &error)),
    }
    if !sample.label.is_anomalous() {
        return seen;
    }
    let Some(path) = &sample.mask else {
        let what = "this anomalous image has no mask; it counts for images alone, not for pixels".to_string();
        seen.findings.push(Finding::new(Kind::MissingMask, category, &sample.path, what));
        return seen;
    };
    match Mask::read(path, sample.mask_rule, limits) {
        Ok(mask) => {
            if let Err(error) = seen.size.map_or(Ok(()), |size| fits(sample, path, &mask, size)) {
                seen.findings.push(Finding::of_error(category, path, &error));
            }
            if mask.is_empty() {
                let what =
                    format!("this mask of an anomalous image marks no pixel (its rule is {:?})", sample.mask_rule);
                seen.findings.push(Finding::new(Kind::EmptyMask, category, path, what));
            }
        }
        Err(error) => seen.findings.push(Finding::of_error(category, path, &error)),
    }
    seen
}

/// Whether a mask has its image's size.
pub(crate) fn fits(sample: &Sample, path: &Path, mask: &Mask, image_size: (u32, u32)) -> Result<()> {
    let mask_size = (mask.width(), mask.height());
    if mask_size == image_size {
        return Ok(());
    }
    Err(Error::MaskSize { mask: path.into(), mask_size, image: sample.path.clone(), image_size })
}

fn mixed_sizes(samples: &[Sample], seen: &[Seen], findings: &mut Vec<Finding>) {
    type Size = (u32, u32);
    let mut by_category = BTreeMap::<&str, BTreeMap<Size, (usize, &Path)>>::new();
    for (sample, seen) in samples.iter().zip(seen) {
        if let Some(size) = seen.size {
            by_category.entry(&sample.category).or_default().entry(size).or_insert((0, &sample.path)).0 += 1;
        }
    }
    for (category, sizes) in by_category {
        let mut sizes: Vec<(Size, (usize, &Path))> = sizes.into_iter().collect();
        sizes.sort_by_key(|&(size, (count, _))| (std::cmp::Reverse(count), size));
        if let [((width, height), (count, _)), (odd, (_, path)), ..] = sizes[..] {
            let what = format!(
                "it is {}x{} pixels, but most images of category \"{category}\" ({count}) are {width}x{height} \
                 (width x height; {} sizes in all); all are resized alike",
                odd.0,
                odd.1,
                sizes.len()
            );
            findings.push(Finding::new(Kind::MixedSizes, category, path, what));
        }
    }
}

fn duplicates(samples: &[Sample], seen: &[Seen], findings: &mut Vec<Finding>) {
    let of = |split| samples.iter().zip(seen).filter(move |(sample, _)| sample.split == split);
    let mut trained = HashMap::<[u8; 32], &Path>::new();
    for (sample, seen) in of(Split::Train) {
        if let Some(digest) = seen.digest {
            trained.entry(digest).or_insert(&sample.path);
        }
    }
    for (sample, seen) in of(Split::Test) {
        if let Some(path) = seen.digest.and_then(|digest| trained.get(&digest)) {
            let what =
                format!("this test image is the same picture as the training image {}; remove one", path.display());
            findings.push(Finding::new(Kind::Duplicate, &sample.category, &sample.path, what));
        }
    }
}
