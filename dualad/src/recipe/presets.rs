//! The presets: recipes and their names.

use std::fmt;

use dualad_backbones::Backbone;
use serde::{Deserialize, Serialize};

use crate::bank::BankConfig;
use crate::config::{Combination, DualAdConfig, Jitter, Variant};
use crate::recipe::adamw::AdamWConfig;
use crate::recipe::augmentation::Augmentation;
use crate::recipe::definition::Recipe;
use crate::recipe::memory::{MemoryConfig, MemoryInit};
use crate::recipe::schedule::{Curve, Schedule};
use crate::recipe::train_config::{Precision, TrainConfig};

impl Recipe {
    /// Returns the paper's recipe (docs/method.md, sections 3 to 6).
    pub fn paper(variant: Variant, backbone: Backbone) -> Self {
        Self {
            network: DualAdConfig::paper(variant, backbone),
            train: TrainConfig {
                epochs: 1200,
                batch_size: 16,
                seed: 0,
                optimizer: AdamWConfig::default(),
                schedule: Schedule::new(Curve::Step { after_epoch: 1000, factor: 0.1 }),
                memory: MemoryConfig::paper(),
                augmentation: Augmentation::default(),
                precision: Precision::F32,
            },
            bank: None,
        }
    }

    /// Returns a recipe for a useful model in minutes on a CPU: a narrow network on standardized features, less noise, a larger
    /// learning rate with a cosine schedule, a memory that starts from data, and a bank of normal tokens beside the network.
    /// `docs/training.md` gives the reasons.
    pub fn fast(variant: Variant, backbone: Backbone) -> Self {
        let network = DualAdConfig::paper(variant, backbone);
        let jitter = network.jitter.map(|jitter| Jitter { scale: 1.0, ..jitter });
        let network = network
            .with_narrow_width(64)
            .with_chunk_width(64)
            .with_ffn_width(256)
            .with_standardize(true)
            .with_standardize_errors(true)
            .with_combination(Combination::Sum)
            .with_heads(4)
            .with_wide_ffn_ratio(2)
            .with_dropout(0.0)
            .with_jitter(jitter)
            .with_memory_temperature(0.05);
        Self {
            network,
            train: TrainConfig {
                epochs: 12,
                batch_size: 8,
                seed: 0,
                optimizer: AdamWConfig {
                    learning_rate: 4e-3,
                    beta2: 0.95,
                    clip_norm: Some(1.0),
                    ..AdamWConfig::default()
                },
                schedule: Schedule::new(Curve::Cosine).warmup(50),
                memory: MemoryConfig { init: MemoryInit::KMeans, start: 0.3, ramp: 0.2, ..MemoryConfig::paper() },
                augmentation: Augmentation::default(),
                precision: Precision::F32,
            },
            bank: Some(BankConfig::default()),
        }
    }

    /// Returns the recipe with the best detections: that of [`Self::fast`] at 320 x 320 pixels.
    pub fn accurate(variant: Variant, backbone: Backbone) -> Self {
        let mut recipe = Self::fast(variant, backbone);
        let side = ACCURATE_SIDE / recipe.network.token_stride;
        recipe.network = recipe.network.with_grid([side; 2]);
        recipe
    }
}

/// The side of the input of [`Recipe::accurate`], in pixels, for tokens of 16 pixels.
const ACCURATE_SIDE: usize = 320;

/// A recipe with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// [`Recipe::paper`].
    Paper,
    /// [`Recipe::fast`].
    Fast,
    /// [`Recipe::accurate`].
    Accurate,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Fast, Self::Accurate];

    /// Returns the name in JSON and on command lines: `paper`, `fast` or `accurate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Fast => "fast",
            Self::Accurate => "accurate",
        }
    }

    /// Returns the recipe.
    pub fn recipe(self, variant: Variant, backbone: Backbone) -> Recipe {
        match self {
            Self::Paper => Recipe::paper(variant, backbone),
            Self::Fast => Recipe::fast(variant, backbone),
            Self::Accurate => Recipe::accurate(variant, backbone),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The JSON form of an optional preset: its name, or the empty string. An unknown name is read as `None`.
pub(crate) mod name_or_empty {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Preset;

    pub(crate) fn serialize<S: Serializer>(preset: &Option<Preset>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(preset.map_or("", Preset::name))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Preset>, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(Preset::ALL.into_iter().find(|preset| preset.name() == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder(#[serde(with = "name_or_empty")] Option<Preset>);

    #[test]
    fn json_has_the_name_or_the_empty_string() {
        for (preset, text) in
            [(None, "\"\""), (Some(Preset::Paper), "\"paper\""), (Some(Preset::Accurate), "\"accurate\"")]
        {
            assert_eq!(serde_json::to_string(&Holder(preset)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Holder>(text).unwrap().0, preset);
        }
        assert_eq!(serde_json::from_str::<Holder>("\"of its own\"").unwrap().0, None);
    }
}
