//! The metrics of arrays. The Python half has checked shapes and dtypes, and gives contiguous arrays.

use dualad::Error;
use dualad::metrics::{self, ScoredImage};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::work::try_run;
use crate::{errors, evaluation};

/// The area under the ROC curve, the average precision, the best F1 and its threshold.
pub(crate) type Ranking = (f64, f64, f64, f32);

/// Returns the metrics of a ranking of scores, with a label for each.
#[pyfunction]
pub(crate) fn ranking(py: Python<'_>, scores: Py<PyArray1<f32>>, labels: Py<PyArray1<bool>>) -> PyResult<Ranking> {
    try_run(py, None, move |_| {
        attached(|py| {
            let (scores, labels) = (scores.bind(py).try_readonly()?, labels.bind(py).try_readonly()?);
            let (scores, labels) = (slice(&scores)?, slice(&labels)?);
            Ok(py.detach(|| {
                let (f1, threshold) = metrics::f1_max(scores, labels)?;
                Ok((metrics::auroc(scores, labels)?, metrics::average_precision(scores, labels)?, f1, threshold))
            }))
        })
    })
}

/// An image with scores: its category, its label, its image score, its map and its mask.
#[derive(Debug, FromPyObject)]
pub(crate) struct Scored(String, bool, f32, Py<PyArray2<f32>>, Option<Py<PyArray2<u8>>>);

/// Returns the area under the curve of region overlap, of maps of any sizes and their masks.
#[pyfunction]
pub(crate) fn aupro(py: Python<'_>, images: Vec<Scored>) -> PyResult<f64> {
    try_run(py, None, move |_| {
        measured(&images, |images| {
            Ok(metrics::evaluate(images)?.pooled.metrics.pixel_aupro.map_err(metrics::Error::from)?)
        })
    })
}

/// Returns all metrics as JSON.
#[pyfunction]
pub(crate) fn evaluate(py: Python<'_>, images: Vec<Scored>) -> PyResult<String> {
    try_run(py, None, move |_| {
        measured(&images, |images| Ok(evaluation::to_json(&metrics::evaluate(images)?).to_string()))
    })
}

/// Calls `measure` with the images, without the interpreter's lock.
fn measured<R: Send>(
    images: &[Scored],
    measure: impl FnOnce(&[ScoredImage<'_>]) -> Result<R, Error> + Send,
) -> Result<R, Error> {
    attached(|py| {
        let maps = images.iter().map(|image| Ok(image.3.bind(py).try_readonly()?));
        let maps = maps.collect::<PyResult<Vec<PyReadonlyArray2<'_, f32>>>>()?;
        let masks =
            images.iter().map(|image| Ok(image.4.as_ref().map(|mask| mask.bind(py).try_readonly()).transpose()?));
        let masks = masks.collect::<PyResult<Vec<Option<PyReadonlyArray2<'_, u8>>>>>()?;
        let scored = images.iter().zip(&maps).zip(&masks).map(|((image, map), mask)| {
            let &[height, width] = map.shape() else { return Err(errors::internal("a map of another shape")) };
            Ok(ScoredImage {
                category: &image.0,
                anomalous: image.1,
                image_score: image.2,
                height,
                width,
                map: map.as_slice().map_err(errors::internal)?,
                mask: mask.as_ref().map(|mask| mask.as_slice()).transpose().map_err(errors::internal)?,
            })
        });
        let scored = scored.collect::<PyResult<Vec<_>>>()?;
        Ok(py.detach(|| measure(&scored)))
    })
}

fn slice<'a, T: numpy::Element>(array: &'a PyReadonlyArray1<'_, T>) -> PyResult<&'a [T]> {
    array.as_slice().map_err(errors::internal)
}

/// Calls `work` with the interpreter.
fn attached<R>(work: impl FnOnce(Python<'_>) -> PyResult<Result<R, Error>>) -> Result<R, Error> {
    match Python::try_attach(work) {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(errors::invalid("an array", "in use", error)),
        None => Err(Error::Cancelled),
    }
}
