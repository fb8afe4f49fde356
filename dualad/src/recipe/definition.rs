//! The recipe of a run: the configurations of the network and of its training, from JSON, with their ranges.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bank::BankConfig;
use crate::config::DualAdConfig;
use crate::error::{Error, Result};
use crate::recipe::train_config::TrainConfig;

/// The configuration of the network, of its training and of its bank. With the images, it determines a run.
///
/// ```
/// use dualad::backbones::Backbone;
/// use dualad::recipe::Recipe;
/// use dualad::Variant;
///
/// let recipe = Recipe::paper(Variant::Heterogeneous, Backbone::WideResNet50x2);
/// assert_eq!((recipe.train.epochs, recipe.train.batch_size), (1200, 16));
///
/// // JSON names the fields that differ.
/// let recipe = recipe.with_json("mine.json", r#"{"train": {"epochs": 20, "optimizer": {"learning_rate": 1e-3}}}"#)?;
/// assert_eq!((recipe.train.epochs, recipe.train.optimizer.learning_rate), (20, 1e-3));
/// let error = recipe.with_json("mine.json", r#"{"train": {"epoch": 20}}"#).unwrap_err();
/// assert!(error.to_string().contains("unknown field `epoch`"));
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Recipe {
    /// The network.
    pub network: DualAdConfig,
    /// The training.
    pub train: TrainConfig,
    /// The bank of normal tokens beside the network. `None`: the network alone, as in the paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank: Option<BankConfig>,
}

impl Recipe {
    /// Returns the recipe with the fields that a JSON object names. Other fields stay, and an unknown field is an error. `null`
    /// removes an optional value.
    ///
    /// # Errors
    /// [`Error::Format`], which names `source_name` and the field or the position in the text.
    pub fn with_json(&self, source_name: &str, text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::recipe(source_name, reason);
        let no_json = |error: serde_json::Error| wrong(error.to_string());
        let mut whole = serde_json::to_value(self).map_err(no_json)?;
        let mut named: Value = serde_json::from_str(text).map_err(no_json)?;
        if !named.is_object() {
            return Err(wrong(r#"it must be an object, such as {"train": {"epochs": 20}}"#.into()));
        }
        // Otherwise the old and the new name of a field would both be present.
        if let Some(network) = named.get_mut("network") {
            DualAdConfig::rename_old_fields(network);
        }
        merge(&mut whole, named);
        serde_path_to_error::deserialize(whole).map_err(|error| wrong(without_types(&error.to_string())))
    }

    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that is not.
    pub fn validate(&self) -> Result<()> {
        self.network.validate()?;
        self.bank.as_ref().map_or(Ok(()), BankConfig::validate)?;
        self.train.optimizer.validate()?;
        self.train.schedule.validate()?;
        let TrainConfig { epochs, batch_size, memory, .. } = &self.train;
        let check = |field, value: String, holds: bool, reason: &str| {
            if holds { Ok(()) } else { Err(Error::Config { field, value, reason: reason.into() }) }
        };
        let least = u64::from(self.bank.is_none());
        let reason = "must be from 1 to a million; with a bank, 0 too";
        check("epochs", epochs.to_string(), (least..=1_000_000).contains(epochs), reason)?;
        check("batch_size", batch_size.to_string(), (1..=65_536).contains(batch_size), "must be from 1 to 65536")?;
        let shares = [("memory.start", memory.start), ("memory.ramp", memory.ramp), ("memory.anneal", memory.anneal)];
        for (field, share) in shares {
            check(field, share.to_string(), (0.0..=1.0).contains(&share), "must be from 0 to 1")?;
        }
        // The share must be 1 at the end of the run, as it is in the trained network.
        let joined = memory.start + memory.ramp;
        check("memory.ramp", memory.ramp.to_string(), joined <= 1.0, "must be at most 1 together with memory.start")?;
        let start = memory.temperature_start.unwrap_or(1.0);
        let in_range = (1e-3..=1e3).contains(&start);
        check("memory.temperature_start", start.to_string(), in_range, "must be from 0.001 to 1000")
    }
}

/// Replaces the fields of `old` that `new` names, recursively. An object with another `kind` replaces the whole object.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if !new.contains_key("kind") || old.get("kind") == new.get("kind") => {
            for (key, value) in new {
                merge(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new,
    }
}

/// Returns an error's text with the kinds of numbers in words: who writes JSON need not know Rust's types.
fn without_types(text: &str) -> String {
    let number =
        |found: &str, kind: &str, words: &str| found.replace(&format!("expected {kind}"), &format!("expected {words}"));
    let whole = ["usize", "u64", "u32", "u8"]
        .iter()
        .fold(text.to_owned(), |text, kind| number(&text, kind, "a whole number from 0"));
    ["f64", "f32"].iter().fold(whole, |text, kind| number(&text, kind, "a number"))
}

#[cfg(test)]
mod tests {
    use dualad_backbones::Backbone;

    use super::*;
    use crate::config::Variant;
    use crate::recipe::{Curve, MemoryInit, Preset};

    fn paper() -> Recipe {
        Recipe::paper(Variant::Heterogeneous, Backbone::ResNet18)
    }

    #[test]
    fn a_number_of_another_kind_is_told_in_words() {
        let error = |text: &str| paper().with_json("mine.json", text).unwrap_err().to_string();
        let heads = error(r#"{"network": {"heads": -1}}"#);
        assert!(
            heads.contains("network.heads: invalid value: integer `-1`, expected a whole number from 0"),
            "{heads}"
        );
        let rate = error(r#"{"train": {"optimizer": {"learning_rate": "fast"}}}"#);
        assert!(rate.contains("train.optimizer.learning_rate") && rate.contains("expected a number"), "{rate}");
    }

    #[test]
    fn presets_are_valid_and_survive_json() {
        for backbone in Backbone::ALL {
            for variant in [Variant::Heterogeneous, Variant::Homogeneous] {
                for recipe in Preset::ALL.map(|preset| preset.recipe(variant, backbone)) {
                    recipe.validate().unwrap();
                    let text = serde_json::to_string(&recipe).unwrap();
                    assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
                    assert_eq!(recipe.with_json("none", "{}").unwrap(), recipe);
                }
            }
        }
    }

    #[test]
    fn json_changes_the_fields_that_it_names() {
        let text = r#"{"network": {"jitter": null, "neighbor_mask": [3, 3]},
                       "train": {"schedule": {"curve": {"kind": "one-cycle", "rise": 0.2}}, "memory": {"init": "k-means"}}}"#;
        let recipe = paper().with_json("a.json", text).unwrap();
        let mut expected = paper();
        expected.network = expected.network.with_jitter(None).with_neighbor_mask(Some([3, 3]));
        expected.train.schedule.curve = Curve::OneCycle { rise: 0.2 };
        expected.train.memory.init = MemoryInit::KMeans;
        assert_eq!(recipe, expected);
        let earlier = text.replace("neighbor_mask", "window");
        assert_eq!(paper().with_json("a.json", &earlier).unwrap(), expected);
        // An object of the same kind keeps its other fields.
        let recipe = paper().with_json("a.json", r#"{"network": {"jitter": {"scale": 1.0}}}"#).unwrap();
        assert_eq!(recipe.network.jitter.unwrap().scale, 1.0);
    }

    #[test]
    fn an_error_in_the_json_is_named() {
        for (text, word) in [
            ("", "line 1"),
            ("[]", "object"),
            ("3", "object"),
            (r#"{"trian": {}}"#, "trian"),
            (r#"{"train": {"optimizer": {"lr": 1}}}"#, "lr"),
            (r#"{"network": {"jitter": {"scale": "much"}}}"#, "network.jitter.scale: invalid type: string \"much\""),
            (r#"{"train": {"epochs": -1}}"#, "train.epochs: invalid value: integer `-1`"),
        ] {
            let error = paper().with_json("a.json", text).unwrap_err().to_string();
            assert!(error.contains("a.json") && error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        for (text, field) in [
            (r#"{"train": {"epochs": 0}}"#, "epochs"),
            (r#"{"bank": {"dims": 0}}"#, "bank.dims"),
            (r#"{"train": {"batch_size": 0}}"#, "batch_size"),
            (r#"{"train": {"memory": {"anneal": 2.0}}}"#, "memory.anneal"),
            (r#"{"train": {"memory": {"start": 0.7, "ramp": 0.4}}}"#, "memory.ramp"),
            (r#"{"train": {"memory": {"start": -0.1}}}"#, "memory.start"),
            (r#"{"train": {"memory": {"temperature_start": 0.0}}}"#, "memory.temperature_start"),
            (r#"{"train": {"schedule": {"floor": 2.0}}}"#, "schedule.floor"),
            (r#"{"train": {"optimizer": {"beta1": 1.0}}}"#, "beta1"),
            (r#"{"network": {"heads": 7}}"#, "heads"),
        ] {
            let error = paper().with_json("a.json", text).unwrap().validate().unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
    }
}
