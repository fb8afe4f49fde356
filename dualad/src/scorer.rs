//! The scores of a model: those of its reconstruction network, or, with a bank, of both (docs/method.md, section 9).

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use dualad_backbones::{FeatureExtractor, Stage, aggregate};

use crate::Reconstructor;
use crate::bank::{Bank, Distances, Scale, Search, SearchForm, finest};
use crate::error::{Error, Result};
use crate::parts::{BankParts, ScaleParts, Upsampling as Upsampled};
use crate::score::{POOL, Scores, Upsampling, bank_pool};

/// The inference form of a model: tokens and stage maps to scores. A clone shares the network and the bank.
#[derive(Debug, Clone)]
pub(crate) struct Scorer {
    network: Arc<Reconstructor>,
    bank: Option<BankScorer>,
}

#[derive(Debug, Clone)]
struct BankScorer {
    bank: Bank,
    search: Search,
    /// For each scale, the rows and columns of its tokens, their upsampling on the CPU and the scale's share in the bank's part. The
    /// distances are much smaller than the maps that are made of them, and the maps are wanted on the CPU: a device has nothing to gain.
    levels: Vec<([usize; 2], Upsampling, f32)>,
    /// The upsampling of the reconstruction's errors, on the CPU.
    of_errors: Upsampling,
}

/// The scores of a batch.
#[derive(Debug)]
pub(crate) struct BatchScores {
    pub(crate) scores: Scores,
    /// With a bank: for each image, the parts of the image score.
    pub(crate) parts: Option<Vec<ScoreParts>>,
}

/// The parts of an image score (docs/method.md, section 9), at the place that determines it. The image score is their sum.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct ScoreParts {
    /// The part of the reconstruction: w times its error, divided by the mean score of normal images.
    pub reconstruction: f32,
    /// The part of the bank: 1 - w times the distance to normal tokens, divided by its mean on normal images.
    pub bank: f32,
    /// The category that the bank compares the image to.
    #[serde(skip)]
    pub(crate) category: usize,
}

/// Returns the stages that a bank's tokens are made of: all but the first, whose features are the least specific.
pub(crate) fn bank_stages<T>(stages: &[T]) -> &[T] {
    if stages.len() > 1 { &stages[1..] } else { stages }
}

/// Returns the rows and columns of the maps of a bank's stages, for inputs of `[height, width]` pixels.
fn bank_grids(stages: &[Stage], [height, width]: [usize; 2]) -> Vec<[usize; 2]> {
    let grid = |stage: &Stage| {
        let [_, rows, columns] = stage.map_shape(height, width);
        [rows, columns]
    };
    bank_stages(stages).iter().map(grid).collect()
}

impl Scorer {
    /// Returns the scorer of a network, and of a bank of features of `stages`, for inputs of `[height, width]` pixels.
    pub(crate) fn new(network: Reconstructor, bank: Option<Bank>, stages: &[Stage], size: [usize; 2]) -> Result<Self> {
        let form = SearchForm::of(network.device().location());
        Self::in_form(form, network, bank, stages, size)
    }

    /// Returns a scorer whose bank is searched in a form.
    fn in_form(
        form: SearchForm,
        network: Reconstructor,
        bank: Option<Bank>,
        stages: &[Stage],
        size: [usize; 2],
    ) -> Result<Self> {
        let bank = bank.map(|bank| {
            let grids = bank_grids(stages, size);
            let search = Search::new(form, &bank, &grids, &network.device())?;
            let level = |scale: Scale| {
                let grid = finest(scale.stages_of(&grids).iter().copied());
                Ok((grid, Upsampling::smooth(grid, size, &Device::Cpu)?, scale.share(bank.config())))
            };
            let levels = bank.scales().map(level).collect::<candle_core::Result<_>>()?;
            let (grid, stride) = (network.config().grid, network.config().token_stride);
            let of_errors = Upsampling::new(grid, stride, bank_pool(size), &Device::Cpu)?;
            Ok::<_, Error>(BankScorer { levels, bank, search, of_errors })
        });
        Ok(Self { network: Arc::new(network), bank: bank.transpose()? })
    }

    /// Returns the scorer with another normalization of its bank, or with a bank without an image.
    #[cfg(feature = "train")]
    pub(crate) fn with_bank(mut self, bank: Bank) -> Self {
        if let Some(scorer) = &mut self.bank {
            scorer.bank = bank;
        }
        self
    }

    /// Returns the sides of the average pool of the image score, in pixels, for inputs of `[height, width]` pixels.
    pub(crate) fn pool(&self, size: [usize; 2]) -> [usize; 2] {
        if self.bank.is_some() { bank_pool(size) } else { [POOL; 2] }
    }

    /// Returns the parts of the scores for inputs of `[height, width]` pixels: the upsampling of the network's errors, unless they have
    /// no part, and the bank.
    pub(crate) fn parts(&self, stages: &[Stage], size: [usize; 2]) -> Result<(Option<Upsampled>, Option<BankParts>)> {
        let Some(bank) = &self.bank else {
            let (grid, stride) = (self.network.config().grid, self.network.config().token_stride);
            let of_errors = Upsampling::new(grid, stride, [POOL; 2], &Device::Cpu)?;
            return Ok((Some(of_errors.parts()?), None));
        };
        let of_errors = if bank.bank.is_alone() { None } else { Some(bank.of_errors.parts()?) };
        Ok((of_errors, Some(bank.parts(stages, size)?)))
    }

    /// Returns the scores of preprocessed images `[batch, 3, height, width]`.
    pub(crate) fn score(&self, extractor: &dyn FeatureExtractor, images: &Tensor) -> Result<BatchScores> {
        let (_, _, height, width) = images.dims4()?;
        let Some(bank) = &self.bank else {
            let tokens = extractor.tokens(images)?.to_device(&self.network.device())?.to_dtype(self.network.dtype())?;
            return Ok(BatchScores { scores: self.network.score(&tokens)?, parts: None });
        };
        let (maps, stages) = (extractor.extract(images)?, extractor.stages());
        let tokens = || aggregate(&maps, stages, [height, width], extractor.backbone().token_stride());
        // A device computes the errors while the search is prepared: they are read last.
        let errors = if bank.bank.is_alone() { None } else { Some(self.errors_on_device(&tokens()?)?) };
        let distances = bank.search.distances(&bank.bank, bank_stages(&maps))?;
        let errors = errors.map(|errors| on_cpu(&errors)).transpose()?;
        bank.combine(errors.as_ref(), &distances.iter().collect::<Vec<_>>())
    }

    /// Returns the distances of stage maps to the bank. `None` without one.
    #[cfg(feature = "train")]
    pub(crate) fn distances(&self, maps: &[Tensor]) -> Result<Option<Vec<Distances>>> {
        self.bank.as_ref().map(|bank| bank.search.distances(&bank.bank, bank_stages(maps))).transpose()
    }

    /// Returns the scores of tokens `[batch, tokens, channels]` whose distances to the bank are known.
    #[cfg(feature = "train")]
    pub(crate) fn score_tokens(&self, tokens: &Tensor, distances: &[&Distances]) -> Result<BatchScores> {
        match &self.bank {
            None => Ok(BatchScores { scores: self.network.score(tokens)?, parts: None }),
            Some(bank) if bank.bank.is_alone() => bank.combine(None, distances),
            Some(bank) => bank.combine(Some(&self.errors(tokens)?), distances),
        }
    }

    /// Returns the errors of the network, `[batch, rows, columns]` in f32 on the CPU, of tokens `[batch, tokens, channels]`.
    #[cfg(feature = "train")]
    pub(crate) fn errors(&self, tokens: &Tensor) -> Result<Tensor> {
        Ok(on_cpu(&self.errors_on_device(tokens)?)?)
    }

    fn errors_on_device(&self, tokens: &Tensor) -> Result<Tensor> {
        let tokens = tokens.to_device(&self.network.device())?.to_dtype(self.network.dtype())?;
        self.network.errors(&tokens)
    }

    /// Returns the image scores of the errors and of each scale of the bank, each alone and before it is divided by its constant.
    #[cfg(feature = "train")]
    pub(crate) fn terms(&self, errors: Option<&Tensor>, distances: &[&Distances]) -> Result<Vec<Vec<f32>>> {
        let Some(bank) = &self.bank else { return Ok(Vec::new()) };
        let mut terms = vec![match errors {
            None => vec![0.0; distances.len()],
            Some(errors) => bank.of_errors.scores(errors)?.image_score.to_vec1()?,
        }];
        for (index, (_, upsampling, _)) in bank.levels.iter().enumerate() {
            let maps = bank.maps(index, distances.iter().map(|distances| (*distances, 1.0)))?;
            terms.push(upsampling.scores(&maps)?.image_score.to_vec1()?);
        }
        Ok(terms)
    }

    /// Returns the image scores of errors and distances.
    #[cfg(feature = "train")]
    pub(crate) fn sums(&self, errors: Option<&Tensor>, distances: &[&Distances]) -> Result<Vec<f32>> {
        let Some(bank) = &self.bank else { return Ok(Vec::new()) };
        Ok(bank.combine(errors, distances)?.scores.image_score.to_vec1()?)
    }
}

impl BankScorer {
    /// Returns the tensor `[images, rows, columns]` of the distances of a scale, each image's times a factor.
    fn maps<'a>(&self, level: usize, images: impl ExactSizeIterator<Item = (&'a Distances, f32)>) -> Result<Tensor> {
        let ([rows, columns], ..) = self.levels[level];
        let count = images.len();
        let scaled =
            |(distances, factor): (&'a Distances, f32)| distances.levels[level].iter().map(move |x| x * factor);
        let values: Vec<f32> = images.flat_map(scaled).collect();
        Ok(Tensor::from_vec(values, (count, rows, columns), &Device::Cpu)?)
    }

    /// Returns the share of the network in the scores.
    fn share(&self, has_errors: bool) -> f32 {
        if has_errors { self.bank.config().reconstruction as f32 } else { 0.0 }
    }

    /// Returns the factor of a scale's distances in the scores of an image of a category.
    fn level_factor(&self, index: usize, category: usize, share: f32) -> f32 {
        let level_share = self.levels.get(index).map_or(0.0, |(_, _, share)| *share);
        let normal = self.bank.normal(category);
        let normal = normal.map_or(1.0, |normal| normal.sum * normal.levels[index]);
        (1.0 - share) * level_share / normal
    }

    /// Returns the factor of the network's errors in the scores of an image of a category.
    fn error_factor(&self, category: usize, share: f32) -> f32 {
        share / self.bank.normal(category).map_or(1.0, |normal| normal.sum * normal.reconstruction)
    }

    /// Returns the bank as plain numbers, for inputs of `[height, width]` pixels.
    fn parts(&self, stages: &[Stage], size: [usize; 2]) -> Result<BankParts> {
        let own = bank_stages(stages);
        let grids = bank_grids(stages, size);
        let share = self.share(!self.bank.is_alone());
        let categories = 0..self.bank.categories();
        let mut scales = Vec::new();
        for (index, (grid, upsampling, _)) in self.levels.iter().enumerate() {
            let Some(level) = self.bank.level_parts(index, stages.len() - own.len(), &grids, *grid) else { continue };
            scales.push(ScaleParts {
                grid: *grid,
                dims: level.dims,
                neighborhood: level.neighborhood,
                stages: level.stages,
                offset: level.offset,
                positions: level.positions,
                categories: level.categories,
                upsampling: upsampling.parts()?,
                factors: categories.clone().map(|category| self.level_factor(index, category, share)).collect(),
            });
        }
        let error_factors = categories.map(|category| self.error_factor(category, share)).collect();
        let rule = Bank::category_rule(scales.first().map(|scale| scale.grid).unwrap_or_default());
        Ok(BankParts { error_factors, scales, rule })
    }

    /// Combines errors `[images, rows, columns]`, if the network has a part in the scores, and distances. Each term is divided by its
    /// mean score on normal images of the image's category.
    fn combine(&self, errors: Option<&Tensor>, distances: &[&Distances]) -> Result<BatchScores> {
        let share = self.share(errors.is_some());
        let mut pixels = None;
        let mut bank: Option<Tensor> = None;
        for (index, (_, upsampling, _)) in self.levels.iter().enumerate() {
            let factor = |distances: &Distances| self.level_factor(index, distances.category, share);
            let maps = self.maps(index, distances.iter().map(|distances| (*distances, factor(distances))))?;
            pixels = Some(added(pixels, upsampling.pixels(&maps)?)?);
            bank = Some(added(bank, upsampling.pooled(&maps)?)?);
        }
        let mut reconstruction = None;
        if let Some(errors) = errors {
            let factor = |distances: &&Distances| self.error_factor(distances.category, share);
            let factors: Vec<f32> = distances.iter().map(factor).collect();
            let errors = errors.broadcast_mul(&Tensor::from_vec(factors, (distances.len(), 1, 1), &Device::Cpu)?)?;
            pixels = Some(added(pixels, self.of_errors.pixels(&errors)?)?);
            reconstruction = Some(self.of_errors.pooled(&errors)?);
        }
        let rows = |pooled: Option<Tensor>| match pooled {
            Some(pooled) => pooled.flatten_from(1)?.to_vec2::<f32>(),
            None => Ok(vec![Vec::new(); distances.len()]),
        };
        let (reconstruction, bank) = (rows(reconstruction)?, rows(bank)?);
        let places = reconstruction.iter().zip(&bank).zip(distances);
        let parts: Vec<ScoreParts> =
            places.map(|((reconstruction, bank), own)| largest(reconstruction, bank, own.category)).collect();
        let image_score: Vec<f32> = parts.iter().map(|parts| parts.reconstruction + parts.bank).collect();
        let image_score = Tensor::from_vec(image_score, parts.len(), &Device::Cpu)?;
        // Unreachable: a bank has at least one scale.
        let pixels = pixels.ok_or_else(|| candle_core::Error::msg("a bank has no scale"))?;
        Ok(BatchScores { scores: Scores { anomaly_map: pixels.unsqueeze(1)?, image_score }, parts: Some(parts) })
    }
}

/// Returns a tensor in f32 on the CPU.
fn on_cpu(tensor: &Tensor) -> candle_core::Result<Tensor> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)
}

/// Returns the sum of tensors.
fn added(sum: Option<Tensor>, other: Tensor) -> candle_core::Result<Tensor> {
    match sum {
        Some(sum) => sum + other,
        None => Ok(other),
    }
}

/// Returns the parts at the first place where their sum is largest. Without values of the reconstruction, its part is 0.
fn largest(reconstruction: &[f32], bank: &[f32], category: usize) -> ScoreParts {
    let mut found = ScoreParts { reconstruction: 0.0, bank: f32::NEG_INFINITY, category };
    for (place, &bank) in bank.iter().enumerate() {
        let reconstruction = reconstruction.get(place).copied().unwrap_or(0.0);
        let sum = reconstruction + bank;
        if sum > found.reconstruction + found.bank || sum.is_nan() {
            found = ScoreParts { reconstruction, bank, category };
        }
    }
    found
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use dualad_backbones::Backbone;
    use dualad_data::Cancel;

    use super::*;
    use crate::bank::{BankConfig, Builder};
    use crate::ops::testing::{assert_near, devices};
    use crate::{DualAd, Random, testing};

    /// Scores new images with a bank of two categories, with its search in the form for other devices and in that for the CPU. The
    /// tolerance is 1e-4 of the largest value.
    #[test]
    fn devices_agree() {
        let (size, random) = ([64, 48], Random::new(4));
        let extractor = Backbone::FilterBank.extractor().build().unwrap();
        let stages = extractor.stages();
        // Noise whose grains have so many pixels a side.
        let images = |seed: u64, count: usize, side: usize| {
            let values = Random::new(seed).stream().normal(count * 3 * 64 * 48 / (side * side));
            let small = Tensor::from_vec(values, (count, 3, 64 / side, 48 / side), &Device::Cpu).unwrap();
            if side == 1 { small } else { small.upsample_nearest2d(64, 48).unwrap() }
        };
        let channels: Vec<usize> = bank_stages(stages).iter().map(|stage| stage.channels).collect();
        let config = BankConfig::default().with_tokens(40).with_dims(8).with_context(0.2);
        let mut builder = Builder::new(config, &channels, &random);
        for category in 0..2 {
            let maps = extractor.extract(&images(1, 3, 1 + 7 * category)).unwrap();
            builder.sample(bank_stages(&maps)).unwrap();
            builder.begin_category(category);
            builder.add(bank_stages(&maps), 3, &[], false).unwrap();
            builder.end_category(3 * category, &Cancel::default()).unwrap();
        }
        let (bank, _) = builder.finish(2, false);
        let config =
            testing::small().with_stage_channels(stages.iter().map(|stage| stage.channels).collect()).with_grid([4, 3]);
        let network = DualAd::new(config, &random, &Device::Cpu).unwrap();
        let asked = Tensor::cat(&[images(2, 2, 1), images(3, 1, 8)], 0).unwrap();
        let expected = Scorer::new(network.reconstructor().unwrap(), Some(bank.clone()), stages, size).unwrap();
        assert!(matches!(expected.bank.as_ref().unwrap().search, Search::Cpu));
        let expected = expected.score(&*extractor, &asked).unwrap();
        let categories = |scores: &BatchScores| -> Vec<usize> {
            scores.parts.iter().flatten().map(|parts| parts.category).collect()
        };
        assert_eq!(categories(&expected), [0, 0, 1]);
        for device in devices() {
            let network = network.frozen(DType::F32, &device).unwrap().reconstructor().unwrap();
            let scorer = Scorer::in_form(SearchForm::Device, network, Some(bank.clone()), stages, size).unwrap();
            let found = scorer.score(&*extractor, &asked).unwrap();
            assert_eq!(categories(&found), [0, 0, 1]);
            let pairs = [
                (&found.scores.image_score, &expected.scores.image_score),
                (&found.scores.anomaly_map, &expected.scores.anomaly_map),
            ];
            for (found, expected) in pairs {
                assert_near(found, expected, 1e-4, &format!("{device:?}"));
            }
        }
    }
}
