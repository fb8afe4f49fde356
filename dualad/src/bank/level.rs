//! One scale of a bank: its tokens and their search.

use std::ops::Range;

use dualad_kernels::{Isa, NearestNeighbors};

use crate::bank::config::BankConfig;
use crate::bank::projection::{Projection, StageMap};

/// The scale of a bank's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Small surroundings, of all stages of the bank.
    Local,
    /// Large surroundings, of the last stage.
    Context,
}

impl Scale {
    /// Returns the scales of a bank, in the order of its levels.
    pub(super) fn of(config: &BankConfig) -> &'static [Self] {
        if config.context > 0.0 { &[Self::Local, Self::Context] } else { &[Self::Local] }
    }

    /// The name in a model's file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Context => "context",
        }
    }

    /// Returns the range of the bank's stages that the tokens are made of.
    pub(super) fn stages(self, count: usize) -> Range<usize> {
        match self {
            Self::Local => 0..count,
            Self::Context => count.saturating_sub(1)..count,
        }
    }

    /// Returns those of the bank's stages that the tokens are made of.
    pub(crate) fn stages_of<T>(self, stages: &[T]) -> &[T] {
        &stages[self.stages(stages.len())]
    }

    pub(super) fn neighborhood(self, config: &BankConfig) -> usize {
        match self {
            Self::Local => config.neighborhood,
            Self::Context => config.context_neighborhood,
        }
    }

    /// Returns the share in the bank's part of the scores.
    pub(crate) fn share(self, config: &BankConfig) -> f32 {
        match self {
            Self::Local => (1.0 - config.context) as f32,
            Self::Context => config.context as f32,
        }
    }
}

/// The tokens of one scale.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) scale: Scale,
    pub(super) neighborhood: usize,
    pub(super) projection: Projection,
    /// `[tokens, dims]`.
    pub(super) tokens: Vec<f32>,
    /// The category of each token.
    pub(super) categories: Vec<u32>,
    /// The factor of the distance to each token.
    pub(super) weights: Vec<f32>,
    search: NearestNeighbors,
}

impl Level {
    pub(super) fn new(
        (scale, neighborhood): (Scale, usize),
        projection: Projection,
        tokens: Vec<f32>,
        categories: Vec<u32>,
        weights: Vec<f32>,
    ) -> Self {
        let search = NearestNeighbors::new(Isa::best(), &tokens, projection.dims().max(1));
        Self { scale, neighborhood, projection, tokens, categories, weights, search }
    }

    /// Returns the weighted distance of each token of an image to the nearest token, and that token. `maps` are those of all stages
    /// of the bank.
    pub(super) fn distances(&self, maps: &[StageMap<'_>]) -> (Vec<f32>, Vec<u32>) {
        let maps = self.scale.stages_of(maps);
        let queries = self.projection.tokens(maps, self.neighborhood);
        let count = queries.len() / self.projection.dims().max(1);
        let (mut values, mut nearest) = (vec![0.0; count], vec![0u32; count]);
        self.search.search(&queries, &mut values, &mut nearest);
        for (value, &token) in values.iter_mut().zip(&nearest) {
            *value *= self.weights.get(token as usize).copied().unwrap_or(1.0);
        }
        (values, nearest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn distances_are_those_to_the_nearest_tokens_with_their_weights() {
        let mut random = Random::new(5);
        let mut normal = |count: usize| random.stream().normal(count);
        // Two stages; the components are the channels themselves.
        let stages = [2, 3];
        let unit: Vec<f32> = (0..25).map(|index| f32::from(u8::from(index % 6 == 0))).collect();
        let projection = Projection::new(vec![0.0; 5], unit, &stages);
        let (tokens, weights) = (normal(40 * 5), normal(40).iter().map(|x| x.abs() + 0.5).collect::<Vec<f32>>());
        let level = Level::new((Scale::Local, 1), projection, tokens.clone(), vec![0; 40], weights.clone());
        let (first, second) = (normal(2 * 6), normal(3 * 6));
        let maps = [StageMap { values: &first, grid: [2, 3] }, StageMap { values: &second, grid: [2, 3] }];
        let (found, nearest) = level.distances(&maps);
        assert_eq!(found.len(), 6);
        for cell in 0..6 {
            let query = [first[cell], first[6 + cell], second[cell], second[6 + cell], second[12 + cell]];
            let distance = |token: &[f32]| token.iter().zip(query).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            let distances: Vec<f32> = tokens.chunks(5).map(distance).collect();
            let expected = (0..40).min_by(|&a, &b| distances[a].total_cmp(&distances[b])).unwrap();
            assert_eq!(nearest[cell] as usize, expected);
            assert!((found[cell] - distances[expected] * weights[expected]).abs() < 1e-5);
        }
    }

    #[test]
    fn context_tokens_are_of_the_last_stage() {
        assert_eq!(Scale::Context.stages_of(&[1, 2, 3]), [3]);
        assert_eq!(Scale::Local.stages_of(&[1, 2, 3]), [1, 2, 3]);
        assert!(Scale::Context.stages_of::<u8>(&[]).is_empty());
        assert_eq!(Scale::of(&BankConfig::default()), [Scale::Local, Scale::Context]);
        assert_eq!(Scale::of(&BankConfig::default().with_context(0.0)), [Scale::Local]);
    }
}
