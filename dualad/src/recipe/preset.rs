//! The names of the recipes.

use std::fmt;

use dualad_backbones::Backbone;
use serde::{Deserialize, Serialize};

use crate::config::Variant;
use crate::recipe::Recipe;

/// A recipe with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// [`Recipe::paper`].
    Paper,
    /// [`Recipe::fast`].
    Fast,
}

impl Preset {
    /// Returns the name in JSON and on command lines: `paper` or `fast`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Fast => "fast",
        }
    }

    /// Returns the recipe.
    pub fn recipe(self, variant: Variant, backbone: Backbone) -> Recipe {
        match self {
            Self::Paper => Recipe::paper(variant, backbone),
            Self::Fast => Recipe::fast(variant, backbone),
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
        Ok([Preset::Paper, Preset::Fast].into_iter().find(|preset| preset.name() == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder(#[serde(with = "name_or_empty")] Option<Preset>);

    #[test]
    fn json_has_the_name_or_the_empty_string() {
        for (preset, text) in [(None, "\"\""), (Some(Preset::Paper), "\"paper\""), (Some(Preset::Fast), "\"fast\"")] {
            assert_eq!(serde_json::to_string(&Holder(preset)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Holder>(text).unwrap().0, preset);
        }
        assert_eq!(serde_json::from_str::<Holder>("\"of its own\"").unwrap().0, None);
    }
}
