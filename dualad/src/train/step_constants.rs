//! The constants of one AdamW step, computed once for its three implementations: candle's operations in `optimizer.rs`, the CPU
//! kernel of `dualad-kernels` and the GPU operation of `dualad-gpu`.

use crate::recipe::AdamWConfig;

/// The constants of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepConstants {
    pub(crate) config: AdamWConfig,
    /// The factor of the gradient, below 1 if it is clipped.
    pub(crate) gradient_scale: f64,
    /// The first moment's bias correction, 1 - beta1^step.
    pub(crate) bias1: f64,
    /// The second moment's bias correction, 1 - beta2^step.
    pub(crate) bias2: f64,
}

impl StepConstants {
    /// The constants of step `step` (1, 2, ...) for gradients of the given global norm.
    pub(crate) fn new(config: &AdamWConfig, step: u64, norm: f64) -> Self {
        // PyTorch's clip_grad_norm_ adds the same 1e-6.
        let gradient_scale = config.clip_norm.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        let bias = |beta: f64| 1.0 - beta.powf(step as f64);
        Self { config: *config, gradient_scale, bias1: bias(config.beta1), bias2: bias(config.beta2) }
    }

    /// The constants as the CPU kernel takes them.
    pub(crate) fn for_cpu(self) -> dualad_kernels::AdamWStep {
        let Self { config, gradient_scale, bias1, bias2 } = self;
        let AdamWConfig { learning_rate, beta1, beta2, eps, weight_decay, .. } = config;
        let (bias_correction, scale) = ([bias1, bias2], gradient_scale as f32);
        dualad_kernels::AdamWStep { learning_rate, beta1, beta2, eps, weight_decay, bias_correction, scale }
    }

    /// The constants as the GPU operation takes them.
    pub(crate) fn for_gpu(self) -> dualad_gpu::AdamWConstants {
        let Self { config, gradient_scale, bias1, bias2 } = self;
        let AdamWConfig { learning_rate, beta1, beta2, eps, weight_decay, .. } = config;
        dualad_gpu::AdamWConstants { gradient_scale, beta1, beta2, eps, learning_rate, weight_decay, bias1, bias2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_above_the_norm_are_scaled_down_to_it() {
        let config = AdamWConfig { clip_norm: Some(0.1), ..AdamWConfig::default() };
        assert!((StepConstants::new(&config, 1, 2.0).gradient_scale - 0.05).abs() < 1e-7);
        assert_eq!(StepConstants::new(&config, 1, 0.01).gradient_scale, 1.0);
        let unclipped = AdamWConfig { clip_norm: None, ..config };
        assert_eq!(StepConstants::new(&unclipped, 1, 1e9).gradient_scale, 1.0);
    }

    #[test]
    fn bias_corrections_approach_one() {
        let first = StepConstants::new(&AdamWConfig::default(), 1, 1.0);
        assert!((first.bias1 - 0.1).abs() < 1e-12 && (first.bias2 - 0.001).abs() < 1e-12);
        let late = StepConstants::new(&AdamWConfig::default(), 100_000, 1.0);
        assert!(late.bias1 == 1.0 && late.bias2 > 0.999_999);
    }
}
