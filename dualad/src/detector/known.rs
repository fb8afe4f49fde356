//! Images with known labels, and the thresholds that they set.

use std::collections::{BTreeMap, HashMap, HashSet};

use dualad_data::{Cancel, Label};
use rayon::prelude::*;

use crate::calibration::{Calibration, Calibrator, LabeledScore};
use crate::detector::{Detector, Inspection, Request};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// The number of images that are read between two looks at the cancel handle.
const CHUNK: usize = 32;

/// The use of images that the model was trained on. They score lower than new images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TrainedImages {
    /// An error names them.
    #[default]
    Refuse,
    /// The other images set the thresholds.
    LeaveOut,
    /// They set thresholds, which will be too low. A warning says so.
    Use,
}

/// Images with known labels that were read and selected: see [`Detector::known_images`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct KnownImages<'a> {
    /// The images that set thresholds, each with its label. Of copies of one category, the first.
    pub images: Vec<(Request<'a>, Label)>,
    /// The normal images that are left out because the model was trained on them.
    pub left_out: Vec<Request<'a>>,
    /// The number of all images that are left out because the model was trained on them.
    pub trained_on: usize,
    /// The number of images that are left out because they are copies: their pixels equal those of another image of their category.
    pub copies: usize,
    /// The errors of images that are left out because they cannot be read.
    pub broken: Vec<Error>,
    /// For each of `images`, true if the model was trained on it.
    seen: Vec<bool>,
    /// The name of each of `images` in errors.
    names: Vec<String>,
}

/// An image that was read.
struct Read<'a> {
    request: Request<'a>,
    label: Label,
    /// The digest of the pixels.
    digest: [u8; 32],
    /// True if the model was trained on it.
    seen: bool,
    name: String,
}

impl Detector {
    /// Reads images with known labels, and selects those that set thresholds. Copies count once: a rule that counts images would count
    /// a copy as a further one. The category of a request says which thresholds its image sets; an image without one sets the pooled
    /// thresholds alone.
    ///
    /// `skip_broken` leaves out images that cannot be read, as long as there are others: [`KnownImages::broken`] has their errors.
    /// `progress` is called after each batch.
    ///
    /// # Errors
    /// As [`Self::inspect`] for an image that cannot be read, [`Error::Images`] for several; [`Error::TrainedOn`] with the names of images
    /// that the model was trained on, if they are refused; [`Error::InvalidArgument`] for the same pixels as a normal image and as an
    /// anomalous one; [`Error::Cancelled`].
    pub fn known_images<'a>(
        &self,
        images: impl IntoIterator<Item = (Request<'a>, Label)>,
        trained: TrainedImages,
        skip_broken: bool,
        cancel: &Cancel,
        mut progress: impl FnMut(Progress),
    ) -> Result<KnownImages<'a>> {
        let images: Vec<(Request<'a>, Label)> = images.into_iter().collect();
        let mut known = KnownImages::default();
        let read = self.read_known(&images, &mut known.broken, cancel, &mut progress)?;
        if !known.broken.is_empty() && (!skip_broken || read.is_empty()) {
            let mut errors = known.broken;
            return Err(if errors.len() == 1 { errors.remove(0) } else { Error::Images { errors } });
        }
        let seen = read.iter().filter(|image| image.seen).map(|image| image.name.clone());
        let seen: Vec<String> = seen.collect();
        if trained == TrainedImages::Refuse && !seen.is_empty() {
            return Err(Error::TrainedOn { images: seen, of: read.len() });
        }
        // Copies need not be side by side, nor in one category.
        let mut labels = HashMap::<[u8; 32], (bool, String)>::new();
        let mut first = HashSet::<([u8; 32], Option<&str>)>::new();
        for Read { request, label, digest, seen, name } in read {
            if seen && trained == TrainedImages::LeaveOut {
                known.trained_on += 1;
                if !label.is_anomalous() {
                    known.left_out.push(request);
                }
                continue;
            }
            let anomalous = label.is_anomalous();
            let (before, earlier) = labels.entry(digest).or_insert_with(|| (anomalous, name.clone()));
            if *before != anomalous {
                let value = if anomalous { "defective" } else { "good" };
                let reason = format!(
                    "{earlier} has the same pixels, and one is given as good and one as defective; remove the wrong one"
                );
                return Err(Error::invalid_argument(format!("the label of {name}"), value, reason));
            }
            if !first.insert((digest, request.named_category())) {
                known.copies += 1;
                continue;
            }
            known.images.push((request, label));
            known.seen.push(seen);
            known.names.push(name);
        }
        Ok(known)
    }

    fn read_known<'a>(
        &self,
        images: &[(Request<'a>, Label)],
        broken: &mut Vec<Error>,
        cancel: &Cancel,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Vec<Read<'a>>> {
        let mut found = Vec::with_capacity(images.len());
        let (mut done, total) = (0, images.len());
        for images in images.chunks(CHUNK) {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let read = |(number, (request, label)): (usize, &(Request<'a>, Label))| {
                let picture = request.picture(&self.limits)?;
                let seen = self.model().was_trained_on(&picture).unwrap_or_default();
                let name = request.name(done + number);
                Ok(Read { request: *request, label: label.clone(), digest: picture.digest(), seen, name })
            };
            let read = || images.par_iter().enumerate().map(read).collect::<Vec<Result<Read<'a>>>>();
            for read in self.threads.run(read) {
                read.map_or_else(|error| broken.push(error), |read| found.push(read));
            }
            done += images.len();
            progress(Progress { done, total });
        }
        Ok(found)
    }

    /// Chooses thresholds from the scores of selected images, and checks them against those that are good and against `good`, other
    /// images that are known to be good, with their categories: see [`Calibration::check_known_good`]. Of `good`, images that cannot be
    /// read do not count. Nor do those that the model was trained on if it has a bank, which has their tokens. The decisions on the selected
    /// anomalous images are recorded, see [`Calibration::record_known_defective`].
    ///
    /// The result has no thresholds of categories without images; [`Calibration::joined`] keeps earlier ones. `progress` is called after
    /// each batch.
    ///
    /// # Errors
    /// The error of an image that cannot be inspected; as [`Calibrator::calibrate`]; [`Error::Cancelled`].
    pub fn calibrate_on(
        &self,
        calibrator: &Calibrator,
        known: &KnownImages<'_>,
        good: &[Request<'_>],
        cancel: &Cancel,
        mut progress: impl FnMut(Progress),
    ) -> Result<Calibration> {
        let total = known.images.len() + good.len();
        let requests: Vec<Request<'_>> = known.images.iter().map(|(request, _)| *request).collect();
        let (mut scores, mut others) = (Vec::with_capacity(requests.len()), Vec::with_capacity(requests.len()));
        let keep = |found: Inspection| {
            others.push(found.other_category().map(str::to_owned));
            scores.push(found.image_score);
        };
        self.for_each(&requests, cancel, keep, |Progress { done, .. }| progress(Progress { done, total }))?;
        let scored =
            || known.images.iter().zip(&known.seen).zip(&scores).map(|((image, seen), score)| (image, *seen, *score));
        let labeled = scored().map(|((request, label), _, score)| {
            // An image without a category counts in the pooled thresholds alone, under a name that no category has.
            LabeledScore { category: request.category_or_none(), score, anomalous: label.is_anomalous() }
        });
        let mut calibration = self.calibrate_scores(calibrator, labeled)?;
        let of_good = |wanted: bool| {
            let normal = scored().filter(move |((_, label), seen, _)| !label.is_anomalous() && *seen == wanted);
            normal.map(|((request, _), _, score)| (request.category_or_none(), score))
        };
        let has_bank = self.model().bank().is_some();
        let [mut unseen, mut trained_on] = [false, true].map(|seen| of_good(seen).collect::<Vec<_>>());
        if has_bank {
            trained_on.clear();
        }
        for (number, request) in good.iter().enumerate() {
            if let Some((score, seen)) = self.known_good_score(request, has_bank, cancel)? {
                if seen { &mut trained_on } else { &mut unseen }.push((request.category_or_none(), score));
            }
            progress(Progress { done: known.images.len() + number + 1, total });
        }
        calibration.check_known_good(unseen, trained_on);
        let anomalous = scored().filter(|((_, label), ..)| label.is_anomalous());
        calibration
            .record_known_defective(anomalous.map(|((request, _), _, score)| (request.category_or_none(), score)))?;
        let normal = scored().zip(&known.names).filter(|(((_, label), ..), _)| !label.is_anomalous());
        let (normal, names): (Vec<_>, Vec<_>) =
            normal.map(|(((request, _), _, score), name)| ((request.category_or_none(), score), name)).unzip();
        calibration.warn_of_lone_images(normal, |position| {
            names.get(position).map_or_else(String::new, |name| (*name).clone())
        });
        let normal = known.images.iter().zip(&others).filter(|((_, label), _)| !label.is_anomalous());
        calibration.warn_of_other_products(
            normal.filter_map(|((request, _), other)| Some((request.named_category()?, other.as_deref()))),
        );
        known.warn_of_seen(&mut calibration);
        if self.model().known_training_images().is_none() {
            calibration.notices.push(
                "the model has no record of its training images: training-images.json is missing, or belongs to another model; thresholds are right only if these images are others".into(),
            );
        }
        Ok(calibration)
    }

    /// Returns the score of a good image, and true if the model was trained on it. `None` if its score says nothing.
    fn known_good_score(&self, request: &Request<'_>, has_bank: bool, cancel: &Cancel) -> Result<Option<(f32, bool)>> {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let Ok(picture) = request.picture(&self.limits) else { return Ok(None) };
        let seen = self.model().was_trained_on(&picture);
        // Without a record of them, any image may be a training image.
        if has_bank && seen.unwrap_or(true) {
            return Ok(None);
        }
        let found = self.inspect(Request::from(&*picture)).ok();
        Ok(found.map(|found| (found.image_score, seen.unwrap_or_default())))
    }
}

impl KnownImages<'_> {
    /// Adds a warning to the thresholds that images set which the model was trained on.
    fn warn_of_seen(&self, calibration: &mut Calibration) {
        let mut counts = BTreeMap::<&str, [usize; 2]>::new();
        for ((request, _), seen) in self.images.iter().zip(&self.seen) {
            let [seen_before, all] = counts.entry(request.category_or_none()).or_default();
            *seen_before += usize::from(*seen);
            *all += 1;
        }
        let warning = |[seen, of]: [usize; 2]| {
            format!(
                "the model was trained on {seen} of the {of} images, whose scores are too low: the stated rates are not guaranteed"
            )
        };
        for (name, count) in counts.iter().filter(|(_, [seen, _])| *seen > 0) {
            if let Some(thresholds) = calibration.categories.get_mut(*name) {
                thresholds.warnings.push(warning(*count));
            }
        }
        let seen = self.seen.iter().filter(|seen| **seen).count();
        if let Some(pooled) = calibration.pooled.as_mut().filter(|_| seen > 0) {
            pooled.warnings.push(warning([seen, self.images.len()]));
        }
    }
}
