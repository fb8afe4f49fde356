//! The loader, which reads images from disk in batches.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::image::{Limits, Mask, Picture, Preprocess};
use crate::parallel::{Ordered, thread_count};
use crate::random::Random;
use crate::sample::Sample;

/// The reaction to an image that cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The epoch ends with the error.
    #[default]
    Stop,
    /// The next image takes its place, and [`Batches::skipped`] returns the error.
    Skip,
}

/// A batch of images of one size, the input of a network.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// The samples, in order.
    pub samples: Vec<Sample>,
    /// The index of each image in the samples of the loader.
    pub indices: Vec<usize>,
    /// The width and height of each image before it was resized.
    pub sizes: Vec<(u32, u32)>,
    /// The normalized values, `[batch, 3, height, width]`.
    pub pixels: Vec<f32>,
    /// The masks, `[batch, height, width]`, with 1 for a defective pixel. `None` unless [`Loader::masks`] is set.
    pub masks: Option<Vec<u8>>,
    /// For each image, `true` if its mask is known. The mask of a normal image is known: it is all 0. The mask of an anomalous
    /// image without mask files is unknown, and its values are 0. Unless [`Loader::masks`] is set, all are `false`.
    pub mask_known: Vec<bool>,
    /// The height of the images in pixels.
    pub height: usize,
    /// The width of the images in pixels.
    pub width: usize,
}

/// Formats the files of the images, without their pixels.
impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({}x{}, ", self.width, self.height)?;
        f.debug_list().entries(self.samples.iter().map(|sample| &sample.path)).finish()?;
        f.write_str(")")
    }
}

impl Batch {
    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns whether there are no images. A loader returns no such batch.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

/// A loader that reads, decodes, resizes and normalizes images on several threads.
///
/// The order of the images depends on the seed and the epoch, not on the threads. Memory holds the current batch, at most
/// [`Loader::prefetch`] resized images, and one decoded image for each thread.
///
/// ```no_run
/// use dualad_data::image::Preprocess;
/// use dualad_data::{Dataset, Loader, OnError, Split};
///
/// let dataset = Dataset::open("mvtec")?;
/// let loader = Loader::new(dataset.samples(Split::Test).cloned(), Preprocess::new(224, 224)?)
///     .batch_size(8)
///     .masks(true)
///     .on_error(OnError::Skip);
/// let mut batches = loader.batches(0);
/// while let Some(batch) = batches.next() {
///     let batch = batch?;
///     assert_eq!(batch.pixels.len(), batch.len() * 3 * 224 * 224);
/// }
/// for error in batches.skipped() {
///     eprintln!("{error}");
/// }
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a loader does nothing until `batches` is called"]
pub struct Loader {
    job: Job,
    batch_size: usize,
    drop_last: bool,
    shuffle: Option<u64>,
    threads: usize,
    prefetch: Option<usize>,
    on_error: OnError,
}

/// The settings that all threads share.
#[derive(Debug, Clone)]
struct Job {
    samples: Arc<[Sample]>,
    preprocess: Preprocess,
    limits: Limits,
    masks: bool,
    cancel: Cancel,
}

/// One image, resized and normalized.
struct Ready {
    pixels: Vec<f32>,
    size: (u32, u32),
    /// `None` for an image without masks, and if masks are not requested.
    mask: Option<Mask>,
}

impl Loader {
    /// Creates a loader that keeps the order of the samples, returns batches of 16 images (the last may be smaller) and uses
    /// all cores.
    pub fn new(samples: impl IntoIterator<Item = Sample>, preprocess: Preprocess) -> Self {
        let (samples, cancel) = (samples.into_iter().collect(), Cancel::default());
        let job = Job { samples, preprocess, limits: Limits::default(), masks: false, cancel };
        let (drop_last, shuffle, prefetch) = (false, None, None);
        Self { job, batch_size: 16, drop_last, shuffle, threads: 0, prefetch, on_error: OnError::Stop }
    }

    /// Sets the number of images in a batch. 0 counts as 1.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.batch_size = images.max(1);
        self
    }

    /// Sets whether a last batch that is not full is dropped. Default: it is kept.
    pub fn drop_last(mut self, drop: bool) -> Self {
        self.drop_last = drop;
        self
    }

    /// Sets the seed for shuffling the images, with a new order in each epoch. Default: no shuffling.
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle = Some(seed);
        self
    }

    /// Sets whether masks are read. Default: they are not.
    pub fn masks(mut self, masks: bool) -> Self {
        self.job.masks = masks;
        self
    }

    /// Sets the number of threads. 0, the default, means one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the number of images that may be loading or waiting for a batch. Default: one batch, plus two for each thread.
    pub fn prefetch(mut self, images: usize) -> Self {
        self.prefetch = Some(images.max(1));
        self
    }

    /// Sets the limits for decoding an image.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.job.limits = limits;
        self
    }

    /// Sets the reaction to an image that cannot be loaded. Default: [`OnError::Stop`].
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Sets the handle that ends every epoch of this loader with [`Error::Cancelled`].
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.job.cancel = cancel.clone();
        self
    }

    /// Returns the number of images of an epoch.
    pub fn images(&self) -> usize {
        self.job.samples.len()
    }

    /// Starts an epoch. Its number selects the order if shuffling is on. Dropping the result stops the threads, each after
    /// its current image.
    pub fn batches(&self, epoch: u64) -> Batches {
        let count = self.job.samples.len();
        let order: Arc<[usize]> = match self.shuffle {
            Some(seed) => Random::new(seed).named(&format!("shuffle of epoch {epoch}")).permutation(count).into(),
            None => (0..count).collect(),
        };
        let threads = thread_count(self.threads);
        let window = self.prefetch.unwrap_or_else(|| self.batch_size.saturating_add(threads.saturating_mul(2)));
        let work = {
            let (job, order) = (self.job.clone(), Arc::clone(&order));
            move |position: usize| job.ready(order[position])
        };
        let (ready, failed) = match Ordered::start(count, threads, window, work) {
            Ok(ready) => (Some(ready), None),
            Err(error) => {
                let path = self.job.samples.first().map(|sample| sample.path.clone()).unwrap_or_default();
                (None, Some(Error::Io { action: "start threads to read", path, error }))
            }
        };
        let (batch_size, drop_last, on_error) = (self.batch_size, self.drop_last, self.on_error);
        let (job, skipped) = (self.job.clone(), Vec::new());
        Batches { job, order, taken: 0, ready, failed, batch_size, drop_last, on_error, skipped }
    }
}

impl Job {
    /// Loads one image.
    fn ready(&self, index: usize) -> Result<Ready> {
        let sample = &self.samples[index];
        self.cancel.check()?;
        let picture = Picture::read(&sample.path, &self.limits)?;
        let size = (picture.width(), picture.height());
        self.cancel.check()?;
        self.preprocess.check(&sample.path, &picture)?;
        let pixels = self.preprocess.pixels(&picture)?;
        drop(picture);
        let mask = if self.masks {
            self.cancel.check()?;
            sample.read_mask(size, &self.limits)?.map(|mask| self.preprocess.mask(&mask)).transpose()?
        } else {
            None
        };
        Ok(Ready { pixels, size, mask })
    }
}

/// The batches of one epoch of a [`Loader`]. An error ends the epoch.
pub struct Batches {
    job: Job,
    order: Arc<[usize]>,
    taken: usize,
    /// `None` once the epoch has ended.
    ready: Option<Ordered<Result<Ready>>>,
    failed: Option<Error>,
    batch_size: usize,
    drop_last: bool,
    on_error: OnError,
    skipped: Vec<Error>,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batches({} of {} images taken)", self.taken, self.order.len())
    }
}

impl Batches {
    /// Returns the errors of the images that were skipped so far, in order.
    pub fn skipped(&self) -> &[Error] {
        &self.skipped
    }

    /// Returns the next image that was loaded, and `None` after the last.
    fn image(&mut self) -> Option<Result<(usize, Ready)>> {
        loop {
            let index = *self.order.get(self.taken)?;
            if self.job.cancel.is_cancelled() {
                return Some(Err(Error::Cancelled));
            }
            let next = self.ready.as_mut()?.next();
            self.taken += 1;
            match next {
                Some(Ok(ready)) => return Some(Ok((index, ready))),
                Some(Err(Error::Cancelled)) => return Some(Err(Error::Cancelled)),
                Some(Err(error)) if self.on_error == OnError::Skip => self.skipped.push(error),
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    let path = self.job.samples[index].path.clone();
                    let reason = "a thread that loads images stopped unexpectedly, perhaps at this one".into();
                    return Some(Err(Error::Decode { path, reason }));
                }
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        self.ready.as_ref()?;
        let capacity = self.batch_size.min(self.order.len() - self.taken);
        let (height, width) = (self.job.preprocess.height() as usize, self.job.preprocess.width() as usize);
        let mut batch = Batch {
            samples: Vec::with_capacity(capacity),
            indices: Vec::with_capacity(capacity),
            sizes: Vec::with_capacity(capacity),
            pixels: Vec::with_capacity(capacity.saturating_mul(3 * height * width)),
            masks: self.job.masks.then(|| Vec::with_capacity(capacity.saturating_mul(height * width))),
            mask_known: Vec::with_capacity(capacity),
            height,
            width,
        };
        while batch.len() < self.batch_size {
            match self.image() {
                Some(Ok((index, ready))) => batch.push(&self.job.samples[index], index, ready),
                Some(Err(error)) => {
                    self.ready = None;
                    return Some(Err(error));
                }
                None => {
                    self.ready = None;
                    break;
                }
            }
        }
        let incomplete = batch.is_empty() || self.drop_last && batch.len() < self.batch_size;
        (!incomplete).then_some(Ok(batch))
    }
}

impl Batch {
    fn push(&mut self, sample: &Sample, index: usize, ready: Ready) {
        self.samples.push(sample.clone());
        self.indices.push(index);
        self.sizes.push(ready.size);
        self.pixels.extend_from_slice(&ready.pixels);
        self.mask_known.push(self.masks.is_some() && (!sample.label.is_anomalous() || ready.mask.is_some()));
        if let Some(masks) = &mut self.masks {
            let end = masks.len() + self.height * self.width;
            masks.extend_from_slice(ready.mask.as_ref().map_or(&[], Mask::pixels));
            masks.resize(end, 0);
        }
    }
}
