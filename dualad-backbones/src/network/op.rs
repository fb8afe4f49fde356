//! The operations of networks, their parameters and their shapes.

use dualad_kernels::Activation;

/// The extension of a convolution's input with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// The same number of zeros on every side.
    Symmetric(usize),
    /// TensorFlow's "same" padding: the output has ceil(input / stride) cells, and an odd zero is added at the bottom and right.
    Same,
}

impl Padding {
    /// Returns the zeros before and after an axis of `length` cells.
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

/// A batch norm, which is folded into the convolution before it when weights are loaded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BatchNorm {
    /// The key prefix of `weight`, `bias`, `running_mean` and `running_var`.
    pub(crate) key: String,
    /// The constant added to the variance.
    pub(crate) eps: f64,
}

/// A convolution with bias, optional residual and activation: `act(conv(x) + bias + residual)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conv {
    /// The key prefix of `weight` (and of `bias`, if there is no batch norm).
    pub(crate) key: String,
    /// The channels of the input.
    pub(crate) in_channels: usize,
    /// The channels of the output.
    pub(crate) out_channels: usize,
    /// The side of the square kernel.
    pub(crate) kernel: usize,
    /// The stride in both directions.
    pub(crate) stride: usize,
    /// The zeros around the input.
    pub(crate) padding: Padding,
    /// 1, or `in_channels` for a depthwise convolution.
    pub(crate) groups: usize,
    /// The batch norm to fold in. Without one the convolution has a bias.
    pub(crate) norm: Option<BatchNorm>,
    /// The activation of the sum.
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
    /// A convolution with its batch norm and activation.
    Conv(Conv),
    /// A max pool. Its input is never negative (it follows a ReLU), so padding with zeros is correct.
    MaxPool {
        /// The side of the square window.
        kernel: usize,
        /// The stride in both directions.
        stride: usize,
        /// The cells added around the input.
        padding: usize,
    },
    /// A channel gate: `x * sigmoid(expand(silu(reduce(mean(x)))))` (Hu et al., CVPR 2018, with EfficientNet's SiLU).
    SqueezeExcite {
        /// The key prefix of `conv_reduce` and `conv_expand`.
        key: String,
        /// The channels of input and output.
        channels: usize,
        /// The channels between the two 1x1 convolutions.
        reduced: usize,
    },
    /// The class token, the registers and a map's cells, row by row, plus the position embedding:
    /// `[1 + registers + rows * columns, channels]`.
    Embed {
        /// The channels of a token.
        channels: usize,
        /// The number of registers.
        registers: usize,
        /// The learned position embedding, or `None` where attention rotates q and k instead ([`Op::Rotary`]).
        position: Option<Learned>,
    },
    /// A layer norm over channels.
    LayerNorm {
        /// The key prefix of `weight` and `bias`.
        key: String,
        /// The channels of a token.
        channels: usize,
        /// The constant added to the variance.
        eps: f64,
    },
    /// A linear layer: `scale * act(x W^T + b) + residual`. Unlike a convolution's, its residual is added after the activation; no
    /// linear layer here has an activation and one of the others. The scale is folded into the weight and the bias when weights
    /// are loaded.
    Linear {
        /// The key prefix of `weight` and `bias`.
        key: String,
        /// True if the file holds a bias. Without one it is zero.
        bias: bool,
        /// The key of the layer scale, one factor for each output channel (Touvron et al., ICCV 2021).
        scale: Option<String>,
        /// The channels of the input.
        in_channels: usize,
        /// The channels of the output.
        out_channels: usize,
        /// The activation of the product.
        activation: Activation,
    },
    /// Rotary position embedding (Su et al., 2021) of q and k in `[q | k | v]`, in the variant of DINOv3. The tokens before the grid
    /// are not rotated.
    Rotary {
        /// The channels of q, of k and of v.
        channels: usize,
        /// The number of heads.
        heads: usize,
        /// The base of the periods.
        temperature: f64,
    },
    /// Multi-head self-attention. The input's channels are `[q | k | v]`.
    SelfAttention {
        /// The channels of q, of k, of v and of the output.
        channels: usize,
        /// The number of heads.
        heads: usize,
    },
    /// The tokens of the grid, as a map.
    TokensToMap {
        /// The channels of a token.
        channels: usize,
    },
}

/// A position embedding that was learned for a square grid. For any other grid it is interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The side of the grid.
    pub(crate) grid: usize,
    /// True if the class token has a position, which is the first.
    pub(crate) class: bool,
    /// The interpolation.
    pub(crate) resampling: Resampling,
}

/// The interpolation of a position embedding. Both have half-pixel centers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resampling {
    /// That of DINO's `interpolate_pos_encoding`: bicubic with a = -0.75 and clamped borders, at the scale `(rows + 0.1) / grid`. DINO
    /// adds 0.1 against rounding errors, which shifts every coordinate slightly.
    Dino,
    /// That of timm's `resample_abs_pos_embed`: bicubic with a = -0.5, widened by the scale where it shrinks the grid
    /// (`antialias=True`), and normalized at the borders.
    Antialiased,
}

/// The shape of one image's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueShape {
    /// A map `[channels, rows, columns]`.
    Map {
        /// The channels.
        channels: usize,
        /// The rows.
        rows: usize,
        /// The columns.
        columns: usize,
    },
    /// Tokens `[prefix + rows * columns, channels]`: the class token and the registers, then the grid row by row.
    Tokens {
        /// The number of tokens before the grid.
        prefix: usize,
        /// The channels.
        channels: usize,
        /// The rows of the grid.
        rows: usize,
        /// The columns of the grid.
        columns: usize,
    },
}

impl ValueShape {
    /// Returns the number of cells of a map, or of tokens.
    pub(crate) const fn positions(self) -> usize {
        match self {
            Self::Map { rows, columns, .. } => rows.saturating_mul(columns),
            Self::Tokens { prefix, rows, columns, .. } => rows.saturating_mul(columns).saturating_add(prefix),
        }
    }

    /// Returns the channels of each cell or token.
    pub(crate) const fn channels(self) -> usize {
        match self {
            Self::Map { channels, .. } | Self::Tokens { channels, .. } => channels,
        }
    }
}

/// A tensor that a weight file must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// The key in the file.
    pub(crate) key: String,
    /// The shape.
    pub(crate) shape: Vec<usize>,
    /// False for tensors that are not counted as parameters, such as the running statistics of a batch norm.
    pub(crate) trainable: bool,
}

impl Parameter {
    pub(crate) fn new(key: impl Into<String>, shape: &[usize]) -> Self {
        Self { key: key.into(), shape: shape.to_vec(), trainable: true }
    }

    pub(crate) fn buffer(key: impl Into<String>, shape: &[usize]) -> Self {
        Self { key: key.into(), shape: shape.to_vec(), trainable: false }
    }

    /// Returns the number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().fold(1, |product, &side| product.saturating_mul(side))
    }
}

impl Op {
    /// Returns the tensors of a weight file that this operation needs.
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
            Self::Embed { channels, registers, position } => {
                let mut parameters = vec![Parameter::new("cls_token", &[1, 1, *channels])];
                if *registers > 0 {
                    parameters.push(Parameter::new("reg_token", &[1, *registers, *channels]));
                }
                if let Some(Learned { grid, class, .. }) = position {
                    let count = grid.saturating_mul(*grid).saturating_add(usize::from(*class));
                    parameters.push(Parameter::new("pos_embed", &[1, count, *channels]));
                }
                parameters
            }
            Self::LayerNorm { key, channels, .. } => vec![
                Parameter::new(format!("{key}.weight"), &[*channels]),
                Parameter::new(format!("{key}.bias"), &[*channels]),
            ],
            Self::Linear { key, bias, scale, in_channels, out_channels, .. } => {
                let mut parameters = vec![Parameter::new(format!("{key}.weight"), &[*out_channels, *in_channels])];
                if *bias {
                    parameters.push(Parameter::new(format!("{key}.bias"), &[*out_channels]));
                }
                if let Some(key) = scale {
                    parameters.push(Parameter::new(key, &[*out_channels]));
                }
                parameters
            }
            Self::MaxPool { .. } | Self::Rotary { .. } | Self::SelfAttention { .. } | Self::TokensToMap { .. } => {
                Vec::new()
            }
        }
    }

    /// Returns the output's shape for an input of the given shape, or `None` if the input does not fit the operation.
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
            (Self::Embed { channels: expected, registers, .. }, ValueShape::Map { channels, rows, columns })
                if channels == *expected =>
            {
                ValueShape::Tokens { prefix: 1 + registers, channels, rows, columns }
            }
            (Self::LayerNorm { channels: expected, .. }, ValueShape::Tokens { channels, .. })
                if channels == *expected =>
            {
                input
            }
            (
                Self::Linear { in_channels, out_channels, .. },
                ValueShape::Tokens { prefix, channels, rows, columns },
            ) if channels == *in_channels => ValueShape::Tokens { prefix, channels: *out_channels, rows, columns },
            (Self::Rotary { channels: expected, .. }, ValueShape::Tokens { channels, .. })
                if channels == 3 * expected =>
            {
                input
            }
            (
                Self::SelfAttention { channels: expected, .. },
                ValueShape::Tokens { prefix, channels, rows, columns },
            ) if channels == 3 * expected => ValueShape::Tokens { prefix, channels: *expected, rows, columns },
            (Self::TokensToMap { channels: expected }, ValueShape::Tokens { channels, rows, columns, .. })
                if channels == *expected =>
            {
                ValueShape::Map { channels, rows, columns }
            }
            _ => return None,
        })
    }

    /// Returns the multiply-accumulates of the operation's products for one image. Element-wise work is not counted, as is usual.
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
            Self::MaxPool { .. }
            | Self::Embed { .. }
            | Self::LayerNorm { .. }
            | Self::Rotary { .. }
            | Self::TokensToMap { .. } => 0,
        }
    }
}
