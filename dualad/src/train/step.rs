//! What takes a training step: noise, forward, loss, backward, optimiser.
//!
//! A [`Stepper`] is all that the trainer knows of a network while it learns. [`PlainStepper`] is candle's autograd with
//! [`AdamW`]; a faster one must give the same losses, gradients and parameters within rounding.

use std::collections::BTreeMap;
use std::fmt::Debug;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::recipe::AdamWConfig;
use crate::train::AdamW;
use crate::{DualAd, Random};

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StepReport {
    /// The loss before the step; finite.
    pub(crate) loss: f64,
    /// The gradients' global L2 norm before clipping; finite.
    pub(crate) gradient_norm: f64,
}

/// Everything that later steps depend on, but for the random state and what [`Stepper::set_learning_rate`] and
/// [`Stepper::set_memory_temperature`] set.
#[derive(Debug, Clone)]
pub(crate) struct StepperState {
    /// Every parameter of [`DualAd::parameters`], those that are not trained included. Copies.
    pub(crate) parameters: BTreeMap<String, Tensor>,
    /// The mean of gradients of every trained parameter.
    pub(crate) first_moment: BTreeMap<String, Tensor>,
    /// The mean of squared gradients of every trained parameter.
    pub(crate) second_moment: BTreeMap<String, Tensor>,
    /// Steps taken.
    pub(crate) steps: u64,
}

/// Takes training steps on a network of its own.
pub(crate) trait Stepper: Debug + Send {
    /// One step on raw tokens, `[batch, tokens, channels]` in f32. `random` gives the noise and the dropout; after a
    /// restore of [`StepperState`] and of `random` the same steps give the same bits.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::NotFinite`]; [`Error::Training`] if the loss or the gradients' norm is not
    /// finite. No parameter was changed then.
    fn step(&mut self, tokens: &Tensor, random: &mut Random) -> Result<StepReport>;

    /// The step size from the next step on.
    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()>;

    /// What the memory is read at from the next step on, and in [`Stepper::network`].
    fn set_memory_temperature(&mut self, temperature: f64) -> Result<()>;

    /// What the memory passes on from the next step on: 0 what it was asked, 1 (at the start, and in
    /// [`Stepper::network`]) what it read.
    fn set_memory_share(&mut self, share: f64) -> Result<()>;

    /// What each memory module would be asked about raw tokens `[batch, tokens, channels]`: `[batch * tokens, d]` each.
    fn memory_queries(&mut self, tokens: &Tensor) -> Result<Vec<Vec<f32>>>;

    /// A copy of the state.
    fn state(&self) -> Result<StepperState>;

    /// Goes on from a state, which must be that of a network of the same configuration.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first tensor that is missing, too many, or of another shape or dtype.
    fn restore(&mut self, state: &StepperState) -> Result<()>;

    /// The network as it stands, frozen: later steps do not change it.
    fn network(&self) -> Result<DualAd>;
}

/// candle's autograd and [`AdamW`], on any device.
#[derive(Debug)]
pub(crate) struct PlainStepper {
    network: DualAd,
    optimizer: AdamW,
    device: Device,
    memory_share: f64,
    /// What the network computes in; its variables, the loss and the optimiser are f32.
    dtype: DType,
}

impl PlainStepper {
    /// Trains a copy of the network.
    pub(crate) fn new(network: &DualAd, config: AdamWConfig) -> Result<Self> {
        let network = network.trainable()?;
        let device = network.parameters().values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        let optimizer = AdamW::new(network.variables(), config)?;
        Ok(Self { network, optimizer, device, memory_share: 1.0, dtype: DType::F32 })
    }

    /// Steps that compute in another dtype from here on.
    pub(crate) fn computing_in(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }
}

impl Stepper for PlainStepper {
    fn step(&mut self, tokens: &Tensor, random: &mut Random) -> Result<StepReport> {
        let tokens = tokens.to_device(&self.device)?;
        let reconstruction = if self.dtype == DType::F32 {
            self.network.reconstruct_jittered(&tokens, random)?
        } else {
            self.network.computing_in(self.dtype)?.reconstruct_jittered(&tokens, random)?
        };
        let loss = self.network.loss(&tokens, &reconstruction)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Err(Error::Training {
                step: self.optimizer.steps() + 1,
                reason: format!(
                    "the loss is {value}; look at the features' scale, and lower the learning rate or clip more"
                ),
            });
        }
        let gradient_norm = self.optimizer.step(&loss.backward()?)?;
        Ok(StepReport { loss: value, gradient_norm })
    }

    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        self.optimizer.set_learning_rate(learning_rate)
    }

    fn set_memory_temperature(&mut self, temperature: f64) -> Result<()> {
        self.network = self.network.with_memory_temperature(temperature)?.with_memory_share(self.memory_share);
        Ok(())
    }

    fn set_memory_share(&mut self, share: f64) -> Result<()> {
        self.memory_share = share;
        self.network = self.network.clone().with_memory_share(share);
        Ok(())
    }

    fn memory_queries(&mut self, tokens: &Tensor) -> Result<Vec<Vec<f32>>> {
        let levels = self.network.levels_before_memory(&tokens.to_device(&self.device)?)?;
        levels.iter().map(|level| Ok(level.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)).collect()
    }

    fn state(&self) -> Result<StepperState> {
        // A variable changes in place: what is kept must be a copy.
        let copies = self
            .network
            .parameters()
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), tensor.detach().force_contiguous()?)));
        let (first_moment, second_moment) = self.optimizer.moments()?;
        Ok(StepperState {
            parameters: copies.collect::<candle_core::Result<_>>()?,
            first_moment,
            second_moment,
            steps: self.optimizer.steps(),
        })
    }

    fn restore(&mut self, state: &StepperState) -> Result<()> {
        let placed = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.to_device(&self.device)?));
        let parameters = state.parameters.iter().map(placed).collect::<candle_core::Result<_>>()?;
        let network = DualAd::from_parameters(self.network.config().clone(), parameters)?.trainable()?;
        let network = network.with_memory_share(self.memory_share);
        let mut optimizer = AdamW::new(network.variables(), *self.optimizer.config())?;
        optimizer.restore(state.steps, &state.first_moment, &state.second_moment)?;
        (self.network, self.optimizer) = (network, optimizer);
        Ok(())
    }

    fn network(&self) -> Result<DualAd> {
        self.network.frozen(DType::F32, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bits, small, tokens};

    fn stepper(seed: u64) -> PlainStepper {
        let config = small();
        let (mean, deviation) = (vec![0.5; config.channels()], vec![2.0; config.channels()]);
        let network = DualAd::new(config, &Random::new(seed), &Device::Cpu).unwrap();
        let network = network.with_standardization(&mean, &deviation).unwrap();
        PlainStepper::new(&network, AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() }).unwrap()
    }

    #[test]
    fn a_restored_state_goes_on_with_the_same_bits() {
        let batches: Vec<Tensor> = (0..6).map(|seed| tokens(&small(), 3, seed)).collect();
        let (mut whole, mut random) = (stepper(0), Random::new(7));
        for batch in &batches[..3] {
            whole.step(batch, &mut random).unwrap();
        }
        let (state, random_state) = (whole.state().unwrap(), random.clone());
        let run = |stepper: &mut PlainStepper, mut random: Random| {
            stepper.set_learning_rate(3e-3).unwrap();
            stepper.set_memory_temperature(0.25).unwrap();
            let reports: Vec<StepReport> =
                batches[3..].iter().map(|batch| stepper.step(batch, &mut random).unwrap()).collect();
            (reports, stepper.state().unwrap())
        };
        let (reports, last) = run(&mut whole, random);
        // Of another seed: nothing of it must remain.
        let mut resumed = stepper(1);
        resumed.restore(&state).unwrap();
        let (resumed_reports, resumed_last) = run(&mut resumed, random_state);
        assert_eq!(reports, resumed_reports);
        assert_eq!((last.steps, resumed_last.steps), (6, 6));
        for (one, other) in [
            (&last.parameters, &resumed_last.parameters),
            (&last.first_moment, &resumed_last.first_moment),
            (&last.second_moment, &resumed_last.second_moment),
        ] {
            assert_eq!(bits(one), bits(other));
        }
        assert_eq!(resumed.network().unwrap().config().memory_temperature, 0.25);
        // The state of step 3 is a copy: it did not move with the steps after it.
        assert_ne!(bits(&state.parameters), bits(&last.parameters));
    }

    /// Mixed precision learns what f32 does, but for rounding; its variables, moments and loss stay f32.
    #[test]
    fn steps_in_bf16_are_those_in_f32_but_for_rounding() {
        let batch = tokens(&small(), 4, 1);
        let losses = |mut stepper: PlainStepper| {
            let mut random = Random::new(7);
            let reports: Vec<StepReport> = (0..20).map(|_| stepper.step(&batch, &mut random).unwrap()).collect();
            let state = stepper.state().unwrap();
            let f32s = [&state.parameters, &state.first_moment, &state.second_moment];
            assert!(f32s.iter().all(|tensors| tensors.values().all(|tensor| tensor.dtype() == DType::F32)));
            // Every variable has moved: each has had a gradient.
            let moved = |square: &Tensor| square.max_all().unwrap().to_scalar::<f32>().unwrap() > 0.0;
            let still: Vec<&String> =
                state.second_moment.iter().filter(|(_, square)| !moved(square)).map(|(name, _)| name).collect();
            (
                reports.iter().map(|report| report.loss).collect::<Vec<f64>>(),
                still.into_iter().cloned().collect::<Vec<_>>(),
            )
        };
        let (wide, wide_still) = losses(stepper(0));
        let (narrow, narrow_still) = losses(stepper(0).computing_in(DType::BF16));
        assert_ne!(wide, narrow);
        assert_eq!(wide_still, narrow_still);
        for (wide, narrow) in wide.iter().zip(&narrow) {
            assert!((wide - narrow).abs() < 0.02 * wide, "{wide} {narrow}");
        }
        assert!(narrow[19] < 0.95 * narrow[0], "{narrow:?}");
    }

    #[test]
    fn a_snapshot_stays_as_it_is() {
        let mut stepper = stepper(0);
        let before = stepper.network().unwrap();
        let kept = bits(before.parameters());
        stepper.step(&tokens(&small(), 2, 1), &mut Random::new(0)).unwrap();
        assert_eq!(bits(before.parameters()), kept);
        assert_ne!(bits(stepper.network().unwrap().parameters()), kept);
    }

    #[test]
    fn a_state_that_does_not_fit_is_named_and_changes_nothing() {
        let mut stepper = stepper(0);
        let state = stepper.state().unwrap();
        let name = "memory_modules.0.weight";
        for part in 0..3 {
            let mut broken = state.clone();
            let tensors = match part {
                0 => &mut broken.parameters,
                1 => &mut broken.first_moment,
                _ => &mut broken.second_moment,
            };
            tensors.remove(name);
            let error = stepper.restore(&broken).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(bits(&stepper.state().unwrap().parameters), bits(&state.parameters));
    }

    #[test]
    fn a_loss_that_is_not_finite_stops_with_its_step() {
        let mut stepper = stepper(0);
        let huge = (tokens(&small(), 2, 1) * 1e30).unwrap();
        let error = stepper.step(&huge, &mut Random::new(0)).unwrap_err();
        assert!(matches!(error, Error::Training { step: 1, .. }), "{error}");
    }
}
