//! Dropout, also with the bias and the ReLU before it, and feature jitter, from counter-based random numbers that are the same on every device.

use candle_core::{CustomOp1, D, DType, Layout, Result, Shape, Tensor};

use crate::launch::{Launch, Output};
use crate::params::{params, size};
use crate::run::{forward_passes, on_tensors, on_tensors_to};
use crate::source::Source;
use crate::support::{check_dtype, dtype_name};

params! {
    struct RandomParams {
        count: u32,
        seed_low: u32,
        seed_high: u32,
        stream_low: u32,
        stream_high: u32,
        probability: f32,
        scale: f32,
        tokens: u32,
        channels: u32,
        spatial: u32,
        relu: u32,
    }
}

const DROPOUT: &str = "dropout";
const JITTER: &str = "jitter";
const ACTIVATE: &str = "activate";
const ADD_ACTIVATED: &str = "add_activated";
const ACTIVATION_GRADIENT: &str = "activation_gradient";

/// A stream of the Philox4x32-10 generator. Element `i` of a tensor uses number `i` of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhiloxStream {
    /// The generator's seed.
    pub seed: u64,
    /// The stream's number.
    pub stream: u64,
}

impl PhiloxStream {
    fn params(self, count: usize) -> Result<RandomParams> {
        Ok(RandomParams {
            count: size(count)?,
            seed_low: self.seed as u32,
            seed_high: (self.seed >> 32) as u32,
            stream_low: self.stream as u32,
            stream_high: (self.stream >> 32) as u32,
            probability: 0.0,
            scale: 1.0,
            tokens: 0,
            channels: 0,
            spatial: 0,
            relu: 0,
        })
    }
}

/// Elements that a thread computes: a block of the stream.
const ELEMENTS_PER_THREAD: usize = 4;

fn launch(name: &str, dtype: DType, params: &RandomParams) -> Result<Launch> {
    let threads = (params.count as usize).div_ceil(ELEMENTS_PER_THREAD);
    Ok(Launch::new(Source::Random, format!("{name}_{}", dtype_name(dtype)?), params).at_least(threads))
}

/// Dropout: sets elements to zero at random and scales the survivors by `1 / (1 - probability)`. Differentiable in `x`.
#[derive(Debug, Clone, Copy)]
pub struct Dropout<'a> {
    /// The input, of any shape.
    pub x: &'a Tensor,
    /// The probability of zero, in `[0, 1)`.
    pub probability: f32,
    /// The stream that decides which elements are zero.
    pub stream: PhiloxStream,
}

impl Dropout<'_> {
    /// Returns the output, of the shape of `x`.
    ///
    /// # Errors
    /// Returns candle's error if the dtype has no kernel or the device fails.
    pub fn run(&self) -> Result<Tensor> {
        let operation = DropoutOperation { probability: self.probability, stream: self.stream };
        self.x.contiguous()?.apply_op1(operation)
    }
}

struct DropoutOperation {
    probability: f32,
    stream: PhiloxStream,
}

impl DropoutOperation {
    fn forward(&self, [x]: [&Layout; 1], dtype: DType) -> Result<(Launch, Shape)> {
        let params = RandomParams {
            probability: self.probability,
            scale: 1.0 / (1.0 - self.probability),
            ..self.stream.params(x.shape().elem_count())?
        };
        Ok((launch(DROPOUT, dtype, &params)?, x.shape().clone()))
    }
}

impl CustomOp1 for DropoutOperation {
    fn name(&self) -> &'static str {
        "dropout"
    }

    forward_passes!(x x_layout);

    fn bwd(&self, _x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dropout = Dropout { x: dy, probability: self.probability, stream: self.stream };
        dropout.run().map(Some)
    }
}

/// The part of a linear layer after its product, in place: `y = dropout(relu(y + bias))`, or `y = x + dropout(y + bias)`. All tensors
/// are f32 and contiguous. Not differentiable; [`Activation::gradient`] computes the gradient.
#[derive(Debug, Clone, Copy)]
pub struct Activation<'a> {
    /// The bias, `[channels]`.
    pub bias: &'a Tensor,
    /// True for ReLU after the bias.
    pub relu: bool,
    /// The probability and the stream of a dropout after it.
    pub dropout: Option<(f32, PhiloxStream)>,
    /// A tensor to add after the dropout, of the shape of `y`.
    pub x: Option<&'a Tensor>,
}

impl Activation<'_> {
    /// Changes `y`, `[.., channels]`.
    ///
    /// # Errors
    /// Returns candle's error if the shapes do not fit, a dtype has no kernel, or the device fails.
    pub fn run(&self, y: &Tensor) -> Result<()> {
        let channels = y.dim(D::Minus1)?;
        if self.bias.dims() != [channels] || self.x.is_some_and(|x| x.dims() != y.dims() || self.relu) {
            let x = self.x.map(Tensor::dims);
            candle_core::bail!(
                "activation of {:?}, ReLU {}: bias {:?}, x {x:?}",
                y.dims(),
                self.relu,
                self.bias.dims()
            );
        }
        let (probability, stream) = self.dropout.unwrap_or((0.0, PhiloxStream { seed: 0, stream: 0 }));
        let params = RandomParams {
            probability,
            scale: 1.0 / (1.0 - probability),
            channels: size(channels)?,
            relu: u32::from(self.relu),
            ..stream.params(y.elem_count())?
        };
        let name = if self.x.is_some() { ADD_ACTIVATED } else { ACTIVATE };
        let tensors: Vec<&Tensor> = [Some(self.bias), self.x, Some(y)].into_iter().flatten().collect();
        for tensor in &tensors {
            check_dtype("an activation", tensor, DType::F32)?;
        }
        on_tensors(&launch(name, DType::F32, &params)?.changes(1), &tensors, &[])?;
        Ok(())
    }

    /// Changes the gradient `dy` of the result `y` of [`Self::run`] with ReLU to that before it. `probability` is that of the dropout.
    ///
    /// # Errors
    /// Returns candle's error if the shapes differ, a dtype has no kernel, or the device fails.
    pub fn gradient(y: &Tensor, dy: &Tensor, probability: f32) -> Result<()> {
        if y.dims() != dy.dims() {
            candle_core::bail!("activation of {:?} with a gradient of {:?}", y.dims(), dy.dims());
        }
        for tensor in [y, dy] {
            check_dtype("an activation's gradient", tensor, DType::F32)?;
        }
        let params =
            RandomParams { count: size(y.elem_count())?, scale: 1.0 / (1.0 - probability), ..Default::default() };
        let kernel = format!("{ACTIVATION_GRADIENT}_{}", dtype_name(DType::F32)?);
        let launch = Launch::new(Source::Random, kernel, &params).at_least(y.elem_count());
        on_tensors(&launch.changes(1), &[y, dy], &[])?;
        Ok(())
    }
}

/// Feature jitter `tokens + scale * sigma * eps`, with `eps` standard normal. Has no gradient.
#[derive(Debug, Clone, Copy)]
pub struct Jitter<'a> {
    /// The tokens, `[batch, tokens, channels]`.
    pub tokens: &'a Tensor,
    /// The standard deviation, f32: `[batch, 1, channels]` or `[batch, tokens, 1]`.
    pub sigma: &'a Tensor,
    /// The factor of the standard deviation.
    pub scale: f64,
    /// The stream of the normal numbers.
    pub stream: PhiloxStream,
}

impl Jitter<'_> {
    /// Returns the jittered tokens, of the shape and dtype of `tokens`.
    ///
    /// # Errors
    /// Returns candle's error if the shapes do not fit, a dtype has no kernel, or the device fails.
    pub fn run(&self) -> Result<Tensor> {
        let Self { tokens, sigma, scale, stream } = *self;
        let (batch, count, channels) = tokens.dims3()?;
        check_dtype("the standard deviation of feature jitter", sigma, DType::F32)?;
        let is_spatial = sigma.dims() == [batch, 1, channels];
        if !is_spatial && sigma.dims() != [batch, count, 1] {
            candle_core::bail!("feature jitter of tokens {:?} by sigma {:?}", tokens.dims(), sigma.dims());
        }
        let params = RandomParams {
            scale: scale as f32,
            tokens: size(count)?,
            channels: size(channels)?,
            spatial: u32::from(is_spatial),
            ..stream.params(tokens.elem_count())?
        };
        let launch = launch(JITTER, tokens.dtype(), &params)?;
        let output = Output { count: tokens.elem_count(), dtype: tokens.dtype() };
        let [jittered] = on_tensors_to(&launch, &[&tokens.contiguous()?, &sigma.contiguous()?], [output])?;
        jittered.reshape(tokens.shape())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::source::tests::assert_declares;

    #[test]
    fn parameters_match_the_kernel() {
        RandomParams::assert_matches(Source::Random);
    }

    #[test]
    fn words_follow_the_order_of_the_fields() {
        let stream = PhiloxStream { seed: 0x1_0000_0002, stream: 0x3_0000_0004 };
        let words = stream.params(7).unwrap().words();
        assert_eq!(words[..7], [7, 2, 1, 4, 3, 0.0f32.to_bits(), 1.0f32.to_bits()]);
    }

    #[test]
    fn kernels_exist() {
        let params = PhiloxStream { seed: 0, stream: 0 }.params(1).unwrap();
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for name in [DROPOUT, JITTER] {
                assert_declares(Source::Random, &launch(name, dtype, &params).unwrap().kernel);
            }
        }
        for name in [ACTIVATE, ADD_ACTIVATED, ACTIVATION_GRADIENT] {
            assert_declares(Source::Random, &launch(name, DType::F32, &params).unwrap().kernel);
        }
    }
}
