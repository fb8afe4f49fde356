//! The configuration of a published checkpoint, from the names and shapes of its parameters.

use std::collections::BTreeMap;
use std::path::Path;

use dualad_backbones::weights::{PyTorchReader, read_weights};

use crate::cdbn::parameters::{own_name, published_keys};
use crate::config::{Branches, DualAdConfig, Variant};
use crate::error::{Error, Result};

/// The shapes of a network's parameters, by the network's own names.
struct Shapes(BTreeMap<String, Vec<usize>>);

impl Shapes {
    /// Returns a side of a parameter.
    fn side(&self, name: &str, axis: usize) -> Option<usize> {
        self.0.get(name).and_then(|shape| shape.get(axis)).copied()
    }

    /// Returns the number of parameters that a rule names for 0, 1, 2, ...
    fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..self.0.len()).take_while(|&index| self.0.contains_key(&name(index))).count()
    }
}

impl DualAdConfig {
    /// Returns the configuration with the sizes of a checkpoint of the published PyTorch code (`.pth`, `.pth.tar`), for
    /// [`crate::DualAd::load_pth`].
    ///
    /// Names and shapes tell the variant, the branches, widths, layers, memory slots and the grid. The rest stays: the stages, the heads, the
    /// neighbor mask and the memory's temperature, among others. No shape tells them, and with wrong ones the scores are wrong.
    ///
    /// ```no_run
    /// use dualad::backbones::Backbone;
    /// use dualad::candle_core::Device;
    /// use dualad::{DualAd, DualAdConfig, Variant};
    ///
    /// let paper = DualAdConfig::paper(Variant::Heterogeneous, Backbone::WideResNet50x2);
    /// let config = paper.with_sizes_of("checkpoint.pth.tar")?;
    /// let network = DualAd::load_pth(config, "checkpoint.pth.tar", &Device::Cpu)?;
    /// # Ok::<(), dualad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Weights`] if the file cannot be read, [`Error::Parameter`] if a parameter that tells a size is missing or does not
    /// fit the stages, [`Error::Config`] if the sizes do not fit the rest.
    pub fn with_sizes_of(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = read_weights(path)?;
        let reader = PyTorchReader::new(&name, &bytes)?;
        let keys: Vec<&str> = reader.keys().collect();
        // It changes the name of the position embedding.
        let narrow = keys.iter().any(|key| key.contains("encoder.layers.0.attn.") && !key.contains("proj_encoder."));
        let mut shapes = BTreeMap::new();
        for (key, inner) in published_keys(&keys) {
            if let (Some(own), Some(shape)) = (own_name(inner, narrow), reader.shape(key)) {
                shapes.entry(own).or_insert_with(|| shape.to_vec());
            }
        }
        with_shapes(self, &Shapes(shapes))
    }
}

fn with_shapes(mut config: DualAdConfig, shapes: &Shapes) -> Result<DualAdConfig> {
    let side = |name: &str, axis: usize| {
        let reason = "is missing, or has too few sides; give a checkpoint of the published code".into();
        shapes.side(name, axis).ok_or_else(|| Error::Parameter { name: name.into(), reason })
    };
    let has = |name: &str| shapes.0.contains_key(name);
    let narrow = has("encoder.layers.0.attn.q_proj.weight");
    let transformer = has("proj_encoder.layers.0.attn.q_proj.weight");
    let memory = has("memory_modules.0.weight");
    let first = if has("in_proj.0.weight") { "in_proj.0.weight" } else { "in_proj.weight" };
    let branches = match (narrow, transformer, has("in_proj.0.weight")) {
        (true, false, false) => Branches::NarrowDeep,
        (true, ..) => Branches::Coupled,
        (false, ..) => Branches::WideShallow,
    };
    // The narrow branch alone has memory in the heterogeneous variant.
    let heterogeneous = has("in_proj.0.weight") || (branches == Branches::NarrowDeep && memory);
    config.variant = if heterogeneous { Variant::Heterogeneous } else { Variant::Homogeneous };
    let (channels, of_stages) = (side(first, 1)?, config.channels());
    if channels != of_stages {
        let reason = format!(
            "takes {channels} channels, and the stages have {of_stages}; name the backbone that the network was trained with"
        );
        return Err(Error::Parameter { name: first.into(), reason });
    }
    config.branches = branches;
    let mlp_layers = shapes.count(|index| format!("in_proj.{}.weight", 2 * index));
    let (wide, wide_layers, hidden) = if mlp_layers > 0 {
        let last = format!("in_proj.{}.weight", 2 * (mlp_layers - 1));
        (side(&last, 0)?, mlp_layers - 1, side("in_proj.0.weight", 0)?)
    } else {
        let wide = side("in_proj.weight", 0)?;
        let layers = shapes.count(|index| format!("proj_encoder.layers.{index}.ffn.fc1.weight"));
        let hidden = if layers > 0 { side("proj_encoder.layers.0.ffn.fc1.weight", 0)? } else { 0 };
        (wide, layers, hidden)
    };
    if wide_layers > 0 {
        config.wide_layers = wide_layers;
        config.wide_ffn_ratio = hidden.checked_div(wide).unwrap_or(0);
    }
    config.levels = match (narrow, memory) {
        (true, _) => {
            side("decoder.layers.0.attn1.q_proj.weight", 0)?;
            shapes.count(|index| format!("decoder.layers.{index}.attn1.q_proj.weight"))
        }
        (false, true) => shapes.count(|index| format!("memory_modules.{index}.weight")),
        (false, false) => config.levels,
    };
    config.memory_slots = if memory { side("memory_modules.0.weight", 0)? } else { 0 };
    let chunk = wide.checked_div(config.levels).unwrap_or(0);
    config.chunk_width = chunk;
    config.narrow_width = match (narrow, memory) {
        (true, _) => side("encoder.layers.0.attn.q_proj.weight", 0)?,
        (false, true) => side("memory_modules.0.weight", 1)?,
        (false, false) => shapes.side("head_proj1.weight", 0).map_or(chunk, |width| width / config.levels.max(1)),
    };
    if narrow {
        config.encoder_layers = shapes.count(|index| format!("encoder.layers.{index}.attn.q_proj.weight"));
        config.ffn_width = side("encoder.layers.0.ffn.fc1.weight", 0)?;
    }
    let scope = if narrow { "encoder.layers.0.abs_pos_embed" } else { "proj_encoder.layers.0.abs_pos_embed.0" };
    let (rows, columns) = (format!("{scope}.row_embed"), format!("{scope}.col_embed"));
    if has(&rows) {
        config.grid = [side(&rows, 0)?, side(&columns, 0)?];
    }
    config.validate()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use dualad_backbones::Backbone;

    use super::*;

    #[test]
    fn a_checkpoint_without_a_decoder_is_refused_by_the_name_of_its_parameter() {
        let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18);
        let mut shapes: BTreeMap<_, _> = config.parameters().unwrap().into_iter().map(|p| (p.name, p.shape)).collect();
        assert_eq!(with_shapes(config.clone(), &Shapes(shapes.clone())).unwrap(), config);
        shapes.retain(|name, _| !name.starts_with("decoder."));
        let error = with_shapes(config, &Shapes(shapes)).unwrap_err().to_string();
        assert!(error.contains("\"decoder.layers.0.attn1.q_proj.weight\" is missing"), "{error}");
    }
}
