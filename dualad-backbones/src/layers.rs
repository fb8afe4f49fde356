//! The layers of a backbone as plain numbers, for programs that write the network in another format.

pub use dualad_kernels::Activation;

use candle_core::DType;

use crate::backbone::Backbone;
use crate::engine::{Embedding, Rotations};
use crate::error::Result;
use crate::network::{Conv, Layer as Described, Op, ValueShape};
use crate::weights::{LayerWeights, Provenance, Weights};

/// The layers of a backbone for inputs of one size, with their weights.
///
/// Value 0 is the image batch, `[batch, 3, height, width]`. Layer `i` computes value `i + 1`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Layers {
    /// The layers in the order of execution.
    pub layers: Vec<Layer>,
    /// The value of each stage's map, `[batch, channels, rows, columns]`.
    pub outputs: Vec<usize>,
    /// The origin of the weights.
    pub provenance: Provenance,
}

/// A layer and the values that it reads.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Layer {
    /// The operation.
    pub operation: Operation,
    /// The value that the operation is applied to.
    pub input: usize,
    /// The value that is added: before the activation of a convolution, after that of a linear layer.
    pub residual: Option<usize>,
}

/// A weight and a bias, row by row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Affine {
    /// The weight.
    pub weight: Vec<f32>,
    /// The bias, one value for each channel of the output.
    pub bias: Vec<f32>,
}

/// An operation with its weights. Batch norms and layer scales are folded into the layers before them. A map is
/// `[batch, channels, rows, columns]`, tokens are `[batch, tokens, channels]`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Operation {
    /// A convolution of a map: `activation(conv(x) + bias + residual)`.
    Conv {
        /// The weight has the shape `[outputs, inputs / groups, kernel, kernel]`.
        affine: Affine,
        /// The channels of the output.
        outputs: usize,
        /// The channels of the input that an output depends on.
        inputs: usize,
        /// The side of the kernel.
        kernel: usize,
        /// The stride in both directions.
        stride: usize,
        /// The zeros above, to the left, below and to the right.
        padding: [usize; 4],
        /// The number of groups of channels.
        groups: usize,
        /// The activation.
        activation: Activation,
    },
    /// A max pool of a map without negative values.
    MaxPool {
        /// The side of the window.
        kernel: usize,
        /// The stride in both directions.
        stride: usize,
        /// The cells added on each side.
        padding: usize,
    },
    /// A channel gate of a map: `x * sigmoid(expand(silu(reduce(mean(x)))))`.
    SqueezeExcite {
        /// The first 1x1 convolution, `[reduced, channels]`.
        reduce: Affine,
        /// The second 1x1 convolution, `[channels, reduced]`.
        expand: Affine,
    },
    /// Tokens of a map: the prefix, then the cells row by row, plus their positions.
    Embed {
        /// The channels of a token.
        channels: usize,
        /// The tokens before the grid, `[prefix, channels]`.
        prefix: Vec<f32>,
        /// The position of each cell, `[rows * columns, channels]`.
        positions: Option<Vec<f32>>,
    },
    /// A layer norm over channels.
    LayerNorm {
        /// The weight and the bias, one value for each channel.
        affine: Affine,
        /// The constant added to the variance.
        eps: f64,
    },
    /// A linear layer of tokens: `activation(x W^T + b) + residual`.
    Linear {
        /// The weight has the shape `[outputs, inputs]`.
        affine: Affine,
        /// The channels of the input.
        inputs: usize,
        /// The channels of the output.
        outputs: usize,
        /// The activation.
        activation: Activation,
    },
    /// The rotation of q and k in tokens with the channels `[q | k | v]`. Of each head, channel `i` and channel `i + pairs` are a pair:
    /// `(a cos - b sin, b cos + a sin)`.
    Rotary {
        /// The channels of q, of k and of v.
        channels: usize,
        /// The number of heads.
        heads: usize,
        /// The number of tokens before the grid, which are not rotated.
        prefix: usize,
        /// Half of the channels of a head.
        pairs: usize,
        /// The cosines of each cell, `[rows * columns, pairs]`.
        cosines: Vec<f32>,
        /// The sines of each cell, `[rows * columns, pairs]`.
        sines: Vec<f32>,
    },
    /// Multi-head self-attention of tokens with the channels `[q | k | v]`.
    SelfAttention {
        /// The channels of q, of k, of v and of the output.
        channels: usize,
        /// The number of heads.
        heads: usize,
    },
    /// The map of the grid's tokens.
    TokensToMap {
        /// The channels of a token.
        channels: usize,
        /// The number of tokens before the grid.
        prefix: usize,
        /// The rows and columns.
        grid: [usize; 2],
    },
}

impl Backbone {
    /// Returns the layers up to the last of these stages (numbers from 1, ascending), with their weights, for inputs of `[height, width]`
    /// pixels. `None` for the filter bank.
    ///
    /// ```
    /// use dualad_backbones::layers::Operation;
    /// use dualad_backbones::{Backbone, Weights};
    ///
    /// let network = Backbone::ResNet18.layers(&Weights::synthetic(0), &[1], [32, 32])?;
    /// let first = network.as_ref().and_then(|network| network.layers.first());
    /// assert!(first.is_some_and(|layer| matches!(layer.operation, Operation::Conv { kernel: 7, .. })));
    /// # Ok::<(), dualad_backbones::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Stages`], [`crate::Error::InputSize`], [`crate::Error::Weights`], `Error::Hub`.
    pub fn layers(self, weights: &Weights, stages: &[usize], [height, width]: [usize; 2]) -> Result<Option<Layers>> {
        let Some(whole) = self.network() else { return Ok(None) };
        let used = whole.up_to(stages)?;
        let shapes = used.shapes(height, width)?;
        let (folded, provenance) = weights.load(self, &whole, &used, DType::F32)?;
        let layers = used.layers().iter().zip(folded).zip(shapes.iter().skip(1)).map(|((layer, weights), &output)| {
            let Described { op, input, residual } = layer;
            let from = shapes.get(input.index()).copied().unwrap_or(output);
            Layer {
                operation: operation(op, weights, from, output),
                input: input.index(),
                residual: residual.map(|value| value.index()),
            }
        });
        let layers = layers.collect();
        Ok(Some(Layers { layers, outputs: used.outputs().map(|value| value.index()).collect(), provenance }))
    }
}

fn operation(op: &Op, mut weights: LayerWeights, input: ValueShape, output: ValueShape) -> Operation {
    let mut affine = || {
        let affine = weights.affine();
        Affine { weight: affine.weight, bias: affine.bias }
    };
    match *op {
        Op::Conv(ref conv) => {
            let &Conv { in_channels, out_channels, kernel, stride, padding, groups, activation, .. } = conv;
            let [rows, columns] = grid(input);
            let (top, bottom) = padding.amounts(rows, kernel, stride);
            let (left, right) = padding.amounts(columns, kernel, stride);
            Operation::Conv {
                affine: affine(),
                outputs: out_channels,
                inputs: in_channels.checked_div(groups).unwrap_or(0),
                kernel,
                stride,
                padding: [top, left, bottom, right],
                groups,
                activation,
            }
        }
        Op::MaxPool { kernel, stride, padding } => Operation::MaxPool { kernel, stride, padding },
        Op::SqueezeExcite { .. } => Operation::SqueezeExcite { reduce: affine(), expand: affine() },
        Op::Embed { channels, registers, position } => {
            let embedding = Embedding::new(channels, registers, position, &mut weights);
            Operation::Embed { channels, prefix: embedding.prefix().to_vec(), positions: embedding.cells(grid(output)) }
        }
        Op::LayerNorm { eps, .. } => Operation::LayerNorm { affine: affine(), eps },
        Op::Linear { in_channels, out_channels, activation, .. } => {
            Operation::Linear { affine: affine(), inputs: in_channels, outputs: out_channels, activation }
        }
        Op::Rotary { channels, heads, temperature } => {
            let width = channels.checked_div(heads).unwrap_or(0);
            let Rotations { pairs, cosines, sines } = Rotations::new(grid(output), width, temperature);
            Operation::Rotary { channels, heads, prefix: prefix(output), pairs, cosines, sines }
        }
        Op::SelfAttention { channels, heads } => Operation::SelfAttention { channels, heads },
        Op::TokensToMap { channels } => Operation::TokensToMap { channels, prefix: prefix(input), grid: grid(output) },
    }
}

fn grid(shape: ValueShape) -> [usize; 2] {
    match shape {
        ValueShape::Map { rows, columns, .. } | ValueShape::Tokens { rows, columns, .. } => [rows, columns],
    }
}

fn prefix(shape: ValueShape) -> usize {
    match shape {
        ValueShape::Map { .. } => 0,
        ValueShape::Tokens { prefix, .. } => prefix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_have_the_weights_that_their_shapes_need() {
        for backbone in [Backbone::ResNet50V1, Backbone::EfficientNetB4, Backbone::DinoV3Small, Backbone::VitSmallDino]
        {
            let side = 3 * backbone.token_stride();
            let stages: Vec<usize> = backbone.default_stages().iter().map(|stage| stage.index).collect();
            let network = backbone.layers(&Weights::synthetic(1), &stages, [side, 2 * side]).unwrap().unwrap();
            assert_eq!(network.outputs.len(), stages.len());
            for (index, layer) in network.layers.iter().enumerate() {
                assert!(layer.input <= index && layer.residual.is_none_or(|value| value <= index));
                match &layer.operation {
                    Operation::Conv { affine, outputs, inputs, kernel, .. } => {
                        assert_eq!(affine.weight.len(), outputs * inputs * kernel * kernel);
                        assert_eq!(affine.bias.len(), *outputs);
                    }
                    Operation::Linear { affine, inputs, outputs, .. } => {
                        assert_eq!((affine.weight.len(), affine.bias.len()), (inputs * outputs, *outputs));
                    }
                    Operation::Embed { channels, prefix, positions } => {
                        let cells = 3 * 6;
                        assert!(positions.as_ref().is_none_or(|positions| positions.len() == cells * channels));
                        assert_eq!(prefix.len() % channels, 0);
                    }
                    Operation::Rotary { pairs, cosines, sines, .. } => {
                        assert_eq!((cosines.len(), sines.len()), (18 * pairs, 18 * pairs));
                    }
                    _ => {}
                }
            }
        }
        assert!(Backbone::FilterBank.layers(&Weights::default(), &[1], [16, 16]).unwrap().is_none());
    }
}
