//! The place of computed features: a cache on disk, or memory.

use std::sync::OnceLock;

use crate::error::Result;
use crate::features::cache::{FeatureCache, Key};

#[derive(Debug)]
pub(super) enum Storage {
    Cache(FeatureCache),
    /// As many as fit, from the first on.
    Memory(Vec<OnceLock<Box<[f32]>>>),
}

impl Storage {
    pub(super) fn has(&self, index: usize, key: Key, shape: [usize; 2]) -> bool {
        match self {
            Self::Cache(cache) => cache.has(key, shape),
            // What does not fit is not there, and need not be computed in advance.
            Self::Memory(entries) => entries.get(index).is_none_or(|entry| entry.get().is_some()),
        }
    }

    pub(super) fn read(&self, index: usize, key: Key, shape: [usize; 2], values: &mut [f32]) -> Option<()> {
        match self {
            Self::Cache(cache) => cache.read(key, shape, values),
            Self::Memory(entries) => {
                values.copy_from_slice(entries.get(index)?.get()?);
                Some(())
            }
        }
    }

    pub(super) fn write(&self, index: usize, key: Key, shape: [usize; 2], values: &[f32]) -> Result<()> {
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
