//! A training step on the CPU without a graph: the loss and gradient of [`crate::engine`], and AdamW on one flat vector.

use candle_core::Tensor;
use dualad_kernels::{adamw, are_finite, sum_squares};
use rayon::prelude::*;

use crate::engine::TrainingEngine;
use crate::error::{Error, Result};
use crate::recipe::AdamWConfig;
use crate::train::AdamWState;
use crate::train::step::{StepReport, Stepper, StepperState, check_tokens};
use crate::train::step_constants::StepConstants;
use crate::{DualAd, DualAdConfig, Random};

/// The number of parameters of an optimizer task. It determines the order of summation of the norm.
const CHUNK: usize = 1 << 15;

/// A fast stepper for the networks that [`Self::covers`].
#[derive(Debug)]
pub(crate) struct CpuStepper {
    network: TrainingEngine,
    optimizer: AdamWConfig,
    first_moment: Vec<f32>,
    second_moment: Vec<f32>,
    steps: u64,
}

impl CpuStepper {
    /// Returns whether this stepper can train a network of the configuration.
    pub(crate) fn covers(config: &DualAdConfig) -> bool {
        TrainingEngine::can_train(config)
    }

    /// Returns a stepper that trains a copy of the network.
    ///
    /// # Errors
    /// [`Error::Config`] if a constant of the optimizer is out of its range, [`Error::Candle`] if the parameters cannot be read.
    pub(crate) fn new(network: &DualAd, optimizer: AdamWConfig) -> Result<Self> {
        optimizer.validate()?;
        let network = TrainingEngine::new(network)?;
        let moments = || vec![0.0; network.parameters.len()];
        Ok(Self { first_moment: moments(), second_moment: moments(), steps: 0, optimizer, network })
    }
}

impl Stepper for CpuStepper {
    fn step(&mut self, tokens: &Tensor, random: &mut Random) -> Result<StepReport> {
        let refuse = |reason: String| Error::Training { step: self.steps + 1, reason };
        check_tokens(self.network.config(), tokens)?;
        let tokens = tokens.to_device(&candle_core::Device::Cpu)?.contiguous()?;
        let loss = crate::ops::with_values([&tokens], "training step", |[values]| {
            // ReLU and the memory would turn NaN into finite values.
            if !are_finite(values) {
                return Ok(Err(Error::tokens_not_finite()));
            }
            Ok(self.network.loss_and_gradient(values, Some(random)))
        })??;
        if !loss.is_finite() {
            return Err(refuse(format!(
                "the loss is {loss}; check the scale of the features, and lower the learning rate or the clipping norm"
            )));
        }
        let squares: Vec<f64> = self.network.gradient.par_chunks(CHUNK).map(sum_squares).collect();
        let norm = squares.iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(refuse(
                "the gradient's norm is not finite; check the loss, the scale of the features and the learning rate"
                    .into(),
            ));
        }
        self.steps += 1;
        let step = StepConstants::new(&self.optimizer, self.steps, norm).for_cpu();
        let network = &mut self.network;
        let chunks = network.parameters.par_chunks_mut(CHUNK).zip(network.gradient.par_chunks(CHUNK));
        let moments = self.first_moment.par_chunks_mut(CHUNK).zip(self.second_moment.par_chunks_mut(CHUNK));
        chunks.zip(moments).for_each(|((parameters, gradient), (first_moment, second_moment))| {
            adamw(&step, parameters, gradient, first_moment, second_moment);
        });
        Ok(StepReport { loss, gradient_norm: norm })
    }

    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let optimizer = AdamWConfig { learning_rate, ..self.optimizer };
        optimizer.validate()?;
        self.optimizer = optimizer;
        Ok(())
    }

    fn set_memory_temperature(&mut self, temperature: f64) -> Result<()> {
        self.network.set_memory_temperature(temperature)
    }

    fn set_memory_share(&mut self, share: f64) -> Result<()> {
        self.network.set_memory_share(share);
        Ok(())
    }

    fn memory_queries(&mut self, tokens: &Tensor) -> Result<Vec<Vec<f32>>> {
        let values: Vec<f32> = tokens.flatten_all()?.to_vec1()?;
        Ok(self.network.memory_queries(&values))
    }

    fn state(&self) -> Result<StepperState> {
        Ok(StepperState {
            parameters: self.network.all_parameters()?,
            optimizer: AdamWState {
                steps: self.steps,
                first_moment: self.network.named(&self.first_moment)?,
                second_moment: self.network.named(&self.second_moment)?,
            },
        })
    }

    fn restore(&mut self, state: &StepperState) -> Result<()> {
        let config = self.network.config().clone();
        // Checks names, shapes and dtypes, and copies the statistics of the standardization.
        let network = TrainingEngine::new(&DualAd::from_parameters(config, state.parameters.clone())?)?;
        let AdamWState { steps, first_moment, second_moment } = &state.optimizer;
        network.check_names(first_moment)?;
        network.check_names(second_moment)?;
        let (first_moment, second_moment) = (network.flatten(first_moment)?, network.flatten(second_moment)?);
        (self.network, self.first_moment, self.second_moment, self.steps) =
            (network, first_moment, second_moment, *steps);
        Ok(())
    }

    fn network(&self) -> Result<DualAd> {
        self.network.network()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{bits, small, tokens};
    use crate::train::step::PlainStepper;
    use candle_core::{DType, Device};

    fn steppers(seed: u64, optimizer: AdamWConfig) -> (PlainStepper, CpuStepper) {
        let config = small();
        let (mean, std) = (vec![0.5; config.channels()], vec![2.0; config.channels()]);
        let network = DualAd::new(config, &Random::new(seed), &Device::Cpu).unwrap();
        let network = network.with_standardization(&mean, &std).unwrap();
        (PlainStepper::new(&network, optimizer).unwrap(), CpuStepper::new(&network, optimizer).unwrap())
    }

    #[test]
    fn steps_equal_those_of_the_plain_stepper() {
        // With a small epsilon, the sign of a gradient of pure rounding error would determine a step.
        let optimizer = AdamWConfig { learning_rate: 1e-2, eps: 1e-3, weight_decay: 0.1, ..AdamWConfig::default() };
        let (mut plain, mut fast) = steppers(0, optimizer);
        let (mut random, mut again) = (Random::new(7), Random::new(7));
        for step in 0..5 {
            if step == 3 {
                for stepper in [&mut plain as &mut dyn Stepper, &mut fast] {
                    stepper.set_learning_rate(3e-3).unwrap();
                    stepper.set_memory_temperature(0.25).unwrap();
                }
            }
            let tokens = tokens(&small(), 3, step);
            let plain = plain.step(&tokens, &mut random).unwrap();
            let fast = fast.step(&tokens, &mut again).unwrap();
            assert!((plain.loss - fast.loss).abs() <= 1e-5 * plain.loss, "{step}: {plain:?} {fast:?}");
            let error = (plain.gradient_norm - fast.gradient_norm).abs();
            assert!(error <= 1e-4 * plain.gradient_norm, "{step}: {plain:?} {fast:?}");
        }
        let (plain, fast) = (plain.state().unwrap(), fast.state().unwrap());
        assert_eq!(plain.optimizer.steps, fast.optimizer.steps);
        for (what, plain, fast) in [
            ("parameter", &plain.parameters, &fast.parameters),
            ("first moment", &plain.optimizer.first_moment, &fast.optimizer.first_moment),
            ("second moment", &plain.optimizer.second_moment, &fast.optimizer.second_moment),
        ] {
            assert!(plain.keys().eq(fast.keys()), "{what}");
            for (name, plain) in plain {
                let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let (plain, fast) = (values(plain), values(&fast[name]));
                let largest = plain.iter().fold(1e-4f32, |largest, x| largest.max(x.abs()));
                for (plain, fast) in plain.iter().zip(&fast) {
                    assert!((plain - fast).abs() <= 1e-3 * largest, "{what} {name}: {plain} {fast}");
                }
            }
        }
    }

    #[test]
    fn a_restored_state_continues_with_the_same_bits() {
        let batches: Vec<Tensor> = (0..6).map(|seed| tokens(&small(), 3, seed)).collect();
        let (mut whole, mut random) = (steppers(0, AdamWConfig::default()).1, Random::new(7));
        for batch in &batches[..3] {
            whole.step(batch, &mut random).unwrap();
        }
        let (state, random_state) = (whole.state().unwrap(), random.clone());
        let run = |stepper: &mut CpuStepper, mut random: Random| {
            let reports: Vec<_> = batches[3..].iter().map(|batch| stepper.step(batch, &mut random).unwrap()).collect();
            (reports, stepper.state().unwrap())
        };
        let (reports, last) = run(&mut whole, random);
        // A network of another seed: the restore must replace all of it.
        let mut resumed = steppers(1, AdamWConfig::default()).1;
        resumed.restore(&state).unwrap();
        let (resumed_reports, resumed_last) = run(&mut resumed, random_state);
        assert_eq!(reports, resumed_reports);
        assert_eq!(bits(&last.parameters), bits(&resumed_last.parameters));
        assert_eq!(bits(&last.optimizer.second_moment), bits(&resumed_last.optimizer.second_moment));
        let mut broken = state.clone();
        broken.optimizer.first_moment.remove("in_proj.0.weight");
        assert!(resumed.restore(&broken).unwrap_err().to_string().contains("in_proj.0.weight"));
        let mut broken: StepperState = state;
        broken.optimizer.second_moment.insert("nothing".into(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
        assert!(resumed.restore(&broken).unwrap_err().to_string().contains("nothing"));
    }

    #[test]
    fn tokens_that_are_refused_change_nothing() {
        let (_, mut fast) = steppers(0, AdamWConfig::default());
        let before = fast.state().unwrap();
        let config = small();
        let shape = (1, config.tokens(), config.channels());
        for value in [f32::NAN, f32::INFINITY, 1e30] {
            let tokens = Tensor::full(value, shape, &Device::Cpu).unwrap();
            // Constant tokens get no noise: vary them.
            let varied = (tokens * tokens_like(&shape)).unwrap();
            assert!(fast.step(&varied, &mut Random::new(0)).is_err(), "{value}");
        }
        assert!(fast.step(&Tensor::zeros((1, 3, 7), DType::F32, &Device::Cpu).unwrap(), &mut Random::new(0)).is_err());
        let after: BTreeMap<_, _> = fast.state().unwrap().parameters;
        assert_eq!(bits(&before.parameters), bits(&after));
        assert_eq!(fast.state().unwrap().optimizer.steps, 0);
    }

    fn tokens_like(&(batch, ..): &(usize, usize, usize)) -> Tensor {
        tokens(&small(), batch, 5)
    }
}
