//! A loaded model.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::{Arc, PoisonError, RwLock};

use dualad::Detector;
use dualad::calibration::{Calibration, Thresholds};
use dualad::detector::Request;

use crate::failure::Failure;
use crate::inspection::DualadInspection;
use crate::thresholds::DualadThresholds;

/// A loaded model, ready to inspect images from any number of threads.
pub struct DualadDetector {
    /// Replaced as a whole when the thresholds change. An inspection goes on with the one that it began with.
    current: RwLock<Arc<Detector>>,
    categories: Vec<CString>,
}

impl DualadDetector {
    pub(crate) fn new(detector: Detector) -> Self {
        // A name with a zero byte cannot be named from C.
        let categories = detector.categories().iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
        Self { current: RwLock::new(Arc::new(detector)), categories }
    }

    /// Returns the detector with its present thresholds.
    fn current(&self) -> Arc<Detector> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Inspects an image.
    pub(crate) fn inspect(&self, request: Request<'_>, category: Option<&str>) -> Result<DualadInspection, Failure> {
        let detector = self.current();
        // The request borrows the category for no longer than the image.
        let found = match category {
            Some(category) => detector.inspect(request.category(category)),
            None => detector.inspect(request),
        };
        Ok(DualadInspection::new(found?))
    }

    /// Returns the names of the categories that the model was trained on.
    pub(crate) fn categories(&self) -> &[CString] {
        &self.categories
    }

    /// Returns the name of a category.
    pub(crate) fn category(&self, index: usize) -> Result<&CStr, Failure> {
        let count = self.categories.len();
        let found = self.categories.get(index).map(CString::as_c_str);
        found.ok_or_else(|| Failure::argument("index", format_args!("is {index}; there are {count} categories")))
    }

    /// Returns the thresholds for a category.
    pub(crate) fn thresholds(&self, category: Option<&str>) -> DualadThresholds {
        let detector = self.current();
        let found = detector.calibration().and_then(|calibration| calibration.thresholds(category));
        found.map_or(DualadThresholds::NONE, |(found, source)| {
            DualadThresholds::new(found.review, found.reject, found.region, &source)
        })
    }

    /// Replaces the thresholds of a category, or the pooled ones.
    pub(crate) fn set_thresholds(&self, category: Option<&str>, thresholds: Thresholds) -> Result<(), Failure> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let known = current.categories();
        if let Some(name) = category.filter(|name| !known.is_empty() && !known.iter().any(|known| known == name)) {
            let known = known.join(", ");
            let reason = format_args!("is \"{name}\"; the model was trained on {known}");
            return Err(Failure::argument("category", reason));
        }
        let mut calibration = match current.calibration() {
            Some(calibration) => calibration.clone(),
            None => Calibration::new(BTreeMap::new(), None),
        };
        match category {
            Some(name) => drop(calibration.categories.insert(name.to_owned(), thresholds)),
            None => calibration.pooled = Some(thresholds),
        }
        let changed = Detector::clone(&current).with_calibration(Some(calibration));
        *current = Arc::new(changed);
        Ok(())
    }

    /// Removes all thresholds.
    pub(crate) fn clear_thresholds(&self) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = Detector::clone(&current).with_calibration(None);
        *current = Arc::new(changed);
    }
}
