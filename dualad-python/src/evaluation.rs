//! The metrics of a model on a dataset.

use std::path::Path;

use dualad::data::{Dataset, Sample, Split};
use dualad::metrics::{Evaluation, Measured, Metric, Metrics};
use dualad::{Error, TestSet};
use serde_json::{Map, Value, json};

use crate::errors::invalid;
use crate::progress::Step;
use crate::work::Caller;

/// Measures a detector on the test images of a folder. Returns JSON.
pub(crate) fn of_folder(detector: &dualad::Detector, folder: &Path, caller: Caller) -> Result<String, Error> {
    if detector.config().input.tiling.is_some() {
        let reason = "only models of whole images can be measured; compute the metrics of its maps with dualad.metrics";
        return Err(invalid("the model", "one that cuts images into tiles", reason));
    }
    let dataset = Dataset::open(folder)?;
    let samples: Vec<Sample> = dataset.samples(Split::Test).cloned().collect();
    let cancel = caller.cancel.clone();
    let report = caller.into_report();
    let step = |phase| {
        let report = &report;
        move |progress| report(Step::of(phase, progress))
    };
    let features = detector.features(samples).cancel(&cancel).progress(step("features")).compute()?;
    let test_set = TestSet::new(features)?;
    let scores = test_set.score_model(detector.model(), &cancel, step("scoring"))?;
    Ok(to_json(&test_set.evaluate(&scores)?).to_string())
}

/// Returns the metrics as JSON; undefined ones are null.
pub(crate) fn to_json(evaluation: &Evaluation) -> Value {
    let categories: Map<String, Value> =
        evaluation.categories.iter().map(|(name, measured)| (name.clone(), of_set(measured))).collect();
    json!({
        "categories": categories,
        "mean": Value::Object(of_metrics(&evaluation.mean)),
        "pooled": of_set(&evaluation.pooled),
    })
}

fn of_set(measured: &Measured) -> Value {
    let mut fields = of_metrics(&measured.metrics);
    fields.insert("images".into(), measured.images.into());
    fields.insert("anomalous".into(), measured.anomalous.into());
    Value::Object(fields)
}

fn of_metrics(metrics: &Metrics) -> Map<String, Value> {
    let value = |metric: &Metric| metric.as_ref().map_or(Value::Null, |&value| value.into());
    metrics.iter().map(|(name, metric)| (name.to_owned(), value(metric))).collect()
}
