//! The checkpoint of a run: one safetensors file.
//!
//! It holds every parameter with its two moments, and the rest of the state as JSON in its metadata. The file is replaced
//! atomically: a process that is killed leaves the old checkpoint or the new one.
//!
//! The JSON stores floating-point values as their bits, because decimals may be read one bit off.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use dualad_store::{AtomicFile, printable};
use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Random;
use crate::config::DualAdConfig;
use crate::error::{Error, Result};
use crate::features::Identity;
use crate::recipe::Recipe;
use crate::train::AdamWState;
use crate::train::step::StepperState;

/// The version of the format. Raised when the content of a checkpoint changes.
const FORMAT: u64 = 2;
/// The key of the JSON in the metadata.
const KEY: &str = "dualad-checkpoint";

/// The state that the rest of a run depends on.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    pub(crate) stepper: StepperState,
    pub(crate) run: Run,
}

/// The state without the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    format: u64,
    /// The CRC-32 of the tensors, in the order of their names.
    checksum: u32,
    steps: u64,
    pub(crate) recipe: Value,
    pub(crate) identity: Identity,
    pub(crate) position: Position,
}

/// The position in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The number of finished epochs.
    pub(crate) epoch: u64,
    /// The number of steps taken in the current epoch.
    pub(crate) step_in_epoch: u64,
    /// The number of steps taken. The learning rate and the memory's schedule follow from it.
    pub(crate) step: u64,
    /// The state of the random generator of noise and dropout.
    pub(crate) random: Random,
    /// The mean loss of every finished epoch.
    pub(crate) losses: Vec<Bits>,
    /// The sum over the steps of the current epoch of the loss times the number of images.
    pub(crate) epoch_sum: Bits,
    /// The sums of the current line of the log.
    pub(crate) line: Line,
    /// The training time in seconds.
    pub(crate) seconds: f64,
}

impl Position {
    /// Returns the position before the first step.
    pub(crate) fn start(random: Random) -> Self {
        Self {
            epoch: 0,
            step_in_epoch: 0,
            step: 0,
            random,
            losses: Vec::new(),
            epoch_sum: 0.0.into(),
            line: Line::default(),
            seconds: 0.0,
        }
    }
}

/// The sums over the steps of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) loss: Bits,
    pub(crate) steps: u64,
    pub(crate) images: u64,
    pub(crate) gradient_norm: Bits,
    pub(crate) seconds: f64,
}

/// The bits of a floating-point value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Bits(u64);

impl From<f64> for Bits {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

impl From<Bits> for f64 {
    fn from(bits: Bits) -> Self {
        Self::from_bits(bits.0)
    }
}

/// Returns a recipe as the JSON value that a checkpoint holds.
pub(crate) fn recipe_value(recipe: &Recipe) -> Result<Value> {
    // Converted through text, as in a checkpoint, so that equal values have equal JSON.
    let wrong = |error: serde_json::Error| Error::recipe("the recipe", error.to_string());
    serde_json::from_str(&serde_json::to_string(recipe).map_err(wrong)?).map_err(wrong)
}

impl Checkpoint {
    pub(crate) fn new(stepper: StepperState, recipe: &Recipe, identity: &Identity, position: Position) -> Result<Self> {
        let run = Run {
            format: FORMAT,
            checksum: 0,
            steps: stepper.optimizer.steps,
            recipe: recipe_value(recipe)?,
            identity: identity.clone(),
            position,
        };
        Ok(Self { stepper, run })
    }

    /// Writes the file. Until it is complete, the old file stays.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let io = |error| Error::Io { action: "write", path: path.into(), error };
        let StepperState { parameters, optimizer: AdamWState { first_moment, second_moment, .. } } = &self.stepper;
        let groups = [("parameters", parameters), ("mean", first_moment), ("square", second_moment)];
        let tensors = groups.into_iter().flat_map(|(group, tensors)| {
            tensors.iter().map(move |(name, tensor)| Ok((format!("{group}/{name}"), tensor.to_device(&Device::Cpu)?)))
        });
        let tensors: BTreeMap<String, Tensor> = tensors.collect::<candle_core::Result<_>>()?;
        let mut hasher = crc32fast::Hasher::new();
        for (name, tensor) in &tensors {
            hasher.update(name.as_bytes());
            hasher.update(&View::data(&tensor));
        }
        let run = Run { checksum: hasher.finalize(), ..self.run.clone() };
        let run = serde_json::to_string(&run).map_err(|error| io(error.into()))?;
        let checksum = crc32fast::hash(run.as_bytes());
        // One entry, because several would be written in any order, and equal checkpoints would differ in their bytes.
        let metadata = HashMap::from([(KEY.to_owned(), format!("{run}\n{checksum}"))]);
        let bytes = safetensors::serialize(&tensors, Some(metadata));
        let bytes = bytes.map_err(|error| io(std::io::Error::other(error)))?;
        // Earlier versions left their unfinished file under this name.
        let _ = std::fs::remove_file(old_unfinished(path));
        let write = || {
            let mut file = AtomicFile::create_exclusive(path)?;
            file.write_all(&bytes)?;
            file.commit()
        };
        write().map_err(io)
    }

    /// Reads the file and checks its format, its checksums and its tensors.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::checkpoint(path, reason);
        let damaged = |what: &str| wrong(format!("{what}; the file is damaged: start the run anew without it"));
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => {
                return Err(wrong("it is not a regular file; a checkpoint is a file that an earlier run wrote".into()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(wrong("there is no such file; start the run anew".into()));
            }
            Err(error) => return Err(Error::Io { action: "read", path: path.into(), error }),
        }
        let bytes = std::fs::read(path).map_err(|error| Error::Io { action: "read", path: path.into(), error })?;
        let malformed = |error: safetensors::SafeTensorError| damaged(&error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(malformed)?;
        let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let text = text.ok_or_else(|| wrong("it is no checkpoint; name the folder of an earlier run".into()))?;
        // The last line is the CRC-32 of the text before it.
        let (text, checksum) = text.rsplit_once('\n').unwrap_or((text, ""));
        // The version first: other versions may have other fields.
        let value: Value = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
        match value.get("format").and_then(Value::as_u64) {
            Some(FORMAT) => {}
            Some(format) if format > 0 && format < FORMAT => {
                let reason = format!("it has format {format}, of an earlier version; start the run anew without it");
                return Err(wrong(reason));
            }
            Some(format) if format > FORMAT => {
                let reason = format!("it has format {format}, and this version knows up to {FORMAT}; update dualad");
                return Err(wrong(reason));
            }
            _ => return Err(damaged("it has no format")),
        }
        if checksum != crc32fast::hash(text.as_bytes()).to_string() {
            return Err(damaged("the checksum of its metadata is wrong"));
        }
        let run: Run = serde_json::from_value(value).map_err(|error| damaged(&error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(malformed)?;
        let views: BTreeMap<String, _> = file.tensors().into_iter().collect();
        let mut hasher = crc32fast::Hasher::new();
        for (name, view) in &views {
            hasher.update(name.as_bytes());
            hasher.update(view.data());
        }
        if hasher.finalize() != run.checksum {
            return Err(damaged("the checksum of its tensors is wrong"));
        }
        let mut groups = HashMap::<&str, BTreeMap<String, Tensor>>::new();
        for (key, view) in &views {
            let (group, name) = key.split_once('/').ok_or_else(|| damaged("a tensor has no group"))?;
            if view.dtype() != Dtype::F32 {
                return Err(damaged(&format!("tensor \"{}\" is not in f32", printable(key))));
            }
            let values: Vec<f32> = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            let tensor = Tensor::from_vec(values, view.shape(), &Device::Cpu)?;
            groups.entry(group).or_default().insert(name.into(), tensor);
        }
        let mut group = |name| groups.remove(name).unwrap_or_default();
        let (parameters, first_moment, second_moment) = (group("parameters"), group("mean"), group("square"));
        let optimizer = AdamWState { steps: run.steps, first_moment, second_moment };
        Ok(Self { stepper: StepperState { parameters, optimizer }, run })
    }

    /// Checks that the checkpoint belongs to that run; the error names the first difference.
    pub(crate) fn check(&self, path: &Path, recipe: &Recipe, identity: &Identity) -> Result<()> {
        let differs = |field: String, found: String, wanted: String| {
            Err(Error::CheckpointMismatch { path: path.into(), field, found, wanted })
        };
        let mut found = self.run.recipe.clone();
        if let Some(network) = found.get_mut("network") {
            DualAdConfig::rename_old_fields(network);
        }
        if let Some((field, found, wanted)) = difference("", &found, &recipe_value(recipe)?) {
            return differs(field, found, wanted);
        }
        let there = &self.run.identity;
        for ((name, wanted), (_, found)) in identity.extraction.iter().zip(&there.extraction) {
            if wanted != found {
                return differs(format!("the features' {name}"), found.clone(), wanted.clone());
            }
        }
        let pairs = identity.images.iter().zip(&there.images).enumerate();
        for (index, ((digest, name), (other, other_name))) in pairs {
            if digest != other {
                let image = |digest: &str, name: &str| format!("{name} ({})", digest.get(..8).unwrap_or(digest));
                return differs(format!("training image {index}"), image(other, other_name), image(digest, name));
            }
        }
        let counts = [there, identity].map(|identity| identity.images.len());
        if counts[0] != counts[1] {
            return differs("the number of training images".into(), counts[0].to_string(), counts[1].to_string());
        }
        Ok(())
    }
}

/// The relation of an earlier run's checkpoint to a run.
#[derive(Debug)]
pub(crate) enum Earlier {
    /// The run continues from it.
    Same,
    /// The earlier run was another one, and is finished. Holds the first difference.
    Finished(Error),
}

/// Compares a checkpoint with a run, before anything is computed.
///
/// # Errors
/// [`Error::Format`] for a file that cannot be used, [`Error::CheckpointMismatch`] for another run that is not finished.
pub(crate) fn compare(path: &Path, recipe: &Recipe, identity: &Identity) -> Result<Earlier> {
    let checkpoint = Checkpoint::load(path)?;
    match checkpoint.check(path, recipe, identity) {
        Ok(()) => Ok(Earlier::Same),
        Err(error) if checkpoint.run.is_finished() => Ok(Earlier::Finished(error)),
        Err(error) => Err(error),
    }
}

impl Run {
    fn is_finished(&self) -> bool {
        let epochs = self.recipe.pointer("/train/epochs").and_then(Value::as_u64);
        epochs.is_some_and(|epochs| self.position.epoch >= epochs)
    }
}

/// Returns the path of the first field in which two values differ, and its two values.
fn difference(path: &str, found: &Value, wanted: &Value) -> Option<(String, String, String)> {
    let named = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let mut names: Vec<&String> = found.keys().chain(wanted.keys()).collect();
            names.sort_unstable();
            names.dedup();
            let value = |object: &serde_json::Map<String, Value>, name| object.get(name).cloned().unwrap_or_default();
            names.into_iter().find_map(|name| difference(&named(name), &value(found, name), &value(wanted, name)))
        }
        _ => (found != wanted).then(|| (path.to_owned(), found.to_string(), wanted.to_string())),
    }
}

/// Returns the name of an unfinished checkpoint of earlier versions.
fn old_unfinished(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bits, small, tokens};
    use crate::train::step::{PlainStepper, Stepper};
    use crate::{DualAd, Variant};
    use dualad_backbones::Backbone;
    use dualad_store::UNFINISHED;

    fn recipe() -> Recipe {
        let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
        recipe.network = small();
        // A value whose decimals an inexact reader gets wrong by one bit.
        recipe.train.optimizer.learning_rate = 0.1 + 0.2;
        recipe
    }

    fn identity() -> Identity {
        let image = |digest: &str, name: &str| (digest.to_owned(), name.to_owned());
        Identity {
            extraction: vec![("backbone".into(), "resnet18".into()), ("weights".into(), "abc".into())],
            images: vec![image("0011223344", "gear/0.png"), image("5566778899", "gear/1.png")],
        }
    }

    fn checkpoint() -> Checkpoint {
        let network = DualAd::new(small(), &Random::new(0), &Device::Cpu).unwrap();
        let mut stepper = PlainStepper::new(&network, recipe().train.optimizer).unwrap();
        let mut random = Random::new(1);
        stepper.step(&tokens(&small(), 2, 3), &mut random).unwrap();
        let position = Position {
            epoch: 2,
            step_in_epoch: 1,
            step: 7,
            random,
            losses: vec![(0.1 + 0.2).into(), 1e-300.into()],
            epoch_sum: f64::MIN_POSITIVE.into(),
            line: Line { loss: 0.3.into(), steps: 1, images: 2, gradient_norm: 0.7.into(), seconds: 0.25 },
            seconds: 12.5,
        };
        Checkpoint::new(stepper.state().unwrap(), &recipe(), &identity(), position).unwrap()
    }

    #[test]
    fn a_checkpoint_comes_back_with_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let saved = checkpoint();
        saved.save(&path).unwrap();
        let loaded = Checkpoint::load(&path).unwrap();
        assert_eq!(loaded.run.position, saved.run.position);
        assert_eq!(loaded.stepper.optimizer.steps, 1);
        for (one, other) in [
            (&saved.stepper.parameters, &loaded.stepper.parameters),
            (&saved.stepper.optimizer.first_moment, &loaded.stepper.optimizer.first_moment),
            (&saved.stepper.optimizer.second_moment, &loaded.stepper.optimizer.second_moment),
        ] {
            assert_eq!(bits(one), bits(other));
        }
        loaded.check(&path, &recipe(), &identity()).unwrap();
        // No other file stays in the folder.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        // A second save writes the same bytes.
        let before = std::fs::read(&path).unwrap();
        loaded.save(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == before, "saved again, it is another file");
    }

    #[test]
    fn unfinished_files_of_killed_writers_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        checkpoint().save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
            let unfinished = path.with_file_name(format!("{UNFINISHED}checkpoint.safetensors"));
            for left in [&unfinished, &old_unfinished(&path)] {
                std::fs::write(left, &whole[..length]).unwrap();
            }
            Checkpoint::load(&path).unwrap();
            checkpoint().save(&path).unwrap();
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        checkpoint().save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut broken: Vec<Vec<u8>> = (0..8).map(|eighth| whole[..whole.len() * eighth / 8].to_vec()).collect();
        for at in [0, 9, 300, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            broken.push(changed);
        }
        // Change each digit of the metadata, so that it stays valid JSON.
        let header = 8 + usize::try_from(u64::from_le_bytes(*whole.first_chunk().unwrap())).unwrap();
        for at in (8..header).filter(|&at| whole[at].is_ascii_digit()) {
            let mut changed = whole.clone();
            changed[at] = if changed[at] == b'9' { b'1' } else { changed[at] + 1 };
            broken.push(changed);
        }
        for bytes in broken {
            std::fs::write(&path, &bytes).unwrap();
            let error = match Checkpoint::load(&path).map(|loaded| loaded.check(&path, &recipe(), &identity())) {
                Err(error) | Ok(Err(error)) => error,
                Ok(Ok(())) => panic!("{} bytes were taken for a checkpoint", bytes.len()),
            };
            assert!(error.to_string().contains("checkpoint.safetensors"), "{error}");
        }
        let missing = Checkpoint::load(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("start the run anew"), "{missing}");
        assert!(Checkpoint::load(folder.path()).is_err());
    }

    #[test]
    fn the_first_difference_is_named() {
        let checkpoint = checkpoint();
        let path = Path::new("out/checkpoint.safetensors");
        let differs =
            |recipe: Recipe, identity: Identity| checkpoint.check(path, &recipe, &identity).unwrap_err().to_string();
        let changed = recipe().with_json("x", r#"{"train": {"optimizer": {"beta1": 0.8}, "seed": 4}}"#).unwrap();
        let error = differs(changed, identity());
        assert!(error.contains("train.optimizer.beta1 is 0.8 now, and was 0.9 there"), "{error}");
        let changed = recipe().with_json("x", r#"{"network": {"neighbor_mask": null}}"#).unwrap();
        assert!(differs(changed, identity()).contains("network.neighbor_mask is null now"));

        // A run of an earlier version wrote this field under another name.
        let mut earlier = checkpoint.run.clone();
        let fields = earlier.recipe["network"].as_object_mut().unwrap();
        let mask = fields.remove("neighbor_mask").unwrap();
        fields.insert("window".into(), mask);
        let earlier = Checkpoint { stepper: checkpoint.stepper.clone(), run: earlier };
        earlier.check(path, &recipe(), &identity()).unwrap();

        let mut other = identity();
        other.extraction[1].1 = "def".into();
        assert!(differs(recipe(), other).contains("the features' weights is def now, and was abc there"));
        let mut other = identity();
        other.images[1] = ("99".into(), "nut/1.png".into());
        let error = differs(recipe(), other);
        assert!(
            error.contains("training image 1 is nut/1.png (99) now, and was gear/1.png (55667788) there"),
            "{error}"
        );
        let mut other = identity();
        other.images.pop();
        assert!(differs(recipe(), other).contains("the number of training images is 1 now, and was 2 there"));
    }

    #[test]
    fn a_newer_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let metadata = HashMap::from([(KEY.to_owned(), r#"{"format": 3}"#.to_owned())]);
        let none: [(&str, &Tensor); 0] = [];
        std::fs::write(&path, safetensors::serialize(none, Some(metadata)).unwrap()).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains("format 3") && error.contains("update"), "{error}");
    }
}
