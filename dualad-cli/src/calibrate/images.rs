//! The images that set thresholds, and what is said of those that do not.

use std::collections::BTreeMap;

use clap::ValueEnum;
use dualad::data::{Cancel, Label};
use dualad::detector::{KnownImages, Request, TrainedImages};
use dualad::{Detector, Error};

use crate::common::{Result, listed, note};
use crate::hint::SKIP_BROKEN;
use crate::lines::first_lines;
use crate::progress::Bar;

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

impl From<Trained> for TrainedImages {
    fn from(trained: Trained) -> Self {
        match trained {
            Trained::Refuse => Self::Refuse,
            Trained::LeaveOut => Self::LeaveOut,
            Trained::Use => Self::Use,
        }
    }
}

/// Reads images and selects those that set thresholds. Says how many are left out.
pub(super) fn choose<'a>(
    detector: &Detector,
    images: &[(Request<'a>, Label)],
    trained: Trained,
    skip_broken: bool,
) -> Result<KnownImages<'a>> {
    let bar = Bar::new("reading images");
    let cancel = Cancel::default();
    let progress = |progress: dualad::Progress| bar.set(progress.done, progress.total);
    let found = detector.known_images(images.iter().cloned(), trained.into(), skip_broken, &cancel, progress);
    drop(bar);
    let known = found.map_err(|error| match error {
        Error::TrainedOn { .. } | Error::InvalidArgument { .. } => error.into(),
        _ if skip_broken => error.into(),
        _ => Box::<dyn std::error::Error>::from(format!("{}; {SKIP_BROKEN}", listed(&error))),
    })?;
    for line in first_lines(&known.broken, |error| format!("left out: {error}"), " are left out") {
        note(&line);
    }
    let all = images.len() - known.broken.len();
    if let count @ 1.. = known.trained_on {
        if known.images.is_empty() {
            return Err(format!("the model was trained on all {all} images; give images that it has not seen").into());
        }
        note(&format!("note: left out, because the model was trained on them: {count} of {all} images"));
    }
    if let copies @ 1.. = known.copies {
        note(&format!("note: left out, because they are copies of others with equal pixels: {copies} of {all} images"));
    }
    Ok(known)
}

/// Returns at most 64 good images of each category that thresholds are set for, spread evenly.
pub(super) fn spread<'a>(good: &[Request<'a>], known: &KnownImages<'_>) -> Vec<Request<'a>> {
    let mut by_category = BTreeMap::<Option<&str>, Vec<Request<'a>>>::new();
    for request in good {
        let category = request.named_category();
        if known.images.iter().any(|(known, _)| known.named_category() == category) {
            by_category.entry(category).or_default().push(*request);
        }
    }
    let some = |images: Vec<Request<'a>>| {
        let count = images.len().min(MAX_CHECKED);
        (0..count).filter_map(move |number| images.get(number * images.len() / count).copied()).collect::<Vec<_>>()
    };
    by_category.into_values().flat_map(some).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn checked_images_are_good_ones_of_the_products_that_thresholds_are_set_for() {
        let image = |category| Request::from(Path::new("a.png")).category(category);
        let good: Vec<Request<'_>> = (0..200).map(|_| image("gear")).chain([image("plate")]).collect();
        let checked = |category: &'static str| {
            let mut known = KnownImages::default();
            known.images = vec![(image(category), Label::Normal)];
            spread(&good, &known).len()
        };
        assert_eq!([checked("gear"), checked("plate"), checked("cable")], [64, 1, 0]);
    }
}
