//! The mean and the standard deviation of each channel over the training images, and the scale of each channel's error.
//! Networks that standardize features or errors use them.

use candle_core::DType;
use dualad_data::Cancel;

use crate::error::Result;
use crate::features::TokenSource;
use crate::{DualAd, Random};

/// The number of images that are read at a time. The results do not depend on it.
const IMAGES: usize = 16;
/// The number of images on which errors are measured: more would change the mean little.
const ERROR_IMAGES: usize = 128;
/// The smallest standard deviation of a channel, as a fraction of its stage's. A channel that is almost constant in training
/// would otherwise dominate the error of an image in which it varies.
const MIN_STD: f64 = 1e-3;

/// Returns the mean and the standard deviation of each channel, `[channels]`, from f64 sums in the order of the images.
pub(crate) fn measure(
    tokens: &dyn TokenSource,
    stage_channels: &[usize],
    cancel: &Cancel,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let channels: usize = stage_channels.iter().sum();
    let mut moments = vec![Moments::default(); channels];
    let indices: Vec<usize> = (0..tokens.images()).collect();
    for indices in indices.chunks(IMAGES) {
        if cancel.is_cancelled() {
            return Err(crate::Error::Cancelled);
        }
        let values: Vec<f32> = tokens.batch(indices)?.flatten_all()?.to_vec1()?;
        for token in values.chunks(channels.max(1)) {
            moments.iter_mut().zip(token).for_each(|(moments, &value)| moments.add(f64::from(value)));
        }
    }
    let mean = moments.iter().map(|moments| moments.mean as f32).collect();
    let variances: Vec<f64> = moments.iter().map(Moments::variance).collect();
    Ok((mean, stds(&variances, stage_channels)))
}

/// Returns the root mean square of each channel's error on some of the images, `[channels]`.
pub(crate) fn measure_errors(network: &DualAd, tokens: &dyn TokenSource, random: &Random) -> Result<Vec<f32>> {
    let stage_channels = &network.config().stage_channels;
    let mut squares = vec![0.0; network.config().channels()];
    let images = random.named("errors: images").permutation(tokens.images());
    let images = images.get(..ERROR_IMAGES).unwrap_or(&images);
    for indices in images.chunks(IMAGES) {
        let errors = network.errors(&tokens.batch(indices)?.to_device(&network.device())?)?;
        let errors: Vec<f32> = errors.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        for token in errors.chunks(squares.len().max(1)) {
            squares.iter_mut().zip(token).for_each(|(sum, &error)| *sum += f64::from(error) * f64::from(error));
        }
    }
    let count = (images.len() * network.config().tokens()).max(1) as f64;
    let means: Vec<f64> = squares.iter().map(|sum| sum / count).collect();
    Ok(stds(&means, stage_channels))
}

/// Returns the square roots of variances, limited from below by [`MIN_STD`] times their stage's.
fn stds(variances: &[f64], stage_channels: &[usize]) -> Vec<f32> {
    let mut stds = Vec::with_capacity(variances.len());
    let mut rest = variances;
    for &count in stage_channels {
        let (stage, others) = rest.split_at(count.min(rest.len()));
        rest = others;
        let typical = (stage.iter().sum::<f64>() / stage.len().max(1) as f64).sqrt();
        // A constant stage has no scale: 1 leaves its values unchanged.
        let least = if typical * MIN_STD >= f64::from(f32::MIN_POSITIVE) { typical * MIN_STD } else { 1.0 };
        stds.extend(stage.iter().map(|variance| variance.sqrt().max(least) as f32));
    }
    stds
}

/// The running mean and sum of squared differences from it, by Welford ("Note on a Method for Calculating Corrected Sums of Squares
/// and Products", Technometrics 4(3), 1962).
#[derive(Debug, Clone, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / self.count.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::Result;
    use crate::features::Identity;

    #[derive(Debug)]
    struct Values(Vec<[f32; 4]>, Identity);

    /// Each image has two tokens.
    impl TokenSource for Values {
        fn images(&self) -> usize {
            self.0.len() / 2
        }

        fn batch(&self, indices: &[usize]) -> Result<Tensor> {
            let values: Vec<f32> =
                indices.iter().flat_map(|i| self.0[2 * i..2 * i + 2].as_flattened()).copied().collect();
            Ok(Tensor::from_vec(values, (indices.len(), 2, 4), &Device::Cpu)?)
        }

        fn identity(&self) -> &Identity {
            &self.1
        }
    }

    #[test]
    fn means_and_stds_are_those_of_all_tokens() {
        // Channel 0 varies around a million: f32 sums would lose the variation. Channel 1 is constant, channel 2 almost.
        let tokens = (0..100).map(|i| {
            let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
            [1e6 + sign, 3.0, 1e-9 * sign, 5.0 * sign]
        });
        let (mean, std) = measure(&Values(tokens.collect(), Identity::default()), &[2, 2], &Cancel::default()).unwrap();
        assert_eq!(mean[..2], [1e6, 3.0]);
        assert!((std[0] - 1.0).abs() < 1e-6 && (std[3] - 5.0).abs() < 1e-6, "{std:?}");
        // Raised to a thousandth of their stage's standard deviation.
        assert!((std[1] - 1e-3 * 0.5f32.sqrt()).abs() < 1e-6, "{std:?}");
        assert!((std[2] - 5e-3 * 0.5f32.sqrt()).abs() < 1e-6, "{std:?}");
    }

    #[test]
    fn a_constant_stage_has_a_std_of_one() {
        let still = Values(vec![[2.0, 2.0, 0.0, 0.0]; 4], Identity::default());
        let (mean, std) = measure(&still, &[2, 2], &Cancel::default()).unwrap();
        assert_eq!((mean, std), (vec![2.0, 2.0, 0.0, 0.0], vec![1.0; 4]));
    }
}
