//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) with clipping by the global norm.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};

use crate::error::{Error, Result};
use crate::recipe::AdamWConfig;

/// The optimiser of a set of variables.
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
/// // The first step is as long as the learning rate, however long the gradient.
/// assert!(x.to_vec1::<f32>()?.iter().all(|x| (x - 0.9).abs() < 1e-5));
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    step: u64,
    /// Variable, mean of gradients, mean of squared gradients, by name.
    state: BTreeMap<String, (Var, Tensor, Tensor)>,
}

impl AdamW {
    /// For variables by name, as [`crate::DualAd::variables`] gives them.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if a constant is out of its range,
    /// [`crate::Error::Candle`] if the device has no memory for the moments.
    pub fn new(variables: &BTreeMap<String, Var>, config: AdamWConfig) -> Result<Self> {
        config.validate()?;
        let state = variables.iter().map(|(name, var)| {
            Ok((name.clone(), (var.clone(), var.as_tensor().zeros_like()?, var.as_tensor().zeros_like()?)))
        });
        Ok(Self { config, step: 0, state: state.collect::<candle_core::Result<_>>()? })
    }

    /// The step size of the next step.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let config = AdamWConfig { learning_rate, ..self.config };
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// The constants, with the step size of the next step.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The mean of gradients and the mean of squared gradients of every variable, by name: with [`Self::steps`] and
    /// the variables themselves, all that later steps depend on. Copies.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] if the device has no memory for them.
    pub fn moments(&self) -> Result<(BTreeMap<String, Tensor>, BTreeMap<String, Tensor>)> {
        // Steps on the CPU replace them; those on other devices change them in place.
        // (On Metal, a `copy` shares its numbers with the original.)
        let copied = |tensor: &Tensor| {
            if tensor.device().is_cpu() { Ok(tensor.clone()) } else { tensor.detach().force_contiguous() }
        };
        let mean = self.state.iter().map(|(name, (_, mean, _))| Ok((name.clone(), copied(mean)?)));
        let square = self.state.iter().map(|(name, (.., square))| Ok((name.clone(), copied(square)?)));
        Ok((mean.collect::<candle_core::Result<_>>()?, square.collect::<candle_core::Result<_>>()?))
    }

    /// Goes on after `steps` steps with what [`Self::moments`] gave then.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for the first moment that is missing, too many, or of another shape or dtype than its
    /// variable, [`crate::Error::Candle`] if the device cannot take them. Nothing is changed then.
    pub fn restore(
        &mut self,
        steps: u64,
        mean: &BTreeMap<String, Tensor>,
        square: &BTreeMap<String, Tensor>,
    ) -> Result<()> {
        let wrong = |name: &str, reason: String| Err(Error::Parameter { name: name.into(), reason });
        for (what, moments) in [("mean of gradients", mean), ("mean of squared gradients", square)] {
            if let Some(name) = self.state.keys().find(|name| !moments.contains_key(*name)) {
                return wrong(name, format!("has no {what}"));
            }
            for (name, moment) in moments {
                let Some((variable, ..)) = self.state.get(name) else {
                    return wrong(name, format!("has a {what}, and is not one of the network's variables"));
                };
                if moment.shape() != variable.shape() || moment.dtype() != variable.dtype() {
                    let (found, wanted) = (moment.dims(), variable.dims());
                    let (dtype, wanted_dtype) = (moment.dtype(), variable.dtype());
                    return wrong(
                        name,
                        format!("has a {what} of shape {found:?} in {dtype:?}, not {wanted:?} in {wanted_dtype:?}"),
                    );
                }
            }
        }
        let placed = |(name, (variable, ..)): (&String, &(Var, Tensor, Tensor))| {
            // Copies: steps on other devices than the CPU change them in place.
            let moment = |moments: &BTreeMap<String, Tensor>| {
                moments[name].detach().to_device(variable.device())?.force_contiguous()
            };
            Ok((name.clone(), (variable.clone(), moment(mean)?, moment(square)?)))
        };
        self.state = self.state.iter().map(placed).collect::<candle_core::Result<_>>()?;
        self.step = steps;
        Ok(())
    }

    /// One step along the gradients; returns their global norm before clipping.
    ///
    /// A variable without a gradient is left as it is.
    ///
    /// # Errors
    /// [`crate::Error::Training`] if no variable has a gradient or the norm is not finite: nothing is changed then;
    /// [`crate::Error::Candle`] if the device fails.
    pub fn step(&mut self, gradients: &GradStore) -> Result<f64> {
        let found: Vec<&Tensor> = self.state.values().filter_map(|(variable, ..)| gradients.get(variable)).collect();
        let norm = sum_of_squares(&found)?.sqrt();
        let refuse = |reason: &str| Error::Training { step: self.step + 1, reason: reason.into() };
        if found.is_empty() {
            return Err(refuse(
                "no variable has a gradient; the loss must come from the network whose variables these are",
            ));
        }
        if !norm.is_finite() {
            return Err(refuse(
                "the gradient's norm is not finite; look at the loss, the features' scale and the learning rate",
            ));
        }
        let AdamWConfig { learning_rate, beta1, beta2, eps, weight_decay, clip_norm } = self.config;
        // PyTorch's clip_grad_norm_, its 1e-6 included.
        let scale = clip_norm.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        self.step += 1;
        let (bias1, bias2) = (1.0 - beta1.powf(self.step as f64), 1.0 - beta2.powf(self.step as f64));
        let constants = dualad_gpu::AdamWConstants {
            gradient_scale: scale,
            beta1,
            beta2,
            eps,
            learning_rate,
            weight_decay,
            bias1,
            bias2,
        };
        for (variable, mean, square) in self.state.values_mut() {
            let Some(gradient) = gradients.get(variable) else { continue };
            if is_gpu_f32(&[variable, gradient, mean, square]) {
                let gradient = &gradient.contiguous()?;
                let (first_moment, second_moment) = (&*mean, &*square);
                let variable = variable.as_tensor();
                dualad_gpu::AdamWStep { gradient, variable, first_moment, second_moment, constants }.run()?;
                continue;
            }
            let gradient = (gradient.detach() * scale)?;
            *mean = ((&*mean * beta1)? + (&gradient * (1.0 - beta1))?)?;
            *square = ((&*square * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let root = ((&*square / bias2)?.sqrt()? + eps)?;
            let decayed = (variable.as_tensor().detach() * (1.0 - learning_rate * weight_decay))?;
            variable.set(&(decayed - ((&*mean * (learning_rate / bias1))? / root)?)?)?;
        }
        Ok(norm)
    }
}

/// Returns the sum of the squares of all elements of all tensors.
fn sum_of_squares(tensors: &[&Tensor]) -> Result<f64> {
    if is_gpu_f32(tensors) {
        return Ok(dualad_gpu::sum_of_squares(tensors)?);
    }
    let squares = tensors.iter().map(|tensor| Ok(f64::from(tensor.sqr()?.sum_all()?.to_scalar::<f32>()?)));
    Ok(squares.sum::<candle_core::Result<f64>>()?)
}

/// Returns whether the GPU's operations serve the tensors, which they do in f32.
fn is_gpu_f32(tensors: &[&Tensor]) -> bool {
    dualad_gpu::supports(tensors) && tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_near, devices, variable_on};
    use candle_core::Device;

    /// Three steps of a small and a larger variable, whose gradients are clipped.
    fn steps(device: &Device) -> (BTreeMap<String, Var>, Vec<f64>) {
        let shapes: [&[usize]; 3] = [&[3], &[40, 33], &[9000]];
        let variables: BTreeMap<String, Var> = shapes
            .iter()
            .zip(1..)
            .map(|(shape, seed)| (seed.to_string(), variable_on(device, shape, seed, 1.0)))
            .collect();
        let config = AdamWConfig { learning_rate: 1e-2, weight_decay: 1e-2, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(&variables, config).unwrap();
        let (before, _) = optimizer.moments().unwrap();
        let mut norms = Vec::new();
        for _ in 0..3 {
            let terms = variables.values().map(|variable| variable.sqr().unwrap().sum_all().unwrap());
            let loss = terms.reduce(|sum, term| (sum + term).unwrap()).unwrap();
            norms.push(optimizer.step(&loss.backward().unwrap()).unwrap());
        }
        // What was given away stays as it was.
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
