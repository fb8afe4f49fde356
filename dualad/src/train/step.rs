//! A training step: noise, forward pass, loss, backward pass, optimizer.
//!
//! The trainer knows the network through [`Stepper`] only. [`PlainStepper`] uses candle's autograd and [`AdamW`]. A faster stepper
//! must give the same losses, gradients and parameters within rounding.

use std::collections::BTreeMap;
use std::fmt::Debug;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::recipe::{AdamWConfig, Precision};
use crate::train::tf32::Tf32;
use crate::train::{AdamW, AdamWState};
use crate::{DualAd, DualAdConfig, Random};

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StepReport {
    /// The loss before the step; finite.
    pub(crate) loss: f64,
    /// The gradients' global L2 norm before clipping; finite.
    pub(crate) gradient_norm: f64,
}

/// The state that later steps depend on, without the random state, the learning rate and the memory's schedule.
#[derive(Debug, Clone)]
pub(crate) struct StepperState {
    /// Copies of all parameters of [`DualAd::parameters`], also of those that are not trained.
    pub(crate) parameters: BTreeMap<String, Tensor>,
    /// The steps taken, and the moments of every trained parameter.
    pub(crate) optimizer: AdamWState,
}

/// Checks that tokens are `[batch, tokens, channels]` in f32.
///
/// # Errors
/// [`Error::InvalidArgument`] if they are not.
pub(crate) fn check_tokens(config: &DualAdConfig, tokens: &Tensor) -> Result<()> {
    let dims = [config.tokens(), config.channels()];
    if tokens.dtype() != DType::F32 || tokens.dims().get(1..) != Some(&dims) || tokens.dims()[0] == 0 {
        let found = format!("{:?} {:?}", tokens.dims(), tokens.dtype());
        return Err(Error::tokens(dims[0], dims[1], found));
    }
    Ok(())
}

/// A network that is trained step by step.
pub(crate) trait Stepper: Debug + Send {
    /// Takes a step on tokens, `[batch, tokens, channels]` in f32. `random` gives the noise and the dropout. With a restored
    /// [`StepperState`] and a restored `random`, the same steps give the same bits.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for tokens of another shape or dtype, [`Error::NotFinite`] for tokens that are not finite,
    /// [`Error::Training`] if the loss or the norm of the gradients is not finite. The parameters are unchanged then.
    fn step(&mut self, tokens: &Tensor, random: &mut Random) -> Result<StepReport>;

    /// Sets the learning rate of the next steps.
    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()>;

    /// Sets the softmax temperature of the memory for the next steps and for [`Stepper::network`].
    fn set_memory_temperature(&mut self, temperature: f64) -> Result<()>;

    /// Sets the share of the readout in the memory's output for the next steps: query + share * (readout - query). The default
    /// is 1, and [`Stepper::network`] always has 1.
    fn set_memory_share(&mut self, share: f64) -> Result<()>;

    /// Returns the queries of each memory module for tokens `[batch, tokens, channels]`: `[batch * tokens, d]` each.
    fn memory_queries(&mut self, tokens: &Tensor) -> Result<Vec<Vec<f32>>>;

    /// Returns a copy of the state.
    fn state(&self) -> Result<StepperState>;

    /// Replaces the state by that of a network of the same configuration.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a tensor that is missing, unknown, or of another shape or dtype.
    fn restore(&mut self, state: &StepperState) -> Result<()>;

    /// Returns a frozen copy of the network, which later steps do not change.
    fn network(&self) -> Result<DualAd>;
}

/// A stepper with candle's autograd and [`AdamW`], on any device.
#[derive(Debug)]
pub(crate) struct PlainStepper {
    network: DualAd,
    optimizer: AdamW,
    device: Device,
    memory_share: f64,
    /// The precision of the forward and backward pass. The variables, the loss and the optimizer are f32.
    precision: Precision,
}

impl PlainStepper {
    /// Returns a stepper that trains a copy of the network.
    pub(crate) fn new(network: &DualAd, config: AdamWConfig) -> Result<Self> {
        let network = network.trainable()?;
        let device = network.parameters().values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        let optimizer = AdamW::new(network.variables(), config)?;
        Ok(Self { network, optimizer, device, memory_share: 1.0, precision: Precision::F32 })
    }

    /// Sets the precision of the forward and backward pass.
    pub(crate) fn computing_in(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

impl Stepper for PlainStepper {
    fn step(&mut self, tokens: &Tensor, random: &mut Random) -> Result<StepReport> {
        let tokens = tokens.to_device(&self.device)?;
        let _tf32 = Tf32::for_precision(self.precision);
        let reconstruction = if self.precision == Precision::Bf16 {
            self.network.computing_in(DType::BF16)?.reconstruct_jittered(&tokens, random)?
        } else {
            self.network.reconstruct_jittered(&tokens, random)?
        };
        let loss = self.network.loss(&tokens, &reconstruction)?;
        let gradients = loss.backward()?;
        self.optimizer.step_with_loss(&loss, |variable| gradients.get(variable))
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
        // Variables change in place: the state must hold copies.
        let copies = self
            .network
            .parameters()
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), tensor.detach().force_contiguous()?)));
        let parameters = copies.collect::<candle_core::Result<_>>()?;
        Ok(StepperState { parameters, optimizer: self.optimizer.state()? })
    }

    fn restore(&mut self, state: &StepperState) -> Result<()> {
        let placed = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.to_device(&self.device)?));
        let parameters = state.parameters.iter().map(placed).collect::<candle_core::Result<_>>()?;
        let network = DualAd::from_parameters(self.network.config().clone(), parameters)?.trainable()?;
        let network = network.with_memory_share(self.memory_share);
        let mut optimizer = AdamW::new(network.variables(), *self.optimizer.config())?;
        optimizer.restore(&state.optimizer)?;
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
        let (mean, std) = (vec![0.5; config.channels()], vec![2.0; config.channels()]);
        let network = DualAd::new(config, &Random::new(seed), &Device::Cpu).unwrap();
        let network = network.with_standardization(&mean, &std).unwrap();
        PlainStepper::new(&network, AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() }).unwrap()
    }

    #[test]
    fn a_restored_state_continues_with_the_same_bits() {
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
        // A network of another seed: the restore must replace all of it.
        let mut resumed = stepper(1);
        resumed.restore(&state).unwrap();
        let (resumed_reports, resumed_last) = run(&mut resumed, random_state);
        assert_eq!(reports, resumed_reports);
        assert_eq!((last.optimizer.steps, resumed_last.optimizer.steps), (6, 6));
        for (one, other) in [
            (&last.parameters, &resumed_last.parameters),
            (&last.optimizer.first_moment, &resumed_last.optimizer.first_moment),
            (&last.optimizer.second_moment, &resumed_last.optimizer.second_moment),
        ] {
            assert_eq!(bits(one), bits(other));
        }
        assert_eq!(resumed.network().unwrap().config().memory_temperature, 0.25);
        // The state of step 3 is a copy: later steps did not change it.
        assert_ne!(bits(&state.parameters), bits(&last.parameters));
    }

    /// Mixed precision gives the losses of f32 within rounding. Its variables, moments and loss stay f32.
    #[test]
    fn steps_in_bf16_equal_those_in_f32_within_rounding() {
        let batch = tokens(&small(), 4, 1);
        let losses = |mut stepper: PlainStepper| {
            let mut random = Random::new(7);
            let reports: Vec<StepReport> = (0..20).map(|_| stepper.step(&batch, &mut random).unwrap()).collect();
            let state = stepper.state().unwrap();
            let f32s = [&state.parameters, &state.optimizer.first_moment, &state.optimizer.second_moment];
            assert!(f32s.iter().all(|tensors| tensors.values().all(|tensor| tensor.dtype() == DType::F32)));
            // A second moment of 0 shows a variable without a gradient.
            let moved = |square: &Tensor| square.max_all().unwrap().to_scalar::<f32>().unwrap() > 0.0;
            let still: Vec<&String> = state
                .optimizer
                .second_moment
                .iter()
                .filter(|(_, square)| !moved(square))
                .map(|(name, _)| name)
                .collect();
            (
                reports.iter().map(|report| report.loss).collect::<Vec<f64>>(),
                still.into_iter().cloned().collect::<Vec<_>>(),
            )
        };
        let (wide, wide_still) = losses(stepper(0));
        let (narrow, narrow_still) = losses(stepper(0).computing_in(Precision::Bf16));
        assert_ne!(wide, narrow);
        assert_eq!(wide_still, narrow_still);
        for (wide, narrow) in wide.iter().zip(&narrow) {
            assert!((wide - narrow).abs() < 0.02 * wide, "{wide} {narrow}");
        }
        assert!(narrow[19] < 0.95 * narrow[0], "{narrow:?}");
    }

    #[test]
    fn later_steps_do_not_change_a_snapshot() {
        let mut stepper = stepper(0);
        let before = stepper.network().unwrap();
        let kept = bits(before.parameters());
        stepper.step(&tokens(&small(), 2, 1), &mut Random::new(0)).unwrap();
        assert_eq!(bits(before.parameters()), kept);
        assert_ne!(bits(stepper.network().unwrap().parameters()), kept);
    }

    #[test]
    fn a_missing_tensor_is_named_and_changes_nothing() {
        let mut stepper = stepper(0);
        let state = stepper.state().unwrap();
        let name = "memory_modules.0.weight";
        for part in 0..3 {
            let mut broken = state.clone();
            let tensors = match part {
                0 => &mut broken.parameters,
                1 => &mut broken.optimizer.first_moment,
                _ => &mut broken.optimizer.second_moment,
            };
            tensors.remove(name);
            let error = stepper.restore(&broken).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(bits(&stepper.state().unwrap().parameters), bits(&state.parameters));
    }

    #[test]
    fn a_loss_that_is_not_finite_is_an_error_with_the_step() {
        let mut stepper = stepper(0);
        let before = stepper.state().unwrap();
        let huge = (tokens(&small(), 2, 1) * 1e30).unwrap();
        let error = stepper.step(&huge, &mut Random::new(0)).unwrap_err();
        assert!(matches!(error, Error::Training { step: 1, .. }), "{error}");
        // The gradients' norm is not finite either, and follows from the loss.
        assert!(error.to_string().contains("the loss is"), "{error}");
        let after = stepper.state().unwrap();
        assert_eq!(bits(&before.parameters), bits(&after.parameters));
        assert_eq!(after.optimizer.steps, 0);
    }
}
