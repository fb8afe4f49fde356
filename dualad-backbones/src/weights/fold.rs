//! Reading of a network's weights, with batch norms folded into the convolutions before them.

use candle_core::DType;
use dualad_kernels::Activation;
use half::f16;

use crate::error::{Result, WeightsError};
use crate::network::{BatchNorm, Conv, Network, Op, Padding, Value};
use crate::weights::reader::Reader;

/// A weight and a bias, row-major in the operation's own shapes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Affine {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// The shape of a convolution whose batch norm is folded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoldedConv {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: Padding,
    pub(crate) groups: usize,
    pub(crate) activation: Activation,
}

/// A layer of a network with its weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoldedLayer {
    pub(crate) op: FoldedOp,
    pub(crate) input: Value,
    pub(crate) residual: Option<Value>,
}

/// An operation with its weights. The variants are those of [`Op`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FoldedOp {
    Conv { args: FoldedConv, affine: Affine },
    MaxPool { kernel: usize, stride: usize, padding: usize },
    SqueezeExcite { channels: usize, reduced: usize, reduce: Affine, expand: Affine },
    Embed { channels: usize, grid: usize, class: Vec<f32>, position: Vec<f32> },
    LayerNorm { channels: usize, eps: f64, affine: Affine },
    Linear { in_channels: usize, out_channels: usize, activation: Activation, affine: Affine },
    SelfAttention { channels: usize, heads: usize },
    TokensToMap { channels: usize },
}

impl FoldedOp {
    fn values(&self) -> impl Iterator<Item = f32> {
        let parts: [&[f32]; 4] = match self {
            Self::MaxPool { .. } | Self::SelfAttention { .. } | Self::TokensToMap { .. } => [&[]; 4],
            Self::Conv { affine, .. } | Self::LayerNorm { affine, .. } | Self::Linear { affine, .. } => {
                [&affine.weight, &affine.bias, &[], &[]]
            }
            Self::SqueezeExcite { reduce, expand, .. } => [&reduce.weight, &reduce.bias, &expand.weight, &expand.bias],
            Self::Embed { class, position, .. } => [class, position, &[], &[]],
        };
        parts.into_iter().flatten().copied()
    }
}

/// Reads the weights of every layer. They are finite in `dtype`.
pub(crate) fn fold(network: &Network, reader: &dyn Reader, dtype: DType) -> Result<Vec<FoldedLayer>> {
    let max = if dtype == DType::F16 { f32::from(f16::MAX) } else { f32::MAX };
    let layers = network.layers().iter().map(|layer| {
        let op = fold_op(&layer.op, reader)?;
        // NaN is not <= anything.
        if op.values().all(|value| value.abs() <= max) {
            return Ok(FoldedLayer { op, input: layer.input, residual: layer.residual });
        }
        let key = layer.op.parameters().into_iter().next().map(|parameter| parameter.key).unwrap_or_default();
        let dtype = format!("{dtype:?}").to_ascii_lowercase();
        Err(WeightsError::Overflow { source_name: reader.name().into(), key, dtype }.into())
    });
    layers.collect()
}

fn fold_op(op: &Op, reader: &dyn Reader) -> Result<FoldedOp, WeightsError> {
    let parameters = op.parameters();
    let mut values = parameters.iter().map(|parameter| reader.read(parameter));
    let mut next = || values.next().unwrap_or_else(|| Ok(Vec::new()));
    Ok(match *op {
        Op::Conv(ref conv) => {
            let Conv { in_channels, out_channels, kernel, stride, padding, groups, ref norm, activation, .. } = *conv;
            let affine = match norm {
                None => Affine { weight: next()?, bias: next()? },
                Some(norm) => {
                    let (weight, gamma, beta, mean, variance) = (next()?, next()?, next()?, next()?, next()?);
                    fold_batch_norm(weight, norm, &gamma, &beta, &mean, &variance)
                }
            };
            let args = FoldedConv { in_channels, out_channels, kernel, stride, padding, groups, activation };
            FoldedOp::Conv { args, affine }
        }
        Op::LayerNorm { channels, eps, .. } => {
            FoldedOp::LayerNorm { channels, eps, affine: Affine { weight: next()?, bias: next()? } }
        }
        Op::Linear { in_channels, out_channels, activation, .. } => {
            let affine = Affine { weight: next()?, bias: next()? };
            FoldedOp::Linear { in_channels, out_channels, activation, affine }
        }
        Op::SqueezeExcite { channels, reduced, .. } => {
            let reduce = Affine { weight: next()?, bias: next()? };
            let expand = Affine { weight: next()?, bias: next()? };
            FoldedOp::SqueezeExcite { channels, reduced, reduce, expand }
        }
        Op::Embed { channels, grid } => FoldedOp::Embed { channels, grid, class: next()?, position: next()? },
        Op::MaxPool { kernel, stride, padding } => FoldedOp::MaxPool { kernel, stride, padding },
        Op::SelfAttention { channels, heads } => FoldedOp::SelfAttention { channels, heads },
        Op::TokensToMap { channels } => FoldedOp::TokensToMap { channels },
    })
}

/// Returns `gamma * (conv(x) - mean) / sqrt(var + eps) + beta` as one convolution, computed in f64 and rounded once.
fn fold_batch_norm(
    mut weight: Vec<f32>,
    norm: &BatchNorm,
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    variance: &[f32],
) -> Affine {
    let per_channel = weight.len() / gamma.len().max(1);
    let mut bias = Vec::with_capacity(beta.len());
    for (channel, filter) in weight.chunks_mut(per_channel.max(1)).enumerate() {
        let scale = f64::from(gamma[channel]) / (f64::from(variance[channel]) + norm.eps).sqrt();
        for value in filter {
            *value = (f64::from(*value) * scale) as f32;
        }
        bias.push((f64::from(beta[channel]) - f64::from(mean[channel]) * scale) as f32);
    }
    Affine { weight, bias }
}
