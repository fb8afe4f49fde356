//! The configuration of a network: the paper's ten models and their costs.

use std::fmt::Debug;

use dualad_backbones::{Backbone, TOKEN_STRIDE};
use dualad_kernels::NeighborMask;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::setters::setters;

/// The architecture of the wide-shallow branch (paper, section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Variant {
    /// He: an MLP, with memory modules between it and the narrow-deep transformer.
    Heterogeneous,
    /// Ho: a wide, shallow transformer, without memory.
    Homogeneous,
}

impl Variant {
    /// Returns the name in JSON and on command lines: `heterogeneous` or `homogeneous`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heterogeneous => "heterogeneous",
            Self::Homogeneous => "homogeneous",
        }
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The branches of the network: the rows of the paper's ablation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Branches {
    /// Both: the wide-shallow branch wraps the narrow-deep one.
    #[default]
    Coupled,
    /// The wide-shallow branch alone: the MLP with memory modules (heterogeneous) or the wide transformer (homogeneous).
    WideShallow,
    /// The narrow-deep branch alone, between two linear projections.
    NarrowDeep,
}

/// The statistic that scales a pseudo anomaly's noise (docs/method.md, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JitterKind {
    /// The unbiased standard deviation over an image's tokens, for each channel.
    Spatial,
    /// The L2 norm over channels, divided by the number of channels, for each token.
    Channel,
}

/// The combination of the stages' errors into one anomaly map (docs/method.md, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Combination {
    /// The product, as in the paper: a place is anomalous if every stage finds it anomalous.
    #[default]
    Product,
    /// The sum: a place is anomalous if any stage finds it anomalous. For errors of one scale.
    Sum,
}

/// The noise on clean features in training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jitter {
    /// The statistic that scales the noise.
    pub kind: JitterKind,
    /// The factor of the statistic.
    pub scale: f64,
}

/// The configuration of a network: its shape and its training noise.
///
/// ```
/// use dualad::backbones::Backbone;
/// use dualad::{DualAdConfig, Variant};
///
/// let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::WideResNet50x2);
/// config.validate()?;
/// let whole = config.parameter_count()? + dualad::backbone_parameter_count(Backbone::WideResNet50x2);
/// assert_eq!(format!("{:.2}", whole as f64 / 1e6), "97.49"); // the paper's Table: 97.5
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DualAdConfig {
    /// The architecture of the wide-shallow branch.
    pub variant: Variant,
    /// The branches that the network has.
    #[serde(default)]
    pub branches: Branches,
    /// The number of channels of each stage of the backbone.
    pub stage_channels: Vec<usize>,
    /// The rows and columns of tokens: the input's sides divided by `token_stride`.
    pub grid: [usize; 2],
    /// The side of a token in pixels, which is the backbone's ([`Backbone::token_stride`]).
    #[serde(default = "usual_token_stride", skip_serializing_if = "is_usual_token_stride")]
    pub token_stride: usize,
    /// L: the number of chunks of the wide branch, and of layers of the narrow decoder.
    pub levels: usize,
    /// d: the width of the narrow-deep branch.
    pub narrow_width: usize,
    /// The width of one chunk of the wide branch. Where it is not the narrow width, two projections connect the branches.
    #[serde(alias = "head_width")]
    pub chunk_width: usize,
    /// The number of attention heads in every layer.
    pub heads: usize,
    /// The hidden width of the feed-forward layers of the narrow branch.
    pub ffn_width: usize,
    /// The number of layers of the narrow encoder.
    pub encoder_layers: usize,
    /// Heterogeneous: the number of hidden layers of each MLP. Homogeneous: the number of layers of the wide encoder, and as many
    /// of the wide decoder.
    pub wide_layers: usize,
    /// The hidden width of the wide branch's layers, as a multiple of the wide width.
    pub wide_ffn_ratio: usize,
    /// M: the number of slots of each memory module. 0 leaves the modules out.
    pub memory_slots: usize,
    /// The temperature of the memory's softmax over cosine similarities. A smaller one lets fewer slots contribute. The paper's
    /// is 1.
    #[serde(default = "one")]
    pub memory_temperature: f64,
    /// Standardizes each channel by a mean and a standard deviation that are stored with the parameters
    /// ([`crate::DualAd::with_standardization`]). Errors are then in units of the standard deviation. `false` in the paper.
    #[serde(alias = "standardise", default)]
    pub standardize: bool,
    /// Divides the errors of each channel by their RMS on normal images, stored with the parameters
    /// ([`crate::DualAd::with_error_std`]), so that a channel that is hard to reconstruct does not dominate. Affects scores
    /// only. `false` in the paper.
    #[serde(alias = "standardise_errors", default)]
    pub standardize_errors: bool,
    /// The combination of the stages' errors into one anomaly map.
    #[serde(default)]
    pub combination: Combination,
    /// The rows and columns of the neighborhood that attention does not see; `None` for no mask.
    ///
    /// An even number counts as the next odd one, and 0 as 1: a token never attends to itself.
    #[serde(alias = "window", deserialize_with = "Option::deserialize")]
    pub neighbor_mask: Option<[usize; 2]>,
    /// The probability of dropout, in `[0, 1)`.
    pub dropout: f64,
    /// The noise on the features in training; `None` for a plain autoencoder.
    #[serde(deserialize_with = "Option::deserialize")]
    pub jitter: Option<Jitter>,
}

setters!(DualAdConfig {
    with_variant: variant: Variant,
    with_branches: branches: Branches,
    with_stage_channels: stage_channels: Vec<usize>,
    with_grid: grid: [usize; 2],
    with_token_stride: token_stride: usize,
    with_levels: levels: usize,
    with_narrow_width: narrow_width: usize,
    with_chunk_width: chunk_width: usize,
    with_heads: heads: usize,
    with_ffn_width: ffn_width: usize,
    with_encoder_layers: encoder_layers: usize,
    with_wide_layers: wide_layers: usize,
    with_wide_ffn_ratio: wide_ffn_ratio: usize,
    with_memory_slots: memory_slots: usize,
    with_memory_temperature: memory_temperature: f64,
    with_standardize: standardize: bool,
    with_standardize_errors: standardize_errors: bool,
    with_combination: combination: Combination,
    with_neighbor_mask: neighbor_mask: Option<[usize; 2]>,
    with_dropout: dropout: f64,
    with_jitter: jitter: Option<Jitter>,
});

/// The names of fields in the JSON of earlier versions, and their present names: the same as the aliases above.
const OLD_NAMES: [(&str, &str); 4] = [
    ("head_width", "chunk_width"),
    ("standardise", "standardize"),
    ("standardise_errors", "standardize_errors"),
    ("window", "neighbor_mask"),
];

/// The maximum of a width.
const MAX_DIM: usize = 1 << 20;
/// The maximum number of layers. Layers are dropped recursively; more would overflow a thread's stack.
const MAX_LAYERS: usize = 256;
/// The maximum side of a token in pixels.
const MAX_TOKEN_STRIDE: usize = 64;
/// The maximum number of tokens: 64 x 64, for an input of 1024 x 1024. Attention's cost is quadratic in it.
const MAX_TOKENS: usize = 4096;
/// The maximum number of parameters: 16 GiB of f32. The paper's largest network has 91 million.
const MAX_PARAMETERS: f64 = 4_294_967_296.0;

impl DualAdConfig {
    /// Returns the paper's configuration for a backbone at 224 x 224. The paper has ten models: both variants of five backbones.
    /// The grid is 14 x 14 for tokens of 16 pixels, and 16 x 16 for those of 14 pixels.
    pub fn paper(variant: Variant, backbone: Backbone) -> Self {
        let homogeneous = variant == Variant::Homogeneous;
        let token_stride = backbone.token_stride();
        Self {
            variant,
            branches: Branches::Coupled,
            stage_channels: backbone.default_stages().iter().map(|stage| stage.channels).collect(),
            grid: [224 / token_stride; 2],
            token_stride,
            levels: 4,
            narrow_width: 256,
            chunk_width: 256,
            heads: 8,
            ffn_width: 1024,
            encoder_layers: 4,
            wide_layers: if homogeneous { 2 } else { 1 },
            wide_ffn_ratio: 4,
            memory_slots: if homogeneous { 0 } else { 196 },
            memory_temperature: 1.0,
            standardize: false,
            standardize_errors: false,
            combination: Combination::Product,
            neighbor_mask: Some([7, 7]),
            dropout: 0.1,
            jitter: Some(Jitter { kind: JitterKind::Spatial, scale: 3.2 }),
        }
    }

    /// Returns C, the number of channels of a token.
    pub fn channels(&self) -> usize {
        self.stage_channels.iter().fold(0, |sum, &channels| sum.saturating_add(channels))
    }

    /// Returns N, the number of tokens of an image.
    pub fn tokens(&self) -> usize {
        self.grid[0].saturating_mul(self.grid[1])
    }

    /// Returns D, the width of the wide-shallow branch.
    pub fn wide_width(&self) -> usize {
        self.levels.saturating_mul(self.chunk_width)
    }

    /// Renames the fields of a configuration's JSON to their present names, so that two JSON values can be merged or compared.
    pub(crate) fn rename_old_fields(config: &mut serde_json::Value) {
        let Some(fields) = config.as_object_mut() else { return };
        for (old, new) in OLD_NAMES {
            if !fields.contains_key(new)
                && let Some(value) = fields.remove(old)
            {
                fields.insert(new.into(), value);
            }
        }
    }

    pub(crate) fn attention_mask(&self) -> Option<NeighborMask> {
        self.neighbor_mask.map(|size| NeighborMask { grid: self.grid, size })
    }

    /// Checks that every field is in its range and that the fields match each other.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that is not.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("levels", self.levels),
            ("narrow_width", self.narrow_width),
            ("chunk_width", self.chunk_width),
            ("heads", self.heads),
            ("ffn_width", self.ffn_width),
            ("encoder_layers", self.encoder_layers),
            ("wide_layers", self.wide_layers),
            ("wide_ffn_ratio", self.wide_ffn_ratio),
        ];
        for (field, value) in sizes {
            let max = if matches!(field, "levels" | "encoder_layers" | "wide_layers") { MAX_LAYERS } else { MAX_DIM };
            check(field, &value, (1..=max).contains(&value), || format!("must be from 1 to {max}"))?;
        }
        let stages = &self.stage_channels;
        let in_range = |value: &usize| (1..=MAX_DIM).contains(value);
        check(
            "stage_channels",
            stages,
            !stages.is_empty() && stages.len() <= 64 && stages.iter().all(in_range),
            || format!("must name 1 to 64 stages, each of 1 to {MAX_DIM} channels"),
        )?;
        check(
            "grid",
            &self.grid,
            self.grid.iter().all(|side| (1..=256).contains(side)) && self.tokens() <= MAX_TOKENS,
            || format!("must have 1 to 256 rows and columns, and at most {MAX_TOKENS} tokens"),
        )?;
        check("token_stride", &self.token_stride, (1..=MAX_TOKEN_STRIDE).contains(&self.token_stride), || {
            format!("must be from 1 to {MAX_TOKEN_STRIDE}; it is the side of the backbone's tokens in pixels")
        })?;
        let even = self.narrow_width.is_multiple_of(2);
        check("narrow_width", &self.narrow_width, even, || {
            "must be even: the position embeddings of rows and columns share it".into()
        })?;
        // Only a branch with attention has heads.
        let narrow = (self.branches != Branches::WideShallow, "narrow", self.narrow_width);
        let wide_attends = self.variant == Variant::Homogeneous && self.branches != Branches::NarrowDeep;
        for (attends, what, width) in [narrow, (wide_attends, "wide", self.wide_width())] {
            let divides = !attends || width % self.heads == 0;
            check("heads", &self.heads, divides, || format!("must divide the {what} width {width}"))?;
        }
        let slots = self.memory_slots;
        check("memory_slots", &slots, slots != 1 && slots <= MAX_DIM, || {
            format!("must be 0 (no memory) or 2 to {MAX_DIM} (a single slot has no effect)")
        })?;
        check("memory_temperature", &self.memory_temperature, (1e-3..=1e3).contains(&self.memory_temperature), || {
            "must be from 0.001 to 1000".into()
        })?;
        let leaves_something = self.attention_mask().is_none_or(NeighborMask::leaves_keys);
        check("neighbor_mask", &self.neighbor_mask, leaves_something, || {
            format!(
                "masks the whole grid of {} x {} tokens for some of them; choose a smaller one",
                self.grid[0], self.grid[1]
            )
        })?;
        check("dropout", &self.dropout, (0.0..1.0).contains(&self.dropout), || {
            "must be at least 0 and below 1".into()
        })?;
        if let Some(Jitter { scale, .. }) = self.jitter {
            check("jitter.scale", &scale, (0.0..=1e6).contains(&scale), || "must be from 0 to 1e6".into())?;
        }
        let parameters = self.largest_products();
        check("parameters", &format_args!("about {parameters:.1e}"), parameters <= MAX_PARAMETERS, || {
            format!("the network would have more than {MAX_PARAMETERS}; choose smaller widths or fewer layers")
        })
    }

    /// Returns an upper bound of the number of parameters, in floating point so that it cannot overflow.
    fn largest_products(&self) -> f64 {
        let [d, ffn, levels, heads_width] =
            [self.narrow_width, self.ffn_width, self.levels, self.chunk_width].map(|x| x as f64);
        let [encoder, wide_layers, ratio] =
            [self.encoder_layers, self.wide_layers, self.wide_ffn_ratio].map(|x| x as f64);
        let [channels, tokens, slots] = [self.channels(), self.tokens(), self.memory_slots].map(|x| x as f64);
        let wide = levels * heads_width;
        let hidden = wide * ratio;
        let narrow = (encoder + levels) * (8.0 * d * d + 2.0 * d * ffn);
        let ends = 2.0 * channels * hidden.max(wide) + 2.0 * wide * levels * d;
        let per_layer = hidden * hidden.max(2.0 * wide) + 8.0 * wide * wide + tokens * wide;
        narrow + ends + 2.0 * wide_layers * per_layer + levels * slots * d
    }

    /// Returns the multiply-accumulates of the reconstruction network for one image: linear layers, attention and memory reads.
    /// As in the paper, the wide transformer's positions are projected wherever they are added; this library projects them once.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn multiply_accumulates(&self) -> Result<u64> {
        self.validate()?;
        let [n, d, ffn_width, levels] =
            [self.tokens(), self.narrow_width, self.ffn_width, self.levels].map(|x| x as u128);
        let [c, wide, slots] = [self.channels(), self.wide_width(), self.memory_slots].map(|x| x as u128);
        let [encoder_layers, wide_layers] = [self.encoder_layers, self.wide_layers].map(|x| x as u128);
        let hidden = wide * self.wide_ffn_ratio as u128;
        let attention = |width: u128| 4 * n * width * width + 2 * n * n * width;
        let ffn = |width: u128, hidden: u128| 2 * n * width * hidden;
        let transformer = |encoders: u128, decoders: u128, width: u128, hidden: u128| {
            (encoders + 2 * decoders) * attention(width) + (encoders + decoders) * ffn(width, hidden)
        };
        let mut sum = 0;
        sum += match (self.branches, self.variant) {
            (Branches::NarrowDeep, _) => 2 * n * c * wide,
            (_, Variant::Heterogeneous) => 2 * n * (c * hidden + (wide_layers - 1) * hidden * hidden + hidden * wide),
            (_, Variant::Homogeneous) => {
                {
                    // Added once in an encoder layer, where query and key are the same, and four times in a decoder layer.
                    let positions = 5 * wide_layers * n * d * wide;
                    2 * n * c * wide + positions + transformer(wide_layers, wide_layers, wide, hidden)
                }
            }
        };
        sum += 2 * n * levels * slots * d;
        if self.chunk_width != self.narrow_width {
            sum += 2 * n * wide * levels * d;
        }
        if self.branches != Branches::WideShallow {
            sum += transformer(encoder_layers, levels, d, ffn_width);
        }
        // With valid sizes, 128 bits cannot overflow.
        Ok(u64::try_from(sum).unwrap_or(u64::MAX))
    }
}

fn one() -> f64 {
    1.0
}

fn usual_token_stride() -> usize {
    TOKEN_STRIDE
}

fn is_usual_token_stride(stride: &usize) -> bool {
    *stride == TOKEN_STRIDE
}

fn check(field: &'static str, value: &dyn Debug, holds: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if holds {
        return Ok(());
    }
    let value = format!("{value:?}");
    // A setting that may be absent, as JSON has it.
    let given = value.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')'));
    Err(Error::Config { field, value: given.unwrap_or(&value).into(), reason: reason() })
}

/// Returns the number of parameters of a backbone as the paper counts it: the whole network, with the classifier for
/// EfficientNet-B4 and without it for the others. 0 for the filter bank.
///
/// ```
/// use dualad::backbone_parameter_count;
/// use dualad::backbones::Backbone;
///
/// // Without the classifier's 1000 rows of 512 weights and a bias.
/// assert_eq!(backbone_parameter_count(Backbone::ResNet18), 11_689_512 - 1000 * 513);
/// assert_eq!(backbone_parameter_count(Backbone::FilterBank), 0);
/// ```
pub fn backbone_parameter_count(backbone: Backbone) -> usize {
    match backbone {
        Backbone::EfficientNetB4 | Backbone::EfficientNetB4Timm => backbone.parameter_count(),
        _ => backbone.parameter_count() - backbone.classifier_parameter_count(),
    }
}

/// Returns the multiply-accumulates of a backbone up to its last used stage for one image of `[height, width]` pixels. 0 for the
/// filter bank.
///
/// ```
/// use dualad::backbone_multiply_accumulates;
/// use dualad::backbones::Backbone;
///
/// let small = backbone_multiply_accumulates(Backbone::ResNet18, [224, 224])?;
/// assert_eq!(format!("{:.2}", small as f64 / 1e9), "1.40");
/// assert_eq!(backbone_multiply_accumulates(Backbone::ResNet18, [448, 448])?, 4 * small);
/// assert!(backbone_multiply_accumulates(Backbone::ResNet18, [225, 225]).is_err());
/// # Ok::<(), dualad::Error>(())
/// ```
///
/// # Errors
/// [`Error::Backbone`] if a side is not a positive multiple of [`Backbone::token_stride`].
pub fn backbone_multiply_accumulates(backbone: Backbone, size: [usize; 2]) -> Result<u64> {
    let used: Vec<usize> = backbone.default_stages().iter().map(|stage| stage.index).collect();
    Ok(backbone.multiply_accumulates(&used, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_may_be_absent_are_shown_as_in_json() {
        let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18).with_neighbor_mask(Some([99, 99]));
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("[99, 99]") && !error.contains("Some"), "{error}");
    }

    #[test]
    fn json_of_earlier_versions_loads_and_present_names_are_written() {
        for mask in [None, Some([3, 5])] {
            let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18)
                .with_neighbor_mask(mask)
                .with_chunk_width(24)
                .with_standardize(true)
                .with_standardize_errors(true);
            let mut value = serde_json::to_value(&config).unwrap();
            let present = value.clone();
            for (old, new) in OLD_NAMES {
                let fields = value.as_object_mut().unwrap();
                let field = fields.remove(new).unwrap();
                fields.insert(old.into(), field);
            }
            assert_eq!(serde_json::from_value::<DualAdConfig>(value.clone()).unwrap(), config);
            DualAdConfig::rename_old_fields(&mut value);
            assert_eq!(value, present);
        }
    }

    #[test]
    fn a_field_under_both_names_is_an_error() {
        let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18);
        let text = serde_json::to_string(&config).unwrap().replacen('{', "{\"window\": null, ", 1);
        let error = serde_json::from_str::<DualAdConfig>(&text).unwrap_err().to_string();
        assert!(error.contains("duplicate field `neighbor_mask`"), "{error}");
    }
}
