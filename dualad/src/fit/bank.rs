//! The bank of a run.

use candle_core::Tensor;
use dualad_backbones::{FeatureExtractor, Stage};
use dualad_data::image::Preprocess;
use rayon::prelude::*;

use crate::ahead::ahead;
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
    let maps = |inputs: &Tensor| {
        let maps = extractor.extract(inputs)?;
        Ok::<_, Error>(maps[maps.len() - channels.len()..].to_vec())
    };
    // `Fit` holds a function and is not `Sync`.
    let (limits, tiling, cancel) = (&fit.limits, fit.tiling, &fit.cancel);
    let progress = &mut fit.progress;
    let read = |images: &Vec<&Image>| {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let read = |image: &&Image| {
            let picture = image.picture(limits)?;
            let tiles = cut(tiling, &picture)?;
            pixels(preprocess, &tiles.as_ref().map_or_else(|| vec![&picture], |tiles| tiles.iter().collect()))
        };
        images.par_iter().map(read).collect::<Result<Vec<Tensor>>>()
    };
    let sampled = |group: &&[Image]| group.len().div_ceil(group.len().div_ceil(SAMPLED_IMAGES).max(1));
    let samples: usize = if builder.is_projected() { 0 } else { groups.iter().map(sampled).sum() };
    let (total, mut done) = (samples + images.train.len() + images.held_out.len() + groups.len(), 0);
    if samples > 0 {
        for group in &groups {
            let step = group.len().div_ceil(SAMPLED_IMAGES).max(1);
            let some: Vec<&Image> = group.iter().step_by(step).collect();
            ahead(&chunks(&some), read, |images, inputs| {
                for (inputs, _) in batches(&inputs, &[])? {
                    builder.sample(&maps(&inputs)?)?;
                }
                done += images.len();
                progress(FitProgress::Bank(Progress { done, total }));
                Ok(())
            })?;
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
            ahead(&chunks(&images), read, |images, inputs| {
                let of_images: Vec<u32> = images.iter().map(|image| numbers.of(image)).collect();
                let batches = batches(&inputs, &of_images)?;
                let all: usize = batches.iter().map(|(_, numbers)| numbers.len()).sum();
                count += if is_kept { 0 } else { all };
                for (inputs, numbers) in batches {
                    builder.add(&maps(&inputs)?, all.div_ceil(images.len()) * total_here, &numbers, is_kept)?;
                }
                done += images.len();
                progress(FitProgress::Bank(Progress { done, total }));
                Ok(())
            })?;
        }
        builder.end_category(first, cancel)?;
        done += 1;
        progress(FitProgress::Bank(Progress { done, total }));
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

/// Returns the images that are read at a time.
fn chunks<'a>(images: &[&'a Image]) -> Vec<Vec<&'a Image>> {
    images.chunks(BATCH).map(<[_]>::to_vec).collect()
}

/// Returns the inputs of images in the order of the images, at most [`BATCH`] at a time, each batch with its images' numbers.
/// `images` has the inputs of each image, `[inputs, 3, height, width]`.
fn batches(images: &[Tensor], numbers: &[u32]) -> Result<Vec<(Tensor, Vec<u32>)>> {
    let counts = images.iter().map(|inputs| inputs.dim(0)).collect::<candle_core::Result<Vec<_>>>()?;
    let of_inputs = counts.iter().zip(numbers).flat_map(|(&count, &number)| std::iter::repeat_n(number, count));
    let of_inputs: Vec<u32> = of_inputs.collect();
    let (all, total) = (Tensor::cat(images, 0)?, counts.iter().sum::<usize>());
    let batch = |start: usize| {
        let count = BATCH.min(total - start);
        let numbers = of_inputs.get(start..start + count).unwrap_or_default();
        Ok((all.narrow(0, start, count)?, numbers.to_vec()))
    };
    (0..total).step_by(BATCH).map(batch).collect()
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
