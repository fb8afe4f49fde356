//! The place of computed features: a cache on disk, or memory.

use std::sync::OnceLock;

use crate::error::Result;
use crate::features::cache::{FeatureCache, Key};

/// The place of features.
#[derive(Debug)]
pub(super) enum Storage {
    /// A cache on disk.
    Cache(FeatureCache),
    /// Memory for the first images, as many as fit.
    Memory(Vec<OnceLock<Box<[f32]>>>),
}

impl Storage {
    /// Returns `true` if nothing is to compute in advance: the features are stored, or do not fit in memory.
    pub(super) fn has(&self, index: usize, key: Key, shape: [usize; 2]) -> bool {
        match self {
            Self::Cache(cache) => cache.has(key, shape),
            Self::Memory(entries) => entries.get(index).is_none_or(|entry| entry.get().is_some()),
        }
    }

    /// Reads the features of an image, if they are stored.
    pub(super) fn read(&self, index: usize, key: Key, shape: [usize; 2], values: &mut [f32]) -> Option<()> {
        match self {
            Self::Cache(cache) => cache.read(key, shape, values),
            Self::Memory(entries) => {
                values.copy_from_slice(entries.get(index)?.get()?);
                Some(())
            }
        }
    }

    /// Stores the features of an image, if they fit.
    pub(super) fn write(&self, index: usize, key: Key, shape: [usize; 2], values: &[f32]) -> Result<()> {
        match self {
            Self::Cache(cache) => cache.write(key, shape, values),
            Self::Memory(entries) => {
                // Another thread may have stored the same values.
                entries.get(index).map(|entry| entry.set(values.into()));
                Ok(())
            }
        }
    }
}
