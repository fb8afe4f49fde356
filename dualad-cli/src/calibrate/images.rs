//! The images that set thresholds: read once, without copies and without those that the model was trained on.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use clap::ValueEnum;
use dualad::data::Sample;
use dualad::detector::Request;
use dualad::{Detector, Error};
use rayon::prelude::*;

use crate::common::{Result, first_lines, listed, note};
use crate::hint::SKIP_BROKEN;
use crate::progress::Bar;

/// The number of images that are read, or scored, between two steps of the progress.
const BATCH: usize = 16;
/// The most images of a category that thresholds are checked against, beside those that set them.
const MAX_CHECKED: usize = 64;

/// The use of images that the model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Trained {
    /// End with an error that names them
    Refuse,
    /// Set the thresholds with the other images
    LeaveOut,
    /// Use them: the thresholds will be too low
    Use,
}

/// An image with a known label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) path: &'a Path,
    /// The product; `None` for an image that sets the pooled thresholds alone.
    pub(super) category: Option<&'a str>,
    pub(super) anomalous: bool,
}

impl<'a> Image<'a> {
    /// Makes the image of a sample, of another product if one is given.
    pub(super) fn of(sample: &'a Sample, category: Option<Option<&'a str>>) -> Self {
        let category = category.unwrap_or(Some(&sample.category));
        Self { path: &sample.path, category, anomalous: sample.label.is_anomalous() }
    }

    /// Returns the category, or for an image without one a name that no category has.
    pub(super) fn name(&self) -> &'a str {
        self.category.unwrap_or_default()
    }
}

/// The images that set thresholds.
#[derive(Debug, Default)]
pub(super) struct Chosen<'a> {
    pub(super) images: Vec<Image<'a>>,
    /// Those that were left out because the model was trained on them.
    pub(super) left_out: Vec<Image<'a>>,
    /// The number of images that the model was trained on, of each category: they are used all the same.
    pub(super) seen: BTreeMap<&'a str, usize>,
}

/// The content of an image.
struct Content {
    /// [`Picture::digest`](dualad::data::image::Picture::digest).
    digest: [u8; 32],
    /// True if the model was trained on it.
    seen: bool,
}

/// Reads images and selects those that set thresholds. Of copies with equal pixels, the first is used: a rule that
/// counts images would count a copy as a further image.
pub(super) fn choose<'a>(
    detector: &Detector,
    images: &[Image<'a>],
    trained: Trained,
    skip_broken: bool,
) -> Result<Chosen<'a>> {
    let read = read(detector, images, skip_broken)?;
    let seen: Vec<&Image<'_>> = read.iter().filter(|(_, content)| content.seen).map(|(image, _)| image).collect();
    if trained == Trained::Refuse && !seen.is_empty() {
        let images = seen.iter().map(|image| image.path.display().to_string()).collect();
        return Err(Error::TrainedOn { images, of: read.len() }.into());
    }
    let (all, mut copies) = (read.len(), 0);
    let mut chosen = Chosen::default();
    let mut first = HashMap::<[u8; 32], Image<'a>>::new();
    for (image, Content { digest, seen }) in read {
        if seen && trained == Trained::LeaveOut {
            chosen.left_out.push(image);
            continue;
        }
        if let Some(earlier) = first.insert(digest, image) {
            if earlier.anomalous != image.anomalous {
                let [one, other] = [earlier.path.display(), image.path.display()];
                let reason =
                    "have the same pixels, and one is given as good and one as defective; remove the wrong one";
                return Err(format!("{one} and {other} {reason}").into());
            }
            if earlier.category == image.category {
                copies += 1;
                continue;
            }
        }
        if seen {
            *chosen.seen.entry(image.name()).or_default() += 1;
        }
        chosen.images.push(image);
    }
    if let count @ 1.. = chosen.left_out.len() {
        if chosen.images.is_empty() {
            return Err(format!("the model was trained on all {all} images; give images that it has not seen").into());
        }
        note(&format!("note: left out, because the model was trained on them: {count} of {all} images"));
    }
    if copies > 0 {
        note(&format!("note: left out, because they are copies of others with equal pixels: {copies} of {all} images"));
    }
    Ok(chosen)
}

/// Reads images. Those that cannot be read are an error, or are left out with a note each if `skip_broken` is true.
fn read<'a>(detector: &Detector, images: &[Image<'a>], skip_broken: bool) -> Result<Vec<(Image<'a>, Content)>> {
    let bar = Bar::new("reading images");
    let (mut read, mut errors) = (Vec::with_capacity(images.len()), Vec::new());
    for (number, batch) in images.chunks(BATCH).enumerate() {
        let content = |image: &Image<'a>| -> dualad::Result<_> {
            let picture = detector.picture(image.path)?;
            let seen = detector.model().was_trained_on(&picture).unwrap_or_default();
            Ok((*image, Content { digest: picture.digest(), seen }))
        };
        for found in batch.par_iter().map(content).collect::<Vec<_>>() {
            found.map_or_else(|error| errors.push(error), |found| read.push(found));
        }
        bar.set(number * BATCH + batch.len(), images.len());
    }
    drop(bar);
    if errors.is_empty() {
        return Ok(read);
    }
    if !skip_broken || read.is_empty() {
        let error = if errors.len() == 1 { errors.remove(0) } else { Error::Images { errors } };
        return Err(if skip_broken { error.into() } else { format!("{}; {SKIP_BROKEN}", listed(&error)).into() });
    }
    for line in first_lines(&errors, |error| format!("left out: {error}"), " are left out") {
        note(&line);
    }
    Ok(read)
}

/// Returns the image scores, in order. An image that cannot be scored is an error of its own.
pub(super) fn scores(detector: &Detector, images: &[Image<'_>], what: &'static str) -> Vec<dualad::Result<f32>> {
    let bar = Bar::new(what);
    let mut scores = Vec::with_capacity(images.len());
    for batch in images.chunks(BATCH) {
        let requests = batch.iter().map(|image| match image.category {
            Some(category) => Request::from(image.path).category(category),
            None => Request::from(image.path),
        });
        // Their maps are dropped here: those of a batch are in memory at a time.
        scores.extend(detector.inspect_batch(requests).into_iter().map(|found| Ok(found?.image_score)));
        bar.set(scores.len(), images.len());
    }
    scores
}

/// Returns at most 64 good images of each category that thresholds are set for, spread evenly.
pub(super) fn spread<'a>(good: &[Image<'a>], chosen: &[Image<'a>]) -> Vec<Image<'a>> {
    let mut by_category = BTreeMap::<&str, Vec<Image<'a>>>::new();
    for image in good.iter().filter(|image| !image.anomalous) {
        if chosen.iter().any(|chosen| chosen.category == image.category) {
            by_category.entry(image.name()).or_default().push(*image);
        }
    }
    let some = |images: Vec<Image<'a>>| {
        let count = images.len().min(MAX_CHECKED);
        (0..count).filter_map(move |number| images.get(number * images.len() / count).copied()).collect::<Vec<_>>()
    };
    by_category.into_values().flat_map(some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_images_are_good_ones_of_the_products_that_thresholds_are_set_for() {
        let image = |category, anomalous| Image { path: Path::new("a.png"), category: Some(category), anomalous };
        let good: Vec<Image<'_>> = (0..200).map(|_| image("gear", false)).chain([image("plate", false)]).collect();
        assert_eq!(spread(&good, &[image("gear", false)]).len(), 64);
        assert_eq!(spread(&good, &[image("plate", true)]).len(), 1);
        assert!(spread(&[image("gear", true)], &[image("gear", false)]).is_empty());
    }
}
