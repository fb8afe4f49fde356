//! The flags for the feature cache.

use std::path::PathBuf;

use clap::ValueEnum;
use dualad::features::{FeatureCache, FeatureType};

use crate::common::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheType {
    /// 32 bits a value
    F32,
    /// 16 bits a value, rounded
    F16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FeatureArgs {
    /// Folder that keeps features for later runs [default: DUALAD_CACHE, or dualad in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Keep no features on disk: in memory as far as they fit, else computed whenever they are needed
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,
    /// Data type of cached features; f16 takes half the space, and is rounded
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = CacheType::F32)]
    cache_type: CacheType,
}

impl FeatureArgs {
    /// Opens the cache that the flags name. `None` with `--no-cache`.
    pub(crate) fn cache(&self) -> Result<Option<FeatureCache>> {
        if self.no_cache {
            return Ok(None);
        }
        let folder = self.cache.clone().or_else(FeatureCache::default_folder);
        let folder = folder.ok_or("there is no folder for features; name one with --cache, or use --no-cache")?;
        let feature_type = match self.cache_type {
            CacheType::F32 => FeatureType::F32,
            CacheType::F16 => FeatureType::F16,
        };
        Ok(Some(FeatureCache::open(folder)?.feature_type(feature_type)))
    }
}
