//! The file of the thresholds, which are read once: a later change is told.

use std::time::{Duration, Instant};

use dualad_serve::ThresholdsFile;

use crate::common::{Result, note};
use crate::model::{ModelArgs, thresholds_changed};

/// The time between two looks at the file.
const PAUSE: Duration = Duration::from_secs(2);

/// The file as it was at the start; `None` if there is none, or its change was told.
#[derive(Debug)]
pub(super) struct ReadThresholds {
    file: Option<ThresholdsFile>,
    looked: Instant,
}

impl ReadThresholds {
    /// Reads the file, if the model has one. Call it before the thresholds are read.
    pub(super) fn of(model: &ModelArgs) -> Result<Self> {
        // Without a file that can be read, the model is not loaded.
        let file = model.thresholds()?.and_then(|path| ThresholdsFile::read(path).ok());
        Ok(Self { file, looked: Instant::now() })
    }

    /// Warns once if the content has changed, or the file is gone.
    pub(super) fn look(&mut self) {
        if self.looked.elapsed() < PAUSE {
            return;
        }
        self.looked = Instant::now();
        let is_same = |file: &ThresholdsFile| {
            ThresholdsFile::read(file.path()).is_ok_and(|found| found.sha256() == file.sha256())
        };
        if let Some(file) = self.file.take_if(|file| !is_same(file)) {
            note(&thresholds_changed(file.path()));
        }
    }
}
