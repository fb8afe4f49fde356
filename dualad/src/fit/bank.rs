//! The bank of a run.

use candle_core::Tensor;
use dualad_backbones::{FeatureExtractor, Stage};
use dualad_data::image::{Picture, Preprocess};
use rayon::prelude::*;

use crate::bank::{Bank, Builder, Distances, Measured, Normal};
use crate::error::{Error, Result};
use crate::features::{TokenSource, pixels};
use crate::fit::images::{Image, Images, Numbers, cut};
use crate::fit::settings::{Fit, FitProgress};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::scorer::{Scorer, bank_stages};
use crate::{Random, Reconstructor};

/// The number of images of a category for the principal components.
const SAMPLED_IMAGES: usize = 16;
/// The least mean score of normal images, relative to that of an image whose tokens lie one gap from those of the bank. Where there
/// are several different images, the mean is larger.
const LEAST_SCORE: f32 = 0.9;
/// The least scale of the sum of all terms. Each has a mean of 1 on normal images, unless [`LEAST_SCORE`] applies.
const LEAST_SUM: f32 = 0.5;
/// The number of inputs that the extractor computes at a time.
const BATCH: usize = 8;

/// A bank, and the images by which its normalization is measured.
#[derive(Debug)]
pub(super) struct FittedBank {
    bank: Bank,
    measured: Vec<Measured>,
    /// For each category, true if the continued model's bank has it. Its normalization of distances is kept. It
    /// cannot be measured again: the bank may already hold tokens of these images.
    known: Vec<bool>,
}

/// Builds the bank of a run, if its recipe has one. `categories` are those of the model. In a continued model, the
/// tokens of categories without new images stay. Those of the others are selected again, from the old tokens and the new images.
///
/// Held-out images give tokens too. To set thresholds, each image is scored without its own (see [`Bank::without`]).
pub(super) fn build(
    fit: &mut Fit,
    recipe: &Recipe,
    images: &Images,
    numbers: &Numbers,
    categories: &[String],
    extractor: &dyn FeatureExtractor,
    preprocess: &Preprocess,
) -> Result<Option<FittedBank>> {
    let Some(config) = &recipe.bank else { return Ok(None) };
    let stages = extractor.stages();
    let channels: Vec<usize> = bank_stages(stages).iter().map(|stage| stage.channels).collect();
    let random = Random::new(recipe.train.seed);
    let groups: Vec<&[Image]> = images.train.chunk_by(|a, b| a.category() == b.category()).collect();
    let old = fit.base.as_ref().and_then(|base| Some((base.model().bank()?, base.categories())));
    let mut builder = match old {
        Some((bank, old)) => {
            let before = fit.base.as_ref().map_or(&[][..], |base| &base.config().held_out);
            let number_of = |image: u32| {
                (image as usize)
                    .checked_sub(1)
                    .and_then(|place| before.get(place))
                    .map_or(0, |digest| numbers.of_digest(digest))
            };
            Builder::extending(bank, [old, categories], number_of, &random)
        }
        None => Builder::new(config.clone(), &channels, &random),
    };
    let maps = |inputs: &[Picture]| {
        let pictures: Vec<&Picture> = inputs.iter().collect();
        let maps = extractor.extract(&pixels(preprocess, &pictures)?)?;
        Ok::<_, Error>(maps[maps.len() - channels.len()..].to_vec())
    };
    let sampled = |group: &&[Image]| group.len().div_ceil(group.len().div_ceil(SAMPLED_IMAGES).max(1));
    let samples: usize = if builder.is_projected() { 0 } else { groups.iter().map(sampled).sum() };
    let (total, mut done) = (samples + images.train.len() + images.held_out.len() + groups.len(), 0);
    if samples > 0 {
        for group in &groups {
            let step = group.len().div_ceil(SAMPLED_IMAGES).max(1);
            for images in group.iter().step_by(step).collect::<Vec<_>>().chunks(BATCH) {
                for inputs in inputs(fit, images)?.concat().chunks(BATCH) {
                    builder.sample(&maps(inputs)?)?;
                }
                done += images.len();
                (fit.progress)(FitProgress::Bank(Progress { done, total }));
            }
        }
    }
    let mut first = 0;
    for group in groups {
        let Some(name) = group.first().map(Image::category) else { continue };
        builder.begin_category(categories.iter().position(|category| category == name).unwrap_or(0));
        let mut count = 0;
        let kept: Vec<&Image> = images.held_out.iter().filter(|image| image.category() == name).collect();
        let total_here = group.len() + kept.len();
        for (images, is_kept) in [(group.iter().collect::<Vec<_>>(), false), (kept, true)] {
            for images in images.chunks(BATCH) {
                let inputs = inputs(fit, images)?;
                let each = inputs.iter().map(Vec::len).sum::<usize>().div_ceil(images.len());
                let of_image = |(image, inputs): (&&Image, Vec<Picture>)| {
                    let number = numbers.of(image);
                    inputs.into_iter().map(move |input| (number, input))
                };
                let (numbers, inputs): (Vec<u32>, Vec<Picture>) = images.iter().zip(inputs).flat_map(of_image).unzip();
                count += if is_kept { 0 } else { inputs.len() };
                for (inputs, numbers) in inputs.chunks(BATCH).zip(numbers.chunks(BATCH)) {
                    builder.add(&maps(inputs)?, each * total_here, numbers, is_kept)?;
                }
                done += images.len();
                (fit.progress)(FitProgress::Bank(Progress { done, total }));
            }
        }
        builder.end_category(first, &fit.cancel)?;
        done += 1;
        (fit.progress)(FitProgress::Bank(Progress { done, total }));
        first += count;
    }
    let known = |category: &String| old.is_some_and(|(_, old)| old.contains(category));
    let known = categories.iter().map(known).collect();
    let (bank, measured) = builder.finish(categories.len(), is_alone(fit, recipe));
    Ok(Some(FittedBank { bank, measured, known }))
}

/// Returns whether the bank alone scores: no network is trained, in this run or before.
pub(super) fn is_alone(fit: &Fit, recipe: &Recipe) -> bool {
    let trained = fit.base.as_ref().is_some_and(|base| base.model().bank().is_none_or(|bank| !bank.is_alone()));
    recipe.train.epochs == 0 && !trained
}

/// Reads images and cuts them into tiles, if the run has a tiling.
fn inputs(fit: &Fit, images: &[&Image]) -> Result<Vec<Vec<Picture>>> {
    if fit.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    // `Fit` holds a function and is not `Sync`.
    let (limits, tiling) = (&fit.limits, fit.tiling);
    let read = |image: &&Image| {
        let picture = image.picture(limits)?;
        Ok(cut(tiling, &picture)?.unwrap_or_else(|| vec![picture]))
    };
    images.par_iter().map(read).collect()
}

/// The errors of the network, `[images, rows, columns]`, and the distances of some measured images.
type Batch<'a> = (Option<Tensor>, Vec<&'a Distances>);

impl FittedBank {
    /// Returns the bank with the normalization of the scores of this network and of the bank (docs/method.md, section 9). `tokens` are
    /// those of the training images.
    pub(super) fn measured(
        &self,
        network: Reconstructor,
        stages: &[Stage],
        size: [usize; 2],
        tokens: &dyn TokenSource,
    ) -> Result<Bank> {
        let scorer = Scorer::new(network, Some(self.bank.clone()), stages, size)?;
        let batch = |measured: &'_ [Measured]| {
            let images: Vec<usize> = measured.iter().map(|measured| measured.image).collect();
            let errors = if self.bank.is_alone() { None } else { Some(scorer.errors(&tokens.batch(&images)?)?) };
            Ok(errors)
        };
        let errors = self.measured.chunks(BATCH).map(batch).collect::<Result<Vec<_>>>()?;
        let distances = self.measured.chunks(BATCH);
        let distances = distances.map(|measured| measured.iter().map(|measured| &measured.distances).collect());
        let batches: Vec<Batch<'_>> = errors.into_iter().zip(distances).collect();
        let terms = self.statistics(&batches, |errors, distances| scorer.terms(errors, distances))?;
        let categories = terms.iter().zip(self.bank.normals()).zip(&self.known).enumerate();
        let normal = categories.map(|(category, ((terms, before), known))| {
            // A category without measured images has no terms: it stays as it is.
            let mean = |index: usize, before: f32| terms.get(index).map_or(before, |term| term.mean_or(before));
            let reconstruction = mean(0, before.reconstruction);
            let levels = before.levels.iter().enumerate();
            let levels = levels.map(|(index, &before)| match known {
                true => before,
                // Without other images, normal distances are not known: 0 would make any image an anomaly.
                false => mean(1 + index, before).max(LEAST_SCORE * self.bank.gap(index, category)),
            });
            Normal { reconstruction, levels: levels.collect(), sum: 1.0 }
        });
        let bank = self.bank.with_normal(normal.collect());
        let scorer = scorer.with_bank(bank.clone());
        let sums = self.statistics(&batches, |errors, distances| Ok(vec![scorer.sums(errors, distances)?]))?;
        let normal = bank.normals().iter().zip(sums).zip(self.bank.normals().iter().zip(&self.known));
        let normal = normal.map(|((normal, sums), (before, known))| {
            let sum = sums.first().map_or(1.0, Statistics::high).max(LEAST_SUM);
            Normal { sum: if *known { before.sum } else { sum }, ..normal.clone() }
        });
        Ok(bank.with_normal(normal.collect()))
    }

    /// Returns the statistics of each category's scores. `scores` returns some scores of each image, `[scores, images]`.
    fn statistics(
        &self,
        batches: &[Batch<'_>],
        scores: impl Fn(Option<&Tensor>, &[&Distances]) -> Result<Vec<Vec<f32>>>,
    ) -> Result<Vec<Vec<Statistics>>> {
        let mut found = vec![Vec::new(); self.bank.normals().len()];
        for (errors, distances) in batches {
            let scores = scores(errors.as_ref(), distances)?;
            for (image, Distances { category, .. }) in distances.iter().enumerate() {
                let Some(found) = found.get_mut(*category) else { continue };
                found.resize(scores.len(), Statistics::default());
                for (found, scores) in found.iter_mut().zip(&scores) {
                    found.add(scores.get(image).copied().unwrap_or(0.0));
                }
            }
        }
        Ok(found)
    }
}

/// The sums of some scores.
#[derive(Debug, Clone, Default)]
struct Statistics {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Statistics {
    fn add(&mut self, score: f32) {
        self.count += 1.0;
        self.sum += f64::from(score);
        self.squares += f64::from(score) * f64::from(score);
    }

    /// Returns the mean. A category whose normal images all score 0, such as one of equal images, has no scale of its own.
    fn mean_or(&self, otherwise: f32) -> f32 {
        let mean = (self.sum / self.count.max(1.0)) as f32;
        if mean > f32::MIN_POSITIVE { mean } else { otherwise }
    }

    /// Returns the mean plus two standard deviations.
    fn high(&self) -> f32 {
        let mean = f64::from(self.mean_or(1.0));
        (mean + 2.0 * (self.squares / self.count.max(1.0) - mean * mean).max(0.0).sqrt()) as f32
    }
}
