//! The features of image files, computed once and kept in a cache or in memory.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use candle_core::{Device, Tensor};
use dualad_backbones::{FeatureExtractor, Stage};
use dualad_data::image::{Limits, Picture, Preprocess};
use dualad_data::{Cancel, Loader, Sample};
use dualad_store::hex;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::Precision;
use crate::error::{Error, Result};
use crate::features::augment::{augment, check_augmentation};
use crate::features::cache::{FeatureCache, Key};
use crate::features::identity::{Identity, extraction};
use crate::features::memory::memory_budget;
use crate::features::source::TokenSource;
use crate::features::storage::Storage;
use crate::features::tokens::{self, size};
use crate::progress::Progress;
use crate::random::Stream;
use crate::recipe::Augmentation;

/// The features of a list of image files.
///
/// ```
/// use dualad::backbones::Backbone;
/// use dualad::data::image::Preprocess;
/// use dualad::data::synthetic::{self, Options};
/// use dualad::data::{Dataset, Split};
/// use dualad::features::{FeatureCache, Features, TokenSource};
///
/// let folder = std::env::temp_dir().join(format!("dualad-doc-features-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let options = Options { size: 64, train: 2, test_good: 1, test_per_defect: 1, ..Options::default() };
/// synthetic::write(&folder.join("parts"), &options, |_done, _total| {})?;
/// let dataset = Dataset::open(folder.join("parts"))?;
///
/// let extractor = Backbone::FilterBank.extractor().build()?.into();
/// let features = Features::of(dataset.samples(Split::Train).cloned(), extractor, Preprocess::new(64, 64)?)
///     .cache(FeatureCache::open(folder.join("cache"))?)
///     .progress(|progress| eprintln!("{progress:?}"))
///     .compute()?;
/// assert_eq!(features.batch(&[9, 0])?.dims(), [2, 4 * 4, 118]);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Features {
    samples: Arc<[Sample]>,
    keys: Vec<Keys>,
    /// Tokens and channels of an image.
    shape: [usize; 2],
    storage: Storage,
    extractor: Arc<dyn FeatureExtractor>,
    preprocess: Preprocess,
    limits: Limits,
    identity: Identity,
}

/// The digests that identify an image's features.
#[derive(Debug, Clone, Copy)]
struct Keys {
    /// The SHA-256 of the image's file.
    image: [u8; 32],
    /// The SHA-256 of that digest and of everything else that the features depend on.
    features: Key,
}

/// The settings of a computation of [`Features`], made by [`Features::of`].
#[must_use = "nothing is computed until `compute` is called"]
pub struct FeaturesBuilder<'a> {
    samples: Arc<[Sample]>,
    extractor: Arc<dyn FeatureExtractor>,
    preprocess: Preprocess,
    cache: Option<FeatureCache>,
    memory: Option<u64>,
    batch_size: usize,
    limits: Limits,
    cancel: Cancel,
    progress: Box<dyn FnMut(Progress) + Send + 'a>,
}

impl Features {
    /// Returns the settings of a computation of the features of images. Without a cache, as many as fit are kept in memory.
    pub fn of<'a>(
        samples: impl IntoIterator<Item = Sample>,
        extractor: Arc<dyn FeatureExtractor>,
        preprocess: Preprocess,
    ) -> FeaturesBuilder<'a> {
        FeaturesBuilder {
            samples: samples.into_iter().collect(),
            extractor,
            preprocess,
            cache: None,
            memory: None,
            batch_size: 8,
            limits: Limits::default(),
            cancel: Cancel::default(),
            progress: Box::new(|_| {}),
        }
    }

    /// Returns the images, in order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Returns the precision that the features were computed in.
    pub fn precision(&self) -> Precision {
        self.extractor.precision()
    }

    /// Returns the number of tokens and of channels of an image.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Returns the preprocessing of the images.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Returns the limits that images are decoded within.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns an image's preprocessed pixels, `[3, height, width]`.
    fn pixels(&self, index: usize) -> Result<Vec<f32>> {
        let (Some(sample), Some(keys)) = (self.samples.get(index), self.keys.get(index)) else {
            return Err(self.out_of_range(index));
        };
        let bytes = read(sample)?;
        if <[u8; 32]>::from(Sha256::digest(&bytes)) != keys.image {
            let reason = "the file has changed since the run began; start the run again".into();
            return Err(Error::Features { path: sample.path.clone(), reason });
        }
        let picture = Picture::decode(&bytes, &sample.path, &self.limits)?;
        self.preprocess.check(&sample.path, &picture)?;
        Ok(self.preprocess.pixels(&picture)?)
    }

    /// Returns the stages of the extractor.
    pub(crate) fn stages(&self) -> &[Stage] {
        self.extractor.stages()
    }

    /// Reads images, `[indices, 3, height, width]`.
    pub(crate) fn read(&self, indices: &[usize]) -> Result<Tensor> {
        let pixels = indices.par_iter().map(|&index| self.pixels(index)).collect::<Result<Vec<_>>>()?.concat();
        tokens::images(&self.preprocess, pixels)
    }

    /// Computes the stage maps of images that were read, `[images, channels, rows, columns]` for each stage.
    pub(crate) fn maps(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        Ok(self.extractor.extract(images)?)
    }

    /// Computes the features of preprocessed images, `[indices, tokens, channels]`.
    fn extract(&self, pixels: Vec<f32>, indices: &[usize]) -> Result<Vec<f32>> {
        let images = tokens::images(&self.preprocess, pixels)?;
        tokens::values(&*self.extractor, &images, |position| path(&self.samples, indices.get(position)))
    }

    /// Computes an image's features again, because their entry is absent or damaged, and stores them.
    fn recompute(&self, index: usize, values: &mut [f32]) -> Result<()> {
        let tokens = self.extract(self.pixels(index)?, &[index])?;
        values.copy_from_slice(&tokens);
        if let Storage::Cache(cache) = &self.storage {
            cache.rounded(values);
        }
        // A failure to keep them costs time only.
        let _ = self.storage.write(index, self.keys[index].features, self.shape, &tokens);
        Ok(())
    }

    fn out_of_range(&self, index: usize) -> Error {
        let reason = format!("there are {} images", self.samples.len());
        Error::Features { path: PathBuf::from(format!("image number {index}")), reason }
    }
}

impl TokenSource for Features {
    fn images(&self) -> usize {
        self.samples.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Tensor> {
        let [tokens, channels] = self.shape;
        let mut values = vec![0.0; indices.len() * tokens * channels];
        let entries = values.par_chunks_mut((tokens * channels).max(1)).zip(indices);
        let missing: Vec<bool> = entries
            .map(|(values, &index)| {
                let key = self.keys.get(index).ok_or_else(|| self.out_of_range(index))?.features;
                Ok(self.storage.read(index, key, self.shape, values).is_none())
            })
            .collect::<Result<_>>()?;
        let entries = values.chunks_mut((tokens * channels).max(1)).zip(indices).zip(missing);
        for ((values, &index), _) in entries.filter(|(_, missing)| *missing) {
            self.recompute(index, values)?;
        }
        Ok(Tensor::from_vec(values, (indices.len(), tokens, channels), &Device::Cpu)?)
    }

    fn augmented(&self, indices: &[usize], augmentation: Augmentation, stream: Stream) -> Result<Tensor> {
        let size = size(&self.preprocess);
        check_augmentation(augmentation, size)?;
        let images =
            indices.par_iter().map(|&index| Ok(augment(augmentation, &self.pixels(index)?, size, stream, index)));
        let pixels = images.collect::<Result<Vec<Vec<f32>>>>()?.concat();
        let [tokens, channels] = self.shape;
        Ok(Tensor::from_vec(self.extract(pixels, indices)?, (indices.len(), tokens, channels), &Device::Cpu)?)
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl std::fmt::Debug for FeaturesBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("FeaturesBuilder");
        debug.field("images", &self.samples.len()).field("preprocess", &self.preprocess).field("cache", &self.cache);
        debug.finish_non_exhaustive()
    }
}

impl<'a> FeaturesBuilder<'a> {
    /// Sets the cache to take features from and to keep new ones in.
    pub fn cache(mut self, cache: FeatureCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sets the memory for features that no cache keeps, in bytes. Features that do not fit are computed at each use. Default: half
    /// of the available memory, or 4 GiB where the system does not tell it.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets the number of images that the extractor computes at a time; 0 counts as 1. The features do not depend on it.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.batch_size = images.max(1);
        self
    }

    /// Sets the largest images that are accepted.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the handle that ends the computation with [`Error::Cancelled`]. The cache keeps the features computed so far.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Sets a function that is called as images are finished. Images that the cache has are finished in the first call.
    pub fn progress(mut self, progress: impl FnMut(Progress) + Send + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Computes the features that the cache does not have.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that cannot be read, [`Error::Features`] for features that are not finite, [`Error::Cache`] if
    /// the cache cannot be written, [`Error::Backbone`] if the extractor fails, [`Error::Cancelled`].
    pub fn compute(self) -> Result<Features> {
        let Self { samples, extractor, preprocess, cache, memory, batch_size, limits, cancel, mut progress } = self;
        let shape = tokens::shape(&*extractor, &preprocess);
        let total = samples.len();
        let extraction = extraction(&*extractor, &preprocess, cache.as_ref());
        let keys = samples.par_iter().map(|sample| {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            Ok(Keys::new(Sha256::digest(read(sample)?).into(), &extraction))
        });
        let keys: Vec<Keys> = keys.collect::<Result<_>>()?;
        let storage = match cache {
            Some(cache) => Storage::Cache(cache),
            None => {
                let fitting = memory.unwrap_or_else(memory_budget) / (4 * shape[0] * shape[1]).max(1) as u64;
                let entries = usize::try_from(fitting).unwrap_or(usize::MAX).min(total);
                Storage::Memory((0..entries).map(|_| OnceLock::new()).collect())
            }
        };
        let missing: Vec<usize> =
            (0..total).into_par_iter().filter(|&index| !storage.has(index, keys[index].features, shape)).collect();
        let mut done = total - missing.len();
        progress(Progress { done, total });
        let wanted = missing.iter().map(|&index| samples[index].clone());
        let loader = Loader::new(wanted, preprocess.clone()).batch_size(batch_size).limits(limits).cancel(&cancel);
        for batch in loader.batches(0) {
            let batch = batch?;
            let images = tokens::images(&preprocess, batch.pixels)?;
            let indices: Vec<usize> = batch.indices.iter().map(|&position| missing[position]).collect();
            let values = tokens::values(&*extractor, &images, |position| path(&samples, indices.get(position)))?;
            let entries: Vec<&[f32]> = values.chunks((shape[0] * shape[1]).max(1)).collect();
            entries
                .par_iter()
                .zip(&indices)
                .try_for_each(|(values, &index)| storage.write(index, keys[index].features, shape, values))?;
            done += indices.len();
            progress(Progress { done, total });
        }
        let identity = Identity { extraction, images: names(&samples, &keys) };
        Ok(Features { samples, keys, shape, storage, extractor, preprocess, limits, identity })
    }
}

impl Keys {
    fn new(image: [u8; 32], extraction: &[(String, String)]) -> Self {
        let mut hasher = Sha256::new_with_prefix(image);
        for (name, value) in extraction {
            // The lengths separate the fields.
            for text in [name, value] {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
        Self { image, features: Key(hasher.finalize().into()) }
    }
}

/// Returns the digest and the name of each image, for [`Identity::images`].
fn names(samples: &[Sample], keys: &[Keys]) -> Vec<(String, String)> {
    samples.iter().zip(keys).map(|(sample, keys)| (hex(&keys.image[..16]), name_of(sample))).collect()
}

/// Returns the name of an image file in [`Identity::images`].
pub(crate) fn name_of(sample: &Sample) -> String {
    let file = sample.path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/{file}", sample.category)
}

fn path(samples: &[Sample], index: Option<&usize>) -> PathBuf {
    index.and_then(|&index| samples.get(index)).map(|sample| sample.path.clone()).unwrap_or_default()
}

/// Reads a file's bytes. The decoder checks later whether they are an image.
fn read(sample: &Sample) -> Result<Vec<u8>> {
    let io = |error| Error::Io { action: "read", path: sample.path.clone(), error };
    let metadata = std::fs::metadata(&sample.path).map_err(io)?;
    if !metadata.is_file() {
        // Opening a pipe may block forever.
        let reason = "it is not a regular file".into();
        return Err(Error::Features { path: sample.path.clone(), reason });
    }
    std::fs::read(&sample.path).map_err(io)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::DType;
    use dualad_backbones::{Backbone, Provenance, Stage};
    use dualad_data::{Dataset, Label, Split};

    use super::*;
    use crate::features::cache::FeatureType;
    use crate::testing::dataset;

    /// The filter bank, which counts its images and multiplies its features by a factor.
    #[derive(Debug)]
    struct Counting {
        inner: Box<dyn FeatureExtractor>,
        images: AtomicUsize,
        factor: f64,
    }

    impl Counting {
        fn new(factor: f64) -> Arc<Self> {
            let inner = Backbone::FilterBank.extractor().build().unwrap();
            Arc::new(Self { inner, images: AtomicUsize::new(0), factor })
        }

        fn count(&self) -> usize {
            self.images.swap(0, Ordering::Relaxed)
        }
    }

    impl FeatureExtractor for Counting {
        fn backbone(&self) -> Backbone {
            self.inner.backbone()
        }
        fn stages(&self) -> &[Stage] {
            self.inner.stages()
        }
        fn device(&self) -> &Device {
            self.inner.device()
        }
        fn dtype(&self) -> DType {
            self.inner.dtype()
        }
        fn provenance(&self) -> &Provenance {
            self.inner.provenance()
        }
        fn extract(&self, images: &Tensor) -> dualad_backbones::Result<Vec<Tensor>> {
            self.images.fetch_add(images.dim(0)?, Ordering::Relaxed);
            let maps = self.inner.extract(images)?;
            Ok(maps.iter().map(|map| map * self.factor).collect::<candle_core::Result<_>>()?)
        }
    }

    fn builder<'a>(dataset: &Dataset, extractor: &Arc<Counting>) -> FeaturesBuilder<'a> {
        let extractor: Arc<dyn FeatureExtractor> = extractor.clone();
        Features::of(dataset.samples(Split::Train).cloned(), extractor, Preprocess::new(64, 64).unwrap()).batch_size(3)
    }

    fn values(features: &Features) -> Vec<f32> {
        let indices: Vec<usize> = (0..features.images()).collect();
        features.batch(&indices).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn features_from_cache_memory_and_recomputation_are_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let mut heard = Vec::new();
        let cached = builder(&dataset, &extractor)
            .cache(cache.clone())
            .progress(|progress| heard.push((progress.done, progress.total)))
            .compute();
        let cached = cached.unwrap();
        assert_eq!(heard, [(0, 4), (3, 4), (4, 4)]);
        assert_eq!((extractor.count(), cached.shape()), (4, [16, 118]));
        let expected = values(&cached);
        assert_eq!(extractor.count(), 0);

        // A second run computes nothing.
        let again = builder(&dataset, &extractor)
            .cache(cache)
            .progress(|progress| assert_eq!((progress.done, progress.total), (4, 4)))
            .compute();
        assert_eq!((values(&again.unwrap()), extractor.count()), (expected.clone(), 0));

        let remembered = builder(&dataset, &extractor).compute().unwrap();
        assert_eq!((values(&remembered), extractor.count()), (expected.clone(), 4));
        assert_eq!(remembered.identity(), cached.identity());

        // Memory for one and a half images: the others are computed at each use, one at a time.
        let image = 4 * 16 * 118;
        let partly = builder(&dataset, &extractor).memory(image + image / 2).compute().unwrap();
        assert_eq!(extractor.count(), 1);
        assert_eq!((values(&partly), extractor.count()), (expected.clone(), 3));
        assert_eq!((values(&partly), extractor.count()), (expected, 3));
    }

    #[test]
    fn augmented_images_bypass_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let features = builder(&dataset, &extractor).cache(cache).compute().unwrap();
        let (plain, all) = (values(&features), [0, 1, 2, 3]);
        extractor.count();
        let augmented = |augmentation: Augmentation, name: &str| -> Vec<f32> {
            let stream = crate::Random::new(1).named(name);
            features.augmented(&all, augmentation, stream).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let flip = Augmentation { flip_horizontal: true, quarter_turns: true, ..Augmentation::default() };
        let first = augmented(flip, "epoch 0");
        assert_eq!(extractor.count(), 4, "features were taken from the cache");
        assert_ne!(first, plain);
        assert_eq!(augmented(flip, "epoch 0"), first);
        assert_ne!(augmented(flip, "epoch 1"), first);
        // The augmentation of an image does not depend on the batch.
        let stream = crate::Random::new(1).named("epoch 0");
        let alone: Vec<f32> = features.augmented(&[2], flip, stream).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(alone, first[2 * alone.len()..3 * alone.len()]);
        assert!(features.augmented(&[4], flip, stream).unwrap_err().to_string().contains("there are 4 images"));
        // The cache holds the features of the images without augmentation.
        assert_eq!(values(&features), plain);
        // Without augmentation, the features are those in the cache.
        assert_eq!(augmented(Augmentation::default(), "epoch 0"), plain);
    }

    #[test]
    fn an_entry_that_is_lost_during_a_run_is_computed_again() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let features = builder(&dataset, &extractor).cache(cache).compute().unwrap();
        let expected = values(&features);
        extractor.count();
        // The cache is deleted.
        fs::remove_dir_all(folder.path().join("cache")).unwrap();
        assert_eq!((values(&features), extractor.count()), (expected.clone(), 4));
        // The run does not create the folder again, so the features are computed at each use.
        assert_eq!((values(&features), extractor.count()), (expected, 4));
        // An image that has changed is an error.
        let path = &features.samples()[2].path;
        fs::copy(&features.samples()[0].path, path).unwrap();
        let error = features.batch(&[2]).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()) && error.contains("changed"), "{error}");
        fs::remove_file(path).unwrap();
        assert!(features.batch(&[2]).unwrap_err().to_string().contains(&path.display().to_string()));
        assert!(features.batch(&[4]).unwrap_err().to_string().contains("there are 4 images"));
    }

    /// Caches of earlier versions hold entries under these keys.
    #[test]
    fn the_key_of_an_entry_does_not_change() {
        let extraction = [("backbone", "resnet18"), ("stages", "1 2 3")];
        let extraction = extraction.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let key = Keys::new([7; 32], &extraction).features;
        assert_eq!(hex(&key.0), "22f2eda2a19c9a35d4f9b0b9241bf0a004bc487b20109d1e035579973778f28a");
    }

    #[test]
    fn the_key_covers_everything_that_features_depend_on() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let samples = || dataset.samples(Split::Train).cloned();
        let compute = |builder: FeaturesBuilder<'_>| {
            builder.compute().unwrap();
            extractor.count()
        };
        let preprocess = |width| Preprocess::new(64, width).unwrap();
        let with = |preprocess, cache: &FeatureCache| {
            let extractor: Arc<dyn FeatureExtractor> = extractor.clone();
            Features::of(samples(), extractor, preprocess).cache(cache.clone())
        };
        assert_eq!(compute(with(preprocess(64), &cache)), 4);
        assert_eq!(compute(with(preprocess(80), &cache)), 4);
        assert_eq!(compute(with(preprocess(64).normalize([0.5; 3], [0.5; 3]).unwrap(), &cache)), 4);
        assert_eq!(compute(with(preprocess(64), &cache.clone().feature_type(FeatureType::F16))), 4);
        assert_eq!(compute(with(preprocess(64), &cache)), 0);
        // The path of the image is not part of the key.
        let moved = folder.path().join("moved.png");
        fs::copy(&dataset.samples(Split::Train).next().unwrap().path, &moved).unwrap();
        let moved = Sample::new(moved, "gear", Split::Train, Label::Normal);
        let same: Arc<dyn FeatureExtractor> = extractor.clone();
        assert_eq!(compute(Features::of([moved], same, preprocess(64)).cache(cache.clone())), 0);
    }

    #[test]
    fn features_beyond_f16_are_kept_in_f32_and_those_beyond_f32_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path());
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap().feature_type(FeatureType::F16);
        let large = Counting::new(1e5);
        let kept = builder(&dataset, &large).cache(cache.clone()).compute().unwrap();
        let exact = builder(&dataset, &large).compute().unwrap();
        assert_eq!(values(&kept), values(&exact));
        let error = builder(&dataset, &Counting::new(1e39)).compute().unwrap_err();
        assert!(matches!(error, Error::Features { .. }) && error.to_string().contains("fabric/train"), "{error}");
    }

    #[test]
    fn a_cancelled_run_keeps_the_features_so_far() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let cancel = Cancel::default();
        let result =
            builder(&dataset, &extractor).cache(cache.clone()).cancel(&cancel).progress(|Progress { done, .. }| {
                if done > 0 {
                    cancel.cancel();
                }
            });
        let result = result.compute();
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(extractor.count(), 3);
        builder(&dataset, &extractor).cache(cache).compute().unwrap();
        assert_eq!(extractor.count(), 1);
    }

    #[test]
    fn an_image_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let extractor = Counting::new(1.0);
        let compute = |path: &Path| {
            let sample = Sample::new(path, "gear", Split::Train, Label::Normal);
            let extractor: Arc<dyn FeatureExtractor> = extractor.clone();
            let error = Features::of([sample], extractor, Preprocess::new(64, 64).unwrap()).compute();
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        };
        compute(&folder.path().join("none.png"));
        compute(folder.path());
        fs::write(folder.path().join("text.png"), "no picture").unwrap();
        compute(&folder.path().join("text.png"));
    }
}
