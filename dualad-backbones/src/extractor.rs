//! The interface of feature extractors.

use std::fmt::Debug;

use candle_core::{DType, Device, Tensor};
use dualad_kernels::Precision;

use crate::aggregate::aggregate;
use crate::backbone::Backbone;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::stage::Stage;
use crate::weights::Provenance;

/// A frozen feature extractor, which computes one feature map per requested stage from an image batch.
///
/// Images are RGB, `[batch, 3, height, width]`, scaled to `[0, 1]` and normalized with the ImageNet mean and standard deviation
/// ([`crate::IMAGENET_MEAN`], [`crate::IMAGENET_STD`]). Both sides are multiples of [`Backbone::token_stride`].
///
/// Memory grows linearly with the number of pixels, and quadratically for a vision transformer (every token attends to every other).
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
    /// Returns the backbone.
    fn backbone(&self) -> Backbone;

    /// Returns the requested stages, which give the channels and strides of the maps that [`Self::extract`] returns, in that order.
    fn stages(&self) -> &[Stage];

    /// Returns the device of the maps.
    fn device(&self) -> &Device;

    /// Returns the dtype of the maps.
    fn dtype(&self) -> DType;

    /// Returns the precision of the products.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// Returns the record of where the weights come from.
    fn provenance(&self) -> &Provenance;

    /// Computes one map `[batch, channels, rows, columns]` per stage from images `[batch, 3, height, width]`. [`Stage::map_shape`] gives
    /// its shape. The images are converted to [`Self::dtype`] and moved to [`Self::device`] first. No gradient is kept.
    ///
    /// # Errors
    /// [`Error::InputBatch`] or [`Error::InputSize`] if the images' shape or dtype does not fit,
    /// [`Error::InputNotFinite`] if they hold NaN or infinity (checked on the CPU only), [`Error::Candle`] if the
    /// device fails. Normalized images have values from -3 to 3. For values beyond 1e6, maps may not be finite.
    fn extract(&self, images: &Tensor) -> Result<Vec<Tensor>>;

    /// Computes tokens `[batch, height / s * width / s, channels]` from images `[batch, 3, height, width]`: the maps of all stages,
    /// brought to the backbone's token stride s and concatenated over channels ([`aggregate()`]).
    ///
    /// # Errors
    /// Those of [`Self::extract`].
    fn tokens(&self, images: &Tensor) -> Result<Tensor> {
        let maps = self.extract(images)?;
        let (_, _, height, width) = images.dims4()?;
        aggregate(&maps, self.stages(), [height, width], self.backbone().token_stride())
    }

    /// Returns the channels of a token, the sum over all stages.
    fn token_channels(&self) -> usize {
        self.stages().iter().map(|stage| stage.channels).sum()
    }
}
