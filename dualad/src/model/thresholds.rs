//! The thresholds in the folder of a saved model.

use std::path::Path;

use dualad_store::Transaction;

use crate::calibration::Calibration;
use crate::error::Result;
use crate::model::files::CALIBRATION;
use crate::model::folder::{Model, keep_thresholds};

impl Model {
    /// Writes the thresholds of the model in a folder, its `calibration.json`. Other thresholds that they replace are kept as
    /// `calibration.previous.json`; returns true if there were some. Both files change together.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for thresholds out of range;
    /// [`Error::Io`](crate::Error::Io); [`Error::Busy`](crate::Error::Busy) while another process writes there.
    pub fn save_thresholds(folder: impl AsRef<Path>, thresholds: &Calibration) -> Result<bool> {
        let (folder, text) = (folder.as_ref(), thresholds.to_json()?);
        let change = Transaction::begin(folder)?;
        change.write(CALIBRATION, text.as_bytes())?;
        let kept = keep_thresholds(&change, folder, |old| old != text.as_bytes())?;
        change.commit()?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelFiles;

    #[test]
    fn replaced_thresholds_are_kept_and_the_same_ones_replace_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = ModelFiles::of(folder.path());
        let thresholds = |reject: f32| {
            let text = format!(r#"{{"pooled": {{"reject": {reject}}}}}"#);
            Calibration::from_json("test", &text).unwrap()
        };
        let save = |reject| Model::save_thresholds(folder.path(), &thresholds(reject)).unwrap();
        let reject = |path: &Path| Calibration::load(path).unwrap().pooled.unwrap().reject;
        assert!(!save(1.0) && !files.previous_calibration.exists());
        assert!(save(2.0));
        assert!(!save(2.0));
        assert_eq!((reject(&files.calibration), reject(&files.previous_calibration)), (2.0, 1.0));
        // Damaged thresholds are kept, too.
        std::fs::write(&files.calibration, "{").unwrap();
        assert!(save(3.0));
        assert_eq!(std::fs::read(&files.previous_calibration).unwrap(), b"{");
    }
}
