//! The reference: every operation as candle's own, one after the other, on any device.

use candle_core::{DType, Device, Result as CandleResult, Tensor};

use crate::engine::Engine;
use crate::error::Result;
use crate::network::{Activation, Conv, Network, Op, Shape, Value};
use crate::vit;
use crate::weights::{Affine, Folded};

/// Executes a network with candle's operations.
#[derive(Debug)]
pub(crate) struct PlainEngine {
    network: Network,
    /// One for each layer.
    tensors: Vec<Tensors>,
    /// For each value, the last layer that reads it (outputs outlive every layer).
    last_use: Vec<usize>,
    dtype: DType,
}

/// A layer's numbers as tensors of the engine's dtype on its device.
#[derive(Debug)]
enum Tensors {
    Nothing,
    Affine {
        weight: Tensor,
        bias: Tensor,
    },
    Gate {
        reduce: (Tensor, Tensor),
        expand: (Tensor, Tensor),
    },
    /// Class token `[1, 1, channels]`; the position embedding stays in f32 for interpolation.
    Embed {
        class: Tensor,
        position: Vec<f32>,
    },
}

impl PlainEngine {
    pub(crate) fn new(network: Network, folded: Vec<Folded>, device: &Device, dtype: DType) -> Result<Self> {
        let last_use = network.last_use();
        let place = Place { device, dtype };
        let tensors = network.layers().iter().zip(folded).map(|(layer, folded)| place.tensors(&layer.op, folded));
        let tensors = tensors.collect::<CandleResult<_>>()?;
        Ok(Self { network, tensors, last_use, dtype })
    }
}

impl Engine for PlainEngine {
    fn run(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let (_, _, height, width) = images.dims4()?;
        let shapes = self.network.shapes(height, width)?;
        let mut values: Vec<Option<Tensor>> = vec![None; self.last_use.len()];
        values[0] = Some(images.clone());
        let read = |values: &[Option<Tensor>], value: Value| {
            let tensor = values.get(value.index()).cloned().flatten();
            tensor.ok_or_else(|| candle_core::Error::Msg(format!("{value:?} is read before it is written")))
        };
        for (index, (layer, tensors)) in self.network.layers().iter().zip(&self.tensors).enumerate() {
            let input = read(&values, layer.input)?;
            let residual = layer.residual.map(|value| read(&values, value)).transpose()?;
            let step = Step { op: &layer.op, tensors, dtype: self.dtype, output: shapes[index + 1] };
            values[index + 1] = Some(step.run(&input, residual.as_ref())?);
            for value in std::iter::once(layer.input).chain(layer.residual) {
                if self.last_use[value.index()] == index {
                    values[value.index()] = None;
                }
            }
        }
        self.network.outputs().map(|value| Ok(read(&values, value)?)).collect()
    }
}

struct Place<'a> {
    device: &'a Device,
    dtype: DType,
}

impl Place<'_> {
    fn tensor(&self, values: Vec<f32>, shape: &[usize]) -> CandleResult<Tensor> {
        Tensor::from_vec(values, shape, self.device)?.to_dtype(self.dtype)
    }

    fn affine(&self, affine: Affine, weight: &[usize], bias: &[usize]) -> CandleResult<(Tensor, Tensor)> {
        Ok((self.tensor(affine.weight, weight)?, self.tensor(affine.bias, bias)?))
    }

    fn tensors(&self, op: &Op, folded: Folded) -> CandleResult<Tensors> {
        Ok(match (op, folded) {
            (Op::Conv(Conv { in_channels, out_channels, kernel, groups, .. }), Folded::Affine(affine)) => {
                let shape = [*out_channels, in_channels / groups, *kernel, *kernel];
                let (weight, bias) = self.affine(affine, &shape, &[1, *out_channels, 1, 1])?;
                Tensors::Affine { weight, bias }
            }
            (Op::Linear { in_channels, out_channels, .. }, Folded::Affine(affine)) => {
                let (weight, bias) = self.affine(affine, &[*out_channels, *in_channels], &[*out_channels])?;
                Tensors::Affine { weight: weight.t()?.contiguous()?, bias }
            }
            (Op::LayerNorm { channels, .. }, Folded::Affine(affine)) => {
                let (weight, bias) = self.affine(affine, &[*channels], &[*channels])?;
                Tensors::Affine { weight, bias }
            }
            (Op::SqueezeExcite { channels, reduced, .. }, Folded::Gate { reduce, expand }) => Tensors::Gate {
                reduce: self.affine(reduce, &[*reduced, *channels, 1, 1], &[1, *reduced, 1, 1])?,
                expand: self.affine(expand, &[*channels, *reduced, 1, 1], &[1, *channels, 1, 1])?,
            },
            (Op::Embed { channels, .. }, Folded::Embed { class, position }) => {
                Tensors::Embed { class: self.tensor(class, &[1, 1, *channels])?, position }
            }
            _ => Tensors::Nothing,
        })
    }
}

/// One layer at work.
struct Step<'a> {
    op: &'a Op,
    tensors: &'a Tensors,
    dtype: DType,
    output: Shape,
}

impl Step<'_> {
    fn run(&self, x: &Tensor, residual: Option<&Tensor>) -> CandleResult<Tensor> {
        match (self.op, self.tensors) {
            (Op::Conv(spec), Tensors::Affine { weight, bias }) => {
                let mut sum = convolve(x, weight, spec)?.broadcast_add(bias)?;
                if let Some(residual) = residual {
                    sum = (sum + residual)?;
                }
                activate(&sum, spec.activation)
            }
            (&Op::MaxPool { kernel, stride, padding }, _) => {
                let padded = x.pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;
                padded.max_pool2d_with_stride(kernel, stride)
            }
            (Op::SqueezeExcite { .. }, Tensors::Gate { reduce, expand }) => {
                // The mean over up to 112 x 112 cells is formed in f32 also for half-precision maps.
                let mean = x.to_dtype(DType::F32)?.mean_keepdim((2, 3))?.to_dtype(self.dtype)?;
                let hidden = conv2d(&mean, &reduce.0, 0, 1, 1)?.broadcast_add(&reduce.1)?;
                let hidden = activate(&hidden, Activation::Silu)?;
                let gate = conv2d(&hidden, &expand.0, 0, 1, 1)?.broadcast_add(&expand.1)?;
                x.broadcast_mul(&candle_nn::ops::sigmoid(&gate)?)
            }
            (&Op::Embed { channels, grid }, Tensors::Embed { class, position }) => {
                let (batch, _, rows, columns) = x.dims4()?;
                let position = vit::position_embedding(position, channels, grid, [rows, columns]);
                let position = Tensor::from_vec(position, (1, 1 + rows * columns, channels), x.device())?;
                let cells = x.flatten_from(2)?.transpose(1, 2)?;
                let tokens = Tensor::cat(&[&class.expand((batch, 1, channels))?, &cells], 1)?;
                tokens.broadcast_add(&position.to_dtype(self.dtype)?)
            }
            (&Op::LayerNorm { eps, .. }, Tensors::Affine { weight, bias }) => {
                // candle's fused layer norm has no backward, which a frozen network does not need.
                candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, eps as f32)
            }
            (Op::Linear { activation, .. }, Tensors::Affine { weight, bias }) => {
                let sum = x.broadcast_matmul(weight)?.broadcast_add(bias)?;
                let y = activate(&sum, *activation)?;
                match residual {
                    Some(residual) => y + residual,
                    None => Ok(y),
                }
            }
            (&Op::SelfAttention { channels, heads }, _) => attend(x, channels, heads),
            (Op::TokensToMap { .. }, _) => {
                let Shape::Map { channels, rows, columns } = self.output else {
                    candle_core::bail!("a token map cannot have the shape {:?}", self.output);
                };
                let cells = x.narrow(1, 1, rows * columns)?.transpose(1, 2)?;
                cells.reshape((x.dim(0)?, channels, rows, columns))
            }
            (op, tensors) => candle_core::bail!("{op:?} was loaded with {tensors:?}"),
        }
    }
}

fn activate(x: &Tensor, activation: Activation) -> CandleResult<Tensor> {
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
    }
}

fn convolve(x: &Tensor, weight: &Tensor, spec: &Conv) -> CandleResult<Tensor> {
    let (_, _, rows, columns) = x.dims4()?;
    let (top, bottom) = spec.padding.amounts(rows, spec.kernel, spec.stride);
    let (left, right) = spec.padding.amounts(columns, spec.kernel, spec.stride);
    if top == bottom && top == left && left == right {
        return conv2d(x, weight, top, spec.stride, spec.groups);
    }
    let padded = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    conv2d(&padded, weight, 0, spec.stride, spec.groups)
}

/// candle's convolution; half precision on the CPU, for which candle has no kernel, is widened for the sum and
/// narrowed again, as an accelerator's matrix units do.
fn conv2d(x: &Tensor, weight: &Tensor, padding: usize, stride: usize, groups: usize) -> CandleResult<Tensor> {
    let dtype = x.dtype();
    if x.device().is_cpu() && dtype != DType::F32 {
        let (x, weight) = (x.to_dtype(DType::F32)?, weight.to_dtype(DType::F32)?);
        return x.conv2d(&weight, padding, stride, 1, groups)?.to_dtype(dtype);
    }
    x.conv2d(weight, padding, stride, 1, groups)
}

/// Softmax attention over `[batch, tokens, 3 * channels]`, q, k and v side by side, all heads.
fn attend(qkv: &Tensor, channels: usize, heads: usize) -> CandleResult<Tensor> {
    let (batch, tokens, _) = qkv.dims3()?;
    let width = channels / heads;
    let split = qkv.reshape((batch, tokens, 3, heads, width))?.permute((2, 0, 3, 1, 4))?;
    let (q, k, v) = (split.get(0)?.contiguous()?, split.get(1)?.contiguous()?, split.get(2)?.contiguous()?);
    let scores = (q.matmul(&k.t()?)? * (width as f64).powf(-0.5))?;
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, channels))
}
