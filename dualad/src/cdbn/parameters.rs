//! Loading and saving a network's parameters.
//!
//! The names are those of the published checkpoints. A published checkpoint repeats the position embedding (and Ho's projection of
//! it) under the `abs_pos_embed` of every layer, adds the prefix `reconstruction.`, and also contains the backbone.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use dualad_backbones::WeightsError;
use dualad_backbones::weights::{PyTorchReader, SafetensorsReader, read_file, read_weights};

use crate::cdbn::network::DualAd;
use crate::cdbn::scope::ParameterShape;
use crate::config::DualAdConfig;
use crate::error::{Error, Result};

const NETWORK: &str = "DualAD's reconstruction network";
/// The prefix of the parameters in a published checkpoint.
const PUBLISHED_PREFIX: &str = "state_dict.";

/// Returns the network's name for a checkpoint's key, or `None` for a key of the backbone. `narrow` is true if the network has a
/// narrow-deep branch.
pub(super) fn own_name(key: &str, narrow: bool) -> Option<String> {
    let mut name = key.strip_prefix("module.").unwrap_or(key);
    if name.starts_with("backbone.") || name.starts_with("neck.") {
        return None;
    }
    name = name.strip_prefix("reconstruction.").unwrap_or(name);
    let Some((layer, rest)) = name.split_once(".abs_pos_embed.") else { return Some(name.into()) };
    let is_layer = |branch: &str| {
        let index = layer.strip_prefix(branch).and_then(|rest| rest.strip_prefix(".layers."));
        index.is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (is_narrow, is_wide) =
        (is_layer("encoder") || is_layer("decoder"), is_layer("proj_encoder") || is_layer("proj_decoder"));
    let half = if is_wide { rest.strip_prefix("0.") } else { is_narrow.then_some(rest) };
    Some(match (half, rest) {
        (Some(half @ ("row_embed" | "col_embed")), _) if narrow => format!("encoder.layers.0.abs_pos_embed.{half}"),
        (Some(half @ ("row_embed" | "col_embed")), _) => format!("proj_encoder.layers.0.abs_pos_embed.0.{half}"),
        (_, part @ ("1.weight" | "1.bias")) if is_wide => format!("proj_encoder.layers.0.abs_pos_embed.{part}"),
        _ => name.into(),
    })
}

/// Returns the prefix of the parameters: a published checkpoint has them in a dictionary, a bare state dict at the top.
fn prefix(keys: &[&str]) -> &'static str {
    if keys.iter().any(|key| key.starts_with(PUBLISHED_PREFIX)) { PUBLISHED_PREFIX } else { "" }
}

/// Returns the keys of a PyTorch file's parameters, whole and without the prefix.
pub(super) fn published_keys<'a>(keys: &[&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let prefix = prefix(keys);
    keys.iter().filter_map(move |key| Some((*key, key.strip_prefix(prefix)?)))
}

/// Reads every parameter of the network once, with `read`, from the first of the keys that map to it.
fn collect(
    config: &DualAdConfig,
    source_name: &str,
    mut keys: Vec<String>,
    read: impl Fn(&str, &[usize]) -> Result<Tensor>,
) -> Result<BTreeMap<String, Tensor>> {
    keys.sort_unstable();
    let narrow = config.branches != crate::config::Branches::WideShallow;
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for key in keys {
        if let Some(name) = own_name(&key, narrow) {
            found.entry(name).or_insert(key);
        }
    }
    let wanted = config.parameters()?;
    let missing: Vec<_> = wanted.iter().filter(|parameter| !found.contains_key(&parameter.name)).collect();
    if let Some(first) = missing.first() {
        let (source_name, key) = (source_name.into(), first.name.clone());
        return Err(WeightsError::MissingKey { source_name, network: NETWORK, key, missing: missing.len() }.into());
    }
    let mut tensors = BTreeMap::new();
    for ParameterShape { name, shape, .. } in wanted {
        if let Some(key) = found.remove(&name) {
            tensors.insert(name, read(&key, &shape)?);
        }
    }
    if let Some(key) = found.values().next() {
        let (source_name, key) = (source_name.into(), key.clone());
        return Err(WeightsError::ExtraKey { source_name, network: NETWORK, key, extra: found.len() }.into());
    }
    Ok(tensors)
}

impl DualAd {
    /// Loads a network for inference from the content of a safetensors file, in f32.
    ///
    /// Errors name the content `source_name`. The keys are the network's own or those of a published checkpoint.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not valid, [`Error::Weights`] if the content cannot be read or does not fit the
    /// network, [`Error::Candle`] if the device fails.
    pub fn from_safetensors(config: DualAdConfig, source_name: &str, bytes: &[u8], device: &Device) -> Result<Self> {
        let reader = SafetensorsReader::new(source_name, bytes)?;
        let keys = reader.keys().map(str::to_owned).collect();
        Self::from_reader(config, source_name, &reader, keys, device)
    }

    /// Loads a network from some of the tensors of a safetensors file, those with these keys.
    pub(crate) fn from_reader(
        config: DualAdConfig,
        source_name: &str,
        reader: &SafetensorsReader<'_>,
        keys: Vec<String>,
        device: &Device,
    ) -> Result<Self> {
        let read = |key: &str, shape: &[usize]| Ok(Tensor::from_vec(reader.read(key, shape)?, shape, device)?);
        let tensors = collect(&config, source_name, keys, read)?;
        Self::from_parameters(config, tensors)
    }

    /// Loads a network for inference from a safetensors file, in f32.
    ///
    /// # Errors
    /// As [`Self::from_safetensors`], also if the file cannot be read.
    pub fn load(config: DualAdConfig, path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        Self::from_safetensors(config, &path.display().to_string(), &read_file(path)?, device)
    }

    /// Loads a network for inference from a checkpoint of the published PyTorch code (`.pth`, `.pth.tar`), in f32. Code in the
    /// checkpoint is not executed.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_pth(config: DualAdConfig, path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let source_name = path.display().to_string();
        let bytes = read_weights(path)?;
        let reader = PyTorchReader::new(&source_name, &bytes)?;
        let all: Vec<&str> = reader.keys().collect();
        let prefix = prefix(&all);
        let keys = published_keys(&all).map(|(_, key)| key.to_owned()).collect();
        let read = |key: &str, shape: &[usize]| {
            Ok(Tensor::from_vec(reader.read(&format!("{prefix}{key}"), shape)?, shape, device)?)
        };
        let tensors = collect(&config, &source_name, keys, read)?;
        Self::from_parameters(config, tensors)
    }

    /// Returns the parameters as the content of a safetensors file, in f32, for [`Self::from_safetensors`].
    ///
    /// # Errors
    /// [`Error::Parameter`] if one is not finite, [`Error::Candle`] if they cannot be read.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        self.to_safetensors_with(BTreeMap::new())
    }

    /// Returns the content of a safetensors file with the parameters, in f32, and other tensors.
    pub(crate) fn to_safetensors_with(&self, mut tensors: BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
        for (name, tensor) in &self.parameters {
            tensors.insert(name.clone(), tensor.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?);
        }
        for (name, tensor) in &tensors {
            // Zero times NaN or infinity is NaN.
            if tensor.affine(0.0, 0.0)?.sum_all()?.to_scalar::<f32>()? != 0.0 {
                let reason = "holds NaN or infinity and is not saved".into();
                return Err(Error::Parameter { name: name.clone(), reason });
            }
        }
        safetensors::serialize(tensors.iter(), None).map_err(|error| Error::Candle(candle_core::Error::wrap(error)))
    }

    /// Writes the parameters to a safetensors file, in f32, for [`Self::load`]. The file is written under a temporary name and
    /// renamed.
    ///
    /// # Errors
    /// As [`Self::to_safetensors`], and [`Error::Io`] if the file cannot be written. An existing file then stays unchanged.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::file::write_atomically(path.as_ref(), &self.to_safetensors()?)
    }
}

#[cfg(test)]
mod tests {
    use super::own_name;

    #[test]
    fn published_keys_map_to_names_of_the_network() {
        let narrow = |key| own_name(key, true);
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(narrow("backbone.layer1.0.conv1.weight"), None);
        assert_eq!(narrow("module.neck.anything"), None);
        assert_eq!(narrow("in_proj.0.weight"), name("in_proj.0.weight"));
        assert_eq!(narrow("module.reconstruction.in_proj.0.weight"), name("in_proj.0.weight"));
        let row = name("encoder.layers.0.abs_pos_embed.row_embed");
        assert_eq!(narrow("reconstruction.decoder.layers.3.abs_pos_embed.row_embed"), row);
        assert_eq!(narrow("proj_decoder.layers.1.abs_pos_embed.0.row_embed"), row);
        let wide_row = name("proj_encoder.layers.0.abs_pos_embed.0.row_embed");
        assert_eq!(own_name("proj_decoder.layers.1.abs_pos_embed.0.row_embed", false), wide_row);
        let projection = name("proj_encoder.layers.0.abs_pos_embed.1.bias");
        assert_eq!(narrow("proj_decoder.layers.1.abs_pos_embed.1.bias"), projection);
        // Similar keys of other layers keep their name; loading then refuses them.
        for odd in ["other.layers.0.abs_pos_embed.row_embed", "encoder.layers.x.abs_pos_embed.row_embed"] {
            assert_eq!(narrow(odd), name(odd));
        }
    }
}
