//! placeholder
use crate::error::Result;
use crate::extractor::{FeatureExtractor, prepare};
use crate::spec::{Backbone, Stage};
use crate::weights::Provenance;
use candle_core::{DType, Device, Tensor};
pub(crate) const STAGES: [Stage; 3] = [Stage::new(1, 8, 4), Stage::new(2, 8, 8), Stage::new(3, 8, 16)];
/// x
#[derive(Debug)]
pub struct FilterBank {
    stages: Vec<Stage>,
    device: Device,
    dtype: DType,
    p: Provenance,
}
impl FilterBank {
    pub(crate) fn new(stages: Vec<Stage>, device: Device, dtype: DType) -> Self {
        Self { stages, device, dtype, p: Provenance::none() }
    }
}
impl FeatureExtractor for FilterBank {
    fn backbone(&self) -> Backbone {
        Backbone::FilterBank
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
        &self.p
    }
    fn extract(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let x = prepare(images, &self.device, self.dtype)?;
        Ok(vec![x])
    }
}
