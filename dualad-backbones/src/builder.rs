//! The builder of feature extractors.

use candle_core::{DType, Device, Tensor};
use dualad_kernels::{Isa, Precision};

use crate::backbone::Backbone;
use crate::engine::{Engine, PackedEngine, PlainEngine};
use crate::error::{Error, Result, WeightsError};
use crate::extractor::FeatureExtractor;
use crate::filter_bank::FilterBank;
use crate::network::choose_stages;
use crate::stage::Stage;
use crate::weights::{Provenance, Weights};

/// The builder of a feature extractor. [`Backbone::extractor`] creates it.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use dualad_backbones::{Backbone, Weights};
///
/// // Synthetic weights replace trained ones in this example.
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
    precision: Precision,
    plain: bool,
}

impl Backbone {
    /// Creates the builder of an extractor. Defaults: the CPU, f32, and [`Self::default_stages`].
    pub fn extractor(self) -> ExtractorBuilder {
        ExtractorBuilder {
            backbone: self,
            stages: None,
            weights: Weights::default(),
            device: Device::Cpu,
            dtype: DType::F32,
            precision: Precision::F32,
            plain: false,
        }
    }
}

impl ExtractorBuilder {
    /// Sets the stages to return, by number from 1, ascending. Layers after the last one are neither built nor loaded.
    #[must_use]
    pub fn stages(mut self, stages: &[usize]) -> Self {
        self.stages = Some(stages.to_vec());
        self
    }

    /// Sets the weights to load. Every backbone needs weights except the filter bank, which refuses them.
    #[must_use]
    pub fn weights(mut self, weights: Weights) -> Self {
        self.weights = weights;
        self
    }

    /// Sets the device.
    #[must_use]
    pub fn device(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self
    }

    /// Sets the dtype: f32, f16 or bf16.
    #[must_use]
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Sets the precision of the products. [`Precision::Int8`] needs the CPU and f32. The filter bank has no products: its maps are the
    /// same in either precision.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Selects candle's own operations where faster ones exist (on the CPU in f32). Other devices and dtypes always use them. The
    /// faster ones are tested against them; results differ by rounding.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Loads and checks the weights, folds the batch norms, and returns the extractor.
    ///
    /// # Errors
    /// [`Error::Stages`], [`Error::DType`], [`Error::Precision`], [`Error::Weights`], `Error::Hub` or [`Error::Candle`].
    pub fn build(self) -> Result<Box<dyn FeatureExtractor>> {
        let Self { backbone, stages, weights, device, dtype, precision, plain } = self;
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Err(Error::DType { dtype: format!("{dtype:?}") });
        }
        let wanted: Vec<usize> = match stages {
            Some(stages) => stages,
            None => backbone.default_stages().iter().map(|stage| stage.index).collect(),
        };
        let is_packed = device.is_cpu() && dtype == DType::F32 && !plain;
        if precision != Precision::F32 && !is_packed {
            return Err(Error::Precision { precision });
        }
        let Some(whole) = backbone.network() else {
            if weights.are_given() {
                return Err(WeightsError::NotUsed { backbone }.into());
            }
            let stages = choose_stages(&backbone.stages(), &wanted, backbone.name())?;
            let engine = Box::new(FilterBank::new(stages.clone(), device.clone(), dtype));
            let provenance = Provenance::default();
            return Ok(Box::new(Extractor { backbone, stages, engine, device, dtype, precision, provenance }));
        };
        let used = whole.up_to(&wanted)?;
        let (folded, provenance) = weights.load(backbone, &whole, &used, dtype)?;
        let stages = used.stages();
        let engine: Box<dyn Engine> = if is_packed {
            Box::new(PackedEngine::new(Isa::best(), precision, used, folded)?)
        } else {
            Box::new(PlainEngine::new(used, folded, &device, dtype)?)
        };
        Ok(Box::new(Extractor { backbone, stages, engine, device, dtype, precision, provenance }))
    }
}

/// An engine as a feature extractor.
#[derive(Debug)]
struct Extractor {
    backbone: Backbone,
    stages: Vec<Stage>,
    engine: Box<dyn Engine>,
    device: Device,
    dtype: DType,
    precision: Precision,
    provenance: Provenance,
}

impl FeatureExtractor for Extractor {
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

    fn precision(&self) -> Precision {
        self.precision
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn extract(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        self.engine.run(images)
    }

    fn tokens(&self, images: &Tensor) -> Result<Tensor> {
        self.engine.tokens(images, &self.stages)
    }
}
