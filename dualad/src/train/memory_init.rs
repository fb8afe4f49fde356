//! Initial memory slots from the queries of training images.
//!
//! Random slots are nearly equidistant from any query, so every read returns nearly the same mean of many slots and carries no
//! signal for hundreds of epochs. Slots from queries are near some queries and far from others from the first step on.

use candle_core::Tensor;

use crate::config::DualAdConfig;
use crate::error::{Error, Result};
use crate::features::TokenSource;
use crate::recipe::MemoryInit;
use crate::train::k_means::k_means;
use crate::train::step::Stepper;
use crate::{Random, random::Stream};

/// The number of images whose queries are used.
const IMAGES: usize = 96;
/// The number of images that pass through the network at a time.
const BATCH: usize = 8;
/// The number of iterations of k-means.
const ITERATIONS: usize = 10;

/// Replaces the slots of a stepper and sets their moments to 0.
pub(crate) fn from_data(
    stepper: &mut dyn Stepper,
    config: &DualAdConfig,
    init: MemoryInit,
    tokens: &dyn TokenSource,
    random: &Random,
) -> Result<()> {
    let (width, slots) = (config.narrow_width, config.memory_slots);
    let images = random.named("memory: images").permutation(tokens.images());
    let mut rows: Vec<Vec<f32>> = Vec::new();
    for images in images.get(..IMAGES).unwrap_or(&images).chunks(BATCH) {
        let found = stepper.memory_queries(&tokens.batch(images)?)?;
        rows.resize(found.len(), Vec::new());
        rows.iter_mut().zip(found).for_each(|(rows, found)| rows.extend(found));
    }
    let mut state = stepper.state()?;
    for (level, rows) in rows.iter().enumerate() {
        let stream = random.named(&format!("memory: rows of level {level}"));
        let values = choose(init, rows, width, slots, stream);
        let name = format!("memory_modules.{level}.weight");
        let replace = |tensor: &mut Tensor, values: Vec<f32>| {
            *tensor = Tensor::from_vec(values, (slots, width), tensor.device())?;
            Ok::<_, Error>(())
        };
        if let (Some(parameters), true) = (state.parameters.get_mut(&name), values.len() == slots * width) {
            replace(parameters, values)?;
            for moments in [&mut state.optimizer.first_moment, &mut state.optimizer.second_moment] {
                moments.get_mut(&name).map_or(Ok(()), |moments| replace(moments, vec![0.0; slots * width]))?;
            }
        }
    }
    stepper.restore(&state)
}

/// Returns `slots` rows: a sample of `rows` `[rows, width]`, or their centers.
fn choose(init: MemoryInit, rows: &[f32], width: usize, slots: usize, stream: Stream) -> Vec<f32> {
    let iterations = if init == MemoryInit::KMeans { ITERATIONS } else { 0 };
    k_means(rows, width, slots, iterations, stream)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::DualAd;
    use crate::recipe::AdamWConfig;
    use crate::testing::{RandomTokens, bits, small};
    use crate::train::step::PlainStepper;

    fn stepper() -> PlainStepper {
        let network = DualAd::new(small(), &Random::new(0), &Device::Cpu).unwrap();
        let mut stepper = PlainStepper::new(&network, AdamWConfig::default()).unwrap();
        let tokens = RandomTokens::new(&small(), 2).batch(&[0, 1]).unwrap();
        stepper.step(&tokens, &mut Random::new(0)).unwrap();
        stepper
    }

    #[test]
    fn sampled_slots_are_queries_and_nothing_else_changes() {
        let (mut stepper, tokens) = (stepper(), RandomTokens::new(&small(), 5));
        let asked = stepper.memory_queries(&tokens.batch(&[0, 1, 2, 3, 4]).unwrap()).unwrap();
        let mut before = stepper.state().unwrap();
        from_data(&mut stepper, &small(), MemoryInit::Sample, &tokens, &Random::new(0)).unwrap();
        let mut after = stepper.state().unwrap();
        for (level, asked) in asked.iter().enumerate() {
            let name = format!("memory_modules.{level}.weight");
            let slots: Vec<Vec<f32>> = after.parameters[&name].to_vec2().unwrap();
            assert_eq!(slots.len(), 6);
            for slot in &slots {
                assert!(asked.chunks(8).any(|row| row.iter().zip(slot).all(|(a, b)| (a - b).abs() < 1e-5)));
                assert_eq!(slots.iter().filter(|other| *other == slot).count(), 1);
            }
            assert!(bits(&after.optimizer.second_moment)[&name].iter().all(|&bits| bits == 0));
            for state in [&mut before, &mut after] {
                for tensors in
                    [&mut state.parameters, &mut state.optimizer.first_moment, &mut state.optimizer.second_moment]
                {
                    tensors.remove(&name).unwrap();
                }
            }
        }
        assert_eq!(bits(&before.parameters), bits(&after.parameters));
        assert_eq!(bits(&before.optimizer.first_moment), bits(&after.optimizer.first_moment));
        assert_eq!((before.optimizer.steps, after.optimizer.steps), (1, 1));
    }

    #[test]
    fn k_means_slots_depend_on_the_seed_only() {
        let tokens = RandomTokens::new(&small(), 5);
        let slots = |init, seed| {
            let mut stepper = stepper();
            from_data(&mut stepper, &small(), init, &tokens, &Random::new(seed)).unwrap();
            bits(&stepper.state().unwrap().parameters)["memory_modules.1.weight"].clone()
        };
        let first = slots(MemoryInit::KMeans, 0);
        assert!(first == slots(MemoryInit::KMeans, 0));
        assert!(first != slots(MemoryInit::Sample, 0) && first != slots(MemoryInit::KMeans, 1));
    }
}
