//! The record of what tokens depend on.

use dualad_backbones::FeatureExtractor;
use dualad_data::image::Preprocess;
use dualad_store::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Precision;
use crate::features::cache::{FeatureCache, FeatureType};

/// The version of the extractors' values: raised when they change within a version of the library.
const VALUES_VERSION: u32 = 2;

/// Everything that the tokens of a list of images depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Identity {
    /// The backbone, its stages and weights, the preprocessing and the versions, as pairs of a name and a value.
    pub extraction: Vec<(String, String)>,
    /// For each image, the first half of its file's SHA-256 in hexadecimal, and its name in messages.
    pub images: Vec<(String, String)>,
}

/// Returns everything that features depend on besides the image, as pairs of a name and a value.
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
    let size = format!("{} x {} ({})", preprocess.height(), preprocess.width(), preprocess_digest(preprocess));
    let version = format!("{} ({VALUES_VERSION})", env!("CARGO_PKG_VERSION"));
    let device = format!("{:?}", extractor.device().location());
    let device = device.split(' ').next().unwrap_or_default().to_lowercase();
    let computed_in = match extractor.precision() {
        Precision::F32 => format!("{:?} on {device}", extractor.dtype()).to_lowercase(),
        // The layout of what is multiplied in f32 is the same for all processors, and so are these values.
        Precision::Int8 => format!("int8 on {device}"),
    };
    let fields = [
        ("backbone", extractor.backbone().name().to_owned()),
        ("stages", stages.join(" ")),
        ("weights", weights),
        ("preprocessing", size),
        ("computed in", computed_in),
        ("kept in", kept_as.to_owned()),
        ("dualad", version),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Returns the first 8 bytes of the SHA-256 of the preprocessing's settings, in hexadecimal.
fn preprocess_digest(preprocess: &Preprocess) -> String {
    hex(&Sha256::digest(preprocess.canonical_text())[..8])
}

#[cfg(test)]
mod tests {
    use dualad_data::image::{AspectRatio, Filter};

    use super::*;

    /// Checkpoints and caches of earlier versions hold these digests.
    #[test]
    fn digests_of_preprocessing_do_not_change() {
        let default = Preprocess::new(224, 224).unwrap();
        let other = Preprocess::new(96, 160).unwrap().filter(Filter::Antialiased);
        let letterbox = AspectRatio::Letterbox([124, 116, 0]);
        for (preprocess, digest) in [
            (default.clone(), "07d21801a3b05c11"),
            (other.clone(), "e58bb80f966736fa"),
            (default.aspect_ratio(letterbox), "74c2853cc16716c0"),
            (other.normalize([0.5, 0.25, 1e-8], [1e-7, 0.3, 1e20]).unwrap(), "592b50d06c6e5849"),
        ] {
            assert_eq!(preprocess_digest(&preprocess), digest, "{}", preprocess.height());
        }
    }
}
