//! Each channel's mean and deviation over the training images, for a network that standardises.

use crate::error::Result;
use crate::train::features::TokenSource;
use dualad_data::Cancel;

/// Images read at a time. No effect on the numbers.
const IMAGES: usize = 16;
/// A deviation below this share of its stage's own is raised to it: a channel that was all but constant in training would
/// otherwise drown the others at the first image in which it is not.
const LEAST: f64 = 1e-3;

/// Mean and deviation of each channel, `[channels]`, by f64 sums in the order of the images.
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
    let mut deviations = Vec::with_capacity(channels);
    let mut rest = moments.as_slice();
    for &count in stage_channels {
        let (stage, others) = rest.split_at(count.min(rest.len()));
        rest = others;
        let variances = stage.iter().map(Moments::variance);
        let typical = (variances.clone().sum::<f64>() / stage.len().max(1) as f64).sqrt();
        // A stage that never varies has no scale of its own.
        let least = if typical * LEAST >= f64::from(f32::MIN_POSITIVE) { typical * LEAST } else { 1.0 };
        deviations.extend(variances.map(|variance| variance.sqrt().max(least) as f32));
    }
    Ok((mean, deviations))
}

/// Welford's running mean and sum of squares about it ("Note on a Method for Calculating Corrected Sums of Squares and
/// Products", Technometrics 4(3), 1962).
#[derive(Debug, Clone, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
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
    use crate::train::features::Identity;

    #[derive(Debug)]
    struct Values(Vec<[f32; 4]>);

    /// Two tokens an image.
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
            unimplemented!()
        }
    }

    #[test]
    fn means_and_deviations_are_those_of_all_tokens() {
        // Channel 0 around a million: f32 sums would lose all of it. Channel 1 is constant, channel 2 nearly.
        let tokens = (0..100).map(|i| {
            let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
            [1e6 + sign, 3.0, 1e-9 * sign, 5.0 * sign]
        });
        let (mean, deviation) = measure(&Values(tokens.collect()), &[2, 2], &Cancel::default()).unwrap();
        assert_eq!(mean[..2], [1e6, 3.0]);
        assert!((deviation[0] - 1.0).abs() < 1e-6 && (deviation[3] - 5.0).abs() < 1e-6, "{deviation:?}");
        // Raised to a thousandth of their stage's.
        assert!((deviation[1] - 1e-3 * 0.5f32.sqrt()).abs() < 1e-6, "{deviation:?}");
        assert!((deviation[2] - 5e-3 * 0.5f32.sqrt()).abs() < 1e-6, "{deviation:?}");
    }

    #[test]
    fn a_stage_that_never_varies_is_left_at_its_scale() {
        let (mean, deviation) = measure(&Values(vec![[2.0, 2.0, 0.0, 0.0]; 4]), &[2, 2], &Cancel::default()).unwrap();
        assert_eq!((mean, deviation), (vec![2.0, 2.0, 0.0, 0.0], vec![1.0; 4]));
    }
}
