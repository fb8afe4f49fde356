//! A network as data: its folded layers, their shapes and the keys of their parameters.
//!
//! A description is what [`crate::resnet`], [`crate::efficientnet`] and [`crate::vit`] write and what an engine
//! reads. It holds no weights and computes nothing, so that every engine executes the same thing.

use crate::error::{Error, Result};
use crate::spec::{Stage, check_input_size};

pub use dualad_kernels::Activation;

/// How a convolution's input is extended with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding {
    /// So many on every side.
    Symmetric(usize),
    /// TensorFlow's "same": the output has ceil(input / stride) cells, and an odd zero goes to the bottom and right.
    Same,
}

impl Padding {
    /// Zeros before and after an axis of `length` cells.
    pub(crate) const fn amounts(self, length: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Self::Symmetric(amount) => (amount, amount),
            Self::Same => {
                let covered = (length.div_ceil(stride) - 1) * stride + kernel;
                let total = covered.saturating_sub(length);
                (total / 2, total - total / 2)
            }
        }
    }
}

/// A batch norm that loading folds into the convolution before it.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// Key prefix of `weight`, `bias`, `running_mean` and `running_var`.
    pub key: String,
    /// Added to the variance.
    pub eps: f64,
}

/// Convolution, bias, optional residual, activation: `act(conv(x) + bias + residual)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Conv {
    /// Key prefix of `weight` (and of `bias`, where there is no batch norm).
    pub key: String,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// 1, or `in_channels` for a depthwise convolution.
    pub groups: usize,
    /// The batch norm to fold in; without one the convolution has a bias of its own.
    pub norm: Option<BatchNorm>,
    /// What the sum goes through.
    pub activation: Activation,
}

/// One folded operation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Convolution with everything that follows it.
    Conv(Conv),
    /// Maximum over a window. Its input is never negative (it follows a ReLU), so zeros may stand for padding.
    MaxPool {
        /// Side of the square window.
        kernel: usize,
        /// Step in both directions.
        stride: usize,
        /// Cells around the input.
        padding: usize,
    },
    /// Channel gate: `x * sigmoid(expand(silu(reduce(mean(x)))))` (Hu et al., CVPR 2018, with EfficientNet's SiLU).
    SqueezeExcite {
        /// Key prefix of `conv_reduce` and `conv_expand`.
        key: String,
        /// Channels of input and output.
        channels: usize,
        /// Channels between the two 1x1 convolutions.
        reduced: usize,
    },
    /// A map's cells, row by row, behind a class token, plus the position embedding: `[1 + rows * columns, channels]`.
    ///
    /// The embedding is learned for a square grid; for any other it is interpolated the way DINO does.
    Embed {
        /// Channels of a token.
        channels: usize,
        /// Side of the grid that the position embedding was learned for.
        grid: usize,
    },
    /// Layer norm over channels.
    LayerNorm {
        /// Key prefix of `weight` and `bias`.
        key: String,
        /// Channels of a token.
        channels: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// `act(x W^T + b) + residual`. (A linear layer's residual is added last, a convolution's before the activation;
    /// no linear here has both.)
    Linear {
        /// Key prefix of `weight` and `bias`.
        key: String,
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output.
        out_channels: usize,
        /// What the product goes through.
        activation: Activation,
    },
    /// Multi-head self-attention over `[q | k | v]`, which stand side by side in the input's channels.
    SelfAttention {
        /// Channels of q, of k, of v and of the output.
        channels: usize,
        /// Heads.
        heads: usize,
    },
    /// Tokens without their class token, as a map.
    TokensToMap {
        /// Channels of a token.
        channels: usize,
    },
}

/// A value in the network: the image, or a layer's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(usize);

impl Value {
    /// The image batch.
    pub const IMAGE: Self = Self(0);

    /// Position in a list of values that starts with the image and goes on with every layer's output.
    pub const fn index(self) -> usize {
        self.0
    }
}

/// An operation and what it reads.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Layer {
    /// The operation.
    pub op: Op,
    /// What it works on.
    pub input: Value,
    /// What is added to it, of the output's shape.
    pub residual: Option<Value>,
}

/// The shape of one image's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// `[channels, rows, columns]`.
    Map {
        /// Channels.
        channels: usize,
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// `[1 + rows * columns, channels]`: a class token, then the grid row by row.
    Tokens {
        /// Channels.
        channels: usize,
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        columns: usize,
    },
}

impl Shape {
    /// Positions: cells of a map, tokens of a token list.
    pub const fn positions(self) -> usize {
        match self {
            Self::Map { rows, columns, .. } => rows.saturating_mul(columns),
            Self::Tokens { rows, columns, .. } => rows.saturating_mul(columns).saturating_add(1),
        }
    }

    /// Channels of each position.
    pub const fn channels(self) -> usize {
        match self {
            Self::Map { channels, .. } | Self::Tokens { channels, .. } => channels,
        }
    }
}

/// A tensor that a weight file must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameter {
    /// Its key in the file.
    pub key: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// False for a batch norm's running statistics, which are not counted as parameters.
    pub trainable: bool,
}

impl Parameter {
    pub(crate) fn new(key: impl Into<String>, shape: &[usize]) -> Self {
        Self { key: key.into(), shape: shape.to_vec(), trainable: true }
    }

    fn buffer(key: String, shape: &[usize]) -> Self {
        Self { key, shape: shape.to_vec(), trainable: false }
    }

    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |product, &side| product.saturating_mul(side))
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Op {
    /// The tensors of a weight file that this operation is folded from.
    pub fn parameters(&self) -> Vec<Parameter> {
        match self {
            Self::Conv(conv) => {
                let Conv { key, in_channels, out_channels, kernel, groups, norm, .. } = conv;
                let shape = [*out_channels, in_channels.checked_div(*groups).unwrap_or(0), *kernel, *kernel];
                let mut parameters = vec![Parameter::new(format!("{key}.weight"), &shape)];
                match norm {
                    None => parameters.push(Parameter::new(format!("{key}.bias"), &[*out_channels])),
                    Some(BatchNorm { key, .. }) => {
                        for name in ["weight", "bias"] {
                            parameters.push(Parameter::new(format!("{key}.{name}"), &[*out_channels]));
                        }
                        for name in ["running_mean", "running_var"] {
                            parameters.push(Parameter::buffer(format!("{key}.{name}"), &[*out_channels]));
                        }
                    }
                }
                parameters
            }
            Self::SqueezeExcite { key, channels, reduced } => vec![
                Parameter::new(format!("{key}.conv_reduce.weight"), &[*reduced, *channels, 1, 1]),
                Parameter::new(format!("{key}.conv_reduce.bias"), &[*reduced]),
                Parameter::new(format!("{key}.conv_expand.weight"), &[*channels, *reduced, 1, 1]),
                Parameter::new(format!("{key}.conv_expand.bias"), &[*channels]),
            ],
            Self::Embed { channels, grid } => vec![
                Parameter::new("cls_token", &[1, 1, *channels]),
                Parameter::new("pos_embed", &[1, grid.saturating_mul(*grid).saturating_add(1), *channels]),
            ],
            Self::LayerNorm { key, channels, .. } => vec![
                Parameter::new(format!("{key}.weight"), &[*channels]),
                Parameter::new(format!("{key}.bias"), &[*channels]),
            ],
            Self::Linear { key, in_channels, out_channels, .. } => vec![
                Parameter::new(format!("{key}.weight"), &[*out_channels, *in_channels]),
                Parameter::new(format!("{key}.bias"), &[*out_channels]),
            ],
            Self::MaxPool { .. } | Self::SelfAttention { .. } | Self::TokensToMap { .. } => Vec::new(),
        }
    }

    /// The output's shape for an input of the given shape, or `None` where the two do not go together.
    fn output_shape(&self, input: Shape) -> Option<Shape> {
        let window = |length: usize, kernel: usize, stride: usize, padding: Padding| {
            let (before, after) = padding.amounts(length, kernel, stride);
            length.checked_add(before + after)?.checked_sub(kernel)?.checked_div(stride).map(|steps| steps + 1)
        };
        Some(match (self, input) {
            (Self::Conv(conv), Shape::Map { channels, rows, columns }) if channels == conv.in_channels => Shape::Map {
                channels: conv.out_channels,
                rows: window(rows, conv.kernel, conv.stride, conv.padding)?,
                columns: window(columns, conv.kernel, conv.stride, conv.padding)?,
            },
            (Self::MaxPool { kernel, stride, padding }, Shape::Map { channels, rows, columns }) => Shape::Map {
                channels,
                rows: window(rows, *kernel, *stride, Padding::Symmetric(*padding))?,
                columns: window(columns, *kernel, *stride, Padding::Symmetric(*padding))?,
            },
            (Self::SqueezeExcite { channels: expected, .. }, Shape::Map { channels, .. }) if channels == *expected => {
                input
            }
            (Self::Embed { channels: expected, .. }, Shape::Map { channels, rows, columns })
                if channels == *expected =>
            {
                Shape::Tokens { channels, rows, columns }
            }
            (Self::LayerNorm { channels: expected, .. }, Shape::Tokens { channels, .. }) if channels == *expected => {
                input
            }
            (Self::Linear { in_channels, out_channels, .. }, Shape::Tokens { channels, rows, columns })
                if channels == *in_channels =>
            {
                Shape::Tokens { channels: *out_channels, rows, columns }
            }
            (Self::SelfAttention { channels: expected, .. }, Shape::Tokens { channels, rows, columns })
                if channels == 3 * expected =>
            {
                Shape::Tokens { channels: *expected, rows, columns }
            }
            (Self::TokensToMap { channels: expected }, Shape::Tokens { channels, rows, columns })
                if channels == *expected =>
            {
                Shape::Map { channels, rows, columns }
            }
            _ => return None,
        })
    }

    /// Multiplications of the operation's products for one image (element-wise work is not counted, as is usual).
    fn multiply_accumulates(&self, input: Shape, output: Shape) -> u64 {
        let product =
            |factors: &[usize]| factors.iter().fold(1u64, |product, &factor| product.saturating_mul(factor as u64));
        match self {
            Self::Conv(conv) => product(&[
                output.positions(),
                conv.out_channels,
                conv.in_channels.checked_div(conv.groups).unwrap_or(0),
                conv.kernel,
                conv.kernel,
            ]),
            Self::SqueezeExcite { channels, reduced, .. } => product(&[2, *channels, *reduced]),
            Self::Linear { in_channels, out_channels, .. } => {
                product(&[input.positions(), *in_channels, *out_channels])
            }
            Self::SelfAttention { channels, .. } => product(&[2, input.positions(), input.positions(), *channels]),
            Self::MaxPool { .. } | Self::Embed { .. } | Self::LayerNorm { .. } | Self::TokensToMap { .. } => 0,
        }
    }
}

/// A backbone's layers in the order of execution, and where its stages are read.
///
/// ```
/// use dualad_backbones::Backbone;
///
/// let whole = Backbone::ResNet18.network().expect("a network, not a filter bank");
/// assert_eq!(whole.parameter_count(), 11_689_512);
/// // Only the layers up to the last requested stage are built and need weights:
/// let used = whole.up_to(&[1, 2, 3])?;
/// assert!(used.layers().len() < whole.layers().len());
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    name: &'static str,
    layers: Vec<Layer>,
    stages: Vec<(Stage, Value)>,
    head: Vec<Parameter>,
}

impl Network {
    /// The name in the paper's and timm's tables.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The layers; layer `i` produces value `i + 1`.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The stages, first to last.
    pub fn stages(&self) -> Vec<Stage> {
        self.stages.iter().map(|(stage, _)| *stage).collect()
    }

    /// Which value each stage's map is, in the order of [`Self::stages`].
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Value> + '_ {
        self.stages.iter().map(|(_, value)| *value)
    }

    /// For each value, the number of the last layer that reads it; outputs outlive every layer.
    pub(crate) fn last_use(&self) -> Vec<usize> {
        let mut last_use = vec![0; self.layers.len() + 1];
        for (index, layer) in self.layers.iter().enumerate() {
            for value in std::iter::once(layer.input).chain(layer.residual) {
                last_use[value.index()] = index;
            }
        }
        for output in self.outputs() {
            last_use[output.index()] = usize::MAX;
        }
        last_use
    }

    /// Tensors of every layer, then those of the head that DualAD never runs but a whole weight file holds.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters: Vec<_> = self.layers.iter().flat_map(|layer| layer.op.parameters()).collect();
        parameters.extend(self.head.iter().cloned());
        parameters
    }

    /// Trainable numbers of the whole network, head included, as `sum(p.numel() for p in model.parameters())`.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().filter(|p| p.trainable).map(Parameter::len).sum()
    }

    /// Trainable numbers of the classifier (everything named `fc` or `classifier`) alone.
    pub fn classifier_parameter_count(&self) -> usize {
        let is_classifier = |p: &&Parameter| p.key.starts_with("fc.") || p.key.starts_with("classifier.");
        self.head.iter().filter(is_classifier).map(Parameter::len).sum()
    }

    /// The part of the network that the given stages (numbers from 1, ascending) need.
    ///
    /// # Errors
    /// [`Error::Stages`] if there is none, one that the backbone does not have, or if they do not ascend.
    pub fn up_to(&self, stages: &[usize]) -> Result<Self> {
        let chosen = choose_stages(&self.stages(), stages, self.name)?;
        let outputs: Vec<_> = self.stages.iter().filter(|(stage, _)| chosen.contains(stage)).cloned().collect();
        let last = outputs.iter().map(|(_, value)| value.index()).max().unwrap_or(0);
        // Drop what no chosen stage reads: a ViT's token-to-map layers of the stages left out, say.
        let mut needed = vec![false; last + 1];
        for (_, value) in &outputs {
            needed[value.index()] = true;
        }
        for index in (1..=last).rev() {
            if needed[index] {
                let layer = &self.layers[index - 1];
                needed[layer.input.index()] = true;
                if let Some(residual) = layer.residual {
                    needed[residual.index()] = true;
                }
            }
        }
        let mut renumbered = vec![Value::IMAGE; last + 1];
        let mut layers = Vec::new();
        for index in 1..=last {
            if needed[index] {
                let layer = &self.layers[index - 1];
                layers.push(Layer {
                    op: layer.op.clone(),
                    input: renumbered[layer.input.index()],
                    residual: layer.residual.map(|value| renumbered[value.index()]),
                });
                renumbered[index] = Value(layers.len());
            }
        }
        let stages = outputs.into_iter().map(|(stage, value)| (stage, renumbered[value.index()])).collect();
        Ok(Self { name: self.name, layers, stages, head: Vec::new() })
    }

    /// The shape of every value for an input of `height` x `width` pixels: the image first, then each layer's output.
    ///
    /// # Errors
    /// [`Error::InputSize`] if a side is not a positive multiple of 16.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>> {
        check_input_size(height, width)?;
        let mut shapes = vec![Shape::Map { channels: 3, rows: height, columns: width }];
        for layer in &self.layers {
            let shape = layer.op.output_shape(shapes[layer.input.index()]);
            shapes.push(shape.ok_or(Error::InputSize { height, width })?);
        }
        Ok(shapes)
    }

    /// Multiply-accumulates of one image of `height` x `width` pixels (`u64::MAX` if there are more).
    ///
    /// # Errors
    /// As [`Self::shapes`].
    pub fn multiply_accumulates(&self, height: usize, width: usize) -> Result<u64> {
        let shapes = self.shapes(height, width)?;
        Ok(self
            .layers
            .iter()
            .zip(&shapes[1..])
            .map(|(layer, &output)| layer.op.multiply_accumulates(shapes[layer.input.index()], output))
            .fold(0, u64::saturating_add))
    }
}

/// Picks stages by number from those a backbone has.
pub(crate) fn choose_stages(available: &[Stage], wanted: &[usize], backbone: &'static str) -> Result<Vec<Stage>> {
    let ascending = wanted.windows(2).all(|pair| pair[0] < pair[1]);
    let chosen: Vec<Stage> = available.iter().filter(|stage| wanted.contains(&stage.index)).copied().collect();
    if wanted.is_empty() || !ascending || chosen.len() != wanted.len() {
        return Err(Error::Stages {
            backbone,
            wanted: wanted.to_vec(),
            available: available.iter().map(|stage| stage.index).collect(),
        });
    }
    Ok(chosen)
}

/// Writes a [`Network`] layer by layer.
#[derive(Debug)]
pub(crate) struct Builder(Network);

impl Builder {
    pub(crate) fn new(name: &'static str) -> Self {
        Self(Network { name, layers: Vec::new(), stages: Vec::new(), head: Vec::new() })
    }

    pub(crate) fn push(&mut self, op: Op, input: Value, residual: Option<Value>) -> Value {
        self.0.layers.push(Layer { op, input, residual });
        Value(self.0.layers.len())
    }

    /// Declares the last value to be the next stage's map.
    pub(crate) fn stage(&mut self, value: Value, channels: usize, stride: usize) {
        let index = self.0.stages.len() + 1;
        self.0.stages.push((Stage::new(index, channels, stride), value));
    }

    pub(crate) fn finish(mut self, head: Vec<Parameter>) -> Network {
        self.0.head = head;
        self.0
    }
}
