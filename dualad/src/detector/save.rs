//! The saving of a detector.

use std::path::Path;

use candle_core::Device;
use dualad_store::Transaction;

use crate::detector::Detector;
use crate::detector::own_thresholds::check_calibration;
use crate::error::{Error, Result};
use crate::file::sha256_of_file;
use crate::model::{BACKBONE, CALIBRATION, Model, check_occupied, keep_thresholds};

/// Writes a detector's folder; see [`Detector::save`] and, for `results`, [`Detector::save_with_results`].
pub(super) fn save(detector: &Detector, folder: &Path, with_backbone: bool, results: Option<&str>) -> Result<()> {
    // The folder could not be loaded.
    let check = |found| check_calibration(detector.config(), detector.precision, found, folder);
    detector.calibration().map_or(Ok(()), check)?;
    check_occupied(folder)?;
    let change = Transaction::begin(folder)?;
    let recorded = &detector.config().weights;
    let mut model = detector.model.as_ref().clone();
    if with_backbone && detector.config().backbone.has_weights() {
        let copy = change.path(BACKBONE)?;
        let converted = detector.weights.save(detector.config().backbone, &copy)?;
        let written = sha256_of_file(&copy)?;
        let found = converted.as_ref().unwrap_or(&written);
        if recorded.sha256.as_ref() != Some(found) {
            let reason = format!("the backbone's weights have changed since they were loaded: SHA-256 {found}");
            return Err(Error::model(folder, reason));
        }
        if converted.is_some() {
            // The model is loaded with the copy, whose digest is another.
            model = model.with_weights(recorded.clone().with_sha256(Some(written)));
        }
    } else {
        model.remove_other_backbone(&change, folder)?;
    }
    match detector.calibration() {
        Some(thresholds) => {
            let text = thresholds.to_json()?;
            if results.is_some() {
                keep_thresholds(&change, folder, |old| old != text.as_bytes())?;
            }
            change.write(CALIBRATION, text.as_bytes())?;
        }
        None => change.remove(CALIBRATION)?,
    }
    // Without new results, the card of the same model is kept, with its section on results.
    let is_kept = |saved: &Model| results.is_none() && saved.trained_on() == model.trained_on();
    match Model::load_once(folder, &Device::Cpu) {
        Ok(saved) if is_kept(&saved) && saved.config() == model.config() => {}
        Ok(saved) if is_kept(&saved) && saved.config() == detector.config() => {
            Model::write_config(model.config(), &change)?;
        }
        _ => drop(model.save_in(&change, results.unwrap_or_default(), detector.calibration())?),
    }
    Ok(change.commit()?)
}
