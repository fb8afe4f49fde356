//! One scale of a bank: its tokens and their search.

use std::ops::Range;

use crate::bank::config::BankConfig;
use crate::bank::group::{Group, Queries, mean};
use crate::bank::projection::{Projection, StageMap, finest_of};

/// The largest coarse distance of a category that an image may belong to, in multiples of the least.
pub(super) const COARSELY_NEAR: f32 = 1.5;
/// The largest number of such categories. More of them would only take time.
pub(super) const MOST_NEAR: usize = 4;

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
    /// The tokens of each category.
    pub(super) groups: Vec<Group>,
}

impl Level {
    /// The number of tokens.
    pub(super) fn count(&self) -> usize {
        self.groups.iter().map(|group| group.tokens.count()).sum()
    }

    /// Returns the tokens of an image. `maps` are those of all stages of the bank.
    pub(super) fn queries(&self, maps: &[StageMap<'_>]) -> Queries {
        let maps = self.scale.stages_of(maps);
        let tokens = self.projection.tokens(maps, self.neighborhood);
        Queries::new(tokens, finest_of(maps), self.projection.dims())
    }

    /// Returns the category of an image: the one whose tokens are nearest to some of the image's tokens. The weighted distances to all
    /// tokens decide, among the categories that are coarsely near.
    pub(super) fn category(&self, queries: &Queries) -> usize {
        let filled = self.filled();
        if filled.len() < 2 {
            return filled.first().copied().unwrap_or(0);
        }
        let sampled = queries.sampled();
        let coarse = filled.iter().map(|&category| (self.groups[category].coarse_distance(&sampled), category));
        let weighted = |category: usize| (mean(&self.distances(&sampled, category, 0)), category);
        nearest_category(coarsely_near(coarse).into_iter().map(weighted))
    }

    /// Returns the categories that have tokens.
    pub(super) fn filled(&self) -> Vec<usize> {
        (0..self.groups.len()).filter(|&category| self.groups[category].tokens.count() > 0).collect()
    }

    /// Returns the weighted distance of each token of an image to the nearest token of a category. Zeros if the category has none.
    /// `without` is as in [`Group::nearest`].
    pub(super) fn distances(&self, queries: &Queries, category: usize, without: u32) -> Vec<f32> {
        let Some(group) = self.groups.get(category).filter(|group| group.tokens.count() > 0) else {
            return vec![0.0; queries.count()];
        };
        let (mut distances, nearest) = group.nearest(queries, without);
        for (distance, token) in distances.iter_mut().zip(nearest) {
            *distance *= group.tokens.weights.get(token as usize).copied().unwrap_or(1.0);
        }
        distances
    }
}

/// Returns the categories that an image may belong to by its coarse distances, each with its category, the nearest first.
pub(super) fn coarsely_near(distances: impl Iterator<Item = (f32, usize)>) -> Vec<usize> {
    let mut near: Vec<(f32, usize)> = distances.collect();
    near.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let limit = near.first().map_or(0.0, |(distance, _)| COARSELY_NEAR * distance);
    let near = near.into_iter().take(MOST_NEAR).take_while(|(distance, _)| *distance <= limit);
    near.map(|(_, category)| category).collect()
}

/// Returns the category with the least distance, the first of equal ones. 0 if there is none.
pub(super) fn nearest_category(distances: impl Iterator<Item = (f32, usize)>) -> usize {
    distances.min_by(|(a, _), (b, _)| a.total_cmp(b)).map_or(0, |(_, category)| category)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::bank::group::Tokens;

    /// A level of tokens of two stages, whose components are the channels themselves.
    fn level(groups: Vec<Group>) -> Level {
        let stages = [2, 3];
        let unit: Vec<f32> = (0..25).map(|index| f32::from(u8::from(index % 6 == 0))).collect();
        let projection = Projection::new(vec![0.0; 5], unit, &stages);
        Level { scale: Scale::Local, neighborhood: 1, projection, groups }
    }

    fn group(values: Vec<f32>, positions: Vec<f32>, weights: Vec<f32>, position_scale: f32) -> Group {
        let images = vec![0; weights.len()];
        Group::new(Tokens { values, positions, weights, images, position_scale })
    }

    #[test]
    fn distances_are_those_to_the_nearest_tokens_with_their_weights() {
        let mut random = Random::new(5);
        let mut normal = |count: usize| random.stream().normal(count);
        let scale = 1.5;
        let (tokens, weights) = (normal(40 * 5), normal(40).iter().map(|x| x.abs() + 0.5).collect::<Vec<f32>>());
        let places: Vec<f32> = normal(80).iter().map(|x| x.abs().min(1.0)).collect();
        let far = group(vec![100.0; 5], vec![0.5; 2], vec![1.0], 0.0);
        let level = level(vec![far, group(tokens.clone(), places.clone(), weights.clone(), scale)]);
        let (first, second) = (normal(2 * 6), normal(3 * 6));
        let maps = [StageMap { values: &first, grid: [2, 3] }, StageMap { values: &second, grid: [2, 3] }];
        let queries = level.queries(&maps);
        assert_eq!(level.category(&queries), 1);
        let found = level.distances(&queries, 1, 0);
        assert_eq!(found.len(), 6);
        for (cell, found) in found.into_iter().enumerate() {
            let query = [first[cell], first[6 + cell], second[cell], second[6 + cell], second[12 + cell]];
            let place = [((cell / 3) as f32 + 0.5) / 2.0, ((cell % 3) as f32 + 0.5) / 3.0];
            let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            let of = |token: usize| {
                let away = scale * scale * square(&places[token * 2..][..2], &place);
                (square(&tokens[token * 5..][..5], &query) + away).sqrt()
            };
            let expected = (0..40).min_by(|&a, &b| of(a).total_cmp(&of(b))).unwrap();
            assert!((found - of(expected) * weights[expected]).abs() < 1e-5);
        }
    }

    #[test]
    fn an_image_is_compared_to_the_tokens_of_its_own_category() {
        let of = |value: f32| group(vec![value; 5], vec![0.5; 2], vec![1.0], 0.0);
        let empty = group(Vec::new(), Vec::new(), Vec::new(), 0.0);
        let level = level(vec![empty, of(1.0), of(2.0)]);
        // 3 of 4 cells are near the third category's token.
        let (first, second) = ([2.0, 2.0, 2.0, 1.0].repeat(2), [2.0, 2.0, 2.0, 1.0].repeat(3));
        let maps = [StageMap { values: &first, grid: [2, 2] }, StageMap { values: &second, grid: [2, 2] }];
        let queries = level.queries(&maps);
        assert_eq!(level.category(&queries), 2);
        let found = level.distances(&queries, 2, 0);
        assert!(found[..3].iter().all(|&x| x < 1e-3) && (found[3] - 5f32.sqrt()).abs() < 1e-3, "{found:?}");
        assert_eq!(level.distances(&queries, 0, 0), [0.0; 4]);
    }

    #[test]
    fn context_tokens_are_of_the_last_stage() {
        assert_eq!(Scale::Context.stages_of(&[1, 2, 3]), [3]);
        assert_eq!(Scale::Local.stages_of(&[1, 2, 3]), [1, 2, 3]);
        assert!(Scale::Context.stages_of::<u8>(&[]).is_empty());
        assert_eq!(Scale::of(&BankConfig::default().with_context(0.2)), [Scale::Local, Scale::Context]);
        assert_eq!(Scale::of(&BankConfig::default()), [Scale::Local]);
    }
}
