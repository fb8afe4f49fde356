//! Thresholds, as JSON.

use std::path::PathBuf;

use dualad::Error;
use dualad::calibration::{Calibration, Calibrator, Rule};
use dualad::data::Label;
use pyo3::prelude::*;

use crate::errors;
use crate::errors::invalid;
use crate::images::{Image, with_requests};
use crate::progress::Step;
use crate::work::{self, Caller};

/// The rules for thresholds, as JSON, and whether training images are taken.
#[derive(Debug, FromPyObject)]
pub(crate) struct Rules {
    #[pyo3(item)]
    reject: Option<String>,
    #[pyo3(item)]
    review: Option<String>,
    #[pyo3(item)]
    training_images: bool,
}

impl Rules {
    fn calibrator(&self) -> Result<Calibrator, Error> {
        let named = |json: &Option<String>| json.as_deref().map(rule).transpose();
        Ok(calibrator(named(&self.reject)?, named(&self.review)?).training_images(self.training_images))
    }
}

/// Returns the calibrator of the rules that are named: the library's own rules if none for rejection is, as `dualad calibrate` does.
pub(crate) fn calibrator(reject: Option<Rule>, review: Option<Rule>) -> Calibrator {
    let calibrator = reject.map_or_else(Calibrator::default, Calibrator::new);
    review.into_iter().fold(calibrator, Calibrator::review)
}

fn rule(json: &str) -> Result<Rule, Error> {
    serde_json::from_str(json).map_err(|error| invalid("the rule", json, error))
}

/// Chooses thresholds from images with known labels. Returns JSON.
pub(crate) fn calibrate(
    detector: &dualad::Detector,
    images: &[Image],
    categories: &[Option<String>],
    anomalous: &[bool],
    rules: &Rules,
    caller: &Caller,
) -> Result<String, Error> {
    let calibrator = rules.calibrator()?;
    let images: Vec<&Image> = images.iter().collect();
    let chosen = with_requests(&images, detector.limits(), |requests| {
        let known = requests.into_iter().zip(categories).zip(anomalous).map(|((request, category), &anomalous)| {
            let request = request?;
            let label = if anomalous { Label::Anomalous("defect".into()) } else { Label::Normal };
            Ok((category.iter().fold(request, |request, name| request.category(name)), label))
        });
        let known = known.collect::<Result<Vec<_>, Error>>()?;
        let report = |progress| caller.report(Step::of("calibrating", progress));
        detector.calibrate(&calibrator, known, &caller.cancel, report)?.to_json()
    });
    match chosen {
        Some(Ok(chosen)) => chosen,
        Some(Err(error)) => Err(invalid("an array", "in use", error)),
        None => Err(Error::Cancelled),
    }
}

fn parse(py: Python<'_>, name: &str, json: &str) -> PyResult<Calibration> {
    Calibration::from_json(name, json).map_err(|error| errors::from_error(py, &error))
}

/// Checks a rule in JSON.
#[pyfunction]
pub(crate) fn check_rule(py: Python<'_>, json: &str) -> PyResult<()> {
    rule(json).map(drop).map_err(|error| errors::from_error(py, &error))
}

/// Returns the JSON with every field.
#[pyfunction]
pub(crate) fn calibration_json(py: Python<'_>, json: &str) -> PyResult<String> {
    parse(py, "the calibration", json)?.to_json().map_err(|error| errors::from_error(py, &error))
}

#[pyfunction]
pub(crate) fn load_calibration(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    work::try_run(py, None, move |_| Calibration::load(path)?.to_json())
}

#[pyfunction]
pub(crate) fn save_calibration(py: Python<'_>, json: &str, path: PathBuf) -> PyResult<()> {
    let calibration = parse(py, "the calibration", json)?;
    work::try_run(py, None, move |_| calibration.save(path))
}

#[pyfunction]
pub(crate) fn merge_calibrations(py: Python<'_>, new: &str, earlier: &str, replace_pooled: bool) -> PyResult<String> {
    let earlier = parse(py, "the earlier calibration", earlier)?;
    let merged = parse(py, "the calibration", new)?.merged_into(&earlier, replace_pooled);
    merged.and_then(|merged| merged.to_json()).map_err(|error| errors::from_error(py, &error))
}
