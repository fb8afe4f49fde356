//! A model's files in memory.

use crate::detector::{Detector, ModelBytes};
use crate::error::Result;

/// The files of a model in memory, as [`Detector::save`] writes them. They are read by [`Detector::from_bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelContents {
    /// The content of `config.json`.
    pub config: Vec<u8>,
    /// The content of `model.safetensors`.
    pub parameters: Vec<u8>,
    /// The content of `calibration.json`, if the detector has thresholds.
    pub calibration: Option<Vec<u8>>,
}

impl ModelContents {
    /// Returns the files as [`Detector::from_bytes`] takes them, without the backbone's weights.
    pub fn as_bytes(&self) -> ModelBytes<'_> {
        let Self { config, parameters, calibration } = self;
        ModelBytes { config, parameters, backbone: None, calibration: calibration.as_deref() }
    }
}

impl Detector {
    /// Returns the content of the model's files, for a database, a message or a page without files. The backbone's weights, the card and
    /// the record of training images are not among them.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] if a parameter is not finite, [`crate::Error::Format`] for thresholds that
    /// [`Self::check_calibration`] refuses.
    ///
    /// ```no_run
    /// use dualad::Detector;
    ///
    /// let files = Detector::load("model")?.to_bytes()?;
    /// let detector = Detector::from_bytes(&files.as_bytes())?;
    /// # Ok::<(), dualad::Error>(())
    /// ```
    pub fn to_bytes(&self) -> Result<ModelContents> {
        let thresholds = self.calibration();
        // The files could not be loaded.
        thresholds.map_or(Ok(()), |thresholds| self.check_calibration(thresholds))?;
        let (config, parameters) = self.model.to_bytes()?;
        let calibration = thresholds.map(|thresholds| thresholds.to_json()).transpose()?.map(String::into_bytes);
        Ok(ModelContents { config, parameters, calibration })
    }
}
