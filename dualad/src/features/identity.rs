//! The record of what tokens depend on.

use dualad_backbones::FeatureExtractor;
use dualad_data::image::Preprocess;
use dualad_store::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::features::cache::{FeatureCache, FeatureType};

/// The version of the extractors' values: raised when they change within a version of the library.
const VALUES_VERSION: u32 = 2;

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
    let version = format!("{} ({VALUES_VERSION})", env!("CARGO_PKG_VERSION"));
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
