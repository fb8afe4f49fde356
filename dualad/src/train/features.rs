//! The features of a list of images, computed once: kept in a cache, in memory, or computed again where neither has them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device, Tensor};
use dualad_backbones::FeatureExtractor;
use dualad_data::image::{Limits, Picture, Preprocess};
use dualad_data::{Cancel, Loader, Sample};
use dualad_store::hex;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::random::Stream;
use crate::recipe::Augmentation;
use crate::train::feature_cache::{FeatureCache, FeatureType, Key};

/// To be raised when an extractor's numbers change within a version of the library.
const NUMBERS_VERSION: u32 = 2;

/// Images' tokens by number: what a [`crate::train::Trainer`] learns from.
pub trait TokenSource: std::fmt::Debug {
    /// How many images there are.
    fn images(&self) -> usize;

    /// The tokens of these images in this order, `[indices, tokens, channels]`, in f32 on the CPU.
    ///
    /// # Errors
    /// Whatever keeps them from being had.
    fn batch(&self, indices: &[usize]) -> Result<Tensor>;

    /// The same of images that are augmented, each as `stream` says for its number: computed anew, whatever is kept.
    ///
    /// # Errors
    /// [`Error::Config`] where the images cannot be had (which is what sources do that do not say otherwise) or not be augmented
    /// like that; whatever else keeps them from being had.
    fn augmented(&self, indices: &[usize], augmentation: Augmentation, stream: Stream) -> Result<Tensor> {
        let _ = (indices, stream);
        let reason = "these tokens are kept, and the images that they are of are not; train on a folder";
        Err(Error::Config { field: "augmentation", value: format!("{augmentation:?}"), reason: reason.into() })
    }

    /// What tells these tokens from others: a checkpoint keeps it, and a resumed run must have the same.
    fn identity(&self) -> &Identity;
}

/// What a list of images' tokens depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Identity {
    /// The backbone, its stages, its weights, the preprocessing, and the versions: one line each, name and value.
    pub extraction: Vec<(String, String)>,
    /// For each image, the first half of its file's SHA-256 in hexadecimal, and a name to call it by.
    pub images: Vec<(String, String)>,
}

/// The features of a list of images.
///
/// ```
/// use dualad::backbones::Backbone;
/// use dualad::data::image::Preprocess;
/// use dualad::data::synthetic::{self, Options};
/// use dualad::data::{Dataset, Split};
/// use dualad::train::{FeatureCache, Features, TokenSource};
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
///     .compute(|done, total| eprintln!("{done} of {total}"))?;
/// assert_eq!(features.batch(&[9, 0])?.dims(), [2, 4 * 4, 118]);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Features {
    samples: Arc<[Sample]>,
    keys: Vec<Keys>,
    shape: [usize; 2],
    store: Store,
    extractor: Arc<dyn FeatureExtractor>,
    preprocess: Preprocess,
    limits: Limits,
    identity: Identity,
}

/// What an image's features are known by.
#[derive(Debug, Clone, Copy)]
struct Keys {
    /// SHA-256 of the image's file.
    image: [u8; 32],
    /// And of all else that decides its features.
    features: Key,
}

#[derive(Debug)]
enum Store {
    Cache(FeatureCache),
    /// As many as fit, from the first on.
    Memory(Vec<OnceLock<Box<[f32]>>>),
}

impl Store {
    fn has(&self, index: usize, key: Key, shape: [usize; 2]) -> bool {
        match self {
            Self::Cache(cache) => cache.has(key, shape),
            // What does not fit is not there, and need not be computed in advance.
            Self::Memory(entries) => entries.get(index).is_none_or(|entry| entry.get().is_some()),
        }
    }

    fn read(&self, index: usize, key: Key, shape: [usize; 2], values: &mut [f32]) -> Option<()> {
        match self {
            Self::Cache(cache) => cache.read(key, shape, values),
            Self::Memory(entries) => {
                values.copy_from_slice(entries.get(index)?.get()?);
                Some(())
            }
        }
    }

    fn write(&self, index: usize, key: Key, shape: [usize; 2], values: &[f32]) -> Result<()> {
        match self {
            Self::Cache(cache) => cache.write(key, shape, values),
            Self::Memory(entries) => {
                // Whoever was first wrote the same.
                entries.get(index).map(|entry| entry.set(values.into()));
                Ok(())
            }
        }
    }
}

/// How features are to be had; made by [`Features::of`].
#[derive(Debug, Clone)]
#[must_use = "nothing is computed until `compute` is called"]
pub struct FeaturesBuilder {
    samples: Arc<[Sample]>,
    extractor: Arc<dyn FeatureExtractor>,
    preprocess: Preprocess,
    cache: Option<FeatureCache>,
    memory: Option<u64>,
    batch_size: usize,
    limits: Limits,
    cancel: Cancel,
}

impl Features {
    /// The features of these images, by this extractor, of images preprocessed like this: without a cache, in memory as far
    /// as they fit.
    pub fn of(
        samples: impl IntoIterator<Item = Sample>,
        extractor: Arc<dyn FeatureExtractor>,
        preprocess: Preprocess,
    ) -> FeaturesBuilder {
        FeaturesBuilder {
            samples: samples.into_iter().collect(),
            extractor,
            preprocess,
            cache: None,
            memory: None,
            batch_size: 8,
            limits: Limits::default(),
            cancel: Cancel::default(),
        }
    }

    /// The images, in order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Tokens and channels of an image.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// How images are preprocessed.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// An image's normalised pixels, `[3, height, width]`.
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
        Ok(self.preprocess.pixels(&picture)?)
    }

    /// Rows and columns of an image's pixels.
    fn size(&self) -> [usize; 2] {
        [self.preprocess.height() as usize, self.preprocess.width() as usize]
    }

    /// Computes an image's features again, because what was kept is not there or damaged, and keeps them.
    fn recompute(&self, index: usize, values: &mut [f32]) -> Result<()> {
        let ([height, width], sample) = (self.size(), std::slice::from_ref(&self.samples[index]));
        let tokens = extract(&*self.extractor, self.pixels(index)?, (1, 3, height, width), self.shape, sample)?;
        values.copy_from_slice(&tokens);
        if let Store::Cache(cache) = &self.store {
            cache.rounded(values);
        }
        // The features are here; that they cannot be kept costs time and nothing else.
        let _ = self.store.write(index, self.keys[index].features, self.shape, &tokens);
        Ok(())
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
                Ok(self.store.read(index, key, self.shape, values).is_none())
            })
            .collect::<Result<_>>()?;
        let entries = values.chunks_mut((tokens * channels).max(1)).zip(indices).zip(missing);
        for ((values, &index), _) in entries.filter(|(_, missing)| *missing) {
            self.recompute(index, values)?;
        }
        Ok(Tensor::from_vec(values, (indices.len(), tokens, channels), &Device::Cpu)?)
    }

    fn augmented(&self, indices: &[usize], augmentation: Augmentation, stream: Stream) -> Result<Tensor> {
        let size @ [height, width] = self.size();
        augmentation.check(size)?;
        let images = indices.par_iter().map(|&index| Ok(augmentation.apply(&self.pixels(index)?, size, stream, index)));
        let pixels = images.collect::<Result<Vec<Vec<f32>>>>()?.concat();
        let samples: Vec<Sample> = indices.iter().map(|&index| self.samples[index].clone()).collect();
        let [tokens, channels] = self.shape;
        let values = extract(&*self.extractor, pixels, (indices.len(), 3, height, width), self.shape, &samples)?;
        Ok(Tensor::from_vec(values, (indices.len(), tokens, channels), &Device::Cpu)?)
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl Features {
    fn out_of_range(&self, index: usize) -> Error {
        let reason = format!("there are {} images", self.samples.len());
        Error::Features { path: PathBuf::from(format!("image number {index}")), reason }
    }
}

impl FeaturesBuilder {
    /// Keeps features in this cache, and takes from it what it has.
    pub fn cache(mut self, cache: FeatureCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Without a cache: how many bytes of memory features may take. What does not fit is computed again whenever it is
    /// needed. Default: half of what the system says is available, or 4 GiB if it does not say.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets how many images the extractor is given at a time; 0 counts as 1. No effect on the numbers.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.batch_size = images.max(1);
        self
    }

    /// Sets how large images may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets another thread end the work, with [`Error::Cancelled`]. What the cache has by then, it keeps.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Computes what is not there yet. `progress` hears how many images of how many are done; those that were there are,
    /// from the first call on.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that cannot be read, [`Error::Features`] for one whose features are not finite,
    /// [`Error::Cache`] where the disk refuses, [`Error::Backbone`] where the extractor does, [`Error::Cancelled`].
    pub fn compute(self, mut progress: impl FnMut(usize, usize)) -> Result<Features> {
        let Self { samples, extractor, preprocess, cache, memory, batch_size, limits, cancel } = self;
        let tokens = (preprocess.height() as usize / 16) * (preprocess.width() as usize / 16);
        let shape = [tokens, extractor.token_channels()];
        let total = samples.len();
        let extraction = extraction(&*extractor, &preprocess, cache.as_ref());
        let keys = samples.par_iter().map(|sample| {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            Ok(Keys::new(Sha256::digest(read(sample)?).into(), &extraction))
        });
        let keys: Vec<Keys> = keys.collect::<Result<_>>()?;
        let store = match cache {
            Some(cache) => Store::Cache(cache),
            None => {
                let fitting = memory.unwrap_or_else(available_memory) / (4 * tokens * shape[1]).max(1) as u64;
                let entries = usize::try_from(fitting).unwrap_or(usize::MAX).min(total);
                Store::Memory((0..entries).map(|_| OnceLock::new()).collect())
            }
        };
        let missing: Vec<usize> =
            (0..total).into_par_iter().filter(|&index| !store.has(index, keys[index].features, shape)).collect();
        let mut done = total - missing.len();
        progress(done, total);
        let wanted = missing.iter().map(|&index| samples[index].clone());
        let loader = Loader::new(wanted, preprocess.clone()).batch_size(batch_size).limits(limits).cancel(&cancel);
        for batch in loader.batches(0) {
            let batch = batch?;
            let size = (batch.len(), 3, batch.height, batch.width);
            let tokens = extract(&*extractor, batch.pixels, size, shape, &batch.samples)?;
            let entries: Vec<&[f32]> = tokens.chunks((shape[0] * shape[1]).max(1)).collect();
            entries.par_iter().zip(&batch.indices).try_for_each(|(values, &position)| {
                let index = missing[position];
                store.write(index, keys[index].features, shape, values)
            })?;
            done += batch.samples.len();
            progress(done, total);
        }
        let identity = Identity { extraction, images: names(&samples, &keys) };
        Ok(Features { samples, keys, shape, store, extractor, preprocess, limits, identity })
    }
}

impl Keys {
    fn new(image: [u8; 32], extraction: &[(String, String)]) -> Self {
        let mut hasher = Sha256::new_with_prefix(image);
        for (name, value) in extraction {
            // Lengths keep one field from running into the next.
            for text in [name, value] {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
        }
        Self { image, features: Key(hasher.finalize().into()) }
    }
}

/// What features depend on besides the image, by name.
pub(crate) fn extraction(
    extractor: &dyn FeatureExtractor,
    preprocess: &Preprocess,
    cache: Option<&FeatureCache>,
) -> Vec<(String, String)> {
    let weights = extractor.provenance();
    let weights = weights.sha256.clone().unwrap_or_else(|| format!("{} {}", weights.source, weights.location));
    let stages: Vec<String> = extractor.stages().iter().map(|stage| stage.index.to_string()).collect();
    let kept_as = match cache.map(FeatureCache::kept_as).unwrap_or_default() {
        FeatureType::F32 => "f32",
        FeatureType::F16 => "f16",
    };
    // The table of levels is long, and of no interest to a reader.
    let normalisation = hex(&Sha256::digest(format!("{preprocess:?}"))[..8]);
    let size = format!("{} x {} ({normalisation})", preprocess.height(), preprocess.width());
    let version = format!("{} ({NUMBERS_VERSION})", env!("CARGO_PKG_VERSION"));
    let device = format!("{:?}", extractor.device().location());
    let device = device.split(' ').next().unwrap_or_default().to_lowercase();
    let fields = [
        ("backbone", extractor.backbone().name().to_owned()),
        ("stages", stages.join(" ")),
        ("weights", weights),
        ("preprocessing", size),
        ("computed in", format!("{:?} on {device}", extractor.dtype()).to_lowercase()),
        ("kept in", kept_as.to_owned()),
        ("dualad", version),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}

fn names(samples: &[Sample], keys: &[Keys]) -> Vec<(String, String)> {
    let name = |sample: &Sample| {
        let file = sample.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{}/{file}", sample.category)
    };
    samples.iter().zip(keys).map(|(sample, keys)| (hex(&keys.image[..16]), name(sample))).collect()
}

/// A file's bytes, for its digest; whether it is an image is the decoder's to say.
fn read(sample: &Sample) -> Result<Vec<u8>> {
    let io = |error| Error::Io { action: "read", path: sample.path.clone(), error };
    let metadata = std::fs::metadata(&sample.path).map_err(io)?;
    if !metadata.is_file() {
        // Opening a pipe may never end.
        let reason = "it is not a regular file".into();
        return Err(Error::Features { path: sample.path.clone(), reason });
    }
    std::fs::read(&sample.path).map_err(io)
}

/// Pixels to tokens `[batch, tokens, channels]`, row-major.
fn extract(
    extractor: &dyn FeatureExtractor,
    pixels: Vec<f32>,
    size: (usize, usize, usize, usize),
    shape: [usize; 2],
    samples: &[Sample],
) -> Result<Vec<f32>> {
    let images = Tensor::from_vec(pixels, size, &Device::Cpu)?;
    let tokens = extractor.tokens(&images)?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
    let values: Vec<f32> = tokens.flatten_all()?.to_vec1()?;
    let each = (shape[0] * shape[1]).max(1);
    let not_finite = |values: &[f32]| values.iter().any(|value| !value.is_finite());
    if let Some((_, sample)) = values.chunks(each).zip(samples).find(|(values, _)| not_finite(values)) {
        let reason = "they hold NaN or infinity; look at the image, the backbone's weights, or compute in f32".into();
        return Err(Error::Features { path: sample.path.clone(), reason });
    }
    Ok(values)
}

/// Half of the memory that can be had without swapping, where the system says.
pub(crate) fn available_memory() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.map_or(UNKNOWN, |kilobytes| kilobytes.saturating_mul(1024) / 2)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use dualad_backbones::{Backbone, Provenance, Stage};
    use dualad_data::synthetic::{self, Category, Options};
    use dualad_data::{Dataset, Label, Split};

    use super::*;

    /// A small dataset of 64 x 64 pixels: 4 images to train on.
    pub(crate) fn dataset(folder: &Path) -> Dataset {
        let categories = vec![Category::Fabric, Category::Gear];
        let options = Options { size: 64, train: 2, test_good: 1, test_per_defect: 1, categories, seed: 3 };
        synthetic::write(&folder.join("parts"), &options, |_, _| ()).unwrap();
        Dataset::open(folder.join("parts")).unwrap()
    }

    /// The filter bank, counting the images it is given, and multiplying what it makes of them.
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

    fn builder(dataset: &Dataset, extractor: &Arc<Counting>) -> FeaturesBuilder {
        let extractor: Arc<dyn FeatureExtractor> = extractor.clone();
        Features::of(dataset.samples(Split::Train).cloned(), extractor, Preprocess::new(64, 64).unwrap()).batch_size(3)
    }

    fn values(features: &Features) -> Vec<f32> {
        let indices: Vec<usize> = (0..features.images()).collect();
        features.batch(&indices).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn cached_remembered_and_recomputed_features_are_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let mut heard = Vec::new();
        let cached =
            builder(&dataset, &extractor).cache(cache.clone()).compute(|done, total| heard.push((done, total)));
        let cached = cached.unwrap();
        assert_eq!(heard, [(0, 4), (3, 4), (4, 4)]);
        assert_eq!((extractor.count(), cached.shape()), (4, [16, 118]));
        let expected = values(&cached);
        assert_eq!(extractor.count(), 0);

        // A second run computes nothing.
        let again = builder(&dataset, &extractor).cache(cache).compute(|done, total| assert_eq!((done, total), (4, 4)));
        assert_eq!((values(&again.unwrap()), extractor.count()), (expected.clone(), 0));

        let remembered = builder(&dataset, &extractor).compute(|_, _| ()).unwrap();
        assert_eq!((values(&remembered), extractor.count()), (expected.clone(), 4));
        assert_eq!(remembered.identity(), cached.identity());

        // Memory for one image and a half: the rest is computed at each use, one image at a time.
        let image = 4 * 16 * 118;
        let partly = builder(&dataset, &extractor).memory(image + image / 2).compute(|_, _| ()).unwrap();
        assert_eq!(extractor.count(), 1);
        assert_eq!((values(&partly), extractor.count()), (expected.clone(), 3));
        assert_eq!((values(&partly), extractor.count()), (expected, 3));
    }

    #[test]
    fn augmented_images_bypass_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let features = builder(&dataset, &extractor).cache(cache).compute(|_, _| ()).unwrap();
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
        // An image's is its own, in whatever batch.
        let stream = crate::Random::new(1).named("epoch 0");
        let alone: Vec<f32> = features.augmented(&[2], flip, stream).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(alone, first[2 * alone.len()..3 * alone.len()]);
        assert!(features.augmented(&[4], flip, stream).unwrap_err().to_string().contains("there are 4 images"));
        // And what is kept is of the images as they are.
        assert_eq!(values(&features), plain);
        // Without any of it, the numbers are those that are kept.
        assert_eq!(augmented(Augmentation::default(), "epoch 0"), plain);
    }

    #[test]
    fn an_entry_that_goes_bad_during_a_run_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let features = builder(&dataset, &extractor).cache(cache).compute(|_, _| ()).unwrap();
        let expected = values(&features);
        extractor.count();
        // All of it is gone.
        fs::remove_dir_all(folder.path().join("cache")).unwrap();
        assert_eq!((values(&features), extractor.count()), (expected.clone(), 4));
        // The folder is not made again under a run's feet: nothing could be kept, and everything was there.
        assert_eq!((values(&features), extractor.count()), (expected, 4));
        // Unless the image is another by now.
        let path = &features.samples()[2].path;
        fs::copy(&features.samples()[0].path, path).unwrap();
        let error = features.batch(&[2]).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()) && error.contains("changed"), "{error}");
        fs::remove_file(path).unwrap();
        assert!(features.batch(&[2]).unwrap_err().to_string().contains(&path.display().to_string()));
        assert!(features.batch(&[4]).unwrap_err().to_string().contains("there are 4 images"));
    }

    #[test]
    fn whatever_decides_the_features_is_part_of_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let samples = || dataset.samples(Split::Train).cloned();
        let compute = |builder: FeaturesBuilder| {
            builder.compute(|_, _| ()).unwrap();
            extractor.count()
        };
        let preprocess = |width| Preprocess::new(64, width).unwrap();
        let with = |preprocess, cache: &FeatureCache| {
            let extractor: Arc<dyn FeatureExtractor> = extractor.clone();
            Features::of(samples(), extractor, preprocess).cache(cache.clone())
        };
        assert_eq!(compute(with(preprocess(64), &cache)), 4);
        assert_eq!(compute(with(preprocess(80), &cache)), 4);
        assert_eq!(compute(with(preprocess(64).normalise([0.5; 3], [0.5; 3]).unwrap(), &cache)), 4);
        assert_eq!(compute(with(preprocess(64), &cache.clone().feature_type(FeatureType::F16))), 4);
        assert_eq!(compute(with(preprocess(64), &cache)), 0);
        // Not the image's path.
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
        let kept = builder(&dataset, &large).cache(cache.clone()).compute(|_, _| ()).unwrap();
        let exact = builder(&dataset, &large).compute(|_, _| ()).unwrap();
        assert_eq!(values(&kept), values(&exact));
        let error = builder(&dataset, &Counting::new(1e39)).compute(|_, _| ()).unwrap_err();
        assert!(matches!(error, Error::Features { .. }) && error.to_string().contains("fabric/train"), "{error}");
    }

    #[test]
    fn a_cancelled_run_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, extractor) = (dataset(folder.path()), Counting::new(1.0));
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let cancel = Cancel::default();
        let result = builder(&dataset, &extractor).cache(cache.clone()).cancel(&cancel).compute(|done, _| {
            if done > 0 {
                cancel.cancel();
            }
        });
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(extractor.count(), 3);
        builder(&dataset, &extractor).cache(cache).compute(|_, _| ()).unwrap();
        assert_eq!(extractor.count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let extractor = Counting::new(1.0);
        let compute = |path: &Path| {
            let sample = Sample::new(path, "gear", Split::Train, Label::Normal);
            let extractor: Arc<dyn FeatureExtractor> = extractor.clone();
            let error = Features::of([sample], extractor, Preprocess::new(64, 64).unwrap()).compute(|_, _| ());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        };
        compute(&folder.path().join("none.png"));
        compute(folder.path());
        fs::write(folder.path().join("text.png"), "no picture").unwrap();
        compute(&folder.path().join("text.png"));
    }
}
