//! The model of a detector as plain numbers.

use std::path::Path;

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::features::size;
use crate::parts::Parts;

impl Detector {
    /// Returns the parts of the model as plain numbers, for programs that write it in another format. The network's parameters are
    /// those of [`crate::Model::network`]. The backbone's weights are read again.
    ///
    /// # Errors
    /// [`Error::Backbone`] if the weights cannot be read, [`Error::Format`] if they have changed since they were loaded,
    /// [`Error::Candle`].
    pub fn parts(&self) -> Result<Parts> {
        let (config, size, stages) = (self.config(), size(&self.preprocess), self.extractor.stages());
        let backbone = config.backbone.layers(&self.weights, &config.stages, size)?;
        let found = backbone.as_ref().and_then(|backbone| backbone.provenance.sha256.as_deref());
        if found != config.weights.sha256.as_deref() {
            let found = found.unwrap_or("none");
            let reason = format!("the backbone's weights have changed since they were loaded: SHA-256 {found}");
            return Err(Error::model(Path::new("<model>"), reason));
        }
        let (errors, bank) = self.scorer.parts(stages, size)?;
        Ok(Parts { size, backbone, stages: stages.to_vec(), errors, bank })
    }
}
