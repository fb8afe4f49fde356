//! The bank of a run.

use candle_core::DType;
use dualad_backbones::{FeatureExtractor, Stage};
use dualad_data::image::{Picture, Preprocess};
use rayon::prelude::*;

use crate::bank::{Bank, Builder, Distances, Measured, Normal};
use crate::error::{Error, Result};
use crate::features::{TokenSource, pixels};
use crate::fit::images::{Image, Images};
use crate::fit::prepared::cut;
use crate::fit::settings::{Fit, FitProgress};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::scorer::{Scorer, bank_stages};
use crate::{Random, Reconstructor};

/// The number of images of a category for the principal components.
const SAMPLED_IMAGES: usize = 16;
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
pub(super) fn build(
    fit: &mut Fit,
    recipe: &Recipe,
    images: &Images,
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
        Some((bank, old)) => Builder::extending(bank, old, categories, &random),
        None => Builder::new(config.clone(), &channels, &random),
    };
    let maps = |inputs: &[Picture]| {
        let pictures: Vec<&Picture> = inputs.iter().collect();
        let maps = extractor.extract(&pixels(preprocess, &pictures)?)?;
        Ok::<_, Error>(maps[maps.len() - channels.len()..].to_vec())
    };
    let sampled = |group: &&[Image]| group.len().div_ceil(group.len().div_ceil(SAMPLED_IMAGES).max(1));
    let samples: usize = if builder.is_projected() { 0 } else { groups.iter().map(sampled).sum() };
    let (total, mut done) = (samples + images.train.len(), 0);
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
        for images in group.iter().collect::<Vec<_>>().chunks(BATCH) {
            let inputs = inputs(fit, images)?;
            let each = inputs.iter().map(Vec::len).sum::<usize>().div_ceil(images.len());
            let inputs = inputs.concat();
            count += inputs.len();
            for inputs in inputs.chunks(BATCH) {
                builder.add(&maps(inputs)?, each * group.len())?;
            }
            done += images.len();
            (fit.progress)(FitProgress::Bank(Progress { done, total }));
        }
        builder.end_category(first);
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

impl FittedBank {
    /// Returns the bank with the normalization of the scores of this network and of the bank. `tokens` are those of the training images.
    pub(super) fn measured(
        &self,
        network: Reconstructor,
        stages: &[Stage],
        size: [usize; 2],
        tokens: &dyn TokenSource,
    ) -> Result<Bank> {
        let scorer = Scorer::new(network, Some(self.bank.clone()), stages, size)?;
        let network = scorer.network();
        let levels = self.bank.scales().count();
        // For each category, the sums of the image scores of the reconstruction and of each scale, and the number of images.
        let mut sums = vec![(vec![0.0f64; 1 + levels], 0usize); self.bank.normals().len()];
        for measured in self.measured.chunks(BATCH) {
            let images: Vec<usize> = measured.iter().map(|measured| measured.image).collect();
            let errors = if self.bank.is_alone() {
                vec![0.0; images.len()]
            } else {
                let tokens = tokens.batch(&images)?.to_device(&network.device())?.to_dtype(network.dtype())?;
                network.score(&tokens)?.image_score.to_dtype(DType::F32)?.to_vec1::<f32>()?
            };
            let distances: Vec<&Distances> = measured.iter().map(|measured| &measured.distances).collect();
            let scores = [vec![errors], scorer.bank_scores(&distances)?].concat();
            for (image, Measured { distances, .. }) in measured.iter().enumerate() {
                let Some((sums, count)) = sums.get_mut(distances.category) else { continue };
                sums.iter_mut().zip(&scores).for_each(|(sum, scores)| *sum += f64::from(scores[image]));
                *count += 1;
            }
        }
        // A category whose normal images all score 0, such as one of equal images, has no scale of its own.
        let usual = |sum: f64, count: usize, before: f32| {
            let mean = (sum / count.max(1) as f64) as f32;
            if count > 0 && mean > f32::MIN_POSITIVE { mean } else { before }
        };
        let normal =
            sums.into_iter().zip(self.bank.normals()).zip(&self.known).map(|(((sums, count), before), known)| {
                let levels = sums[1..].iter().zip(&before.levels);
                let levels = levels.map(|(&sum, &before)| if *known { before } else { usual(sum, count, before) });
                Normal { reconstruction: usual(sums[0], count, before.reconstruction), levels: levels.collect() }
            });
        Ok(self.bank.with_normal(normal.collect()))
    }
}
