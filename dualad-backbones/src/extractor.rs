//! The interface of feature extractors.

use std::fmt::Debug;

use candle_core::{DType, Device, Tensor};

use crate::aggregate::aggregate;
use crate::backbone::Backbone;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::stage::Stage;
use crate::weights::Provenance;

/// A frozen feature extractor: image batches in, one feature map per requested stage out.
///
/// Images are RGB, scaled to `[0, 1]` and normalised with ImageNet's mean and deviation ([`crate::MEAN`],
/// [`crate::STANDARD_DEVIATION`]), `[batch, 3, height, width]`, both sides multiples of 16.
///
/// Memory grows with the number of pixels; for a vision transformer with its square (every token attends to every other).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use dualad_backbones::{Backbone, FeatureExtractor};
///
/// let extractor: Box<dyn FeatureExtractor> = Backbone::FilterBank.extractor().stages(&[2, 3]).build()?;
/// let images = Tensor::zeros((2, 3, 32, 48), DType::F32, &Device::Cpu)?;
/// for (map, stage) in extractor.extract(&images)?.iter().zip(extractor.stages()) {
///     let [channels, rows, columns] = stage.map_shape(32, 48);
///     assert_eq!(map.dims(), [2, channels, rows, columns]);
/// }
/// assert_eq!(extractor.tokens(&images)?.dims(), [2, 2 * 3, extractor.token_channels()]);
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
pub trait FeatureExtractor: Debug + Send + Sync {
    /// Which backbone this is.
    fn backbone(&self) -> Backbone;

    /// The requested stages, in order: channels and strides of what [`Self::extract`] returns.
    fn stages(&self) -> &[Stage];

    /// Where maps are computed and returned.
    fn device(&self) -> &Device;

    /// What maps are computed and returned in.
    fn dtype(&self) -> DType;

    /// Where the weights came from.
    fn provenance(&self) -> &Provenance;

    /// `[batch, 3, height, width]` to one `[batch, channels, rows, columns]` map per stage, as [`Stage::map_shape`]
    /// says. The images are brought to [`Self::dtype`] and [`Self::device`] first. No gradient is kept.
    ///
    /// # Errors
    /// [`Error::InputBatch`] or [`Error::InputSize`] if the images' shape or dtype does not fit,
    /// [`Error::InputNotFinite`] if they hold NaN or infinity (looked for on the CPU only), [`Error::Candle`] if the
    /// device fails. Normalised images have values from -3 to 3; maps of values beyond 1e6 may not be finite.
    fn extract(&self, images: &Tensor) -> Result<Vec<Tensor>>;

    /// `[batch, 3, height, width]` to stride-16 tokens `[batch, height / 16 * width / 16, channels]`, the sum of all
    /// stages' channels wide: what the reconstruction network reads ([`aggregate()`]).
    ///
    /// # Errors
    /// As [`Self::extract`].
    fn tokens(&self, images: &Tensor) -> Result<Tensor> {
        let maps = self.extract(images)?;
        let (_, _, height, width) = images.dims4()?;
        aggregate(&maps, self.stages(), [height, width])
    }

    /// Channels of a token.
    fn token_channels(&self) -> usize {
        self.stages().iter().map(|stage| stage.channels).sum()
    }
}
