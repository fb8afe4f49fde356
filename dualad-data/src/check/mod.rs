//! The check of a dataset before training.

mod bare_masks;
mod bounded;
mod dataset;
mod joined;
mod report;
mod sample;
mod trained;

use std::cmp::Reverse;
use std::sync::Arc;

use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::image::Limits;
use crate::parallel::{Ordered, thread_count};
use crate::sample::Sample;
pub use report::Report;
use sample::Inspected;

/// The number of findings of each kind that a report lists.
const LISTED: usize = 20;

/// A check of all files of a dataset. Each image and mask is decoded once. [`Picture::read`](crate::image::Picture::read)
/// documents the damage that decoding finds.
///
/// ```no_run
/// use dualad_data::{Dataset, Severity};
///
/// let dataset = Dataset::open("mvtec")?;
/// let report = dataset.check().threads(4).progress(|done, total| eprintln!("{done} of {total}")).run()?;
/// for finding in report.findings.iter().filter(|finding| finding.severity() >= Severity::Warning) {
///     eprintln!("{finding}");
/// }
/// report.into_result()?;
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[must_use = "a check does nothing until it is run"]
pub struct Check<'a> {
    dataset: &'a Dataset,
    limits: Limits,
    threads: usize,
    headers_only: bool,
    listed: usize,
    cancel: Cancel,
    progress: Box<dyn FnMut(usize, usize) + Send + 'a>,
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("dataset", &self.dataset.root).finish_non_exhaustive()
    }
}

impl<'a> Check<'a> {
    /// Creates a check that decodes every file, on all cores.
    pub fn of(dataset: &'a Dataset) -> Self {
        let (limits, cancel, progress) = (Limits::default(), Cancel::default(), Box::new(|_, _| ()));
        Self { dataset, limits, threads: 0, headers_only: false, listed: LISTED, cancel, progress }
    }

    /// Sets the limits for decoding an image.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the number of threads. 0, the default, means one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets whether only headers are checked. Default: false.
    ///
    /// A check of the headers is many times as fast. It finds files that are missing, empty, too large, not an image, or of the
    /// wrong size. It does not find damage after the header, unsupported kinds of images, duplicate images apart from links to one file, images of 16 bits that use a
    /// small part of their range, images that EXIF rotates without their masks, or faults in the content of masks, such as a mask
    /// that marks a defect in an image to train on.
    pub fn headers_only(mut self, headers_only: bool) -> Self {
        self.headers_only = headers_only;
        self
    }

    /// Sets the number of findings of each kind that the report lists. One more finding of the kind counts the others
    /// ([`Finding::count`]). Files that are not there are one finding for each folder, or one for all of more than five folders. Default: 20.
    /// 0 lists all, and each file by itself.
    pub fn listed(mut self, listed: usize) -> Self {
        self.listed = listed;
        self
    }

    /// Sets the handle that ends the check with [`Error::Cancelled`].
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Sets a function that is called after each image with the number of finished images and of all images.
    pub fn progress(mut self, progress: impl FnMut(usize, usize) + Send + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Checks all files. Faults of the dataset are findings of the report, not errors.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and [`Error::Io`] if no thread can be started.
    pub fn run(mut self) -> Result<Report> {
        let samples: Arc<[Sample]> = self.dataset.categories.iter().flat_map(|c| c.samples.iter().cloned()).collect();
        let threads = thread_count(self.threads);
        let mut findings = self.dataset.findings.clone();
        let saturations = dataset::saturations(self.dataset, &mut findings);
        let work = {
            let (samples, limits, cancel) = (Arc::clone(&samples), self.limits, self.cancel.clone());
            let headers_only = self.headers_only;
            move |index: usize| match &samples[index] {
                _ if cancel.is_cancelled() => Inspected::default(),
                sample if headers_only => sample::headers(sample, &limits),
                sample => sample::whole(sample, saturations.get(&sample.category), &limits),
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
                reason: "a thread that checks images stopped unexpectedly, perhaps at this one".into(),
            })?);
            (self.progress)(done + 1, samples.len());
        }

        dataset::without_saturation(self.dataset, &samples, &inspected, &mut findings);
        dataset::without_normal_images(self.dataset, &mut findings);
        dataset::narrow_range(self.dataset, &samples, &inspected, &mut findings);
        bare_masks::report(self.dataset, &samples, &inspected, &mut findings);
        dataset::mixed_sizes(self.dataset, &samples, &inspected, &mut findings);
        dataset::round_copies(&mut inspected);
        dataset::duplicates(&samples, &inspected, &mut findings);
        dataset::repeated_tests(&samples, &inspected, &mut findings);
        dataset::shared_between_categories(&samples, &inspected, &mut findings);
        dataset::several_pages(self.dataset, &samples, &inspected, &mut findings);
        if self.headers_only {
            findings.extend(trained::linked(&samples.iter().collect::<Vec<&Sample>>()));
        }
        dataset::similar_names(self.dataset, &mut findings);
        findings.extend(inspected.into_iter().flat_map(|inspected| inspected.findings));
        joined::missing_masks(&mut findings);
        let mut missing: Vec<Finding> =
            findings.extract_if(.., |finding| joined::is_of_missing_file(finding)).collect();
        if self.listed > 0 {
            missing = joined::missing_files(&self.dataset.root, missing);
        }
        findings.sort_by(|a, b| a.path.cmp(&b.path));
        // The finding of a list that names files that are not there tells more than those of the files.
        missing.sort_by(|a, b| a.path.cmp(&b.path));
        findings.append(&mut missing);
        findings.sort_by_key(|finding| Reverse(finding.severity()));
        if self.listed > 0 {
            bounded::bound(&self.dataset.root, self.listed, &mut findings);
        }
        Ok(Report { findings, images: samples.len() })
    }
}

impl Dataset {
    /// Returns the normal training images whose masks mark a defect, and those that are the same file as an anomalous test image
    /// or a copy of one, as findings; and of each category the training images that are masks by their content, if others are
    /// photographs. Only images with a mask, images with as many bytes as one on the other side, and up to 72 of each category are read,
    /// the smallest files among them, so this is fast for most datasets. [`Dataset::check`] includes these findings.
    pub fn marked_normal_images(&self, limits: &Limits) -> Vec<Finding> {
        let samples: Vec<&Sample> = self.categories.iter().flat_map(|category| &category.samples).collect();
        let mut found: Vec<Finding> =
            samples.par_iter().filter_map(|sample| sample::marked_normal(sample, limits)).collect();
        found.extend(trained::copied(&samples, limits));
        found.extend(self.categories.iter().filter_map(|category| bare_masks::of_small_files(category, limits)));
        found
    }

    /// Returns a check of all files, to be run before training.
    pub fn check(&self) -> Check<'_> {
        Check::of(self)
    }
}
