//! A cache of features on disk, so that a frozen backbone computes each image once, over any number of runs.
//!
//! There is one file for each image. Its name is the SHA-256 of everything that its content depends on: the bytes of the image, the
//! preprocessing, the backbone, its stages, its weights, and the versions of this format and of the library. Entries are not looked
//! up by path or time, so no entry can be stale.
//!
//! # Files are read, not mapped
//! If another process shortens a mapped file, the system ends this process (SIGBUS). A read of a shortened file is an error, and
//! the entry is computed again. The copy that a map would save takes less than 1 % of a training step.
//!
//! # Format of an entry
//! Little-endian: magic (8 bytes), key (32), type (4: 0 for f32, 1 for f16), tokens (4), channels (4), CRC-32 of everything else
//! (4); then the values, `[tokens, channels]`. The length follows from the header. Every read checks all of it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dualad_store::{AtomicFile, hex};
use half::f16;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"DualADf1";
const HEADER: usize = 56;
/// The position of the checksum in the header.
const CHECKSUM: std::ops::Range<usize> = 52..56;
/// The age after which an unfinished file is abandoned.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// Marks the folder for backup programs as one to skip (<https://bford.info/cachedir/>).
const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# Features of images, kept by dualad. Delete it at any time.\n";

/// The type of the features in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FeatureType {
    /// f32, as computed. A run with a cache gives the same bits as one without.
    #[default]
    F32,
    /// f16, half the size. An image with a feature beyond the range of f16 (65504) is kept in f32.
    F16,
}

/// A folder of features. Several runs may use it at the same time.
///
/// ```
/// use dualad::features::{FeatureCache, FeatureType};
///
/// let folder = std::env::temp_dir().join(format!("dualad-doc-cache-{}", std::process::id()));
/// let cache = FeatureCache::open(&folder)?.feature_type(FeatureType::F16);
/// assert_eq!(cache.folder(), folder);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FeatureCache {
    folder: PathBuf,
    feature_type: FeatureType,
}

/// The digest that names an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) [u8; 32]);

impl FeatureCache {
    /// Opens a folder, which is created if it does not exist. Removes unfinished files that are older than a day.
    ///
    /// # Errors
    /// [`Error::Cache`] if it cannot be created or written.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let cache = Self { folder: folder.into(), feature_type: FeatureType::default() };
        let partial = cache.partial();
        std::fs::create_dir_all(&partial).map_err(|error| cache.error(error))?;
        let tag = cache.folder.join("CACHEDIR.TAG");
        if !tag.exists() {
            std::fs::write(&tag, TAG).map_err(|error| cache.error(error))?;
        }
        for entry in std::fs::read_dir(&partial).map_err(|error| cache.error(error))?.flatten() {
            let age = entry.metadata().and_then(|metadata| metadata.modified());
            let age = age.map(|modified| SystemTime::now().duration_since(modified).unwrap_or_default());
            if age.is_ok_and(|age| age > ABANDONED) {
                // Another process may have removed it.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(cache)
    }

    /// Returns the default folder: the environment variable `DUALAD_CACHE`, otherwise `dualad` in the user's cache folder
    /// (`XDG_CACHE_HOME` or `~/.cache` on Linux, `~/Library/Caches` on macOS, `LOCALAPPDATA` on Windows). Returns `None` for a user
    /// without one.
    pub fn default_folder() -> Option<PathBuf> {
        let set = std::env::var_os("DUALAD_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
        set.or_else(|| Some(dirs::cache_dir()?.join("dualad")))
    }

    /// Sets the type of the features. Features of the other type stay and are not used.
    #[must_use]
    pub fn feature_type(mut self, feature_type: FeatureType) -> Self {
        self.feature_type = feature_type;
        self
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn kept_as(&self) -> FeatureType {
        self.feature_type
    }

    fn error(&self, error: std::io::Error) -> Error {
        Error::Cache { folder: self.folder.clone(), error }
    }

    /// Returns the folder of unfinished files.
    fn partial(&self) -> PathBuf {
        self.folder.join("features").join("partial")
    }

    /// Returns the path of an entry, in one of 256 folders: some file systems are slow with many files in a folder.
    fn path(&self, key: Key) -> PathBuf {
        let name = hex(&key.0);
        let (folder, _) = name.split_at(2);
        self.folder.join("features").join(folder).join(format!("{name}.features"))
    }

    /// Returns whether an entry exists with a valid header and length. [`Self::read`] also checks its content.
    pub(crate) fn has(&self, key: Key, shape: [usize; 2]) -> bool {
        self.open_entry(key, shape).is_some()
    }

    /// Opens an entry. Returns the file after its header, the type of its features, and the header.
    fn open_entry(&self, key: Key, [tokens, channels]: [usize; 2]) -> Option<(File, FeatureType, [u8; HEADER])> {
        let path = self.path(key);
        // Opening a pipe may block forever.
        if !std::fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut file = File::open(&path).ok()?;
        let mut header = [0; HEADER];
        file.read_exact(&mut header).ok()?;
        let feature_type = match read_u32(&header, 40) {
            0 => FeatureType::F32,
            1 => FeatureType::F16,
            _ => return None,
        };
        let is_ours = header.starts_with(MAGIC)
            && header[8..40] == key.0
            && [read_u32(&header, 44), read_u32(&header, 48)] == [tokens, channels].map(|count| count as u32);
        let length = HEADER + tokens * channels * feature_type.bytes();
        (is_ours && file.metadata().ok()?.len() == length as u64).then_some((file, feature_type, header))
    }

    /// Reads an entry of `[tokens, channels]` into `values`. Returns `None` if it does not exist or is damaged.
    pub(crate) fn read(&self, key: Key, shape: [usize; 2], values: &mut [f32]) -> Option<()> {
        let (mut file, feature_type, header) = self.open_entry(key, shape)?;
        let mut bytes = vec![0; values.len() * feature_type.bytes()];
        file.read_exact(&mut bytes).ok()?;
        if checksum(&header, &bytes) != read_u32(&header, CHECKSUM.start) {
            return None;
        }
        match feature_type {
            FeatureType::F32 => decode(&bytes, values, f32::from_le_bytes),
            FeatureType::F16 => decode(&bytes, values, |bytes| f16::from_le_bytes(bytes).to_f32()),
        }
        Some(())
    }

    /// Writes an entry of `[tokens, channels]`.
    ///
    /// It does not wait for the disk: an entry that a power failure damages is detected and computed again.
    pub(crate) fn write(&self, key: Key, [tokens, channels]: [usize; 2], values: &[f32]) -> Result<()> {
        let (feature_type, payload) = self.encode(values);
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..40].copy_from_slice(&key.0);
        for (start, value) in [(40, feature_type as u32), (44, tokens as u32), (48, channels as u32)] {
            header[start..start + 4].copy_from_slice(&value.to_le_bytes());
        }
        let sum = checksum(&header, &payload);
        header[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
        let path = self.path(key);
        let write = || {
            let mut file = AtomicFile::create_in(&self.partial(), &path)?;
            file.write_all(&header)?;
            file.write_all(&payload)?;
            if let Err(error) = std::fs::create_dir(path.parent().unwrap_or(&self.folder))
                && error.kind() != ErrorKind::AlreadyExists
            {
                return Err(error);
            }
            file.commit_without_sync()
        };
        write().map_err(|error| self.error(error))
    }

    /// Rounds values as a write and a read would.
    pub(crate) fn rounded(&self, values: &mut [f32]) {
        if self.feature_type == FeatureType::F16 && fits_f16(values) {
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
    }

    fn encode(&self, values: &[f32]) -> (FeatureType, Vec<u8>) {
        if self.feature_type == FeatureType::F16 && fits_f16(values) {
            (FeatureType::F16, values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect())
        } else {
            (FeatureType::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
    }
}

impl FeatureType {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

fn fits_f16(values: &[f32]) -> bool {
    values.iter().all(|&value| f16::from_f32(value).is_finite())
}

fn decode<const N: usize>(bytes: &[u8], values: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    values.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(value, &bytes)| *value = convert(bytes));
}

fn read_u32(header: &[u8; HEADER], start: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[start..start + 4]);
    u32::from_le_bytes(bytes)
}

/// Returns the CRC-32 of the header without its checksum, and of the values.
fn checksum(header: &[u8; HEADER], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..CHECKSUM.start]);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use proptest::prelude::*;

    const SHAPE: [usize; 2] = [5, 3];

    fn values() -> Vec<f32> {
        Random::new(1).stream().normal(15)
    }

    fn read(cache: &FeatureCache, key: Key) -> Option<Vec<f32>> {
        let mut values = vec![0.0; 15];
        cache.read(key, SHAPE, &mut values).map(|()| values)
    }

    #[test]
    fn an_entry_is_read_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path()).unwrap();
        let key = Key([7; 32]);
        assert!(!cache.has(key, SHAPE));
        cache.write(key, SHAPE, &values()).unwrap();
        assert!(cache.has(key, SHAPE));
        assert_eq!(read(&cache, key), Some(values()));
        // Again, over itself, and from another handle.
        cache.write(key, SHAPE, &values()).unwrap();
        assert_eq!(read(&FeatureCache::open(folder.path()).unwrap(), key), Some(values()));
        assert_eq!(std::fs::read_dir(cache.partial()).unwrap().count(), 0);
        // Not for another shape, nor under another name.
        assert!(!cache.has(key, [3, 5]) && !cache.has(Key([8; 32]), SHAPE));
        std::fs::create_dir_all(cache.path(Key([8; 32])).parent().unwrap()).unwrap();
        std::fs::copy(cache.path(key), cache.path(Key([8; 32]))).unwrap();
        assert!(!cache.has(Key([8; 32]), SHAPE));
    }

    #[test]
    fn f16_takes_half_the_space_unless_it_would_overflow() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path()).unwrap().feature_type(FeatureType::F16);
        let (small, large) = (Key([1; 32]), Key([2; 32]));
        cache.write(small, SHAPE, &values()).unwrap();
        let mut rounded = values();
        cache.rounded(&mut rounded);
        assert_ne!(rounded, values());
        assert_eq!(read(&cache, small), Some(rounded));
        assert_eq!(std::fs::metadata(cache.path(small)).unwrap().len(), 56 + 30);
        let mut huge = values();
        huge[3] = 70_000.0;
        cache.write(large, SHAPE, &huge).unwrap();
        let mut rounded = huge.clone();
        cache.rounded(&mut rounded);
        assert_eq!(rounded, huge);
        assert_eq!(read(&cache, large), Some(huge));
    }

    #[test]
    fn a_damaged_entry_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path()).unwrap();
        let key = Key([7; 32]);
        cache.write(key, SHAPE, &values()).unwrap();
        let whole = std::fs::read(cache.path(key)).unwrap();
        for length in 0..whole.len() {
            std::fs::write(cache.path(key), &whole[..length]).unwrap();
            assert!(!cache.has(key, SHAPE) && read(&cache, key).is_none(), "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            std::fs::write(cache.path(key), changed).unwrap();
            assert!(read(&cache, key).is_none(), "byte {at}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        std::fs::write(cache.path(key), longer).unwrap();
        assert!(read(&cache, key).is_none());
        // A folder in its place cannot be read, nor replaced.
        std::fs::remove_file(cache.path(key)).unwrap();
        std::fs::create_dir(cache.path(key)).unwrap();
        assert!(read(&cache, key).is_none());
        assert!(matches!(cache.write(key, SHAPE, &values()), Err(Error::Cache { .. })));
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_named_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = FeatureCache::open(file.join("cache")).unwrap_err().to_string();
        assert!(error.contains("file/cache") && error.contains("DUALAD_CACHE"), "{error}");
    }

    #[test]
    fn abandoned_files_are_removed_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path()).unwrap();
        let (old, new) = (cache.partial().join("old"), cache.partial().join("new"));
        for path in [&old, &new] {
            std::fs::write(path, "").unwrap();
        }
        let yesterday = SystemTime::now() - 2 * ABANDONED;
        File::options().write(true).open(&old).unwrap().set_modified(yesterday).unwrap();
        FeatureCache::open(folder.path()).unwrap();
        assert!(!old.exists() && new.exists());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            let cache = FeatureCache::open(folder.path()).unwrap();
            let key = Key([7; 32]);
            std::fs::create_dir_all(cache.path(key).parent().unwrap()).unwrap();
            std::fs::write(cache.path(key), bytes).unwrap();
            prop_assert!(read(&cache, key).is_none());
        }
    }
}
