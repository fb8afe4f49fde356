//! The features of a list of images, computed once: kept in a cache, in memory, or computed again where neither has them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device, Tensor};
use dualad_backbones::FeatureExtractor;
use dualad_data::image::{Limits, Picture, Preprocess};
use dualad_data::{Cancel, Loader, Sample};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::train::feature_cache::{FeatureCache, FeatureType, Key, hex};

/// To be raised when an extractor's numbers change within a version of the library.
const NUMBERS_VERSION: u32 = 1;

/// Images' tokens by number: what a [`crate::train::Trainer`] learns from.
pub trait TokenSource: std::fmt::Debug {
    /// How many images there are.
    fn images(&self) -> usize;

    /// The tokens of these images in this order, `[indices, tokens, channels]`, in f32 on the CPU.
    ///
    /// # Errors
    /// Whatever keeps them from being had.
    fn batch(&self, indices: &[usize]) -> Result<Tensor>;

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

    /// Computes an image's features again, because what was kept is not there or damaged, and keeps them.
    fn recompute(&self, index: usize, values: &mut [f32]) -> Result<()> {
        let (sample, keys) = (&self.samples[index], self.keys[index]);
        let bytes = read(sample)?;
        if <[u8; 32]>::from(Sha256::digest(&bytes)) != keys.image {
            let reason = "the file has changed since the run began; start the run again".into();
            return Err(Error::Features { path: sample.path.clone(), reason });
        }
        let picture = Picture::decode(&bytes, &sample.path, &self.limits)?;
        let pixels = self.preprocess.pixels(&picture)?;
        let size = (1, 3, self.preprocess.height() as usize, self.preprocess.width() as usize);
        let tokens = extract(&*self.extractor, pixels, size, self.shape, std::slice::from_ref(sample))?;
        values.copy_from_slice(&tokens);
        if let Store::Cache(cache) = &self.store {
            cache.rounded(values);
        }
        // The features are here; that they cannot be kept costs time and nothing else.
        let _ = self.store.write(index, keys.features, self.shape, &tokens);
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
fn extraction(
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
fn available_memory() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.map_or(UNKNOWN, |kilobytes| kilobytes.saturating_mul(1024) / 2)
}
