//! The first thresholds of a run.

use std::collections::{HashMap, HashSet};

use crate::calibration::{Calibration, LabeledScore};
use crate::detector::{Detector, Request};
use crate::error::Result;
use crate::fit::images::{Image, Images, Numbers};
use crate::fit::settings::{Fit, FitProgress};
use crate::progress::Progress;
use crate::scorer::Scorer;

/// The most images of a category that set thresholds, unless more are held out: some more than a rate of 1 % with confidence 0.95 takes.
const SETTING_IMAGES: usize = 320;
/// The most training images of a category that thresholds are checked against.
const CHECKED_IMAGES: usize = 64;

/// Returns the thresholds that images set, checked against training images. `held_out` are the categories and scores of the held-out
/// images.
///
/// A bank that scores alone knows an image by its tokens only. Without them, a training image scores as a new one: it sets the
/// thresholds, too. A network has learned its training images, so they score lower than new ones: the thresholds are checked against them.
pub(super) fn first(
    fit: &mut Fit,
    detector: &Detector,
    images: &Images,
    held_out: &[(String, f32)],
    numbers: &Numbers,
) -> Result<Calibration> {
    let bank = detector.model().bank();
    let (has_bank, is_alone) = (bank.is_some(), bank.is_some_and(|bank| bank.is_alone()));
    let mut counts = HashMap::<&str, usize>::new();
    held_out.iter().for_each(|(category, _)| *counts.entry(category).or_default() += 1);
    let most = |category: &str| match counts.get(category) {
        _ if !is_alone => CHECKED_IMAGES,
        Some(count) => SETTING_IMAGES.saturating_sub(*count),
        None => 0,
    };
    // The bank may have tokens of such a category's images from an earlier run, which it does not know as theirs.
    let known: Vec<String> = fit.base.iter().filter(|_| has_bank).flat_map(|base| base.categories()).cloned().collect();
    let new: Vec<&Image> =
        images.train.iter().filter(|image| !known.iter().any(|name| name == image.category())).collect();
    let scored = spread(&new, most);
    let train = score_without(fit, detector, &scored, numbers)?;
    let (setting, trained_on) = train.split_at(if is_alone { train.len() } else { 0 });
    let setting = || held_out.iter().chain(setting).map(|(category, score)| (category.as_str(), *score));
    let labeled = setting().map(|(category, score)| LabeledScore { category, score, anomalous: false });
    let mut calibration = detector.calibrate_scores(&fit.calibrator, labeled)?;
    let trained_on = trained_on.iter().map(|(category, score)| (category.as_str(), *score));
    let all = || held_out.iter().chain(&train).map(|(category, score)| (category.as_str(), *score));
    if has_bank {
        fit.calibrator.review_by(&mut calibration, all())?;
    }
    calibration.check_known_good(setting(), trained_on);
    let images: Vec<&Image> = images.held_out.iter().chain(scored.iter().copied()).collect();
    calibration
        .warn_of_lone_images(all(), |position| images.get(position).map_or_else(String::new, |image| image.name()));
    Ok(calibration)
}

/// Returns different images of each category, evenly spread. `most` returns the maximum number of a category's.
fn spread<'a>(images: &[&'a Image], most: impl Fn(&str) -> usize) -> Vec<&'a Image> {
    let some = |category: &[&'a Image]| {
        let mut seen = HashSet::new();
        let different = category.iter().copied().filter(|image| seen.insert(image.content.pixels));
        let different: Vec<&Image> = different.collect();
        let count = category.first().map_or(0, |image| most(image.category())).min(different.len());
        (0..count).filter_map(|number| different.get(number * different.len() / count).copied()).collect::<Vec<_>>()
    };
    images.chunk_by(|a, b| a.category() == b.category()).flat_map(some).collect()
}

/// Returns the category and the image score of each image. With a bank, each is scored without the tokens that the bank has of it.
pub(super) fn score_without(
    fit: &mut Fit,
    detector: &Detector,
    images: &[&Image],
    numbers: &Numbers,
) -> Result<Vec<(String, f32)>> {
    let named = |(image, score): (&&Image, f32)| (image.category().to_owned(), score);
    let Some(bank) = detector.model().bank() else {
        let progress = &mut fit.progress;
        let requests: Vec<Request<'_>> = images.iter().map(|image| image.request()).collect();
        let scores = detector.image_scores(&requests, &fit.cancel, |done| progress(FitProgress::Scoring(done)))?;
        return Ok(images.iter().zip(scores).map(named).collect());
    };
    let mut scores = Vec::with_capacity(images.len());
    for image in images {
        let mut detector = detector.clone();
        detector.scorer = Scorer::clone(&detector.scorer).with_bank(bank.without(numbers.of(image))).into();
        let score = detector.image_scores(&[image.request()], &fit.cancel, |_| {})?;
        scores.extend(score.into_iter().map(|score| named((image, score))));
        (fit.progress)(FitProgress::Scoring(Progress { done: scores.len(), total: images.len() }));
    }
    Ok(scores)
}
