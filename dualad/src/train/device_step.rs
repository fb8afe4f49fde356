//! A training step on CUDA devices without a graph: the loss and gradient of [`DeviceEngine`], and AdamW on one tensor.
//!
//! On several devices, each has all parameters and computes a part of the batch. All take the same step on the sum of the gradients.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::device_name::of_device;
use crate::engine::{DeviceEngine, Draws};
use crate::error::{Error, Result};
use crate::recipe::{AdamWConfig, Precision};
use crate::train::exchange::Exchange;
use crate::train::step::{StepReport, Stepper, StepperState, check_tokens};
use crate::train::tf32::Tf32;
use crate::train::{AdamW, AdamWState};
use crate::{DualAd, DualAdConfig, Random};

/// The name of the optimizer's one variable.
const ALL: &str = "all parameters";

/// A stepper with a third of the launches of [`crate::train::step::PlainStepper`], for the networks and precisions that it
/// [covers](Self::covers).
#[derive(Debug)]
pub(crate) struct DeviceStepper {
    first: Replica,
    /// Those on further devices.
    others: Vec<Replica>,
    exchange: Exchange,
    /// The precision of the products.
    precision: Precision,
    /// True once only some of the devices may have taken a step.
    apart: bool,
}

/// The network and the optimizer on one device.
#[derive(Debug)]
struct Replica {
    engine: DeviceEngine,
    optimizer: AdamW,
}

/// A device's part of a batch.
struct Part {
    /// The tokens of its images, if it has any.
    tokens: Option<(Tensor, Draws)>,
    /// The images of the whole batch.
    batch: usize,
}

impl DeviceStepper {
    /// Returns whether this stepper can train a network of the configuration in a precision.
    pub(crate) fn covers(config: &DualAdConfig, precision: Precision) -> bool {
        let width = config.narrow_width / config.heads.max(1);
        precision != Precision::Bf16 && width <= dualad_gpu::MAX_HEAD_WIDTH && DeviceEngine::can_train(config)
    }

    /// Returns a stepper that trains a copy of the network on its device and on these others.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if a constant of the optimizer is out of its range, [`crate::Error::Candle`] or
    /// [`crate::Error::Replica`] if a device fails.
    pub(crate) fn new(network: &DualAd, config: AdamWConfig, precision: Precision, others: &[Device]) -> Result<Self> {
        let on = |device: &Device| {
            let replica = network.frozen(DType::F32, device).and_then(|network| Replica::new(&network, config));
            replica.map_err(|error| of_device(device, error))
        };
        let devices: Vec<Device> = std::iter::once(network.device()).chain(others.iter().cloned()).collect();
        let others = others.iter().map(on).collect::<Result<Vec<_>>>()?;
        let first = Replica::new(network, config)?;
        Ok(Self { first, others, exchange: Exchange::between(&devices)?, precision, apart: false })
    }

    fn replicas(&mut self) -> impl Iterator<Item = &mut Replica> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// Divides a batch evenly. Each part draws its random streams after those of the part before.
    fn parts(&self, tokens: &Tensor, random: &mut Random) -> Result<Vec<Part>> {
        let (batch, devices) = (tokens.dim(0)?, 1 + self.others.len());
        let mut start = 0;
        let part = |(index, replica): (usize, &Replica)| {
            let images = batch / devices + usize::from(index < batch % devices);
            let tokens = match images {
                0 => None,
                _ => {
                    let part = tokens.narrow(0, start, images)?;
                    // candle copies the whole memory of a tensor from one device to another.
                    let part = if images < batch { part.force_contiguous()? } else { part };
                    Some((part, replica.engine.draw(random)))
                }
            };
            start += images;
            Ok(Part { tokens, batch })
        };
        std::iter::once(&self.first).chain(&self.others).enumerate().map(part).collect()
    }
}

impl Replica {
    fn new(network: &DualAd, config: AdamWConfig) -> Result<Self> {
        let engine = DeviceEngine::new(network)?;
        let optimizer = optimizer(&engine.parameters, config)?;
        Ok(Self { engine, optimizer })
    }

    /// Returns the loss and the gradient of a part, on the device.
    fn gradient(&mut self, part: Part) -> Result<[Tensor; 2]> {
        let Some((tokens, draws)) = part.tokens else {
            let zero = Tensor::zeros((), DType::F32, self.engine.parameters.device())?;
            return Ok([zero, self.engine.gradient.zeros_like()?]);
        };
        let tokens = tokens.to_device(self.engine.parameters.device())?;
        let loss = self.engine.loss_and_gradient(&tokens, part.batch, Some(draws))?;
        Ok([loss, self.engine.gradient.clone()])
    }

    fn step(&mut self, [loss, gradient]: &[Tensor; 2]) -> Result<StepReport> {
        self.optimizer.step_with_loss(loss, |_| Some(gradient))
    }
}

fn optimizer(parameters: &Var, config: AdamWConfig) -> Result<AdamW> {
    AdamW::new(&BTreeMap::from([(ALL.to_owned(), parameters.clone())]), config)
}

/// Calls `work` for each replica on a thread of its own, the first on the caller's. Returns the results in order, or the first error.
fn on_each<I: Send, R: Send>(
    stepper: &mut DeviceStepper,
    inputs: Vec<I>,
    work: impl Fn(&mut Replica, I) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let several = !stepper.others.is_empty();
    let work = |replica: &mut Replica, input| {
        let device = replica.engine.parameters.device().clone();
        work(replica, input).map_err(|error| if several { of_device(&device, error) } else { error })
    };
    let results = std::thread::scope(|scope| {
        let mut replicas = stepper.replicas().zip(inputs);
        let Some((first, input)) = replicas.next() else { return Vec::new() };
        let others: Vec<_> = replicas.map(|(replica, input)| scope.spawn(|| work(replica, input))).collect();
        let first = work(first, input);
        let others =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(first).chain(others).collect()
    });
    results.into_iter().collect()
}

impl Stepper for DeviceStepper {
    fn step(&mut self, tokens: &Tensor, random: &mut Random) -> Result<StepReport> {
        check_tokens(self.first.engine.config(), tokens)?;
        if self.apart {
            let reason = "a device failed in an earlier step; continue from the checkpoint".into();
            return Err(Error::Training { step: self.first.optimizer.steps() + 1, reason });
        }
        let _tf32 = Tf32::for_precision(self.precision);
        let parts = self.parts(tokens, random)?;
        let parts = on_each(self, parts, Replica::gradient)?;
        if self.others.is_empty() {
            return self.first.step(&parts[0]);
        }
        let (losses, gradients): (Vec<Tensor>, Vec<Tensor>) = parts.into_iter().map(Into::into).unzip();
        let (loss_sums, gradient_sums) = (self.exchange.sum(&losses)?, self.exchange.sum(&gradients)?);
        let sums: Vec<[Tensor; 2]> = loss_sums.into_iter().zip(gradient_sums).map(Into::into).collect();
        // All devices have the same sums, so all refuse them or none does. Any other error may come from one device alone.
        let reports = on_each(self, sums.iter().collect(), |replica, sums| replica.step(sums));
        self.apart = matches!(&reports, Err(error) if !matches!(error, Error::Training { .. }));
        Ok(reports?[0])
    }

    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        self.replicas().try_for_each(|replica| replica.optimizer.set_learning_rate(learning_rate))
    }

    fn set_memory_temperature(&mut self, temperature: f64) -> Result<()> {
        self.replicas().try_for_each(|replica| replica.engine.set_memory_temperature(temperature))
    }

    fn set_memory_share(&mut self, share: f64) -> Result<()> {
        self.replicas().for_each(|replica| replica.engine.set_memory_share(share));
        Ok(())
    }

    fn memory_queries(&mut self, tokens: &Tensor) -> Result<Vec<Vec<f32>>> {
        let engine = &self.first.engine;
        engine.memory_queries(&tokens.to_device(engine.parameters.device())?)
    }

    fn state(&self) -> Result<StepperState> {
        let Replica { engine, optimizer } = &self.first;
        let AdamWState { steps, first_moment, second_moment } = optimizer.state()?;
        let named = |moments: &BTreeMap<String, Tensor>| match moments.get(ALL) {
            Some(flat) => engine.layout().copies(flat),
            None => Ok(BTreeMap::new()),
        };
        let optimizer =
            AdamWState { steps, first_moment: named(&first_moment)?, second_moment: named(&second_moment)? };
        Ok(StepperState { parameters: engine.all_parameters()?, optimizer })
    }

    fn restore(&mut self, state: &StepperState) -> Result<()> {
        // All are made before the first is replaced: an error changes nothing.
        let restored = self.replicas().map(|replica| replica.restored(state)).collect::<Result<Vec<_>>>()?;
        for (replica, restored) in self.replicas().zip(restored) {
            *replica = restored;
        }
        self.apart = false;
        Ok(())
    }

    fn network(&self) -> Result<DualAd> {
        self.first.engine.network()
    }
}

impl Replica {
    /// Returns a replica on the same device that has the state.
    fn restored(&self, state: &StepperState) -> Result<Self> {
        let device = self.engine.parameters.device();
        let placed = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.to_device(device)?));
        let parameters = state.parameters.iter().map(placed).collect::<candle_core::Result<_>>()?;
        // Checks names, shapes and dtypes.
        let network = DualAd::from_parameters(self.engine.config().clone(), parameters)?;
        let mut restored = Self::new(&network, *self.optimizer.config())?;
        restored.engine.set_memory_share(self.engine.memory_share());
        let AdamWState { steps, first_moment, second_moment } = &state.optimizer;
        let layout = restored.engine.layout();
        let flat = |moments: &BTreeMap<String, Tensor>| {
            layout.check_names(moments)?;
            let flat = Tensor::from_vec(layout.flatten(moments)?, layout.length, device)?;
            Ok::<_, Error>(BTreeMap::from([(ALL.to_owned(), flat)]))
        };
        let moments =
            AdamWState { steps: *steps, first_moment: flat(first_moment)?, second_moment: flat(second_moment)? };
        restored.optimizer.restore(&moments)?;
        Ok(restored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{base, cases, random_network, random_tokens};
    use crate::ops::testing::{assert_near, devices};
    use crate::testing::bits;
    use crate::train::step::PlainStepper;

    fn config() -> AdamWConfig {
        // With a small epsilon, the sign of a gradient of pure rounding error would determine a step.
        AdamWConfig { learning_rate: 1e-2, eps: 1e-3, weight_decay: 0.1, ..AdamWConfig::default() }
    }

    fn on(device: &Device) -> DeviceStepper {
        let network = random_network(&base()).frozen(DType::F32, device).unwrap();
        DeviceStepper::new(&network, config(), Precision::F32, &[]).unwrap()
    }

    /// Without noise and dropout, the number of devices changes the rounding only.
    #[test]
    fn several_devices_take_the_steps_of_one() {
        let quiet = DualAdConfig { jitter: None, dropout: 0.0, ..base() };
        for devices in [2, 3] {
            let stepper = |others: usize| {
                let others = vec![Device::Cpu; others];
                DeviceStepper::new(&random_network(&quiet), config(), Precision::F32, &others).unwrap()
            };
            let (mut one, mut several) = (stepper(0), stepper(devices - 1));
            // Batches that the devices divide unevenly, and one with fewer images than devices.
            for (step, batch) in [5, 2, 7].into_iter().enumerate() {
                let tokens = random_tokens(&quiet, batch);
                if step == 2 {
                    one.set_memory_share(0.5).unwrap();
                    several.set_memory_share(0.5).unwrap();
                }
                let one = one.step(&tokens, &mut Random::new(1)).unwrap();
                let several = several.step(&tokens, &mut Random::new(1)).unwrap();
                assert!((one.loss - several.loss).abs() <= 1e-5 * one.loss, "{one:?} {several:?}");
                assert!((one.gradient_norm - several.gradient_norm).abs() <= 1e-4 * one.gradient_norm);
            }
            let state = several.state().unwrap();
            for (name, parameter) in one.state().unwrap().parameters {
                assert_near(&state.parameters[&name], &parameter, 1e-3, &name);
            }
            // All replicas have the same bits, also after a state is restored.
            several.restore(&state).unwrap();
            several.step(&random_tokens(&quiet, 4), &mut Random::new(1)).unwrap();
            let all: Vec<Vec<f32>> =
                several.replicas().map(|replica| replica.engine.parameters.to_vec1().unwrap()).collect();
            assert!(all.iter().all(|parameters| *parameters == all[0]));
        }
    }

    /// The images of a batch that are on different devices get different noise, and the same seed gives the same bits.
    #[test]
    fn each_device_draws_its_own_streams() {
        let run = || {
            let mut stepper =
                DeviceStepper::new(&random_network(&base()), config(), Precision::F32, &[Device::Cpu]).unwrap();
            let (mut random, mut single) = (Random::new(3), Random::new(3));
            let report = stepper.step(&random_tokens(&base(), 4), &mut random).unwrap();
            on(&Device::Cpu).step(&random_tokens(&base(), 4), &mut single).unwrap();
            assert_ne!(random, single);
            (report, bits(&stepper.state().unwrap().parameters))
        };
        assert_eq!(run(), run());
    }

    /// Every device against the plain stepper on the CPU.
    #[test]
    fn devices_agree() {
        for device in devices().into_iter().filter(|device| !device.is_metal()) {
            let (mut plain, mut fast) = (PlainStepper::new(&random_network(&base()), config()).unwrap(), on(&device));
            let (mut random, mut again) = (Random::new(7), Random::new(7));
            for step in 0..5 {
                if step == 3 {
                    for stepper in [&mut plain as &mut dyn Stepper, &mut fast] {
                        stepper.set_learning_rate(3e-3).unwrap();
                        stepper.set_memory_temperature(0.25).unwrap();
                    }
                }
                let tokens = random_tokens(&base(), 3 + step);
                let plain = plain.step(&tokens, &mut random).unwrap();
                let fast = fast.step(&tokens, &mut again).unwrap();
                assert!((plain.loss - fast.loss).abs() <= 1e-5 * plain.loss, "{step}: {plain:?} {fast:?}");
                let error = (plain.gradient_norm - fast.gradient_norm).abs();
                assert!(error <= 1e-4 * plain.gradient_norm, "{step}: {plain:?} {fast:?}");
            }
            let (plain, fast) = (plain.state().unwrap(), fast.state().unwrap());
            assert_eq!(plain.optimizer.steps, fast.optimizer.steps);
            for (kind, plain, fast) in [
                ("parameter", &plain.parameters, &fast.parameters),
                ("first moment", &plain.optimizer.first_moment, &fast.optimizer.first_moment),
                ("second moment", &plain.optimizer.second_moment, &fast.optimizer.second_moment),
            ] {
                assert!(plain.keys().eq(fast.keys()), "{kind}");
                for (name, plain) in plain {
                    let fast = fast[name].to_device(&Device::Cpu).unwrap();
                    assert_near(&fast, plain, 1e-3, &format!("{device:?} {kind} {name}"));
                }
            }
        }
    }

    #[test]
    fn a_restored_state_continues_with_the_same_bits() {
        let batches: Vec<Tensor> = (0..6).map(|seed| crate::testing::tokens(&base(), 3, seed)).collect();
        let (mut whole, mut random) = (on(&Device::Cpu), Random::new(7));
        for batch in &batches[..3] {
            whole.step(batch, &mut random).unwrap();
        }
        let (state, random_state) = (whole.state().unwrap(), random.clone());
        let run = |stepper: &mut DeviceStepper, mut random: Random| {
            let reports: Vec<_> = batches[3..].iter().map(|batch| stepper.step(batch, &mut random).unwrap()).collect();
            (reports, stepper.state().unwrap())
        };
        let (reports, last) = run(&mut whole, random);
        let mut resumed = on(&Device::Cpu);
        resumed.restore(&state).unwrap();
        let (resumed_reports, resumed_last) = run(&mut resumed, random_state);
        assert_eq!(reports, resumed_reports);
        assert_eq!(bits(&last.parameters), bits(&resumed_last.parameters));
        assert_eq!(bits(&last.optimizer.second_moment), bits(&resumed_last.optimizer.second_moment));
        // The state is a copy.
        assert_ne!(bits(&state.parameters), bits(&last.parameters));
        let mut broken = state.clone();
        broken.optimizer.first_moment.remove("in_proj.0.weight");
        assert!(resumed.restore(&broken).unwrap_err().to_string().contains("in_proj.0.weight"));
        let mut broken: StepperState = state;
        broken.optimizer.second_moment.insert("nothing".into(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
        assert!(resumed.restore(&broken).unwrap_err().to_string().contains("nothing"));
    }

    /// candle copies the whole memory of a tensor from one device to another: a part of a large one would take all of it along.
    #[test]
    fn each_tensor_of_a_state_has_memory_of_its_own() {
        let stepper = on(&Device::Cpu);
        let (state, network) = (stepper.state().unwrap(), stepper.network().unwrap());
        let moments = state.optimizer.first_moment.iter().chain(&state.optimizer.second_moment);
        for (name, tensor) in state.parameters.iter().chain(moments).chain(network.parameters()) {
            let (storage, layout) = tensor.storage_and_layout();
            let candle_core::Storage::Cpu(candle_core::CpuStorage::F32(values)) = &*storage else { unreachable!() };
            assert_eq!((values.len(), layout.start_offset()), (tensor.elem_count(), 0), "{name}");
        }
    }

    /// A device that fails after another one has taken the step.
    #[test]
    fn no_step_follows_one_that_some_devices_did_not_take() {
        let others = [Device::Cpu];
        let mut stepper = DeviceStepper::new(&random_network(&base()), config(), Precision::F32, &others).unwrap();
        let (tokens, state) = (random_tokens(&base(), 4), stepper.state().unwrap());
        let mut random = Random::new(0);
        // Tokens that are refused leave the devices together.
        assert!(stepper.step(&(&tokens * f64::NAN).unwrap(), &mut random).is_err());
        stepper.step(&tokens, &mut random).unwrap();
        // The optimizer of the second device has lost the gradient's shape.
        let wrong = Var::zeros(3, DType::F32, &Device::Cpu).unwrap();
        stepper.others[0].optimizer = optimizer(&wrong, config()).unwrap();
        assert!(stepper.step(&tokens, &mut random).is_err());
        let error = stepper.step(&tokens, &mut random).unwrap_err().to_string();
        assert!(error.contains("continue from the checkpoint"), "{error}");
        stepper.restore(&state).unwrap();
        stepper.step(&tokens, &mut random).unwrap();
    }

    #[test]
    fn tokens_that_are_refused_change_nothing() {
        let mut fast = on(&Device::Cpu);
        let before = fast.state().unwrap();
        let tokens = random_tokens(&base(), 1);
        for scale in [f64::NAN, f64::INFINITY, 1e30] {
            assert!(fast.step(&(&tokens * scale).unwrap(), &mut Random::new(0)).is_err(), "{scale}");
        }
        assert!(fast.step(&Tensor::zeros((1, 3, 7), DType::F32, &Device::Cpu).unwrap(), &mut Random::new(0)).is_err());
        let after = fast.state().unwrap();
        assert_eq!(bits(&before.parameters), bits(&after.parameters));
        assert_eq!(after.optimizer.steps, 0);
    }

    #[test]
    fn it_covers_what_its_engine_can_train() {
        for config in cases() {
            assert!(DeviceStepper::covers(&config, Precision::F32) && DeviceStepper::covers(&config, Precision::Tf32));
            assert!(!DeviceStepper::covers(&config, Precision::Bf16));
        }
        let homogeneous = DualAdConfig { variant: crate::Variant::Homogeneous, ..base() };
        assert!(!DeviceStepper::covers(&homogeneous, Precision::F32));
        let wide = DualAdConfig { heads: 1, narrow_width: 402, ..base() };
        assert!(!DeviceStepper::covers(&wide, Precision::F32));
    }
}
