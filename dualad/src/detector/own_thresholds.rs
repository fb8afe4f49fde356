//! The check that thresholds are of a model.

use std::path::Path;

use crate::Precision;
use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::model::{CALIBRATION, ModelConfig};

/// Refuses thresholds of another model or precision, whose scores differ, and of a category that the model was not trained on: with a
/// misspelt name, the pooled thresholds would decide without a word.
pub(super) fn check_calibration(
    config: &ModelConfig,
    precision: Precision,
    calibration: &Calibration,
    name: &Path,
) -> Result<()> {
    if calibration.model.as_ref().is_some_and(|chosen_on| *chosen_on != config.sha256) {
        let reason = format!(
            "its thresholds ({CALIBRATION}) were made for another model, whose scores differ; calibrate again, or delete the line \"model\" to use them anyway"
        );
        return Err(Error::model(name, reason));
    }
    if calibration.precision != precision && !calibration.is_of_any_precision() {
        return Err(Error::OtherPrecision { model: name.into(), found: calibration.precision, wanted: precision });
    }
    let known = &config.categories;
    let unknown = calibration.categories.keys().find(|category| !known.is_empty() && !known.contains(category));
    unknown.map_or(Ok(()), |unknown| {
        let reason = format!(
            "the thresholds are for \"{unknown}\", and it was trained on {}; correct the name there, or remove it",
            known.join(", ")
        );
        Err(Error::model(name, reason))
    })
}
