//! Pseudo anomalies (paper, section 3.2; docs/method.md, section 3): features with noise in proportion to their own variation.
//!
//! x' = x + k sigma eps, eps ~ N(0, 1)

use candle_core::{D, Result, Tensor};

use crate::config::{Jitter, JitterKind};
use crate::ops;
use crate::random::Stream;

/// Returns `tokens` (`[batch, tokens, channels]`) plus `jitter.scale * sigma * eps`. Has no gradient.
///
/// Spatial jitter: sigma is the unbiased standard deviation over the tokens, for each image and channel. Channel jitter: sigma is
/// the L2 norm over the channels divided by their number, for each image and token.
pub(crate) fn pseudo_anomaly(tokens: &Tensor, jitter: Jitter, stream: Stream) -> Result<Tensor> {
    let tokens = tokens.detach();
    let (_, count, channels) = tokens.dims3()?;
    let wide = tokens.to_dtype(candle_core::DType::F32)?;
    let sigma = match jitter.kind {
        // The standard deviation of a single token is undefined: no noise.
        JitterKind::Spatial if count == 1 => wide.zeros_like()?,
        JitterKind::Spatial => {
            let centered = wide.broadcast_sub(&wide.mean_keepdim(1)?)?;
            (centered.sqr()?.sum_keepdim(1)? / (count - 1) as f64)?.sqrt()?
        }
        JitterKind::Channel => (wide.sqr()?.sum_keepdim(D::Minus1)?.sqrt()? / channels as f64)?,
    };
    ops::jitter(&tokens, &sigma, jitter.scale, stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use candle_core::{Device, Var};

    fn noise(tokens: &Tensor, kind: JitterKind, scale: f64) -> Vec<Vec<Vec<f32>>> {
        let stream = Random::new(1).stream();
        let jittered = pseudo_anomaly(tokens, Jitter { kind, scale }, stream).unwrap();
        (jittered - tokens).unwrap().to_vec3().unwrap()
    }

    fn std(values: &[f32]) -> f64 {
        (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn spatial_noise_has_the_standard_deviation_of_each_channel() {
        // Channel c alternates between +c and -c: its unbiased standard deviation over n tokens is c sqrt(n / (n - 1)).
        let (n, channels) = (10_000, 3);
        let values = (0..n * channels).map(|i| (i % channels) as f32 * if i / channels % 2 == 0 { 1.0 } else { -1.0 });
        let tokens = Tensor::from_vec(values.collect::<Vec<_>>(), (1, n, channels), &Device::Cpu).unwrap();
        let noise = noise(&tokens, JitterKind::Spatial, 3.2);
        for channel in 0..channels {
            let values: Vec<f32> = noise[0].iter().map(|token| token[channel]).collect();
            let expected = 3.2 * channel as f64;
            assert!((std(&values) - expected).abs() <= 0.05 * expected, "{channel}: {}", std(&values));
        }
    }

    #[test]
    fn channel_noise_is_in_proportion_to_each_tokens_norm() {
        let channels = 4000;
        let values: Vec<f32> = (0..3).flat_map(|token| vec![token as f32; channels]).collect();
        let tokens = Tensor::from_vec(values, (1, 3, channels), &Device::Cpu).unwrap();
        let noise = noise(&tokens, JitterKind::Channel, 2.0);
        for (token, values) in noise[0].iter().enumerate() {
            let expected = 2.0 * token as f64 * (channels as f64).sqrt() / channels as f64;
            assert!((std(values) - expected).abs() <= 0.06 * expected, "{token}: {}", std(values));
        }
    }

    #[test]
    fn constant_and_single_tokens_get_no_noise_and_no_gradient() {
        let constant = Tensor::full(2f32, (2, 5, 3), &Device::Cpu).unwrap();
        assert!(noise(&constant, JitterKind::Spatial, 3.2).iter().flatten().flatten().all(|&v| v == 0.0));
        let single = Tensor::full(2f32, (2, 1, 3), &Device::Cpu).unwrap();
        assert!(noise(&single, JitterKind::Spatial, 3.2).iter().flatten().flatten().all(|&v| v == 0.0));
        let variable = Var::ones((1, 4, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let jitter = Jitter { kind: JitterKind::Spatial, scale: 1.0 };
        let jittered = pseudo_anomaly(&variable, jitter, Random::new(0).stream()).unwrap();
        assert!(jittered.sum_all().unwrap().backward().unwrap().get(&variable).is_none());
    }
}
