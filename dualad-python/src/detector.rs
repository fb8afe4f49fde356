//! The class `dualad._native.Detector`: a detector whose calls take and return plain values.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use dualad::calibration::Calibration;
use dualad::data::image::Limits;
use dualad::detector::DetectorBuilder;
use dualad::{Error, Precision};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::calibration::{Rules, calibrate};
use crate::errors::invalid;
use crate::images::Image;
use crate::source::Source;
use crate::{errors, evaluation, fit, inspection, work};

/// The settings of a detector.
#[derive(Debug, FromPyObject)]
pub(crate) struct Settings {
    #[pyo3(item)]
    weights: Option<Source>,
    #[pyo3(item)]
    threads: Option<usize>,
    #[pyo3(item)]
    max_pixels: Option<u64>,
    #[pyo3(item)]
    precision: Option<String>,
    /// The JSON of thresholds instead of the model's own; empty for none at all.
    #[pyo3(item)]
    calibration: Option<String>,
    #[pyo3(item)]
    revision: Option<String>,
}

impl Settings {
    fn builder(&self) -> Result<DetectorBuilder, Error> {
        let mut builder = dualad::Detector::builder();
        if let Some(weights) = &self.weights {
            builder = builder.weights(weights.weights());
        }
        if let Some(threads) = self.threads {
            builder = builder.threads(threads);
        }
        if let Some(pixels) = self.max_pixels {
            builder = builder.limits(Limits::for_pixels(pixels));
        }
        if let Some(name) = &self.precision {
            let names = || format!("must be one of {}", Precision::ALL.map(Precision::name).join(", "));
            let known = Precision::from_name(name).ok_or_else(|| invalid("precision", name, names()))?;
            builder = builder.precision(known);
        }
        if let Some(text) = &self.calibration {
            let read = |text: &str| Calibration::from_json("the calibration", text);
            builder = builder.calibration(Some(text.as_str()).filter(|text| !text.is_empty()).map(read).transpose()?);
        }
        if let Some(revision) = &self.revision {
            builder = builder.revision(revision);
        }
        Ok(builder)
    }
}

/// A detector. It does not change.
#[pyclass(frozen, module = "dualad._native")]
pub(crate) struct Detector {
    detector: dualad::Detector,
    /// The number of threads of its own; `None` if it shares those of the process.
    threads: Option<usize>,
    /// The process that its threads are in.
    process: u32,
    /// The detector with threads of a child process, which has none of its parent's.
    in_child: Mutex<Option<(u32, dualad::Detector)>>,
}

impl Detector {
    pub(crate) fn new(detector: dualad::Detector, threads: Option<usize>) -> Self {
        Self { detector, threads, process: std::process::id(), in_child: Mutex::new(None) }
    }

    /// Returns the detector with threads that exist in this process.
    fn usable(&self, py: Python<'_>) -> PyResult<dualad::Detector> {
        let process = std::process::id();
        let Some(threads) = self.threads.filter(|_| process != self.process) else { return Ok(self.detector.clone()) };
        let mut in_child = self.in_child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, detector)) = in_child.as_ref().filter(|(of, _)| *of == process) {
            return Ok(detector.clone());
        }
        let detector = self.detector.clone().with_threads(threads).map_err(|error| errors::from_error(py, &error))?;
        // The pool of the parent's threads is never ended here: they do not exist.
        std::mem::forget(in_child.replace((process, detector.clone())));
        Ok(detector)
    }
}

#[pymethods]
impl Detector {
    #[staticmethod]
    fn load(py: Python<'_>, folder: PathBuf, settings: Settings) -> PyResult<Self> {
        let threads = settings.threads;
        let detector = work::try_run(py, None, move |_| Ok(settings.builder()?.load(folder)?))?;
        Ok(Self::new(detector, threads))
    }

    #[staticmethod]
    fn from_pretrained(py: Python<'_>, repository: String, settings: Settings) -> PyResult<Self> {
        let threads = settings.threads;
        let detector = work::try_run(py, None, move |_| Ok(settings.builder()?.from_pretrained(&repository)?))?;
        Ok(Self::new(detector, threads))
    }

    /// Trains a model. Returns it with the JSON of the losses, the scores of held-out images, the changes and the notices.
    #[staticmethod]
    fn fit(
        py: Python<'_>,
        images: fit::Images,
        weights: Option<Source>,
        options: String,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<(Self, String)> {
        let fitted = work::try_run(py, progress.as_ref(), move |caller| {
            fit::run(fit::Start::New(weights), images, &options, caller)
        })?;
        let (detector, report) = fitted;
        Ok((Self::new(detector, None), report))
    }

    /// Continues the training of this model.
    fn extend(
        &self,
        py: Python<'_>,
        images: fit::Images,
        options: String,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<(Self, String)> {
        let base = self.usable(py)?;
        let (detector, report) = work::try_run(py, progress.as_ref(), move |caller| {
            fit::run(fit::Start::From(base), images, &options, caller)
        })?;
        Ok((Self::new(detector, None), report))
    }

    fn save(&self, py: Python<'_>, folder: PathBuf, with_backbone: bool) -> PyResult<()> {
        let detector = self.usable(py)?;
        work::try_run(py, None, move |_| match with_backbone {
            true => detector.save_with_backbone(folder),
            false => detector.save(folder),
        })
    }

    /// Inspects images: a list with a pair for each, of JSON and the anomaly map, or with an exception if `stop` is false.
    #[pyo3(signature = (images, categories, stop, progress))]
    fn inspect<'py>(
        &self,
        py: Python<'py>,
        images: Vec<Image>,
        categories: Vec<Option<String>>,
        stop: bool,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let detector = self.usable(py)?;
        let answers = work::run(py, progress.as_ref(), move |caller| {
            inspection::inspect(&detector, &images, &categories, stop, &caller)
        })?;
        inspection::to_python(py, answers, stop)
    }

    /// Chooses thresholds. Returns the calibration's JSON.
    fn calibrate(
        &self,
        py: Python<'_>,
        images: Vec<Image>,
        categories: Vec<Option<String>>,
        anomalous: Vec<bool>,
        rules: Rules,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let detector = self.usable(py)?;
        work::run(py, progress.as_ref(), move |caller| {
            calibrate(&detector, &images, &categories, &anomalous, &rules, &caller)
        })?
        .map_err(|error| errors::from_error(py, &error))
    }

    /// Measures the model on the test images of a dataset. Returns JSON.
    fn evaluate(&self, py: Python<'_>, folder: PathBuf, progress: Option<Bound<'_, PyAny>>) -> PyResult<String> {
        let detector = self.usable(py)?;
        work::try_run(py, progress.as_ref(), move |caller| evaluation::of_folder(&detector, &folder, caller))
    }

    fn with_calibration(&self, py: Python<'_>, json: Option<&str>) -> PyResult<Self> {
        let parsed = json.map(|text| Calibration::from_json("the calibration", text)).transpose();
        let checked = parsed.and_then(|found| {
            found.as_ref().map_or(Ok(()), |found| self.detector.check_calibration(found))?;
            Ok(found)
        });
        let checked = checked.map_err(|error| errors::from_error(py, &error))?;
        Ok(Self::new(self.usable(py)?.with_calibration(checked), self.threads))
    }

    fn with_threads(&self, py: Python<'_>, threads: usize) -> PyResult<Self> {
        let detector = self.detector.clone().with_threads(threads).map_err(|error| errors::from_error(py, &error))?;
        Ok(Self::new(detector, Some(threads)))
    }

    /// The JSON of the thresholds, if there are any.
    fn calibration(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let text = self.detector.calibration().map(Calibration::to_json).transpose();
        text.map_err(|error| errors::from_error(py, &error))
    }

    /// The JSON of the model's configuration.
    fn config(&self) -> PyResult<String> {
        serde_json::to_string(self.detector.config()).map_err(errors::internal)
    }

    fn categories(&self) -> Vec<String> {
        self.detector.categories().to_vec()
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }

    fn precision(&self) -> &'static str {
        self.detector.precision().name()
    }
}
