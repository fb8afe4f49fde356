//! What is wrong with a dataset, said before training starts.

mod dataset;
mod report;
mod sample;

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::image::Limits;
use crate::parallel::{Ordered, thread_count};
use crate::sample::Sample;
pub use report::Report;
use sample::Inspected;

/// A check of every file of a dataset: each image and mask is decoded once. What damage that finds is told at
/// [`crate::image::Picture::read`].
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
    headers_only: bool,
    cancel: Cancel,
}

impl<'a> Check<'a> {
    pub(crate) fn new(dataset: &'a Dataset) -> Self {
        Self { dataset, limits: Limits::default(), threads: 0, headers_only: false, cancel: Cancel::default() }
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

    /// Reads headers, and decodes nothing: many times as fast. It finds what is missing, empty, too large, no image, or of
    /// the wrong size. It does not find damage after the header, kinds of images that are not read, the same picture in
    /// training and testing, and anything about what masks mark.
    pub fn headers_only(mut self, headers_only: bool) -> Self {
        self.headers_only = headers_only;
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
            let headers_only = self.headers_only;
            move |index: usize| match &samples[index] {
                _ if cancel.is_cancelled() => Inspected::default(),
                sample if headers_only => sample::headers(sample, &limits),
                sample => sample::whole(sample, &limits),
            }
        };
        let mut all = Ordered::start(samples.len(), threads, threads.saturating_mul(4), work)
            .map_err(|error| Error::Io { action: "start threads to read", path: self.dataset.root.clone(), error })?;
        let mut inspected = Vec::with_capacity(samples.len());
        for (done, sample) in samples.iter().enumerate() {
            let next = all.next();
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            inspected.push(next.ok_or_else(|| Error::Decode {
                path: sample.path.clone(),
                reason: "a thread that checks images, perhaps this one, ended early".into(),
            })?);
            progress(done + 1, samples.len());
        }

        let mut findings = self.dataset.findings.clone();
        dataset::without_normal_images(self.dataset, &mut findings);
        dataset::mixed_sizes(self.dataset, &samples, &inspected, &mut findings);
        dataset::duplicates(&samples, &inspected, &mut findings);
        findings.extend(inspected.into_iter().flat_map(|inspected| inspected.findings));
        findings.sort_by(|a, b| b.severity().cmp(&a.severity()).then_with(|| a.path.cmp(&b.path)));
        Ok(Report { findings, images: samples.len() })
    }
}

impl Dataset {
    /// A check of every file, to be run before training starts.
    pub fn check(&self) -> Check<'_> {
        Check::new(self)
    }

    /// [`Dataset::check`] with its defaults.
    pub fn checked(&self) -> Result<Report> {
        self.check().run()
    }
}
