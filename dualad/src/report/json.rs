//! The report as JSON: the fields with a fixed order first, then additional ones.

use std::collections::BTreeMap;

use dualad_store::printable;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::Precision;
use crate::calibration::Tally;
use crate::config::Variant;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::recipe::Preset;
use crate::report::columns::COLUMNS;
use crate::report::{Report, Reported, Seconds, weights};

/// The version of the format. Raised when readers of the earlier form would misread the new one.
const FORMAT: u32 = 1;

pub(super) fn json(report: &Report) -> Result<String> {
    check_finite(report)?;
    let evaluation = &report.evaluation;
    let categories = || evaluation.categories.iter().map(|(name, measured)| (name.as_str(), &measured.metrics));
    let undefined = Undefined {
        categories: categories()
            .map(|(name, metrics)| (name, reasons(metrics)))
            .filter(|(_, reasons)| !reasons.is_empty())
            .collect(),
        mean: reasons(&evaluation.mean),
        pooled: reasons(&evaluation.pooled.metrics),
    };
    let (epoch, chosen) = match report.reported {
        Reported::Last => (report.epochs, "last"),
        Reported::BestOnTestSet { epoch } => (epoch, "best on the test set"),
    };
    let thresholds = &report.thresholds;
    let weights = weights::rows(report.weights.as_ref());
    let document = Document {
        format: FORMAT,
        backbone: report.backbone.map_or("", |backbone| backbone.name()),
        variant: report.variant.map_or("", Variant::name),
        preset: report.preset.map_or("", Preset::name),
        seed: report.seed,
        epochs: report.epochs,
        parameters: report.parameters,
        train_images: report.train_images,
        test_images: report.test_images,
        seconds: report.seconds,
        loss: &report.loss,
        categories: categories().map(|(name, metrics)| (name, Values(metrics))).collect(),
        mean: Values(&evaluation.mean),
        pooled: Values(&evaluation.pooled.metrics),
        undefined,
        reported_epoch: ReportedEpoch { epoch, chosen },
        thresholds: ThresholdsOf {
            chosen: &thresholds.chosen,
            categories: &thresholds.categories,
            pooled: thresholds.pooled,
        },
        decisions: &report.decisions,
        weights: weights.iter().map(|(name, value)| [*name, value.as_str()]).collect(),
        images: report
            .images
            .iter()
            .map(|image| Image {
                category: &image.category,
                path: &image.path,
                anomalous: image.anomalous,
                defect: image.defect.as_deref(),
                image_score: image.image_score,
            })
            .collect(),
        trained_test_images: report.trained_test_images,
        bank_images: report.bank_images,
        precision: report.precision.map(Precision::name),
        version: env!("CARGO_PKG_VERSION"),
    };
    let text = serde_json::to_string(&document);
    let text =
        text.map_err(|error| Error::invalid_argument("the report", "not representable as JSON", error.to_string()))?;
    Ok(text + "\n")
}

#[derive(serde::Serialize)]
struct Document<'a> {
    format: u32,
    backbone: &'a str,
    variant: &'a str,
    preset: &'a str,
    seed: u64,
    epochs: usize,
    parameters: usize,
    train_images: usize,
    test_images: usize,
    seconds: Seconds,
    loss: &'a [f64],
    categories: BTreeMap<&'a str, Values<'a>>,
    mean: Values<'a>,
    pooled: Values<'a>,
    // Additional fields, of which there may be more in later versions.
    undefined: Undefined<'a>,
    reported_epoch: ReportedEpoch,
    thresholds: ThresholdsOf<'a>,
    decisions: &'a BTreeMap<String, Tally>,
    weights: Vec<[&'a str; 2]>,
    images: Vec<Image<'a>>,
    trained_test_images: Option<usize>,
    bank_images: usize,
    precision: Option<&'static str>,
    version: &'static str,
}

/// The keys of undefined metrics, and the reasons.
type Reasons = BTreeMap<&'static str, String>;

#[derive(serde::Serialize)]
struct Undefined<'a> {
    categories: BTreeMap<&'a str, Reasons>,
    mean: Reasons,
    pooled: Reasons,
}

#[derive(serde::Serialize)]
struct ReportedEpoch {
    epoch: usize,
    chosen: &'static str,
}

#[derive(serde::Serialize)]
struct ThresholdsOf<'a> {
    chosen: &'a str,
    categories: &'a BTreeMap<String, f32>,
    pooled: Option<f32>,
}

#[derive(serde::Serialize)]
struct Image<'a> {
    category: &'a str,
    path: &'a str,
    anomalous: bool,
    defect: Option<&'a str>,
    image_score: f32,
}

/// The eight metrics by key, null if undefined.
struct Values<'a>(&'a Metrics);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COLUMNS.len()))?;
        for column in &COLUMNS {
            map.serialize_entry(column.key, &column.value(self.0).ok())?;
        }
        map.end()
    }
}

fn reasons(metrics: &Metrics) -> Reasons {
    COLUMNS.iter().filter_map(|column| Some((column.key, column.value(metrics).err()?))).collect()
}

/// Refuses NaN and infinity. JSON cannot represent them, and null would mean that nothing was measured.
fn check_finite(report: &Report) -> Result<()> {
    let check = |field: &dyn Fn() -> String, value: f64, look: &str| match value.is_finite() {
        true => Ok(()),
        false => Err(Error::invalid_argument(field(), value, format!("must be finite in a report; look at {look}"))),
    };
    let Seconds { features, training, evaluation } = report.seconds;
    for (part, value) in [("features", features), ("training", training), ("evaluation", evaluation)] {
        check(&|| format!("seconds.{part}"), value, "the clock")?;
    }
    for (index, &value) in report.loss.iter().enumerate() {
        check(&|| format!("loss[{index}]"), value, "the learning rate: training diverged")?;
    }
    for (name, &value) in &report.thresholds.categories {
        check(&|| format!("thresholds.categories[\"{}\"]", printable(name)), value.into(), "what chose the threshold")?;
    }
    if let Some(value) = report.thresholds.pooled {
        check(&|| "thresholds.pooled".into(), value.into(), "what chose the threshold")?;
    }
    for (index, image) in report.images.iter().enumerate() {
        let field = || format!("images[{index}].image_score of {}", printable(&image.path));
        check(&field, image.image_score.into(), "the image and the network that scored it")?;
    }
    Ok(())
}
