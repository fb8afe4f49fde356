//! The thresholds that a model's folder held before, which are kept beside those in use.

use std::path::{Path, PathBuf};

use dualad_store::{self as store, Transaction};

use crate::Precision;
use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::model::config::MAX_CONFIG;
use crate::model::files::{CALIBRATION, ModelFiles, PREVIOUS_CALIBRATION};

impl ModelFiles {
    /// Returns the files of thresholds that were in the folder before: `calibration.previous.json`, then the older ones,
    /// `calibration.previous.1.json` and so on, from the highest number to the lowest.
    pub fn earlier_calibrations(&self) -> Vec<PathBuf> {
        let folder = self.calibration.parent().unwrap_or(Path::new(""));
        let mut older: Vec<PathBuf> =
            (1..).map(|number| folder.join(older(number))).take_while(|path| store::exists(path)).collect();
        older.push(self.previous_calibration.clone());
        older.reverse();
        older.retain(|path| path.is_file());
        older
    }
}

/// Returns the name of thresholds that `calibration.previous.json` held, by their number.
fn older(number: u64) -> String {
    format!("calibration.previous.{number}.json")
}

/// Keeps the thresholds that a folder has as `calibration.previous.json`, if their content is to be kept. Returns true if it is. The first
/// ones of each precision that this file held, such as those of the training, get a number and stay.
pub(crate) fn keep_thresholds(
    transaction: &Transaction,
    folder: &Path,
    is_kept: impl Fn(&[u8]) -> bool,
) -> Result<bool> {
    let Some(text) = read(&folder.join(CALIBRATION))?.filter(|text| is_kept(text)) else { return Ok(false) };
    if let Some(previous) = read(&folder.join(PREVIOUS_CALIBRATION))?
        && previous != text
        && !are_of_two_models(&previous, &text)
        && let Some(name) = free(folder, &previous)?
    {
        transaction.write(&name, &previous)?;
    }
    transaction.write(PREVIOUS_CALIBRATION, &text)?;
    Ok(true)
}

/// Returns the first name that no other thresholds of the same model have; `None` if there are some of the same precision.
fn free(folder: &Path, text: &[u8]) -> Result<Option<String>> {
    for name in (1..).map(older) {
        let Some(found) = read(&folder.join(&name))? else {
            // A file that is no file of thresholds keeps its name.
            if store::exists(&folder.join(&name)) {
                continue;
            }
            return Ok(Some(name));
        };
        if are_of_two_models(&found, text) {
            return Ok(Some(name));
        }
        if found == text || precision(&found).is_some_and(|found| precision(text) == Some(found)) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Returns the precision of thresholds, if they can be read.
fn precision(text: &[u8]) -> Option<Precision> {
    Some(calibration(text)?.precision)
}

fn calibration(text: &[u8]) -> Option<Calibration> {
    Calibration::from_json(CALIBRATION, std::str::from_utf8(text).ok()?).ok()
}

/// Returns true if both thresholds name a model, and not the same: the earlier model is gone, and its thresholds are of no use.
fn are_of_two_models(one: &[u8], other: &[u8]) -> bool {
    let model = |text: &[u8]| calibration(text)?.model;
    matches!((model(one), model(other)), (Some(one), Some(other)) if one != other)
}

/// Returns the content of a file of thresholds, also of damaged ones; `None` if there is no file, or a larger one.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    if !std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= MAX_CONFIG) {
        return Ok(None);
    }
    let text = std::fs::read(path);
    text.map(Some).map_err(|error| Error::Io { action: "read", path: path.into(), error })
}
