//! The thresholds in the folder of a saved model.

use std::path::Path;

use dualad_store::Transaction;

use crate::calibration::Calibration;
use crate::error::Result;
use crate::model::earlier::keep_thresholds;
use crate::model::files::CALIBRATION;
use crate::model::folder::Model;

impl Model {
    /// Writes the thresholds of the model in a folder, its `calibration.json`. Other thresholds that they replace are kept as
    /// `calibration.previous.json`. The first ones of each precision that this file held stay as `calibration.previous.1.json` and
    /// `calibration.previous.2.json`: see [`ModelFiles::earlier_calibrations`](crate::ModelFiles::earlier_calibrations). Returns true if
    /// there were some. All files change together.
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

    #[test]
    fn the_first_thresholds_of_each_precision_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let files = ModelFiles::of(folder.path());
        let save = |model: &str, precision: &str, reject: u32| {
            let format = if precision == "int8" { 4 } else { 3 };
            let precision = if format == 4 { r#""precision": "int8", "# } else { "" };
            let text =
                format!(r#"{{"format": {format}, "model": "{model}", {precision}"pooled": {{"reject": {reject}}}}}"#);
            Model::save_thresholds(folder.path(), &Calibration::from_json("test", &text).unwrap()).unwrap()
        };
        let kept = || {
            let kept = files.earlier_calibrations().into_iter();
            kept.map(|path| Calibration::load(path).unwrap().pooled.unwrap().reject).collect::<Vec<_>>()
        };
        save("a", "f32", 1);
        assert!(kept().is_empty());
        // A change of precision, a second calibration in it, and the way back.
        save("a", "int8", 2);
        save("a", "int8", 3);
        assert_eq!(kept(), [2.0, 1.0]);
        save("a", "f32", 4);
        assert_eq!(kept(), [3.0, 2.0, 1.0]);
        let oldest = Calibration::load(folder.path().join("calibration.previous.1.json")).unwrap();
        assert_eq!((oldest.precision, oldest.pooled.unwrap().reject), (crate::Precision::F32, 1.0));
        // Thresholds that are kept already are not kept twice.
        std::fs::copy(folder.path().join("calibration.previous.1.json"), &files.calibration).unwrap();
        save("a", "f32", 5);
        save("a", "f32", 6);
        assert_eq!(kept(), [5.0, 2.0, 1.0]);
        // Those of another model are gone with it, the previous ones at the second change and the older ones when their name is needed.
        save("b", "f32", 7);
        save("b", "f32", 8);
        assert_eq!(kept(), [7.0, 2.0, 1.0]);
        save("b", "f32", 9);
        assert_eq!(kept(), [8.0, 2.0, 7.0]);
    }
}
