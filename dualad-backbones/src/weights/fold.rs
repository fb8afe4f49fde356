//! Reading of a network's weights, with batch norms and layer scales folded into the layers before them.

use candle_core::DType;
use half::f16;

use crate::error::{Result, WeightsError};
use crate::network::{BatchNorm, Conv, Network, Op};
use crate::weights::reader::Reader;

/// A weight and a bias, row-major in the operation's own shapes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Affine {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// The weights of one layer, each row-major and taken once: those of [`Op::parameters`] in their order, with the batch norm of a
/// convolution and the scale of a linear layer folded into its weight and bias.
#[derive(Debug)]
pub(crate) struct LayerWeights(std::vec::IntoIter<Vec<f32>>);

impl LayerWeights {
    /// Takes the next tensor.
    pub(crate) fn tensor(&mut self) -> Vec<f32> {
        self.0.next().unwrap_or_default()
    }

    /// Takes the next weight and bias.
    pub(crate) fn affine(&mut self) -> Affine {
        Affine { weight: self.tensor(), bias: self.tensor() }
    }
}

/// Reads the weights of every layer. They are finite in `dtype`.
pub(crate) fn fold(network: &Network, reader: &dyn Reader, dtype: DType) -> Result<Vec<LayerWeights>> {
    let max = if dtype == DType::F16 { f32::from(f16::MAX) } else { f32::MAX };
    let layers = network.layers().iter().map(|layer| {
        let tensors = tensors(&layer.op, reader)?;
        // NaN is not <= anything.
        if tensors.iter().flatten().all(|value| value.abs() <= max) {
            return Ok(LayerWeights(tensors.into_iter()));
        }
        let key = layer.op.parameters().into_iter().next().map(|parameter| parameter.key).unwrap_or_default();
        let dtype = format!("{dtype:?}").to_ascii_lowercase();
        Err(WeightsError::Overflow { source_name: reader.name().into(), key, dtype }.into())
    });
    layers.collect()
}

/// Reads the tensors of an operation.
fn tensors(op: &Op, reader: &dyn Reader) -> Result<Vec<Vec<f32>>, WeightsError> {
    let read = op.parameters().iter().map(|parameter| reader.read(parameter)).collect::<Result<Vec<_>, _>>()?;
    let mut read = LayerWeights(read.into_iter());
    let mut next = || read.tensor();
    let Affine { weight, bias } = match *op {
        Op::Conv(Conv { norm: Some(ref norm), .. }) => {
            fold_batch_norm(next(), norm, &next(), &next(), &next(), &next())
        }
        Op::Linear { bias, ref scale, out_channels, .. } => {
            let weight = next();
            let bias = if bias { next() } else { vec![0.0; out_channels] };
            if scale.is_some() { fold_scale(weight, bias, &next()) } else { Affine { weight, bias } }
        }
        _ => return Ok(read.0.collect()),
    };
    Ok(vec![weight, bias])
}

/// Returns `scale * (W x + b)` as one linear layer.
fn fold_scale(mut weight: Vec<f32>, mut bias: Vec<f32>, scale: &[f32]) -> Affine {
    let inputs = weight.len() / scale.len().max(1);
    for ((row, bias), &scale) in weight.chunks_mut(inputs.max(1)).zip(&mut bias).zip(scale) {
        row.iter_mut().for_each(|value| *value *= scale);
        *bias *= scale;
    }
    Affine { weight, bias }
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
