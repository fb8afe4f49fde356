//! The reference engine: every operation in candle's own, one after the other, on any device.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use dualad_kernels::Activation;

use crate::engine::interface::Engine;
use crate::engine::position::{Embedding, PerGrid, Rotations};
use crate::error::Result;
use crate::input::prepare;
use crate::network::{Conv, Network, Op, Value, ValueShape};
use crate::weights::{Affine, LayerWeights};

/// Executes a network with candle's operations.
#[derive(Debug)]
pub(crate) struct PlainEngine {
    network: Network,
    /// The operations of the network's layers.
    ops: Vec<PlainOp>,
    /// For each value, the last layer that reads it (`usize::MAX` for outputs).
    last_use: Vec<usize>,
    device: Device,
    dtype: DType,
}

/// A weight and a bias of the engine's dtype on its device.
#[derive(Debug)]
struct Tensors {
    weight: Tensor,
    bias: Tensor,
}

/// An operation with its weights as tensors.
#[derive(Debug)]
enum PlainOp {
    Conv {
        args: Conv,
        tensors: Tensors,
    },
    MaxPool {
        kernel: usize,
        stride: usize,
        padding: usize,
    },
    SqueezeExcite {
        reduce: Tensors,
        expand: Tensors,
    },
    /// The tokens before the grid are `[1, prefix, channels]`, the positions of a grid `[1, rows * columns, channels]`.
    Embed {
        channels: usize,
        prefix: Tensor,
        embedding: Embedding,
        positions: PerGrid<Option<Tensor>>,
    },
    LayerNorm {
        eps: f64,
        tensors: Tensors,
    },
    /// The weight is transposed.
    Linear {
        activation: Activation,
        tensors: Tensors,
    },
    /// The cosines and sines of a grid are `[1, rows * columns, 1, 1, pairs]`.
    Rotary {
        channels: usize,
        heads: usize,
        temperature: f64,
        rotations: PerGrid<[Tensor; 2]>,
    },
    SelfAttention {
        channels: usize,
        heads: usize,
    },
    TokensToMap,
}

impl PlainEngine {
    pub(crate) fn new(network: Network, weights: Vec<LayerWeights>, device: &Device, dtype: DType) -> Result<Self> {
        let last_use = network.last_use();
        let place = Place { device, dtype };
        let ops = network.layers().iter().zip(weights).map(|(layer, weights)| place.op(&layer.op, weights));
        let ops = ops.collect::<CandleResult<_>>()?;
        Ok(Self { network, ops, last_use, device: device.clone(), dtype })
    }
}

impl Engine for PlainEngine {
    fn token_stride(&self) -> usize {
        self.network.token_stride()
    }

    fn run(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let images = prepare(images, &self.device, self.dtype, self.token_stride())?;
        let (_, _, height, width) = images.dims4()?;
        let shapes = self.network.shapes(height, width)?;
        let mut values: Vec<Option<Tensor>> = vec![None; self.last_use.len()];
        values[0] = Some(images);
        let read = |values: &[Option<Tensor>], value: Value| {
            let tensor = values.get(value.index()).cloned().flatten();
            tensor.ok_or_else(|| candle_core::Error::Msg(format!("{value:?} is read before it is written")))
        };
        for (index, (layer, op)) in self.network.layers().iter().zip(&self.ops).enumerate() {
            let input = read(&values, layer.input)?;
            let residual = layer.residual.map(|value| read(&values, value)).transpose()?;
            let output = op.run(&input, residual.as_ref(), self.dtype, shapes[index + 1])?;
            values[index + 1] = Some(output);
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

    fn tensors(&self, affine: Affine, weight: &[usize], bias: &[usize]) -> CandleResult<Tensors> {
        Ok(Tensors { weight: self.tensor(affine.weight, weight)?, bias: self.tensor(affine.bias, bias)? })
    }

    fn op(&self, op: &Op, mut weights: LayerWeights) -> CandleResult<PlainOp> {
        Ok(match *op {
            Op::Conv(ref args) => {
                let Conv { in_channels, out_channels, kernel, groups, .. } = *args;
                let shape = [out_channels, in_channels / groups, kernel, kernel];
                let tensors = self.tensors(weights.affine(), &shape, &[1, out_channels, 1, 1])?;
                PlainOp::Conv { args: args.clone(), tensors }
            }
            Op::MaxPool { kernel, stride, padding } => PlainOp::MaxPool { kernel, stride, padding },
            Op::SqueezeExcite { channels, reduced, .. } => PlainOp::SqueezeExcite {
                reduce: self.tensors(weights.affine(), &[reduced, channels, 1, 1], &[1, reduced, 1, 1])?,
                expand: self.tensors(weights.affine(), &[channels, reduced, 1, 1], &[1, channels, 1, 1])?,
            },
            Op::Embed { channels, registers, position } => {
                let embedding = Embedding::new(channels, registers, position, &mut weights);
                let prefix = self.tensor(embedding.prefix().to_vec(), &[1, 1 + registers, channels])?;
                PlainOp::Embed { channels, prefix, embedding, positions: PerGrid::default() }
            }
            Op::LayerNorm { channels, eps, .. } => {
                PlainOp::LayerNorm { eps, tensors: self.tensors(weights.affine(), &[channels], &[channels])? }
            }
            Op::Linear { in_channels, out_channels, activation, .. } => {
                let shape = [out_channels, in_channels];
                let Tensors { weight, bias } = self.tensors(weights.affine(), &shape, &[out_channels])?;
                PlainOp::Linear { activation, tensors: Tensors { weight: weight.t()?.contiguous()?, bias } }
            }
            Op::Rotary { channels, heads, temperature } => {
                PlainOp::Rotary { channels, heads, temperature, rotations: PerGrid::default() }
            }
            Op::SelfAttention { channels, heads } => PlainOp::SelfAttention { channels, heads },
            Op::TokensToMap { .. } => PlainOp::TokensToMap,
        })
    }
}

impl PlainOp {
    fn run(&self, x: &Tensor, residual: Option<&Tensor>, dtype: DType, output: ValueShape) -> CandleResult<Tensor> {
        match *self {
            Self::Conv { ref args, tensors: Tensors { ref weight, ref bias } } => {
                let mut sum = convolve(x, weight, args)?.broadcast_add(bias)?;
                if let Some(residual) = residual {
                    sum = (sum + residual)?;
                }
                activate(&sum, args.activation)
            }
            Self::MaxPool { kernel, stride, padding } => {
                let padded = x.pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;
                padded.max_pool2d_with_stride(kernel, stride)
            }
            Self::SqueezeExcite { ref reduce, ref expand } => {
                // The mean over up to 112 x 112 cells is computed in f32 also for half-precision maps.
                let mean = x.to_dtype(DType::F32)?.mean_keepdim((2, 3))?.to_dtype(dtype)?;
                let hidden = conv2d(&mean, &reduce.weight, 0, 1, 1)?.broadcast_add(&reduce.bias)?;
                let hidden = activate(&hidden, Activation::Silu)?;
                let gate = conv2d(&hidden, &expand.weight, 0, 1, 1)?.broadcast_add(&expand.bias)?;
                x.broadcast_mul(&candle_nn::ops::sigmoid(&gate)?)
            }
            Self::Embed { channels, ref prefix, ref embedding, ref positions } => {
                let (batch, _, rows, columns) = x.dims4()?;
                let positions = positions.get([rows, columns], || {
                    let Some(positions) = embedding.cells([rows, columns]) else { return Ok(None) };
                    let positions = Tensor::from_vec(positions, (1, rows * columns, channels), x.device())?;
                    positions.to_dtype(dtype).map(Some)
                })?;
                let mut cells = x.flatten_from(2)?.transpose(1, 2)?;
                if let Some(positions) = &*positions {
                    cells = cells.broadcast_add(positions)?;
                }
                Tensor::cat(&[&prefix.expand((batch, prefix.dim(1)?, channels))?, &cells], 1)
            }
            Self::LayerNorm { eps, tensors: Tensors { ref weight, ref bias } } => {
                // candle's fused layer norm has no backward pass, which a frozen network does not need.
                candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, eps as f32)
            }
            Self::Linear { activation, tensors: Tensors { ref weight, ref bias } } => {
                let sum = x.broadcast_matmul(weight)?.broadcast_add(bias)?;
                let y = activate(&sum, activation)?;
                match residual {
                    Some(residual) => y + residual,
                    None => Ok(y),
                }
            }
            Self::Rotary { channels, heads, temperature, ref rotations } => {
                let ValueShape::Tokens { prefix, rows, columns, .. } = output else {
                    candle_core::bail!("rotated tokens cannot have the shape {output:?}");
                };
                let rotations = rotations.get([rows, columns], || {
                    let Rotations { pairs, cosines, sines } =
                        Rotations::new([rows, columns], channels / heads, temperature);
                    let tensor = |values| {
                        Tensor::from_vec(values, (1, rows * columns, 1, 1, pairs), x.device())?.to_dtype(dtype)
                    };
                    Ok::<_, candle_core::Error>([tensor(cosines)?, tensor(sines)?])
                })?;
                rotate(x, channels, heads, prefix, &rotations)
            }
            Self::SelfAttention { channels, heads } => attend(x, channels, heads),
            Self::TokensToMap => {
                let ValueShape::Map { channels, rows, columns } = output else {
                    candle_core::bail!("a token map cannot have the shape {output:?}");
                };
                let cells = rows * columns;
                let cells = x.narrow(1, x.dim(1)?.saturating_sub(cells), cells)?.transpose(1, 2)?;
                cells.reshape((x.dim(0)?, channels, rows, columns))
            }
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

fn convolve(x: &Tensor, weight: &Tensor, args: &Conv) -> CandleResult<Tensor> {
    let (_, _, rows, columns) = x.dims4()?;
    let (top, bottom) = args.padding.amounts(rows, args.kernel, args.stride);
    let (left, right) = args.padding.amounts(columns, args.kernel, args.stride);
    if top == bottom && top == left && left == right {
        return conv2d(x, weight, top, args.stride, args.groups);
    }
    let padded = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    conv2d(&padded, weight, 0, args.stride, args.groups)
}

/// Returns candle's convolution. Half precision on the CPU, for which candle has no kernel, is widened to f32 for the sum and
/// narrowed again, as an accelerator's matrix units do.
fn conv2d(x: &Tensor, weight: &Tensor, padding: usize, stride: usize, groups: usize) -> CandleResult<Tensor> {
    let dtype = x.dtype();
    if x.device().is_cpu() && dtype != DType::F32 {
        let (x, weight) = (x.to_dtype(DType::F32)?, weight.to_dtype(DType::F32)?);
        return x.conv2d(&weight, padding, stride, 1, groups)?.to_dtype(dtype);
    }
    x.conv2d(weight, padding, stride, 1, groups)
}

/// Rotates q and k of the tokens after the first `prefix` in `[batch, tokens, 3 * channels]`.
fn rotate(
    qkv: &Tensor,
    channels: usize,
    heads: usize,
    prefix: usize,
    [cosines, sines]: &[Tensor; 2],
) -> CandleResult<Tensor> {
    let (batch, tokens, _) = qkv.dims3()?;
    let cells = tokens - prefix;
    let qk = qkv.narrow(2, 0, 2 * channels)?;
    let pairs = qk.narrow(1, prefix, cells)?.reshape((batch, cells, 2 * heads, 2, channels / heads / 2))?;
    let (first, second) = (pairs.narrow(3, 0, 1)?, pairs.narrow(3, 1, 1)?);
    let rotated = [
        (first.broadcast_mul(cosines)? - second.broadcast_mul(sines)?)?,
        (second.broadcast_mul(cosines)? + first.broadcast_mul(sines)?)?,
    ];
    let rotated = Tensor::cat(&rotated, 3)?.reshape((batch, cells, 2 * channels))?;
    let qk = Tensor::cat(&[&qk.narrow(1, 0, prefix)?, &rotated], 1)?;
    Tensor::cat(&[&qk, &qkv.narrow(2, 2 * channels, channels)?], 2)
}

/// Returns the softmax attention of all heads over `[batch, tokens, 3 * channels]`, where q, k and v are side by side.
fn attend(qkv: &Tensor, channels: usize, heads: usize) -> CandleResult<Tensor> {
    let (batch, tokens, _) = qkv.dims3()?;
    let width = channels / heads;
    let split = qkv.reshape((batch, tokens, 3, heads, width))?.permute((2, 0, 3, 1, 4))?;
    let (q, k, v) = (split.get(0)?.contiguous()?, split.get(1)?.contiguous()?, split.get(2)?.contiguous()?);
    let scores = (q.matmul(&k.t()?)? * (width as f64).powf(-0.5))?;
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, channels))
}
