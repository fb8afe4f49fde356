//! The choice of a bank's tokens from the stage maps of normal images.

use candle_core::Tensor;
use dualad_data::Cancel;
use dualad_kernels::{Isa, principal_components, principal_start};

use crate::Random;
use crate::bank::config::BankConfig;
use crate::bank::group::{Group, Queries, Tokens, located};
use crate::bank::level::{Level, Scale};
use crate::bank::local::{Cells, averaged};
use crate::bank::maps::Maps;
use crate::bank::nearest::nearest_allowed;
use crate::bank::projection::{Projection, StageMap, finest_of, raw_tokens};
use crate::bank::select::select;
use crate::bank::{Bank, Distances, Normal};
use crate::error::{Error, Result};

/// The number of raw tokens of an image that the principal components are computed from.
const RAW_TOKENS: usize = 128;
/// The number of images of a category by which the normalization is measured.
const MEASURED_IMAGES: usize = 32;

/// The number of images of a category by which the weight of positions is chosen.
const POSITION_IMAGES: usize = 12;
/// The weights of positions to choose from: the distance of two equal tokens that lie the height or the width of the image apart,
/// in gaps between tokens.
const POSITION_SCALES: [f32; 3] = [1.0, 2.0, 4.0];
/// The side of the square of cells whose largest mean distance stands for an image's score there.
const SCORE_SIDE: usize = 3;

/// The image of a token that an extended bank had before.
const EARLIER: u32 = u32::MAX;

/// Chooses the tokens of a bank, in two passes over the images. [`Self::sample`] takes some images of each category, for the
/// principal components. Then [`Self::add`] takes all images, one category after the other.
#[derive(Debug)]
pub(crate) struct Builder {
    config: BankConfig,
    stage_channels: Vec<usize>,
    levels: Vec<LevelBuilder>,
    /// The category at hand, and the number of its images so far.
    category: usize,
    images: usize,
    measured: Vec<Measured>,
    /// The normalization of the categories of an extended bank.
    normal: Vec<Normal>,
}

/// The distances of an image's tokens to the tokens of other images.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The number of the image, in the order of [`Builder::add`].
    pub(crate) image: usize,
    pub(crate) distances: Distances,
}

impl Builder {
    /// Returns a builder of a new bank.
    pub(crate) fn new(config: BankConfig, stage_channels: &[usize], random: &Random) -> Self {
        let level = |&scale: &Scale| LevelBuilder::new(scale, &config, stage_channels, random);
        let levels = Scale::of(&config).iter().map(level).collect();
        let stage_channels = stage_channels.into();
        Self { config, stage_channels, levels, category: 0, images: 0, measured: Vec::new(), normal: Vec::new() }
    }

    /// Returns a builder that extends a bank. The components stay. The tokens of a category stay, unless [`Self::begin_category`] is
    /// called for it. `old` are the bank's categories, and `new` those of the extended one, which include them. `held_out` returns the
    /// number in the extended bank of a held-out image of the bank (see [`Tokens::images`]).
    pub(crate) fn extending(
        bank: &Bank,
        [old, new]: [&[String]; 2],
        held_out: impl Fn(u32) -> u32,
        random: &Random,
    ) -> Self {
        let mut builder = Self::new(bank.config.clone(), &bank.stage_channels, random);
        let position = |category: &String| new.iter().position(|other| other == category).unwrap_or(0);
        let positions: Vec<usize> = old.iter().map(position).collect();
        builder.normal = vec![builder.unmeasured(); new.len()];
        for (&position, before) in positions.iter().zip(&bank.normal) {
            builder.normal[position] = before.clone();
        }
        for (level, before) in builder.levels.iter_mut().zip(bank.levels.iter()) {
            level.projection = Some(before.projection.clone());
            level.groups = vec![Tokens::default(); new.len()];
            for (&position, group) in positions.iter().zip(&before.groups) {
                let mut tokens = group.tokens.clone();
                tokens.images.iter_mut().for_each(|image| *image = held_out(*image));
                level.groups[position] = tokens;
            }
        }
        builder
    }

    /// The normalization before it is measured.
    fn unmeasured(&self) -> Normal {
        Normal { reconstruction: 1.0, levels: vec![1.0; self.levels.len()], sum: 1.0 }
    }

    /// Returns whether the principal components are known: no image need be sampled.
    pub(crate) fn is_projected(&self) -> bool {
        self.levels.iter().all(|level| level.projection.is_some())
    }

    /// Takes the maps of images for the principal components.
    pub(crate) fn sample(&mut self, maps: &[Tensor]) -> Result<()> {
        let maps = Maps::new(maps, &self.stage_channels)?;
        for image in 0..maps.images() {
            self.levels.iter_mut().for_each(|level| level.sample(&maps.image(image)));
        }
        Ok(())
    }

    /// Begins a category. The tokens that an extended bank has of it stay among those to select from.
    pub(crate) fn begin_category(&mut self, category: usize) {
        (self.category, self.images) = (category, 0);
        self.levels.iter_mut().for_each(|level| level.begin_category(category));
    }

    /// Takes the maps of images of the category at hand. `images` is the number of the category's images, those of later calls included.
    /// `numbers` are those of [`Tokens::images`]; none are zeros. The training images come first, then the held-out ones, by
    /// which nothing is measured.
    pub(crate) fn add(&mut self, maps: &[Tensor], images: usize, numbers: &[u32], held_out: bool) -> Result<()> {
        let maps = Maps::new(maps, &self.stage_channels)?;
        let each = self.config.candidates.div_ceil(images.max(1));
        let measured_step = images.div_ceil(MEASURED_IMAGES).max(1);
        for image in 0..maps.images() {
            let number = numbers.get(image).copied().unwrap_or(0);
            let is_measured = !held_out && self.images.is_multiple_of(measured_step);
            let added = Added { owner: self.images as u32, number, tokens: each, is_measured };
            for level in &mut self.levels {
                level.add(&maps.image(image), &self.config, &added);
            }
            self.images += 1;
        }
        Ok(())
    }

    /// Selects the tokens of the category at hand, which ends. `first_image` is the number of its first image.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(crate) fn end_category(&mut self, first_image: usize, cancel: &Cancel) -> Result<()> {
        let (category, config) = (self.category, &self.config);
        let levels = self.levels.iter_mut().map(|level| level.end_category(category, config, cancel));
        let measured: Vec<Vec<(u32, Vec<f32>)>> = levels.collect::<Result<_>>()?;
        for index in 0..measured.first().map_or(0, Vec::len) {
            let image = first_image + measured[0][index].0 as usize;
            let levels = measured.iter().map(|level| level[index].1.clone()).collect();
            self.measured.push(Measured { image, distances: Distances { levels, category } });
        }
        Ok(())
    }

    /// Returns the bank, and the distances by which its normalization is measured. Until then all constants are 1. `alone`: no
    /// network is trained.
    pub(crate) fn finish(self, categories: usize, alone: bool) -> (Bank, Vec<Measured>) {
        let unmeasured = self.unmeasured();
        let Self { config, stage_channels, levels, measured, mut normal, .. } = self;
        normal.resize(categories, unmeasured);
        let levels = levels.into_iter().map(|level| level.finish(categories)).collect();
        (Bank { config, levels, stage_channels: stage_channels.into(), normal, alone, without: 0 }, measured)
    }
}

/// An image of the category at hand.
#[derive(Debug)]
struct Added {
    /// The number of the image in its category, from 0 on.
    owner: u32,
    /// As in [`Tokens::images`].
    number: u32,
    /// The number of its tokens to select from.
    tokens: usize,
    is_measured: bool,
}

/// Chooses the tokens of one scale.
#[derive(Debug)]
struct LevelBuilder {
    scale: Scale,
    neighborhood: usize,
    stage_channels: Vec<usize>,
    random: Random,
    /// Raw tokens of the sampled images, `[tokens, channels]`.
    raw: Vec<f32>,
    projection: Option<Projection>,
    /// The tokens of the category at hand to select from.
    candidates: Candidates,
    /// The position scale that the category at hand has in an extended bank.
    kept_scale: Option<f32>,
    /// All tokens of the category's images that are measured, with the image.
    measured: Vec<(u32, Queries)>,
    /// The tokens of each category.
    groups: Vec<Tokens>,
}

impl LevelBuilder {
    fn new(scale: Scale, config: &BankConfig, stage_channels: &[usize], random: &Random) -> Self {
        Self {
            scale,
            neighborhood: scale.neighborhood(config),
            stage_channels: scale.stages_of(stage_channels).into(),
            random: random.clone(),
            raw: Vec::new(),
            projection: None,
            candidates: Candidates::default(),
            kept_scale: None,
            measured: Vec::new(),
            groups: Vec::new(),
        }
    }

    fn sample(&mut self, maps: &[StageMap<'_>]) {
        let channels: usize = self.stage_channels.iter().sum();
        let tokens = raw_tokens(self.scale.stages_of(maps), &self.stage_channels, self.neighborhood);
        let order = self.random.stream().permutation(tokens.len() / channels.max(1));
        for token in order.into_iter().take(RAW_TOKENS) {
            self.raw.extend_from_slice(&tokens[token * channels..][..channels]);
        }
    }

    /// Makes the tokens of a category candidates again.
    fn begin_category(&mut self, category: usize) {
        let Tokens { values: tokens, positions, weights, images, position_scale } =
            self.groups.get_mut(category).map(std::mem::take).unwrap_or_default();
        let owners = vec![EARLIER; weights.len()];
        // It cannot be measured again: the bank may already hold tokens of the new images.
        self.kept_scale = (!weights.is_empty()).then_some(position_scale);
        self.candidates = Candidates { tokens, positions, owners, images };
    }

    /// Takes some tokens of an image, and all of them if the image is measured.
    fn add(&mut self, maps: &[StageMap<'_>], config: &BankConfig, image: &Added) {
        let (raw, random) = (std::mem::take(&mut self.raw), &mut self.random);
        let projection = self.projection.get_or_insert_with(|| {
            let channels = self.stage_channels.iter().sum();
            let start = random.stream().normal(principal_start(channels, config.dims));
            let (mean, components) = principal_components(Isa::best(), &raw, channels, config.dims, &start);
            Projection::new(mean, components, &self.stage_channels)
        });
        let dims = projection.dims().max(1);
        let maps = self.scale.stages_of(maps);
        let tokens = projection.tokens(maps, self.neighborhood);
        let queries = Queries::new(tokens, finest_of(maps), dims);
        for token in random.stream().permutation(queries.count()).into_iter().take(image.tokens) {
            self.candidates.tokens.extend_from_slice(&queries.tokens[token * dims..][..dims]);
            self.candidates.positions.extend_from_slice(&queries.positions[token * 2..][..2]);
            self.candidates.owners.push(image.owner);
            self.candidates.images.push(image.number);
        }
        if image.is_measured {
            self.measured.push((image.owner, queries));
        }
    }

    /// Selects tokens of the category. Returns each measured image with the distances of its tokens to those of other images.
    fn end_category(&mut self, category: usize, config: &BankConfig, cancel: &Cancel) -> Result<Vec<(u32, Vec<f32>)>> {
        let Candidates { tokens, positions, owners, images } = std::mem::take(&mut self.candidates);
        let measured = std::mem::take(&mut self.measured);
        let dims = self.projection.as_ref().map_or(1, Projection::dims).max(1);
        let selected = select(&tokens, dims, config.tokens, cancel);
        let rows = |values: &[f32], width: usize| -> Vec<f32> {
            selected.iter().flat_map(|&token| &values[token * width..][..width]).copied().collect()
        };
        let (tokens, positions) = (rows(&tokens, dims), rows(&positions, 2));
        let [owners, images]: [Vec<u32>; 2] =
            [owners, images].map(|images| selected.iter().map(|&token| images[token]).collect());
        let check = || if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) };
        check()?;
        let gaps = gaps(&tokens, dims);
        check()?;
        let weights = weights(&gaps);
        let mut chosen = Tokens { values: tokens, positions, weights, images, position_scale: 0.0 };
        chosen.position_scale = match self.kept_scale.take() {
            Some(kept) => kept,
            None if self.scale == Scale::Local => {
                position_scale(&measured, &chosen, &owners, &gaps, config.position, cancel)
            }
            None => 0.0,
        };
        check()?;
        let distances = |(image, queries): &(u32, Queries)| {
            check()?;
            Ok((*image, distances_to_others(&chosen, *image, queries, &owners, chosen.position_scale)))
        };
        let distances = measured.iter().map(distances).collect::<Result<_>>()?;
        self.groups.resize(self.groups.len().max(category + 1), Tokens::default());
        self.groups[category] = chosen;
        Ok(distances)
    }

    fn finish(self, categories: usize) -> Level {
        let projection = self.projection.unwrap_or_else(|| Projection::new(Vec::new(), Vec::new(), &[]));
        let mut groups = self.groups;
        groups.resize(categories, Tokens::default());
        let groups = groups.into_iter().map(Group::new).collect();
        Level { scale: self.scale, neighborhood: self.neighborhood, projection, groups }
    }
}

/// The tokens of a category to select from.
#[derive(Debug, Default)]
struct Candidates {
    /// `[candidates, dims]`.
    tokens: Vec<f32>,
    /// `[candidates, 2]`.
    positions: Vec<f32>,
    /// The image of each candidate.
    owners: Vec<u32>,
    /// As in [`Tokens::images`].
    images: Vec<u32>,
}

/// Returns the weighted distance of each token of an image to the nearest token of another image. `owners` are the images of the
/// selected tokens.
fn distances_to_others(
    chosen: &Tokens,
    image: u32,
    queries: &Queries,
    owners: &[u32],
    position_scale: f32,
) -> Vec<f32> {
    let dims = queries.dims;
    let tokens = located(&chosen.values, &chosen.positions, dims, position_scale);
    let queries = located(&queries.tokens, &queries.positions, dims, position_scale);
    let mut found = nearest_allowed(&queries, &tokens, dims + 2, |_, token| owners[token] != image);
    if found.iter().any(Option::is_none) {
        // All tokens are of this image.
        found = nearest_allowed(&queries, &tokens, dims + 2, |_, _| true);
    }
    let value = |found: Option<(f32, usize)>| found.map_or(0.0, |(distance, token)| distance * chosen.weights[token]);
    found.into_iter().map(value).collect()
}

/// Returns the largest of [`POSITION_SCALES`], times the median gap between tokens, that raises neither the mean distance nor the
/// score of normal images by more than a part `allowed`.
///
/// Where a part always lies in the same place, its normal images lose nothing if they are compared to the same place only, and a
/// piece that is normal elsewhere stands out. Where parts lie anywhere, distances rise, and positions do not count. A few odd places
/// may determine the scores, and a plain background the mean: both must allow it.
///
/// Returns any of them if `cancel` is set meanwhile.
fn position_scale(
    measured: &[(u32, Queries)],
    chosen: &Tokens,
    owners: &[u32],
    gaps: &[f32],
    allowed: f64,
    cancel: &Cancel,
) -> f32 {
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let gap = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    if allowed <= 0.0 || gap <= 0.0 {
        return 0.0;
    }
    let step = measured.len().div_ceil(POSITION_IMAGES).max(1);
    // The sums over all images of the mean distance and of the score.
    let sums = |scale: f32| {
        let of_image = |(image, queries): &(u32, Queries)| {
            let distances = distances_to_others(chosen, *image, queries, owners, scale);
            let means = averaged(Cells { values: &distances, grid: queries.grid, width: 1 }, SCORE_SIDE);
            let mean = distances.iter().sum::<f32>() / distances.len().max(1) as f32;
            [mean, means.into_iter().fold(0.0, f32::max)].map(f64::from)
        };
        let of_images = measured.iter().step_by(step).take_while(|_| !cancel.is_cancelled()).map(of_image);
        of_images.fold([0.0; 2], |sums, values| [sums[0] + values[0], sums[1] + values[1]])
    };
    let limits = sums(0.0).map(|sum| sum * (1.0 + allowed));
    let is_allowed = |scale: &f32| sums(*scale).iter().zip(limits).all(|(sum, limit)| *sum <= limit);
    POSITION_SCALES.iter().map(|scale| scale * gap).take_while(is_allowed).last().unwrap_or(0.0)
}

/// Returns the distance of each token to the nearest other one, 0 if there is none.
fn gaps(tokens: &[f32], dims: usize) -> Vec<f32> {
    let nearest = nearest_allowed(tokens, tokens, dims, |a, b| a != b);
    nearest.into_iter().map(|found| found.map_or(0.0, |(distance, _)| distance)).collect()
}

/// Returns the factor of the distance to each token: the inverse square root of its distance to the nearest other one. This
/// reduces distances where normal tokens are sparse. The inverse itself would let tokens in dense places dominate.
fn weights(gaps: &[f32]) -> Vec<f32> {
    let mean = gaps.iter().map(|&gap| f64::from(gap)).sum::<f64>() / gaps.len().max(1) as f64;
    if mean < f64::from(f32::MIN_POSITIVE) {
        return vec![1.0; gaps.len()];
    }
    // Repeated tokens have no gap.
    gaps.iter().map(|&gap| f64::from(gap).max(0.01 * mean).powf(-0.5) as f32).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn maps(values: Vec<f32>, images: usize) -> Vec<Tensor> {
        vec![Tensor::from_vec(values, (images, 1, 1, 2), &Device::Cpu).unwrap()]
    }

    #[test]
    fn an_image_is_measured_by_the_tokens_of_others() {
        let config = BankConfig::default().with_tokens(10).with_neighborhood(1).with_context(0.0);
        let mut builder = Builder::new(config, &[1], &Random::new(0));
        // Two images of two cells: 0 and 10, and 1 and 13.
        let maps = maps(vec![0.0, 10.0, 1.0, 13.0], 2);
        builder.sample(&maps).unwrap();
        builder.begin_category(0);
        builder.add(&maps, 2, &[], false).unwrap();
        builder.end_category(5, &Cancel::default()).unwrap();
        let (bank, measured) = builder.finish(1, false);
        assert_eq!(bank.tokens(), 4);
        // The gaps between tokens: 0 and 1 are 1 apart, 10 and 13 are 3 apart.
        let weight = |gap: f32| gap.powf(-0.5);
        let expected = [[weight(1.0), 3.0 * weight(3.0)], [weight(1.0), 3.0 * weight(3.0)]];
        for ((measured, expected), image) in measured.iter().zip(expected).zip([5, 6]) {
            assert_eq!(measured.image, image);
            for (found, expected) in measured.distances.levels[0].iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
    }

    /// Maps of 12 images: 64 kinds of cells, each in a place of its own, or anywhere.
    fn parts(keep: bool) -> Vec<Tensor> {
        let mut random = Random::new(7);
        let image = |_: usize| {
            let order = random.stream().permutation(64);
            let noise = random.stream().normal(64);
            (0..64).map(|cell| if keep { cell } else { order[cell] } as f32 + 0.2 * noise[cell]).collect::<Vec<f32>>()
        };
        let values: Vec<f32> = (0..12).flat_map(image).collect();
        vec![Tensor::from_vec(values, (12, 1, 8, 8), &Device::Cpu).unwrap()]
    }

    fn bank_of(mut builder: Builder, maps: &[Tensor]) -> Bank {
        builder.sample(maps).unwrap();
        builder.begin_category(0);
        builder.add(maps, 12, &[], false).unwrap();
        builder.end_category(0, &Cancel::default()).unwrap();
        builder.finish(1, true).0
    }

    #[test]
    fn positions_count_where_parts_keep_their_places() {
        let scale = |bank: &Bank| bank.levels[0].groups[0].tokens.position_scale;
        let new = || Builder::new(BankConfig::default().with_neighborhood(1), &[1], &Random::new(0));
        let kept = bank_of(new(), &parts(true));
        assert!(scale(&kept) > 0.0);
        let anywhere = bank_of(new(), &parts(false));
        assert_eq!(scale(&anywhere), 0.0);
        // The bank already holds tokens of these images: it would find the same ones in their places.
        let categories = ["a".to_owned()];
        let extending = Builder::extending(&anywhere, [&categories; 2], |image| image, &Random::new(1));
        assert_eq!(scale(&bank_of(extending, &parts(false))), 0.0);
        let extending = Builder::extending(&kept, [&categories; 2], |image| image, &Random::new(1));
        assert_eq!(scale(&bank_of(extending, &parts(false))), scale(&kept));
    }

    #[test]
    fn equal_images_and_a_single_image_give_a_usable_bank() {
        for images in [1, 3] {
            let mut builder = Builder::new(BankConfig::default(), &[1], &Random::new(0));
            let maps = maps(vec![2.0; 2 * images], images);
            builder.sample(&maps).unwrap();
            builder.begin_category(0);
            builder.add(&maps, images, &[], false).unwrap();
            builder.end_category(0, &Cancel::default()).unwrap();
            let (bank, measured) = builder.finish(1, true);
            assert!(bank.tokens() > 0 && measured.len() == images);
            let distances = bank.distances(&maps).unwrap();
            assert!(distances.iter().all(|distances| distances.levels.concat().iter().all(|x| x.abs() < 1e-6)));
        }
    }

    #[test]
    fn maps_of_other_stages_are_refused() {
        let mut builder = Builder::new(BankConfig::default(), &[1], &Random::new(0));
        let other = Tensor::zeros((1, 2, 1, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(builder.sample(std::slice::from_ref(&other)), Err(Error::InvalidArgument { .. })));
        assert!(matches!(builder.add(&[other.clone(), other], 1, &[], false), Err(Error::InvalidArgument { .. })));
        let infinite = maps(vec![f32::INFINITY; 2], 1);
        assert!(matches!(builder.sample(&infinite), Err(Error::NotFinite { .. })));
    }
}
