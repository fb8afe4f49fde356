//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) with clipping by the global norm.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};

use crate::error::{Error, Result};
use crate::recipe::AdamWConfig;
use crate::train::step::StepReport;
use crate::train::step_constants::StepConstants;

/// The optimizer of a set of variables (docs/method.md, section 5).
///
/// ```
/// use std::collections::BTreeMap;
///
/// use dualad::candle_core::{DType, Device, Var};
/// use dualad::recipe::AdamWConfig;
/// use dualad::train::AdamW;
///
/// let x = Var::ones(2, DType::F32, &Device::Cpu)?;
/// let config = AdamWConfig { learning_rate: 0.1, weight_decay: 0.0, ..AdamWConfig::default() };
/// let mut optimizer = AdamW::new(&BTreeMap::from([("x".to_owned(), x.clone())]), config)?;
/// let loss = x.sqr()?.sum_all()?;
/// let norm = optimizer.step(&loss.backward()?)?;
/// assert!((norm - 8.0f64.sqrt()).abs() < 1e-6);
/// // The first step is as long as the learning rate, whatever the gradient.
/// assert!(x.to_vec1::<f32>()?.iter().all(|x| (x - 0.9).abs() < 1e-5));
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    steps: u64,
    /// By the variable's name.
    states: BTreeMap<String, VariableState>,
}

/// The state of an [`AdamW`] without its variables and its constants.
#[derive(Debug, Clone)]
pub struct AdamWState {
    /// The number of steps taken.
    pub steps: u64,
    /// The running mean of the gradients of each variable, by its name; of the variable's shape and dtype.
    pub first_moment: BTreeMap<String, Tensor>,
    /// The running mean of the squared gradients of each variable, by its name; of the variable's shape and dtype.
    pub second_moment: BTreeMap<String, Tensor>,
}

/// A variable with its moments, of its shape and dtype.
#[derive(Debug)]
struct VariableState {
    variable: Var,
    /// The running mean of gradients.
    first_moment: Tensor,
    /// The running mean of squared gradients.
    second_moment: Tensor,
}

impl AdamW {
    /// Creates the optimizer of variables by name, as [`crate::DualAd::variables`] returns them, with moments of zero.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if a constant is out of its range, [`crate::Error::Candle`] if the device has no memory for the
    /// moments.
    pub fn new(variables: &BTreeMap<String, Var>, config: AdamWConfig) -> Result<Self> {
        config.validate()?;
        let states = variables.iter().map(|(name, variable)| {
            let zeros = || variable.as_tensor().zeros_like();
            let state = VariableState { variable: variable.clone(), first_moment: zeros()?, second_moment: zeros()? };
            Ok((name.clone(), state))
        });
        Ok(Self { config, steps: 0, states: states.collect::<candle_core::Result<_>>()? })
    }

    /// Sets the step size of the next step.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let config = AdamWConfig { learning_rate, ..self.config };
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// Returns the constants of the next step.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Returns the number of steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns a copy of the state, which later steps do not change.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] if the device has no memory for it.
    pub fn state(&self) -> Result<AdamWState> {
        // A step on the CPU replaces the moments; a step on another device changes them in place, so they are copied.
        // On Metal, `copy` shares its buffer with the original.
        let copied = |tensor: &Tensor| {
            if tensor.device().is_cpu() { Ok(tensor.clone()) } else { tensor.detach().force_contiguous() }
        };
        let first = self.states.iter().map(|(name, state)| Ok((name.clone(), copied(&state.first_moment)?)));
        let second = self.states.iter().map(|(name, state)| Ok((name.clone(), copied(&state.second_moment)?)));
        Ok(AdamWState {
            steps: self.steps,
            first_moment: first.collect::<candle_core::Result<_>>()?,
            second_moment: second.collect::<candle_core::Result<_>>()?,
        })
    }

    /// Replaces the state by one that [`Self::state`] returned, of variables with the same names, shapes and dtypes. The variables
    /// do not change.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for the first moment that is missing, unknown, or of another shape or dtype than its variable,
    /// [`crate::Error::Candle`] if the device cannot hold the moments. The state does not change then.
    pub fn restore(&mut self, state: &AdamWState) -> Result<()> {
        let AdamWState { steps, first_moment, second_moment } = state;
        self.check_moments("first moment", first_moment)?;
        self.check_moments("second moment", second_moment)?;
        let restored = self.states.iter().map(|(name, state)| {
            let variable = state.variable.clone();
            // Copies: steps on a GPU change the moments in place.
            let copied = |moments: &BTreeMap<String, Tensor>| {
                moments[name].detach().to_device(variable.device())?.force_contiguous()
            };
            let (first_moment, second_moment) = (copied(first_moment)?, copied(second_moment)?);
            Ok((name.clone(), VariableState { variable, first_moment, second_moment }))
        });
        self.states = restored.collect::<candle_core::Result<_>>()?;
        self.steps = *steps;
        Ok(())
    }

    /// Checks that there is one moment of the right shape and dtype for each variable. `kind` names the moments in an error.
    fn check_moments(&self, kind: &str, moments: &BTreeMap<String, Tensor>) -> Result<()> {
        let wrong = |name: &str, reason: String| Err(Error::Parameter { name: name.into(), reason });
        if let Some(name) = self.states.keys().find(|name| !moments.contains_key(*name)) {
            return wrong(name, format!("has no {kind}"));
        }
        for (name, moment) in moments {
            let Some(VariableState { variable, .. }) = self.states.get(name) else {
                return wrong(name, format!("has a {kind}, but is not a variable of the network"));
            };
            if moment.shape() != variable.shape() || moment.dtype() != variable.dtype() {
                let (found, wanted) = (moment.dims(), variable.dims());
                let (dtype, wanted_dtype) = (moment.dtype(), variable.dtype());
                return wrong(
                    name,
                    format!("has a {kind} of shape {found:?} in {dtype:?}, not {wanted:?} in {wanted_dtype:?}"),
                );
            }
        }
        Ok(())
    }

    /// Takes one step along the gradients and returns their global norm before clipping. A variable without a gradient does not
    /// change.
    ///
    /// # Errors
    /// [`crate::Error::Training`] if no variable has a gradient or the norm is not finite: no variable changes then.
    /// [`crate::Error::Candle`] if the device fails.
    pub fn step(&mut self, gradients: &GradStore) -> Result<f64> {
        Ok(self.step_of(None, |variable| gradients.get(variable))?.gradient_norm)
    }

    /// Takes one step along the gradients of a loss, a scalar in f32. `gradient_of` returns that of a variable. The loss and the norm
    /// are read together: the host waits for the device once.
    ///
    /// # Errors
    /// Those of [`Self::step`], and [`crate::Error::Training`] if the loss is not finite: no variable changes then.
    pub(crate) fn step_with_loss<'a>(
        &mut self,
        loss: &Tensor,
        gradient_of: impl Fn(&Var) -> Option<&'a Tensor>,
    ) -> Result<StepReport> {
        self.step_of(Some(loss), gradient_of)
    }

    fn step_of<'a>(
        &mut self,
        loss: Option<&Tensor>,
        gradient_of: impl Fn(&Var) -> Option<&'a Tensor>,
    ) -> Result<StepReport> {
        let found: Vec<&Tensor> = self.states.values().filter_map(|state| gradient_of(&state.variable)).collect();
        let refuse = |reason: &str| Error::Training { step: self.steps + 1, reason: reason.into() };
        if found.is_empty() {
            return Err(refuse("no variable has a gradient; compute the loss with the network of these variables"));
        }
        let mut values = sums_of_squares(&found)?;
        if let Some(loss) = loss {
            values = Tensor::cat(&[&values, &loss.detach().reshape(1)?], 0)?;
        }
        let mut values: Vec<f64> = values.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
        let loss = loss.and_then(|_| values.pop()).unwrap_or(0.0);
        if !loss.is_finite() {
            let advice = "check the scale of the features, and lower the learning rate or the clipping norm";
            return Err(refuse(&format!("the loss is {loss}; {advice}")));
        }
        let norm = values.into_iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(refuse(
                "the gradient's norm is not finite; check the loss, the scale of the features and the learning rate",
            ));
        }
        self.steps += 1;
        let constants = StepConstants::new(&self.config, self.steps, norm);
        for state in self.states.values_mut() {
            if let Some(gradient) = gradient_of(&state.variable) {
                state.step(gradient, constants)?;
            }
        }
        Ok(StepReport { loss, gradient_norm: norm })
    }
}

impl VariableState {
    fn step(&mut self, gradient: &Tensor, constants: StepConstants) -> Result<()> {
        let Self { variable, first_moment, second_moment } = self;
        if is_gpu_f32(&[variable, gradient, first_moment, second_moment]) {
            let gradient = &gradient.contiguous()?;
            let variable = variable.as_tensor();
            let constants = constants.for_gpu();
            // The operation changes the variable and its moments in place.
            dualad_gpu::AdamWStep { gradient, variable, first_moment, second_moment, constants }.run()?;
            return Ok(());
        }
        let StepConstants { gradient_scale, config, bias1, bias2 } = constants;
        let AdamWConfig { learning_rate, beta1, beta2, eps, weight_decay, .. } = config;
        let gradient = (gradient.detach() * gradient_scale)?;
        *first_moment = ((&*first_moment * beta1)? + (&gradient * (1.0 - beta1))?)?;
        *second_moment = ((&*second_moment * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
        let root = ((&*second_moment / bias2)?.sqrt()? + eps)?;
        let decayed = (variable.as_tensor().detach() * (1.0 - learning_rate * weight_decay))?;
        variable.set(&(decayed - ((&*first_moment * (learning_rate / bias1))? / root)?)?)?;
        Ok(())
    }
}

/// Returns partial sums of the squares of all elements of all tensors.
fn sums_of_squares(tensors: &[&Tensor]) -> Result<Tensor> {
    if is_gpu_f32(tensors) {
        return Ok(dualad_gpu::sums_of_squares(tensors)?);
    }
    let squares = tensors.iter().map(|tensor| tensor.detach().sqr()?.sum_all()?.reshape(1));
    Ok(Tensor::cat(&squares.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
}

/// Returns `true` if the GPU operations handle the tensors: all are on a GPU, in f32.
fn is_gpu_f32(tensors: &[&Tensor]) -> bool {
    dualad_gpu::supports(tensors) && tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_near, devices, variable_on};
    use candle_core::Device;

    /// Takes three steps of a small and two larger variables, with clipped gradients.
    fn steps(device: &Device) -> (BTreeMap<String, Var>, Vec<f64>) {
        let shapes: [&[usize]; 3] = [&[3], &[40, 33], &[9000]];
        let variables: BTreeMap<String, Var> = shapes
            .iter()
            .zip(1..)
            .map(|(shape, seed)| (seed.to_string(), variable_on(device, shape, seed, 1.0)))
            .collect();
        let config = AdamWConfig { learning_rate: 1e-2, weight_decay: 1e-2, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(&variables, config).unwrap();
        let before = optimizer.state().unwrap().first_moment;
        let mut norms = Vec::new();
        for _ in 0..3 {
            let terms = variables.values().map(|variable| variable.sqr().unwrap().sum_all().unwrap());
            let loss = terms.reduce(|sum, term| (sum + term).unwrap()).unwrap();
            norms.push(optimizer.step(&loss.backward().unwrap()).unwrap());
        }
        // Steps do not change the copies.
        assert!(before["1"].to_vec1::<f32>().unwrap().iter().all(|&x| x == 0.0));
        (variables, norms)
    }

    #[test]
    fn devices_agree() {
        let (expected, norms) = steps(&Device::Cpu);
        for device in devices() {
            let (found, found_norms) = steps(&device);
            for (name, found) in &found {
                let found = found.to_device(&Device::Cpu).unwrap();
                assert_near(&found, &expected[name], 1e-5, &format!("{device:?} {name}"));
            }
            for (found, expected) in found_norms.iter().zip(&norms) {
                assert!((found - expected).abs() <= 1e-5 * expected, "{device:?}: {found} {expected}");
            }
        }
    }
}
