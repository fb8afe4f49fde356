//! The inspection of images.

use dualad::detector::{Inspection, Request};
use dualad::{Detector, Error};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors;
use crate::images::{Image, with_requests};
use crate::progress::Step;
use crate::work::Caller;

/// The number of images that are inspected together: as the program `dualad` does, so that scores have the same bits.
const BATCH: usize = 8;

/// A result that is ready for Python: the JSON of everything but the map, the map, and its rows and columns.
#[derive(Debug)]
pub(crate) struct Found {
    json: String,
    map: Vec<f32>,
    size: [usize; 2],
}

/// The result of each image, or the exception of arrays that cannot be borrowed.
pub(crate) type Answers = PyResult<Vec<Result<Found, Error>>>;

impl TryFrom<Inspection> for Found {
    type Error = Error;

    fn try_from(inspection: Inspection) -> Result<Self, Error> {
        let json = serde_json::to_string(&inspection).map_err(|error| Error::InvalidArgument {
            argument: "the inspection".into(),
            value: "not representable as JSON".into(),
            reason: error.to_string(),
        })?;
        let map = inspection.anomaly_map;
        Ok(Self { json, size: [map.height, map.width], map: map.values })
    }
}

/// Inspects images in batches. With `stop`, it ends after the first batch with an image that fails.
pub(crate) fn inspect(
    detector: &Detector,
    images: &[Image],
    categories: &[Option<String>],
    stop: bool,
    caller: &Caller,
) -> Answers {
    let mut answers = Vec::with_capacity(images.len());
    let pairs: Vec<(&Image, Option<&String>)> =
        images.iter().zip(categories.iter().map(Option::as_ref).chain(std::iter::repeat(None))).collect();
    for batch in pairs.chunks(BATCH) {
        if caller.cancel.is_cancelled() {
            break;
        }
        let batch_images: Vec<&Image> = batch.iter().map(|(image, _)| *image).collect();
        let inspected = with_requests(&batch_images, detector.limits(), |requests| {
            let named = requests.into_iter().zip(batch).map(|(request, (_, category))| match category {
                Some(category) => request.map(|request| request.category(category)),
                None => request,
            });
            inspect_few(detector, named.collect(), caller)
        });
        match inspected {
            Some(found) => answers.extend(found?),
            None => break,
        }
        caller.report(Step::counted("inspecting", answers.len(), images.len()));
        if stop && answers.iter().any(Result::is_err) {
            break;
        }
    }
    answers.resize_with(images.len(), || Err(Error::Cancelled));
    Ok(answers)
}

fn inspect_few(
    detector: &Detector,
    requests: Vec<Result<Request<'_>, Error>>,
    caller: &Caller,
) -> Vec<Result<Found, Error>> {
    let good: Vec<Request<'_>> = requests.iter().filter_map(|request| request.as_ref().ok().copied()).collect();
    let mut found = detector.inspect_batch_with(good, &caller.cancel, |_| {}).into_iter();
    let answer = |request: Result<Request<'_>, Error>| {
        request?;
        found.next().unwrap_or(Err(Error::Cancelled))?.try_into()
    };
    requests.into_iter().map(answer).collect()
}

/// Returns a list with a pair of JSON and map for each image, or an exception. With `stop`, raises the first exception.
pub(crate) fn to_python<'py>(py: Python<'py>, answers: Answers, stop: bool) -> PyResult<Bound<'py, PyList>> {
    let answers = answers?;
    // The images after the first one that fails are cancelled.
    let list = PyList::empty(py);
    for answer in answers {
        match answer {
            Ok(Found { json, map, size }) => list.append((json, PyArray1::from_vec(py, map).reshape(size)?))?,
            Err(error) if stop => return Err(errors::from_error(py, &error)),
            Err(error) => list.append(errors::from_error(py, &error).into_value(py))?,
        }
    }
    Ok(list)
}
