//! The evaluation of networks on a test set.
//!
//! ```no_run
//! use dualad::backbones::{Backbone, Weights};
//! use dualad::data::image::Preprocess;
//! use dualad::data::{Cancel, Dataset, Split};
//! use dualad::features::Features;
//! use dualad::{DualAd, DualAdConfig, TestSet, Variant};
//!
//! # fn example(network: DualAd) -> Result<(), Box<dyn std::error::Error>> {
//! let dataset = Dataset::open("mvtec")?;
//! let extractor = Backbone::ResNet18.extractor().weights(Weights::hub()).build()?.into();
//! let features = Features::of(dataset.samples(Split::Test).cloned(), extractor, Preprocess::new(224, 224)?).compute()?;
//! let test_set = TestSet::new(features)?;
//! let scores = test_set.score(&network, &Cancel::default(), |_progress| {})?;
//! let evaluation = test_set.evaluate(&scores)?;
//! println!("{:?}", evaluation.mean.image_auroc);
//! # Ok(())
//! # }
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use dualad_data::image::Picture;
use dualad_data::{Cancel, Sample};
use rayon::prelude::*;

use crate::ahead::ahead;
use crate::bank::{Bank, Distances};
use crate::error::{Error, Result};
use crate::features::{Features, TokenSource};
use crate::metrics::{self, Evaluation, ScoredImage};
use crate::progress::Progress;
use crate::scorer::Scorer;
use crate::{DualAd, Model, Precision};

/// The number of images in a forward pass.
const BATCH: usize = 8;

/// The scores of an image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageScores {
    /// The image score: the largest mean of a window of the map (docs/method.md, sections 6 and 9). Larger is more anomalous.
    pub image_score: f32,
    /// The anomaly map, `[height, width]` at the input's size.
    pub map: Vec<f32>,
}

/// Test images with their features and masks, to evaluate any number of networks on.
///
/// ```
/// use dualad::TestSet;
/// use dualad::backbones::Backbone;
/// use dualad::data::image::Preprocess;
/// use dualad::data::{Cancel, Dataset, Split};
/// use dualad::features::Features;
/// # use dualad::candle_core::Device;
/// # use dualad::data::synthetic::{self, Category, Options};
/// # use dualad::{DualAd, DualAdConfig, Random, Variant};
///
/// # let folder = std::env::temp_dir().join(format!("dualad-doc-test-set-{}", std::process::id()));
/// # let categories = vec![Category::Gear];
/// # let options = Options { size: 64, train: 1, test_good: 1, test_per_defect: 1, categories, ..Options::default() };
/// # synthetic::write(&folder, &options, |_done, _total| {})?;
/// # let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
/// #     .with_grid([4, 4])
/// #     .with_neighbor_mask(Some([1, 1]))
/// #     .with_narrow_width(8)
/// #     .with_chunk_width(8)
/// #     .with_ffn_width(8);
/// # let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
/// // A good gear, and one with each of four defects.
/// let samples: Vec<_> = Dataset::open(&folder)?.samples(Split::Test).cloned().collect();
/// let extractor = Backbone::FilterBank.extractor().build()?.into();
/// let test_set = TestSet::new(Features::of(samples, extractor, Preprocess::new(64, 64)?).compute()?)?;
///
/// let scores = test_set.score(&network, &Cancel::default(), |_progress| {})?;
/// assert_eq!((scores.len(), scores[0].map.len()), (5, 64 * 64));
/// let measured = test_set.evaluate(&scores)?.pooled;
/// assert_eq!((measured.images, measured.anomalous), (5, 4));
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug)]
pub struct TestSet {
    features: Features,
    /// The masks at the input's size, with 1 at defects; `None` for a normal image and for an anomalous one without a mask file.
    masks: Vec<Option<Vec<u8>>>,
    height: usize,
    width: usize,
    /// The distances of every image to the bank that was used last.
    distances: Mutex<Option<(Bank, Arc<[Distances]>)>>,
}

impl TestSet {
    /// Reads the masks of the images and resizes them like the images. The masks of an image with several defects are
    /// joined.
    ///
    /// # Errors
    /// [`Error::NoImages`] if there are no images, [`Error::Data`] if a mask cannot be read or has another size than its
    /// image.
    pub fn new(features: Features) -> Result<Self> {
        if features.samples().is_empty() {
            return Err(Error::NoImages { purpose: "test on" });
        }
        let preprocess = features.preprocess();
        let (height, width) = (preprocess.height() as usize, preprocess.width() as usize);
        let read = |sample: &Sample| {
            if !sample.has_mask() {
                return Ok(None);
            }
            let limits = features.limits();
            let size = Picture::read_size(&sample.path, limits)?;
            let Some(mask) = sample.read_mask(size, limits)? else { return Ok(None) };
            Ok(Some(preprocess.mask(&mask)?.pixels().to_vec()))
        };
        let masks = features.samples().par_iter().map(read).collect::<Result<_>>()?;
        Ok(Self { features, masks, height, width, distances: Mutex::new(None) })
    }

    /// Returns the images, in order.
    pub fn samples(&self) -> &[Sample] {
        self.features.samples()
    }

    /// Returns the mask of an image, `[height, width]` with 1 at defects. `None` for a normal image and for one without a mask
    /// file.
    pub fn mask(&self, index: usize) -> Option<&[u8]> {
        self.masks.get(index)?.as_deref()
    }

    /// Returns the precision that scores are computed in: that of the features.
    pub fn precision(&self) -> Precision {
        self.features.precision()
    }

    /// Returns the rows and columns of maps and masks.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Scores every image. `progress` is called after each batch.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the network does not match the features, [`Error::Cancelled`], [`Error::Candle`] if the
    /// device fails, and the errors of reading the features.
    pub fn score(&self, network: &DualAd, cancel: &Cancel, progress: impl FnMut(Progress)) -> Result<Vec<ImageScores>> {
        self.score_with(network, None, cancel, progress)
    }

    /// Scores every image with a model: its network and, if it has one, its bank. `progress` is called after each batch.
    ///
    /// # Errors
    /// As [`Self::score`]; [`Error::Backbone`] and [`Error::Features`] if the maps for the bank cannot be computed.
    pub fn score_model(
        &self,
        model: &Model,
        cancel: &Cancel,
        progress: impl FnMut(Progress),
    ) -> Result<Vec<ImageScores>> {
        self.score_with(model.network(), model.bank(), cancel, progress)
    }

    fn score_with(
        &self,
        network: &DualAd,
        bank: Option<&Bank>,
        cancel: &Cancel,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<ImageScores>> {
        let total = self.samples().len();
        let indices: Vec<usize> = (0..total).collect();
        let (device, stages) = (network.device(), self.features.stages());
        let scorer = Scorer::new(network.reconstructor_in(self.precision())?, bank.cloned(), stages, self.size())?;
        let distances = bank.map(|bank| self.distances(&scorer, bank, cancel)).transpose()?;
        let mut scores = Vec::with_capacity(total);
        for indices in indices.chunks(BATCH) {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let tokens = self.features.batch(indices)?.to_device(&device)?;
            let distances: Vec<&Distances> =
                distances.iter().flat_map(|all| indices.iter().filter_map(|&index| all.get(index))).collect();
            let found = scorer.score_tokens(&tokens, &distances)?.scores;
            let image_scores: Vec<f32> = found.image_score.to_vec1()?;
            let maps: Vec<f32> = found.anomaly_map.flatten_all()?.to_vec1()?;
            let maps = maps.chunks(self.height * self.width);
            scores.extend(
                image_scores
                    .into_iter()
                    .zip(maps)
                    .map(|(image_score, map)| ImageScores { image_score, map: map.to_vec() }),
            );
            progress(Progress { done: scores.len(), total });
        }
        Ok(scores)
    }

    /// Returns the distances of every image to a bank. They are kept until another bank is used: the bank of a run does not change
    /// while its network is trained.
    fn distances(&self, scorer: &Scorer, bank: &Bank, cancel: &Cancel) -> Result<Arc<[Distances]>> {
        let mut kept = self.distances.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, distances)) = kept.as_ref().filter(|(other, _)| other.has_tokens_of(bank)) {
            return Ok(distances.clone());
        }
        let mut found = Vec::with_capacity(self.samples().len());
        let indices: Vec<usize> = (0..self.samples().len()).collect();
        let read = |indices: &&[usize]| match cancel.is_cancelled() {
            true => Err(Error::Cancelled),
            false => self.features.read(indices),
        };
        ahead(&indices.chunks(BATCH).collect::<Vec<_>>(), read, |_, images| {
            found.extend(scorer.distances(&self.features.maps(&images)?)?.into_iter().flatten());
            Ok(())
        })?;
        let found: Arc<[Distances]> = found.into();
        *kept = Some((bank.clone(), found.clone()));
        Ok(found)
    }

    /// Returns the metrics of these scores, one for each image, in order.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if their number is not that of the images, [`Error::Metrics`] if a score is not finite.
    pub fn evaluate(&self, scores: &[ImageScores]) -> Result<Evaluation> {
        self.check_count(scores)?;
        let images = self.samples().iter().zip(&self.masks).zip(scores);
        let images: Vec<ScoredImage<'_>> = images
            .map(|((sample, mask), scores)| ScoredImage {
                category: &sample.category,
                anomalous: sample.label.is_anomalous(),
                image_score: scores.image_score,
                height: self.height,
                width: self.width,
                map: &scores.map,
                mask: mask.as_deref(),
            })
            .collect();
        Ok(metrics::evaluate(&images)?)
    }

    /// Checks that there is one score for each image.
    pub(crate) fn check_count(&self, scores: &[ImageScores]) -> Result<()> {
        let (images, found) = (self.samples().len(), scores.len());
        if images == found {
            return Ok(());
        }
        Err(Error::invalid_argument(
            "the list of scores",
            format_args!("{found} long"),
            format!("must hold one for each of the {images} images, in order"),
        ))
    }

    /// Returns the features of the images.
    pub(crate) fn features(&self) -> &Features {
        &self.features
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use dualad_backbones::Backbone;
    use dualad_data::Split;
    use dualad_data::image::Preprocess;

    use super::*;
    use crate::testing::dataset;
    use crate::{DualAdConfig, Random, Variant};

    fn network() -> DualAd {
        let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
            .with_narrow_width(8)
            .with_chunk_width(8)
            .with_ffn_width(8)
            .with_grid([4, 4])
            .with_neighbor_mask(Some([1, 1]));
        DualAd::new(config, &Random::new(0), &Device::Cpu).unwrap()
    }

    fn test_set(folder: &std::path::Path) -> TestSet {
        let extractor = Backbone::FilterBank.extractor().build().unwrap().into();
        let dataset = dataset(folder);
        let samples = dataset.samples(Split::Test).cloned();
        TestSet::new(Features::of(samples, extractor, Preprocess::new(64, 64).unwrap()).compute().unwrap()).unwrap()
    }

    #[test]
    fn every_image_gets_a_score_a_map_and_its_mask() {
        let folder = tempfile::tempdir().unwrap();
        let (test_set, network) = (test_set(folder.path()), network());
        // A good image and one of each defect: 3 of fabric, 4 of gear.
        assert_eq!((test_set.samples().len(), test_set.size()), (9, [64, 64]));
        let mut heard = Vec::new();
        let scores = test_set
            .score(&network, &Cancel::default(), |progress| heard.push((progress.done, progress.total)))
            .unwrap();
        assert_eq!(heard, [(8, 9), (9, 9)]);
        for (index, (sample, scores)) in test_set.samples().iter().zip(&scores).enumerate() {
            assert_eq!(scores.map.len(), 64 * 64);
            assert!(scores.image_score > 0.0);
            let mask = test_set.mask(index);
            assert_eq!(mask.is_some(), sample.label.is_anomalous());
            assert!(mask.is_none_or(|mask| mask.len() == 64 * 64 && mask.contains(&1)));
        }
        let evaluation = test_set.evaluate(&scores).unwrap();
        assert_eq!((evaluation.categories.len(), evaluation.pooled.images, evaluation.pooled.anomalous), (2, 9, 7));

        // Scores that are the truth are worth everything.
        let truth = |index: usize| ImageScores {
            image_score: f32::from(u8::from(test_set.samples()[index].label.is_anomalous())),
            map: test_set.mask(index).map_or(vec![0.0; 64 * 64], |mask| mask.iter().map(|&x| f32::from(x)).collect()),
        };
        let evaluation = test_set.evaluate(&(0..9).map(truth).collect::<Vec<_>>()).unwrap();
        assert_eq!((evaluation.mean.image_auroc, evaluation.mean.pixel_ap), (Ok(1.0), Ok(1.0)));
    }

    /// The test set of one anomalous image of 64 x 64 pixels with these masks; each has its marked pixels and its size.
    fn masked(folder: &std::path::Path, masks: &[(&[[u32; 2]], [u32; 2])]) -> Result<TestSet> {
        let mut samples: Vec<Sample> = dataset(folder).samples(Split::Test).cloned().collect();
        samples.retain(|sample| sample.label.is_anomalous());
        samples.truncate(1);
        let file = |(index, (marked, [width, height])): (usize, &(&[[u32; 2]], [u32; 2]))| {
            let mut mask = image::GrayImage::new(*width, *height);
            marked.iter().for_each(|&[x, y]| mask.put_pixel(x, y, image::Luma([255])));
            let path = folder.join(format!("{index}.png"));
            mask.save(&path).unwrap();
            path
        };
        samples[0].masks = masks.iter().enumerate().map(file).collect();
        let extractor = Backbone::FilterBank.extractor().build().unwrap().into();
        TestSet::new(Features::of(samples, extractor, Preprocess::new(64, 64).unwrap()).compute()?)
    }

    #[test]
    fn all_masks_of_an_image_count_in_the_pixel_metrics() {
        let folder = tempfile::tempdir().unwrap();
        let test_set = masked(folder.path(), &[(&[[3, 0]], [64, 64]), (&[[0, 1], [9, 63]], [64, 64])]).unwrap();
        let marked: Vec<usize> = (0..64 * 64).filter(|&index| test_set.mask(0).unwrap()[index] == 1).collect();
        assert_eq!(marked, [3, 64, 63 * 64 + 9]);
        // A map that finds all three pixels is perfect, and one that finds those of the first mask is not.
        let average_precision = |found: &[usize]| {
            let map = (0..64 * 64).map(|index| f32::from(u8::from(found.contains(&index)))).collect();
            let scores = [ImageScores { image_score: 1.0, map }];
            test_set.evaluate(&scores).unwrap().pooled.metrics.pixel_ap
        };
        assert_eq!(average_precision(&marked), Ok(1.0));
        assert!(average_precision(&marked[..1]).unwrap() < 0.5);
    }

    #[test]
    fn a_mask_of_another_size_than_its_image_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = masked(folder.path(), &[(&[[3, 0]], [64, 64]), (&[[3, 0]], [32, 32])]).unwrap_err();
        let Error::Data(dualad_data::Error::MaskSize { mask, mask_size, image_size, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!((mask, mask_size, image_size), (folder.path().join("1.png"), (32, 32), (64, 64)));
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (test_set, network) = (test_set(folder.path()), network());
        let cancel = Cancel::default();
        let mut scores = test_set.score(&network, &cancel, |_| ()).unwrap();
        scores[3].image_score = f32::NAN;
        assert!(matches!(test_set.evaluate(&scores), Err(Error::Metrics(_))));
        assert!(matches!(test_set.evaluate(&scores[1..]), Err(Error::InvalidArgument { .. })));
        cancel.cancel();
        assert!(matches!(test_set.score(&network, &cancel, |_| ()), Err(Error::Cancelled)));
        let mut config = network.config().clone();
        config.stage_channels = vec![1, 2, 3];
        let other = DualAd::new(config, &Random::new(0), &Device::Cpu).unwrap();
        assert!(matches!(test_set.score(&other, &Cancel::default(), |_| ()), Err(Error::InvalidArgument { .. })));
        let extractor = Backbone::FilterBank.extractor().build().unwrap().into();
        let none = Features::of([], extractor, Preprocess::new(64, 64).unwrap()).compute().unwrap();
        assert!(matches!(TestSet::new(none), Err(Error::NoImages { .. })));
    }
}
