//! A network's scores of a test set, and what they are worth.
//!
//! ```no_run
//! use dualad::backbones::{Backbone, Weights};
//! use dualad::data::image::Preprocess;
//! use dualad::data::{Cancel, Dataset, Split};
//! use dualad::train::Features;
//! use dualad::{DualAd, DualAdConfig, TestSet, Variant};
//!
//! # fn example(network: DualAd) -> Result<(), Box<dyn std::error::Error>> {
//! let dataset = Dataset::open("mvtec")?;
//! let extractor = Backbone::ResNet18.extractor().weights(Weights::hub()).build()?.into();
//! let features = Features::of(dataset.samples(Split::Test).cloned(), extractor, Preprocess::new(224, 224)?).compute(|_, _| {})?;
//! let test_set = TestSet::new(features)?;
//! let scores = test_set.score(&network, &Cancel::default(), |_done, _total| {})?;
//! let evaluation = test_set.evaluate(&scores)?;
//! println!("{:?}", evaluation.mean.image_auroc);
//! # Ok(())
//! # }
//! ```

use dualad_data::image::{Limits, Mask};
use dualad_data::{Cancel, Sample};
use rayon::prelude::*;

use crate::DualAd;
use crate::error::{Error, Result};
use crate::metrics::{self, Evaluation, Scored};
use crate::train::{Features, TokenSource};

/// Images a network is given at a time.
const BATCH: usize = 8;

/// An image's scores.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageScores {
    /// The largest mean of a 16 x 16 square of the map; larger is more anomalous.
    pub image_score: f32,
    /// The anomaly map, `[height, width]` at the input's size.
    pub map: Vec<f32>,
}

/// Test images with their features and masks: any number of networks can be measured on them.
#[derive(Debug)]
pub struct TestSet {
    features: Features,
    /// At the input's size, 1 where there is a defect; `None` for a normal image and an anomalous one without a file.
    masks: Vec<Option<Vec<u8>>>,
    height: usize,
    width: usize,
}

impl TestSet {
    /// Reads the images' masks, and resizes them as the images were.
    ///
    /// # Errors
    /// [`Error::NoImages`] if there are none, [`Error::Data`] for a mask that cannot be read.
    pub fn new(features: Features) -> Result<Self> {
        if features.samples().is_empty() {
            return Err(Error::NoImages { purpose: "test on" });
        }
        let preprocess = features.preprocess();
        let (height, width) = (preprocess.height() as usize, preprocess.width() as usize);
        let read = |sample: &Sample| {
            let Some(path) = sample.mask.as_ref().filter(|_| sample.label.is_anomalous()) else { return Ok(None) };
            let mask = Mask::read(path, sample.mask_rule, &Limits::default())?;
            Ok(Some(preprocess.mask(&mask)?.pixels().to_vec()))
        };
        let masks = features.samples().par_iter().map(read).collect::<Result<_>>()?;
        Ok(Self { features, masks, height, width })
    }

    /// The images, in order.
    pub fn samples(&self) -> &[Sample] {
        self.features.samples()
    }

    /// Each image's mask, `[height, width]` with 1 where there is a defect, if it is known and not all zeros by definition.
    pub fn mask(&self, index: usize) -> Option<&[u8]> {
        self.masks.get(index)?.as_deref()
    }

    /// Rows and columns of maps and masks.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Scores every image. `progress` hears how many of how many are done.
    ///
    /// # Errors
    /// [`Error::Tokens`] if the network is not one for these features, [`Error::Cancelled`], [`Error::Candle`] if its device
    /// fails, and whatever keeps the features from being had.
    pub fn score(
        &self,
        network: &DualAd,
        cancel: &Cancel,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<ImageScores>> {
        let total = self.samples().len();
        let indices: Vec<usize> = (0..total).collect();
        let device = network.device();
        let mut scores = Vec::with_capacity(total);
        for indices in indices.chunks(BATCH) {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let tokens = self.features.batch(indices)?.to_device(&device)?;
            let found = network.score(&tokens, &network.reconstruct(&tokens)?)?;
            let image_scores: Vec<f32> = found.image_score.to_vec1()?;
            let maps: Vec<f32> = found.anomaly_map.flatten_all()?.to_vec1()?;
            let maps = maps.chunks(self.height * self.width);
            scores.extend(
                image_scores
                    .into_iter()
                    .zip(maps)
                    .map(|(image_score, map)| ImageScores { image_score, map: map.to_vec() }),
            );
            progress(scores.len(), total);
        }
        Ok(scores)
    }

    /// What these scores, one for each image in order, are worth.
    ///
    /// # Errors
    /// [`Error::Metrics`] if there are fewer or more scores than images, or one is not finite.
    pub fn evaluate(&self, scores: &[ImageScores]) -> Result<Evaluation> {
        let images = self.samples().iter().zip(&self.masks).zip(scores);
        let images: Vec<Scored<'_>> = images
            .map(|((sample, mask), scores)| Scored {
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
}
