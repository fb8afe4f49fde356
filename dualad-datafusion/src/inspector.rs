//! A loaded model, shared by the queries of a process.

use std::sync::{Arc, Mutex, PoisonError};

use dualad::Detector;
use dualad::detector::{Inspection, Request};
use dualad::store::sha256;

use crate::error::Result;
use crate::recent::Recent;

/// The number of images that a thread inspects together, as in the program `dualad`.
const BATCH: usize = 8;

/// A loaded model that all queries of a process share. Clones share it.
///
/// Each partition of a query inspects with one thread, so that an engine with one partition for each core uses all cores.
///
/// ```no_run
/// use datafusion::prelude::SessionContext;
/// use dualad_datafusion::Inspector;
///
/// let inspector = Inspector::new(dualad::Detector::load("model")?)?;
/// let context = SessionContext::new();
/// inspector.register(&context);
/// # Ok::<(), dualad_datafusion::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Inspector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    detector: Detector,
    digest: String,
    /// Detectors with one thread each that no caller uses at the moment. They share their weights.
    idle: Mutex<Vec<Detector>>,
    recent: Recent,
}

impl Inspector {
    /// Makes an inspector of a detector. The detector's own number of threads is not used.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if a thread cannot be started.
    pub fn new(detector: Detector) -> Result<Self> {
        let digest = digest(&detector);
        // The first thread is started here, so that a machine without threads is told at once.
        let idle = Mutex::new(vec![detector.clone().with_threads(1)?]);
        Ok(Self(Arc::new(Inner { detector, digest, idle, recent: Recent::default() })))
    }

    /// Returns the detector.
    pub fn detector(&self) -> &Detector {
        &self.0.detector
    }

    /// Returns the SHA-256 of the model, its backbone and its thresholds, in lower-case hexadecimal. Equal digests give equal results.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    pub(crate) fn recent(&self) -> &Recent {
        &self.0.recent
    }

    /// Calls `each` with the result of every row, in order: `None` for a row without an image. A category that the model does not know is
    /// an error of its row.
    pub(crate) fn inspect<'a>(
        &self,
        rows: usize,
        image: impl Fn(usize) -> Option<&'a [u8]>,
        category: impl Fn(usize) -> Option<&'a str>,
        mut each: impl FnMut(Option<std::result::Result<Inspection, String>>),
    ) -> Result<()> {
        let detector = self.take()?;
        for start in (0..rows).step_by(BATCH) {
            let batch = start..rows.min(start + BATCH);
            let mut found = detector.inspect_batch(batch.clone().filter_map(|row| {
                let request = Request::encoded(image(row)?, "the image");
                match category(row) {
                    Some(name) if !self.knows(name) => None,
                    Some(name) => Some(request.category(name)),
                    None => Some(request),
                }
            }));
            let mut found = found.drain(..);
            for row in batch {
                let unknown = category(row).filter(|name| !self.knows(name));
                let result = match (image(row), unknown) {
                    (None, _) => None,
                    (Some(_), Some(name)) => Some(Err(self.unknown(name))),
                    // One answer for each request, in order.
                    (Some(_), None) => found.next().map(|found| found.map_err(|error| message(&error))),
                };
                each(result);
            }
        }
        self.give(detector);
        Ok(())
    }

    fn knows(&self, category: &str) -> bool {
        let known = self.0.detector.categories();
        known.is_empty() || known.iter().any(|name| name == category)
    }

    fn unknown(&self, category: &str) -> String {
        let known = self.0.detector.categories();
        let more = if known.len() > 20 { ", ..." } else { "" };
        let known: Vec<&str> = known.iter().take(20).map(String::as_str).collect();
        format!("the model was not trained on {category:?}, but on {}{more}", known.join(", "))
    }

    fn take(&self) -> Result<Detector> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(match idle {
            Some(detector) => detector,
            None => self.0.detector.clone().with_threads(1)?,
        })
    }

    fn give(&self, detector: Detector) {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(detector);
    }
}

/// Returns the digest of everything that a result depends on. The configuration has the digests of the parameters and of the
/// backbone's weights.
fn digest(detector: &Detector) -> String {
    let config = serde_json::to_string(detector.config()).unwrap_or_default();
    let calibration = serde_json::to_string(&detector.calibration()).unwrap_or_default();
    sha256(format!("{config}\n{calibration}\n{:?}", detector.tiling()).as_bytes())
}

/// Returns an error with its causes in one line.
fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text += &format!(": {next}");
        }
        cause = error.source();
    }
    text
}
