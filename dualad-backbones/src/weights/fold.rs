//! From a file's tensors to what a layer multiplies and adds: batch norms vanish here.

use candle_core::DType;
use half::f16;

use crate::error::{Result, WeightsError};
use crate::network::{BatchNorm, Conv, Network, Op};
use crate::weights::reader::Reader;

/// What `weight` multiplies and `bias` adds, row-major in the operation's own shapes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Affine {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// One layer's numbers, in the order of [`Network::layers`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Folded {
    /// The operation has none.
    Nothing,
    /// Convolution (batch norm folded in), linear or layer norm.
    Affine(Affine),
    /// Squeeze and excite.
    Gate { reduce: Affine, expand: Affine },
    /// Class token and position embedding.
    Embed { class: Vec<f32>, position: Vec<f32> },
}

impl Folded {
    fn values(&self) -> impl Iterator<Item = f32> {
        let parts: [&[f32]; 4] = match self {
            Self::Nothing => [&[]; 4],
            Self::Affine(Affine { weight, bias }) => [weight, bias, &[], &[]],
            Self::Gate { reduce, expand } => [&reduce.weight, &reduce.bias, &expand.weight, &expand.bias],
            Self::Embed { class, position } => [class, position, &[], &[]],
        };
        parts.into_iter().flatten().copied()
    }
}

/// Reads every layer of the network; what it returns is finite in `dtype`.
pub(crate) fn fold(network: &Network, reader: &dyn Reader, dtype: DType) -> Result<Vec<Folded>> {
    let largest = if dtype == DType::F16 { f32::from(f16::MAX) } else { f32::MAX };
    let folded = network.layers().iter().map(|layer| {
        let folded = fold_op(&layer.op, reader)?;
        // NaN is not <= anything.
        if folded.values().all(|value| value.abs() <= largest) {
            return Ok(folded);
        }
        let key = layer.op.parameters().into_iter().next().map(|parameter| parameter.key).unwrap_or_default();
        let dtype = format!("{dtype:?}").to_ascii_lowercase();
        Err(WeightsError::Overflow { source_name: reader.name().into(), key, dtype }.into())
    });
    folded.collect()
}

fn fold_op(op: &Op, reader: &dyn Reader) -> Result<Folded, WeightsError> {
    let parameters = op.parameters();
    let mut values = parameters.iter().map(|parameter| reader.read(parameter));
    let mut next = || values.next().unwrap_or_else(|| Ok(Vec::new()));
    Ok(match op {
        Op::Conv(Conv { norm: Some(norm), .. }) => {
            let (weight, gamma, beta, mean, variance) = (next()?, next()?, next()?, next()?, next()?);
            Folded::Affine(fold_batch_norm(weight, norm, &gamma, &beta, &mean, &variance))
        }
        Op::Conv(_) | Op::LayerNorm { .. } | Op::Linear { .. } => {
            Folded::Affine(Affine { weight: next()?, bias: next()? })
        }
        Op::SqueezeExcite { .. } => Folded::Gate {
            reduce: Affine { weight: next()?, bias: next()? },
            expand: Affine { weight: next()?, bias: next()? },
        },
        Op::Embed { .. } => Folded::Embed { class: next()?, position: next()? },
        Op::MaxPool { .. } | Op::SelfAttention { .. } | Op::TokensToMap { .. } => Folded::Nothing,
    })
}

/// `gamma * (conv(x) - mean) / sqrt(var + eps) + beta` as one convolution, in f64 and then rounded once.
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
