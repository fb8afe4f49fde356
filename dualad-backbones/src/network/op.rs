//! The operations of networks, their parameters and their shapes.

use dualad_kernels::Activation;

/// How a convolution's input is extended with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
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
pub(crate) struct BatchNorm {
    /// Key prefix of `weight`, `bias`, `running_mean` and `running_var`.
    pub(crate) key: String,
    /// Added to the variance.
    pub(crate) eps: f64,
}

/// Convolution, bias, optional residual, activation: `act(conv(x) + bias + residual)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conv {
    /// Key prefix of `weight` (and of `bias`, where there is no batch norm).
    pub(crate) key: String,
    /// Channels of the input.
    pub(crate) in_channels: usize,
    /// Channels of the output.
    pub(crate) out_channels: usize,
    /// Side of the square kernel.
    pub(crate) kernel: usize,
    /// Step in both directions.
    pub(crate) stride: usize,
    /// Zeros around the input.
    pub(crate) padding: Padding,
    /// 1, or `in_channels` for a depthwise convolution.
    pub(crate) groups: usize,
    /// The batch norm to fold in; without one the convolution has a bias of its own.
    pub(crate) norm: Option<BatchNorm>,
    /// What the sum goes through.
    pub(crate) activation: Activation,
}

impl Conv {
    /// Creates a convolution with a bias, of stride 1, padded by half its kernel.
    pub(crate) fn new(key: impl Into<String>, in_channels: usize, out_channels: usize, kernel: usize) -> Self {
        Self {
            key: key.into(),
            in_channels,
            out_channels,
            kernel,
            stride: 1,
            padding: Padding::Symmetric(kernel / 2),
            groups: 1,
            norm: None,
            activation: Activation::Identity,
        }
    }

    pub(crate) fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    pub(crate) fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Makes the convolution depthwise.
    pub(crate) fn depthwise(mut self) -> Self {
        self.groups = self.in_channels;
        self
    }

    /// Replaces the bias by a batch norm.
    pub(crate) fn norm(mut self, key: impl Into<String>, eps: f64) -> Self {
        self.norm = Some(BatchNorm { key: key.into(), eps });
        self
    }

    pub(crate) fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

/// One operation of a network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
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

/// The shape of one image's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueShape {
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

impl ValueShape {
    /// Positions: cells of a map, tokens of a token list.
    pub(crate) const fn positions(self) -> usize {
        match self {
            Self::Map { rows, columns, .. } => rows.saturating_mul(columns),
            Self::Tokens { rows, columns, .. } => rows.saturating_mul(columns).saturating_add(1),
        }
    }

    /// Channels of each position.
    pub(crate) const fn channels(self) -> usize {
        match self {
            Self::Map { channels, .. } | Self::Tokens { channels, .. } => channels,
        }
    }
}

/// A tensor that a weight file must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Its key in the file.
    pub(crate) key: String,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    /// False for a batch norm's running statistics, which are not counted as parameters.
    pub(crate) trainable: bool,
}

impl Parameter {
    pub(crate) fn new(key: impl Into<String>, shape: &[usize]) -> Self {
        Self { key: key.into(), shape: shape.to_vec(), trainable: true }
    }

    fn buffer(key: String, shape: &[usize]) -> Self {
        Self { key, shape: shape.to_vec(), trainable: false }
    }

    /// Returns the number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().fold(1, |product, &side| product.saturating_mul(side))
    }
}

impl Op {
    /// The tensors of a weight file that this operation is folded from.
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
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
    pub(crate) fn output_shape(&self, input: ValueShape) -> Option<ValueShape> {
        let window = |length: usize, kernel: usize, stride: usize, padding: Padding| {
            let (before, after) = padding.amounts(length, kernel, stride);
            length.checked_add(before + after)?.checked_sub(kernel)?.checked_div(stride).map(|steps| steps + 1)
        };
        Some(match (self, input) {
            (Self::Conv(conv), ValueShape::Map { channels, rows, columns }) if channels == conv.in_channels => {
                ValueShape::Map {
                    channels: conv.out_channels,
                    rows: window(rows, conv.kernel, conv.stride, conv.padding)?,
                    columns: window(columns, conv.kernel, conv.stride, conv.padding)?,
                }
            }
            (Self::MaxPool { kernel, stride, padding }, ValueShape::Map { channels, rows, columns }) => {
                ValueShape::Map {
                    channels,
                    rows: window(rows, *kernel, *stride, Padding::Symmetric(*padding))?,
                    columns: window(columns, *kernel, *stride, Padding::Symmetric(*padding))?,
                }
            }
            (Self::SqueezeExcite { channels: expected, .. }, ValueShape::Map { channels, .. })
                if channels == *expected =>
            {
                input
            }
            (Self::Embed { channels: expected, .. }, ValueShape::Map { channels, rows, columns })
                if channels == *expected =>
            {
                ValueShape::Tokens { channels, rows, columns }
            }
            (Self::LayerNorm { channels: expected, .. }, ValueShape::Tokens { channels, .. })
                if channels == *expected =>
            {
                input
            }
            (Self::Linear { in_channels, out_channels, .. }, ValueShape::Tokens { channels, rows, columns })
                if channels == *in_channels =>
            {
                ValueShape::Tokens { channels: *out_channels, rows, columns }
            }
            (Self::SelfAttention { channels: expected, .. }, ValueShape::Tokens { channels, rows, columns })
                if channels == 3 * expected =>
            {
                ValueShape::Tokens { channels: *expected, rows, columns }
            }
            (Self::TokensToMap { channels: expected }, ValueShape::Tokens { channels, rows, columns })
                if channels == *expected =>
            {
                ValueShape::Map { channels, rows, columns }
            }
            _ => return None,
        })
    }

    /// Multiplications of the operation's products for one image (element-wise work is not counted, as is usual).
    pub(crate) fn multiply_accumulates(&self, input: ValueShape, output: ValueShape) -> u64 {
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
