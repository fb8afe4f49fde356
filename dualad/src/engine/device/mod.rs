//! Training on a CUDA device: the loss of a batch and its gradient, step by step through the plan, without a graph.
//!
//! candle's graph sums each gradient into zeros that it fills first, and has a launch or more for every term. Here, gradients are
//! stored where they are first computed, products add to them, and the optimizer has one tensor of parameters. So a step has a third
//! of the launches (docs/gpu.md). Values stay on the device; the host reads nothing.
//!
//! - `values.rs`: the values of a pass and their gradients.
//! - `pass.rs`: the forward and the backward pass.
//!
//! The operations are those of [`crate::ops`], so the engine also runs on the CPU, where the tests compare it with candle's graph.

mod pass;
mod values;

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};

use crate::cdbn::{MEAN, STD, position_of_tokens};
use crate::config::DualAdConfig;
use crate::engine::device::pass::{Pass, Randomness};
use crate::engine::layout::ParameterLayout;
use crate::engine::plan::{Plan, Step};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::pseudo_anomaly::pseudo_anomaly;
use crate::random::Stream;
use crate::{DualAd, Random};

/// The parameters of a network in one tensor on its device, and the gradient of the last batch.
#[derive(Debug)]
pub(crate) struct DeviceEngine {
    config: DualAdConfig,
    layout: ParameterLayout,
    plan: Plan,
    /// All trained parameters, `[length]` in f32. The optimizer changes them in place.
    pub(crate) parameters: Var,
    /// The gradient of the loss with respect to the parameters, `[length]`.
    pub(crate) gradient: Tensor,
    /// The parameters that are not trained.
    constants: BTreeMap<String, Tensor>,
    /// The share of the readout in a memory's output: query + share * (readout - query).
    memory_share: f64,
    /// The factors of the last batch: see [`Factors`].
    factors: Option<Factors>,
}

/// The random streams of a step.
#[derive(Debug)]
pub(crate) struct Draws {
    jitter: Option<Stream>,
    /// One for each of the plan's dropouts.
    dropouts: Vec<Stream>,
}

/// Tensors that depend on the batch size only.
#[derive(Debug, Clone)]
struct Factors {
    /// The images that this engine computes, and those of the whole batch.
    images: [usize; 2],
    /// Ones, `[1, batch * tokens]`: a product with them sums rows.
    ones: Tensor,
    /// The derivative of the loss by an error is this factor of its channel times the error, `[channels]`.
    loss: Tensor,
}

impl DeviceEngine {
    /// Returns `true` if this engine can train such a network.
    pub(crate) fn can_train(config: &DualAdConfig) -> bool {
        Plan::can_train(config)
    }

    /// Copies the parameters of a network to one tensor on its device.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration describes no network, [`Error::Parameter`] if a parameter is missing,
    /// [`Error::Candle`] if the device fails.
    pub(crate) fn new(network: &DualAd) -> Result<Self> {
        let (config, device) = (network.config().clone(), network.device());
        let layout = ParameterLayout::new(&config)?;
        let plan = Plan::new(&config, &layout)?;
        let parameters = Var::from_vec(layout.flatten(network.parameters())?, layout.length, &device)?;
        let gradient = Tensor::zeros(layout.length, DType::F32, &device)?;
        let constant = |(name, _): &(&String, &Tensor)| layout.offset(name).is_none();
        let constants = network.parameters().iter().filter(constant);
        let constants = constants.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        Ok(Self { config, plan, parameters, gradient, constants, memory_share: 1.0, factors: None, layout })
    }

    /// The configuration of the network.
    pub(crate) fn config(&self) -> &DualAdConfig {
        &self.config
    }

    /// The places of the parameters in [`Self::parameters`] and [`Self::gradient`].
    pub(crate) fn layout(&self) -> &ParameterLayout {
        &self.layout
    }

    /// Sets the temperature of the memory's softmax.
    ///
    /// # Errors
    /// [`Error::Config`] if it is out of range.
    pub(crate) fn set_memory_temperature(&mut self, temperature: f64) -> Result<()> {
        let config = DualAdConfig { memory_temperature: temperature, ..self.config.clone() };
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// The share of the readout in a memory's output.
    pub(crate) fn memory_share(&self) -> f64 {
        self.memory_share
    }

    /// Sets the share of the readout in a memory's output: query + share * (readout - query).
    pub(crate) fn set_memory_share(&mut self, share: f64) {
        self.memory_share = share.clamp(0.0, 1.0);
    }

    /// Returns a copy of every parameter by name, including those that are not trained. Later steps do not change it.
    ///
    /// # Errors
    /// [`Error::Candle`] if the device has no memory for the copy.
    pub(crate) fn all_parameters(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut parameters = self.layout.copies(self.parameters.as_tensor())?;
        parameters.extend(self.constants.iter().map(|(name, tensor)| (name.clone(), tensor.clone())));
        Ok(parameters)
    }

    /// Returns a network with a copy of the current parameters.
    ///
    /// # Errors
    /// Those of [`DualAd::from_parameters`].
    pub(crate) fn network(&self) -> Result<DualAd> {
        DualAd::from_parameters(self.config.clone(), self.all_parameters()?)
    }

    /// Draws the random streams of a step, in the order of the plain form.
    pub(crate) fn draw(&self, random: &mut Random) -> Draws {
        let jitter = self.config.jitter.map(|_| random.stream());
        Draws { jitter, dropouts: self.plan.dropouts.iter().map(|_| random.stream()).collect() }
    }

    /// Computes the loss of raw tokens `[images, tokens, channels]` (docs/method.md, section 5), a scalar on the device, and leaves its
    /// gradient in [`Self::gradient`]. They are a part of a batch of `batch` images: the losses and gradients of all parts add up to
    /// those of the batch. With `draws`, jitter and dropout are those of [`DualAd::reconstruct_jittered`]; without them, there is
    /// neither.
    ///
    /// # Errors
    /// [`Error::Candle`] if the shape does not fit or the device fails.
    pub(crate) fn loss_and_gradient(&mut self, tokens: &Tensor, batch: usize, draws: Option<Draws>) -> Result<Tensor> {
        let images = tokens.dim(0)?;
        let factors = self.factors([images, batch])?;
        let tokens = self.standardized(tokens)?;
        let (mut jittered, mut randomness) = (tokens.clone(), None);
        if let Some(Draws { jitter: stream, dropouts: streams }) = draws {
            if let (Some(jitter), Some(stream)) = (self.config.jitter, stream) {
                jittered = pseudo_anomaly(&tokens, jitter, stream)?;
            }
            randomness = Some(Randomness { probability: self.config.dropout as f32, streams });
        }
        let mut pass = self.pass(images, randomness)?;
        let reconstruction = pass.forward(&jittered)?;
        let rows = (images * self.config.tokens(), self.config.channels());
        let errors = (reconstruction - tokens.reshape(rows)?)?;
        // With e the errors and d the derivative of the loss by them, the loss is the sum of e d / 2.
        let derivative = errors.broadcast_mul(&factors.loss)?;
        let loss = ((errors * &derivative)?.sum(1)?.sum_all()? * 0.5)?;
        pass.backward(derivative, &factors.ones, &self.gradient)?;
        Ok(loss)
    }

    /// Returns the queries of each memory, `[batch * tokens, narrow_width]`, for raw tokens `[batch, tokens, channels]` without
    /// jitter and dropout. The result is empty if the network has no memory.
    ///
    /// # Errors
    /// [`Error::Candle`] if the shape does not fit or the device fails.
    pub(crate) fn memory_queries(&self, tokens: &Tensor) -> Result<Vec<Vec<f32>>> {
        let mut pass = self.pass(tokens.dim(0)?, None)?;
        pass.forward(&self.standardized(tokens)?)?;
        let memories = self.plan.steps.iter().filter_map(|step| match step {
            Step::Memory(memory) => Some(memory.x.view),
            _ => None,
        });
        memories.map(|view| Ok(pass.value(view)?.flatten_all()?.to_vec1()?)).collect()
    }

    /// Subtracts the channels' mean and divides by their standard deviation, if the network standardizes its features.
    fn standardized(&self, tokens: &Tensor) -> candle_core::Result<Tensor> {
        match (self.constants.get(MEAN), self.constants.get(STD)) {
            (Some(mean), Some(std)) => tokens.broadcast_sub(mean)?.broadcast_div(std),
            _ => Ok(tokens.clone()),
        }
    }

    /// Returns the factors of a number of images and of a batch. They are kept for the next step.
    fn factors(&mut self, images: [usize; 2]) -> candle_core::Result<Factors> {
        if let Some(factors) = self.factors.as_ref().filter(|factors| factors.images == images) {
            return Ok(factors.clone());
        }
        let [rows, batch_rows] = images.map(|images| images * self.config.tokens());
        let of_stage = |&channels: &usize| {
            let factor = 2.0 / (batch_rows * channels) as f64;
            std::iter::repeat_n(factor as f32, channels)
        };
        let loss: Vec<f32> = self.config.stage_channels.iter().flat_map(of_stage).collect();
        let device = self.parameters.device();
        let (channels, ones) = (loss.len(), Tensor::ones((1, rows), DType::F32, device)?);
        let factors = Factors { images, ones, loss: Tensor::from_vec(loss, channels, device)? };
        self.factors = Some(factors.clone());
        Ok(factors)
    }

    fn pass(&self, batch: usize, randomness: Option<Randomness>) -> candle_core::Result<Pass<'_>> {
        let parameters = self.parameters.as_tensor().detach();
        let position = match self.plan.position {
            Some(offsets) => {
                let (half, grid) = (self.config.narrow_width / 2, self.config.grid);
                let part =
                    |offset: usize, rows: usize| parameters.narrow(0, offset, rows * half)?.reshape((rows, half));
                Some(position_of_tokens(&part(offsets[0], grid[0])?, &part(offsets[1], grid[1])?)?)
            }
            None => None,
        };
        Ok(Pass::new(&self.config, &self.plan, parameters, position, (batch, self.memory_share), randomness))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{base, cases, random_network, random_tokens};
    use crate::ops::testing::{assert_near, devices};
    use candle_core::Device;

    /// Every device against candle's graph on the CPU.
    #[test]
    fn devices_agree() {
        for device in devices() {
            if device.is_metal() {
                println!("skipped: this engine does not run on Metal devices");
                continue;
            }
            for (case, config) in cases().into_iter().enumerate() {
                let network = random_network(&config);
                let mut engine = DeviceEngine::new(&network.frozen(DType::F32, &device).unwrap()).unwrap();
                // The second batch reuses the buffers of another size.
                for (batch, share) in [(5, 1.0), (2, 0.0), (3, 0.4)] {
                    let network = network.clone().with_memory_share(share);
                    let tokens = random_tokens(&config, batch);
                    let (mut random, mut again) = (Random::new(4), Random::new(4));
                    let reconstruction = network.reconstruct_jittered(&tokens, &mut random).unwrap();
                    let loss = network.loss(&tokens, &reconstruction).unwrap();
                    let gradients = loss.backward().unwrap();
                    engine.set_memory_share(share);
                    let draws = engine.draw(&mut again);
                    let placed = tokens.to_device(&device).unwrap();
                    let found = engine.loss_and_gradient(&placed, batch, Some(draws)).unwrap();
                    assert_eq!(random, again, "case {case}: the same streams are drawn");
                    let [found, loss] = [&found, &loss].map(|loss| loss.to_scalar::<f32>().unwrap());
                    assert!((found - loss).abs() <= 1e-5 * loss, "{device:?}, case {case}: {found} {loss}");
                    let found = engine.gradient.to_device(&Device::Cpu).unwrap();
                    for (name, found) in engine.layout.copies(&found).unwrap() {
                        let what = format!("{device:?}, case {case}, {name}");
                        match gradients.get(&network.variables()[&name]) {
                            Some(expected) => assert_near(&found, expected, 1e-4, &what),
                            None => assert_eq!(found.max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0, "{what}"),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn copies_of_the_parameters_do_not_change_with_them() {
        let network = random_network(&DualAdConfig { standardize: true, ..base() });
        let engine = DeviceEngine::new(&network).unwrap();
        let before = engine.network().unwrap();
        assert_eq!(before.config(), network.config());
        engine.parameters.set(&engine.parameters.zeros_like().unwrap()).unwrap();
        for (name, tensor) in network.parameters() {
            assert_near(&before.parameters()[name], tensor, 0.0, name);
        }
        let after = engine.network().unwrap();
        assert_eq!(
            after.parameters()["in_proj.0.weight"].abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(),
            0.0
        );
    }

    #[test]
    fn memory_queries_are_those_of_the_plain_form() {
        let network = random_network(&base());
        let engine = DeviceEngine::new(&network).unwrap();
        let tokens = random_tokens(&base(), 4);
        let expected = network.levels_before_memory(&tokens).unwrap();
        let found = engine.memory_queries(&tokens).unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.into_iter().zip(&expected) {
            let found = Tensor::from_vec(found, expected.shape(), &Device::Cpu).unwrap();
            assert_near(&found, &expected.detach(), 1e-5, "queries");
        }
    }
}
