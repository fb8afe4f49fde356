//! A training step on a CUDA device without a graph: the loss and gradient of [`DeviceEngine`], and AdamW on one tensor.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use crate::engine::DeviceEngine;
use crate::error::Result;
use crate::recipe::{AdamWConfig, Precision};
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
    engine: DeviceEngine,
    optimizer: AdamW,
    /// The precision of the products.
    precision: Precision,
}

impl DeviceStepper {
    /// Returns whether this stepper can train a network of the configuration in a precision.
    pub(crate) fn covers(config: &DualAdConfig, precision: Precision) -> bool {
        let width = config.narrow_width / config.heads.max(1);
        precision != Precision::Bf16 && width <= dualad_gpu::MAX_HEAD_WIDTH && DeviceEngine::can_train(config)
    }

    /// Returns a stepper that trains a copy of the network.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if a constant of the optimizer is out of its range, [`crate::Error::Candle`] if the device fails.
    pub(crate) fn new(network: &DualAd, config: AdamWConfig, precision: Precision) -> Result<Self> {
        let engine = DeviceEngine::new(network)?;
        let optimizer = optimizer(&engine.parameters, config)?;
        Ok(Self { engine, optimizer, precision })
    }
}

fn optimizer(parameters: &Var, config: AdamWConfig) -> Result<AdamW> {
    AdamW::new(&BTreeMap::from([(ALL.to_owned(), parameters.clone())]), config)
}

impl Stepper for DeviceStepper {
    fn step(&mut self, tokens: &Tensor, random: &mut Random) -> Result<StepReport> {
        check_tokens(self.engine.config(), tokens)?;
        let _tf32 = Tf32::for_precision(self.precision);
        let tokens = tokens.to_device(self.engine.parameters.device())?;
        let loss = self.engine.loss_and_gradient(&tokens, Some(random))?;
        self.optimizer.step_with_loss(&loss, |_| Some(&self.engine.gradient))
    }

    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        self.optimizer.set_learning_rate(learning_rate)
    }

    fn set_memory_temperature(&mut self, temperature: f64) -> Result<()> {
        self.engine.set_memory_temperature(temperature)
    }

    fn set_memory_share(&mut self, share: f64) -> Result<()> {
        self.engine.set_memory_share(share);
        Ok(())
    }

    fn memory_queries(&mut self, tokens: &Tensor) -> Result<Vec<Vec<f32>>> {
        self.engine.memory_queries(&tokens.to_device(self.engine.parameters.device())?)
    }

    fn state(&self) -> Result<StepperState> {
        let AdamWState { steps, first_moment, second_moment } = self.optimizer.state()?;
        // The optimizer's state is a copy; its parts share the copy's memory.
        let named = |moments: &BTreeMap<String, Tensor>| match moments.get(ALL) {
            Some(flat) => Ok(self.engine.layout().views(flat)?),
            None => Ok::<_, crate::Error>(BTreeMap::new()),
        };
        let optimizer =
            AdamWState { steps, first_moment: named(&first_moment)?, second_moment: named(&second_moment)? };
        Ok(StepperState { parameters: self.engine.all_parameters()?, optimizer })
    }

    fn restore(&mut self, state: &StepperState) -> Result<()> {
        let device = self.engine.parameters.device().clone();
        let placed = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.to_device(&device)?));
        let parameters = state.parameters.iter().map(placed).collect::<candle_core::Result<_>>()?;
        // Checks names, shapes and dtypes.
        let network = DualAd::from_parameters(self.engine.config().clone(), parameters)?;
        let mut engine = DeviceEngine::new(&network)?;
        engine.set_memory_share(self.engine.memory_share());
        let mut optimizer = optimizer(&engine.parameters, *self.optimizer.config())?;
        let AdamWState { steps, first_moment, second_moment } = &state.optimizer;
        let flat = |moments: &BTreeMap<String, Tensor>| {
            engine.layout().check_names(moments)?;
            let flat = Tensor::from_vec(engine.layout().flatten(moments)?, engine.layout().length, &device)?;
            Ok::<_, crate::Error>(BTreeMap::from([(ALL.to_owned(), flat)]))
        };
        let moments =
            AdamWState { steps: *steps, first_moment: flat(first_moment)?, second_moment: flat(second_moment)? };
        optimizer.restore(&moments)?;
        (self.engine, self.optimizer) = (engine, optimizer);
        Ok(())
    }

    fn network(&self) -> Result<DualAd> {
        self.engine.network()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{base, cases, random_network, random_tokens};
    use crate::ops::testing::{assert_near, devices};
    use crate::testing::bits;
    use crate::train::step::PlainStepper;
    use candle_core::{DType, Device};

    fn config() -> AdamWConfig {
        // With a small epsilon, the sign of a gradient of pure rounding error would determine a step.
        AdamWConfig { learning_rate: 1e-2, eps: 1e-3, weight_decay: 0.1, ..AdamWConfig::default() }
    }

    fn on(device: &Device) -> DeviceStepper {
        let network = random_network(&base()).frozen(DType::F32, device).unwrap();
        DeviceStepper::new(&network, config(), Precision::F32).unwrap()
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
