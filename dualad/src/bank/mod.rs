//! A bank of normal tokens: local features of normal images that are kept with the model (docs/method.md, section 9).
//!
//! The reconstruction network remembers normal features in its weights. A bank remembers them as they are: a small set of tokens
//! that covers the tokens of all normal images (Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022).
//! The distance of a token to the nearest one in the bank is large where an image departs from all normal images. One bank holds the
//! tokens of all categories.

#[cfg(feature = "train")]
mod build;
mod config;
mod device;
mod file;
mod group;
mod level;
mod local;
mod maps;
mod nearest;
mod parts;
mod projection;
mod search;
#[cfg(feature = "train")]
mod select;
mod table;

use std::sync::Arc;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::bank::group::Queries;
use crate::bank::level::Level;
use crate::bank::maps::Maps;
use crate::bank::projection::StageMap;
use crate::error::Result;

#[cfg(feature = "train")]
pub(crate) use build::{Builder, Measured};
pub use config::BankConfig;
pub(crate) use file::{BankFile, is_bank_key};
pub(crate) use level::Scale;
pub(crate) use projection::finest;
pub(crate) use search::{Search, SearchForm};

/// A bank of normal tokens. A clone shares the tokens.
///
/// ```no_run
/// use dualad::Detector;
/// use dualad::recipe::Preset;
///
/// let detector = Detector::fit("pictures").preset(Preset::Accurate).run()?.detector;
/// if let Some(bank) = detector.model().bank() {
///     println!("{} tokens", bank.tokens());
/// }
/// let found = detector.inspect("pictures/part.png")?;
/// println!("{:?}", found.parts); // the reconstruction's and the bank's
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bank {
    config: BankConfig,
    /// One for each scale of the configuration.
    levels: Arc<[Level]>,
    /// The channels of the bank's stages.
    stage_channels: Arc<[usize]>,
    /// The normalization of each category.
    normal: Vec<Normal>,
    /// True if the network is not trained, so that it has no part in the scores.
    alone: bool,
    /// The image whose tokens do not count, as in [`group::Tokens::images`]. 0 for none.
    without: u32,
}

/// The normalization constants of a category, measured on its normal images.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Normal {
    /// The mean image score of the reconstruction.
    pub(crate) reconstruction: f32,
    /// The mean image score of each scale of the bank.
    pub(crate) levels: Vec<f32>,
    /// The mean of the weighted sum of the terms, each divided by its own constant, plus two standard deviations.
    pub(crate) sum: f32,
}

/// The distances of an image's tokens to the nearest tokens of its category in a bank.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distances {
    /// For each scale, `[rows * columns]`.
    pub(crate) levels: Vec<Vec<f32>>,
    /// The category of the image: the one whose local tokens are nearest to some of the image's.
    pub(crate) category: usize,
}

impl Bank {
    /// The number of tokens of all scales.
    pub fn tokens(&self) -> usize {
        self.levels.iter().map(Level::count).sum()
    }

    /// Returns whether the bank alone scores: the model's network is not trained.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// The configuration that the tokens were chosen with.
    pub fn config(&self) -> &BankConfig {
        &self.config
    }

    /// The number of categories.
    pub(crate) fn categories(&self) -> usize {
        self.normal.len()
    }

    /// The scales of the tokens.
    pub(crate) fn scales(&self) -> impl Iterator<Item = Scale> {
        self.levels.iter().map(|level| level.scale)
    }

    /// Returns the distances of each image's tokens, computed on the CPU. `maps` are `[batch, channels, rows, columns]`, one for each stage
    /// of the bank. [`Search`] has this form and that of other devices.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] if the maps are not those of the bank's stages, [`crate::Error::NotFinite`] if one holds
    /// NaN or infinity, [`crate::Error::Candle`].
    pub(crate) fn distances(&self, maps: &[Tensor]) -> Result<Vec<Distances>> {
        let maps = Maps::new(maps, &self.stage_channels)?;
        Ok((0..maps.images()).into_par_iter().map(|image| self.of_image(&maps.image(image))).collect())
    }

    fn of_image(&self, maps: &[StageMap<'_>]) -> Distances {
        let queries: Vec<Queries> = self.levels.iter().map(|level| level.queries(maps)).collect();
        // The first scale is the local one.
        let category = self.levels.iter().zip(&queries).next().map_or(0, |(level, queries)| level.category(queries));
        let levels = self
            .levels
            .iter()
            .zip(&queries)
            .map(|(level, queries)| level.distances(queries, category, self.without))
            .collect();
        Distances { levels, category }
    }

    /// Returns the normalization of a category.
    pub(crate) fn normal(&self, category: usize) -> Option<&Normal> {
        self.normal.get(category)
    }

    /// Returns whether the other bank has the same tokens in memory.
    #[cfg(feature = "train")]
    pub(crate) fn has_tokens_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.levels, &other.levels)
    }

    /// Returns the mean weighted distance, at a scale, of tokens of a category that lie one gap from those of the bank: 0 if it has none.
    #[cfg(feature = "train")]
    pub(crate) fn gap(&self, level: usize, category: usize) -> f32 {
        let weights =
            self.levels.get(level).and_then(|level| level.groups.get(category)).map(|group| &group.tokens.weights);
        let weights = weights.map_or(&[][..], Vec::as_slice);
        // A weight is the inverse square root of the gap.
        weights.iter().map(|weight| 1.0 / weight).sum::<f32>() / weights.len().max(1) as f32
    }

    /// The normalization of each category.
    #[cfg(feature = "train")]
    pub(crate) fn normals(&self) -> &[Normal] {
        &self.normal
    }

    /// Returns the bank without the tokens of an image, by its number in [`group::Tokens::images`]: it then scores that image as it scores
    /// new ones. With 0 it has all tokens.
    #[cfg(feature = "train")]
    pub(crate) fn without(&self, image: u32) -> Self {
        Self { without: image, ..self.clone() }
    }

    /// Returns the bank with another normalization.
    #[cfg(feature = "train")]
    pub(crate) fn with_normal(&self, normal: Vec<Normal>) -> Self {
        Self { normal, ..self.clone() }
    }
}
