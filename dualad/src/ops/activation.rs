//! The part of a linear layer after its product: bias, ReLU, dropout and a residual. On a GPU it is one kernel, in place. It is for
//! training without a graph: the gradient has a function of its own.

use candle_core::{DType, Result, Tensor};

use crate::ops::dropout::dropout;
use crate::ops::support::philox;
use crate::random::Stream;

/// The probability of zero and the random stream of a dropout.
pub(crate) type DropoutStream = (f32, Stream);

/// Returns `dropout(relu(y + bias))` for `y`, `[rows, channels]`, and a bias of `[channels]`, in f32. On a GPU, the result has the
/// memory of `y`.
pub(crate) fn activate(y: Tensor, bias: &Tensor, relu: bool, drop: Option<DropoutStream>) -> Result<Tensor> {
    if dualad_gpu::supports(&[&y, bias]) {
        dualad_gpu::Activation { bias, relu, dropout: on_gpu(drop), x: None }.run(&y)?;
        return Ok(y);
    }
    let y = y.broadcast_add(bias)?;
    dropped(if relu { y.relu()? } else { y }, drop)
}

/// Returns `x + dropout(y + bias)` for `x` and `y` of `[rows, channels]`, and a bias of `[channels]`, in f32. On a GPU, the result has the
/// memory of `y`.
pub(crate) fn add_activated(x: &Tensor, y: Tensor, bias: &Tensor, drop: Option<DropoutStream>) -> Result<Tensor> {
    if dualad_gpu::supports(&[&y, bias, x]) {
        dualad_gpu::Activation { bias, relu: false, dropout: on_gpu(drop), x: Some(x) }.run(&y)?;
        return Ok(y);
    }
    x + dropped(y.broadcast_add(bias)?, drop)?
}

/// Returns the gradient before ReLU and dropout from that after them, `dy`, and the result `y` of [`activate`]. On a GPU, it has the
/// memory of `dy`. `probability` is that of the dropout, or 0.
pub(crate) fn activation_gradient(y: &Tensor, dy: Tensor, probability: f32) -> Result<Tensor> {
    if dualad_gpu::supports(&[y, &dy]) {
        let dy = dy.contiguous()?;
        dualad_gpu::Activation::gradient(y, &dy, probability)?;
        return Ok(dy);
    }
    // Survivors are above 0.
    let survivors = y.gt(0f32)?.to_dtype(DType::F32)?;
    (dy * survivors)? * f64::from(1.0 / (1.0 - probability))
}

fn dropped(y: Tensor, drop: Option<DropoutStream>) -> Result<Tensor> {
    match drop {
        Some((probability, stream)) => dropout(&y, probability, stream),
        None => Ok(y),
    }
}

fn on_gpu(drop: Option<DropoutStream>) -> Option<(f32, dualad_gpu::PhiloxStream)> {
    drop.map(|(probability, stream)| (probability, philox(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::ops::testing::{assert_near, devices, variable, variable_on};
    use candle_core::Device;

    /// Each form against candle's graph, with the gradient.
    #[test]
    fn devices_agree() {
        for device in devices() {
            for (rows, channels, relu, probability) in [(1, 1, true, 0.0), (7, 5, true, 0.3), (33, 9, false, 0.1)] {
                let what = format!("{device:?} {rows} x {channels}, {relu}, {probability}");
                let drop = (probability > 0.0).then(|| (probability, Random::new(3).named("mask")));
                let [before, x, dy] = [1, 2, 3].map(|seed| variable_on(&device, &[rows, channels], seed, 1.0));
                let bias = variable_on(&device, &[channels], 4, 1.0);
                let cpu = |tensor: &Tensor| tensor.to_device(&Device::Cpu).unwrap();
                // In place on a GPU: each call gets a copy.
                let copy = |tensor: &Tensor| tensor.detach().force_contiguous().unwrap();
                let wide = variable(&[rows, channels], 1, 1.0);
                let sum = wide.broadcast_add(&variable(&[channels], 4, 1.0)).unwrap();
                let active = dropped(if relu { sum.relu().unwrap() } else { sum.clone() }, drop).unwrap();
                let found = activate(copy(&before), &bias.as_tensor().detach(), relu, drop).unwrap();
                assert_near(&cpu(&found), &active, 2e-5, &what);
                let added = add_activated(&copy(&x), copy(&before), &bias.as_tensor().detach(), drop).unwrap();
                let expected = (cpu(&x) + dropped(sum, drop).unwrap()).unwrap();
                assert_near(&cpu(&added), &expected, 2e-5, &format!("{what}, sum"));
                if relu {
                    let gradients = (&active * cpu(&dy)).unwrap().sum_all().unwrap().backward().unwrap();
                    let gradient = activation_gradient(&found, copy(&dy), probability).unwrap();
                    assert_near(&cpu(&gradient), gradients.get(&wide).unwrap(), 2e-5, &format!("{what}, gradient"));
                }
            }
        }
    }
}
