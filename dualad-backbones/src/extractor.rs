//! The one trait that the rest of the library sees, and the builder that makes what is behind it.

use std::fmt::Debug;

use candle_core::{DType, Device, Tensor};
use dualad_kernels::Isa;

use crate::aggregate::aggregate;
use crate::engine::{Engine, PackedEngine, PlainEngine};
use crate::error::{Error, Result};
use crate::filter_bank::FilterBank;
use crate::network::choose_stages;
use crate::spec::{Backbone, Stage, check_input_size};
use crate::weights::{Provenance, Weights};

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

/// Pixels of a batch: 12 GiB of f32.
const LARGEST_BATCH: usize = 1 << 30;

/// The dtypes that images and maps may have.
pub(crate) fn is_supported(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
}

/// The images as an extractor needs them, or why they cannot be.
pub(crate) fn prepare(images: &Tensor, device: &Device, dtype: DType) -> Result<Tensor> {
    match *images.dims() {
        [batch, 3, height, width] if batch > 0 && is_supported(images.dtype()) => {
            check_input_size(height, width)?;
            // A tensor can claim more elements than it has (broadcasting); they are about to be written out.
            let pixels = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(batch));
            if pixels.is_none_or(|pixels| pixels > LARGEST_BATCH) {
                return Err(Error::InputBatch { found: format!("{:?}, more than 2^30 pixels", images.dims()) });
            }
        }
        ref shape => return Err(Error::InputBatch { found: format!("{shape:?} {:?}", images.dtype()) }),
    }
    // Looking at them is free next to what follows; on an accelerator it would have to be waited for.
    // (Zero times NaN or infinity is NaN; candle's `max` passes NaN over.)
    if images.device().is_cpu() && images.affine(0.0, 0.0)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? != 0.0
    {
        return Err(Error::InputNotFinite);
    }
    Ok(images.detach().to_device(device)?.to_dtype(dtype)?.contiguous()?)
}

/// What to build an extractor from; made by [`Backbone::extractor`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use dualad_backbones::{Backbone, Weights};
///
/// // Rule-made weights stand in for trained ones here.
/// let extractor = Backbone::ResNet18.extractor().weights(Weights::synthetic(0)).stages(&[1, 2]).build()?;
/// let images = Tensor::zeros((1, 3, 32, 64), DType::F32, &Device::Cpu)?;
/// let maps = extractor.extract(&images)?;
/// assert_eq!(maps[0].dims(), [1, 64, 8, 16]);
/// assert_eq!(maps[1].dims(), [1, 128, 4, 8]);
/// assert_eq!(extractor.tokens(&images)?.dims(), [1, 2 * 4, 64 + 128]);
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ExtractorBuilder {
    backbone: Backbone,
    stages: Option<Vec<usize>>,
    weights: Weights,
    device: Device,
    dtype: DType,
    plain: bool,
}

impl Backbone {
    /// Starts building an extractor: on the CPU, in f32, with [`Self::default_stages`].
    pub fn extractor(self) -> ExtractorBuilder {
        ExtractorBuilder {
            backbone: self,
            stages: None,
            weights: Weights::default(),
            device: Device::Cpu,
            dtype: DType::F32,
            plain: false,
        }
    }
}

impl ExtractorBuilder {
    /// Which stages to return, by number from 1, ascending. Layers after the last are neither built nor loaded.
    #[must_use]
    pub fn stages(mut self, stages: &[usize]) -> Self {
        self.stages = Some(stages.to_vec());
        self
    }

    /// Which weights to load. Every backbone but the filter bank needs some.
    #[must_use]
    pub fn weights(mut self, weights: Weights) -> Self {
        self.weights = weights;
        self
    }

    /// Where to compute.
    #[must_use]
    pub fn device(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self
    }

    /// What to compute in: f32, f16 or bf16.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Compute with candle's own operations, as other devices and dtypes do, where there are faster ones (on the CPU in f32): the
    /// reference that those are tested against. Results differ by rounding.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Loads and checks the weights, folds the batch norms, and returns the extractor.
    ///
    /// # Errors
    /// [`Error::Stages`], [`Error::DType`], [`Error::Weights`], `Error::Hub` or [`Error::Candle`]. There is no
    /// half-loaded extractor.
    pub fn build(self) -> Result<Box<dyn FeatureExtractor>> {
        let Self { backbone, stages, weights, device, dtype, plain } = self;
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Err(Error::DType { dtype: format!("{dtype:?}") });
        }
        let wanted: Vec<usize> = match stages {
            Some(stages) => stages,
            None => backbone.default_stages().iter().map(|stage| stage.index).collect(),
        };
        let Some(whole) = backbone.network() else {
            let stages = choose_stages(&backbone.stages(), &wanted, backbone.name())?;
            return Ok(Box::new(FilterBank::new(stages, device, dtype)));
        };
        let used = whole.up_to(&wanted)?;
        let (folded, provenance) = weights.load(backbone, &whole, &used, dtype)?;
        let stages = used.stages();
        let engine: Box<dyn Engine> = if device.is_cpu() && dtype == DType::F32 && !plain {
            Box::new(PackedEngine::new(Isa::best(), used, folded)?)
        } else {
            Box::new(PlainEngine::new(used, folded, &device, dtype)?)
        };
        Ok(Box::new(NetworkExtractor { backbone, stages, engine, device, dtype, provenance }))
    }
}

/// A network behind the trait.
#[derive(Debug)]
struct NetworkExtractor {
    backbone: Backbone,
    stages: Vec<Stage>,
    engine: Box<dyn Engine>,
    device: Device,
    dtype: DType,
    provenance: Provenance,
}

impl FeatureExtractor for NetworkExtractor {
    fn backbone(&self) -> Backbone {
        self.backbone
    }

    fn stages(&self) -> &[Stage] {
        &self.stages
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn extract(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        self.engine.run(&prepare(images, &self.device, self.dtype)?)
    }

    fn tokens(&self, images: &Tensor) -> Result<Tensor> {
        self.engine.tokens(&prepare(images, &self.device, self.dtype)?, &self.stages)
    }
}
