//! The eight metrics: one list for every form of the report.

use crate::metrics::{Metric, Metrics, Unit};

/// A metric with its names.
pub(super) struct Column {
    /// The key in JSON.
    pub(super) key: &'static str,
    /// The unit that is ranked.
    pub(super) unit: Unit,
    /// The name in a heading below the unit's.
    pub(super) name: &'static str,
    /// The explanation in a sentence.
    pub(super) meaning: &'static str,
    metric: fn(&Metrics) -> &Metric,
}

impl Column {
    /// Returns the fraction, or the reason that it is undefined.
    pub(super) fn value(&self, metrics: &Metrics) -> Result<f64, String> {
        match (self.metric)(metrics) {
            Ok(value) if value.is_finite() => Ok(*value),
            Ok(_) => Err("its computation gave no finite number".into()),
            Err(reason) => Err(reason.to_string()),
        }
    }

    /// Returns the name with its unit.
    pub(super) fn full_name(&self) -> String {
        format!("{} {}", self.unit, self.name)
    }
}

/// The metrics, in the order of the JSON and of every table.
pub(super) const COLUMNS: [Column; 8] = [
    Column {
        key: "image_auroc",
        unit: Unit::Image,
        name: "AUROC",
        meaning: "the chance that an anomalous image scores higher than a normal one; 50 % is guessing",
        metric: |metrics| &metrics.image_auroc,
    },
    Column {
        key: "image_ap",
        unit: Unit::Image,
        name: "AP",
        meaning: "average precision: how pure the highest scores are, averaged over all anomalous images",
        metric: |metrics| &metrics.image_ap,
    },
    Column {
        key: "image_f1_max",
        unit: Unit::Image,
        name: "F1-max",
        meaning: "the best balance of precision and recall that any threshold on the image score gives",
        metric: |metrics| &metrics.image_f1_max,
    },
    Column {
        key: "pixel_auroc",
        unit: Unit::Pixel,
        name: "AUROC",
        meaning: "the chance that a defect's pixel scores higher than a normal one; normal pixels abound, so it is high",
        metric: |metrics| &metrics.pixel_auroc,
    },
    Column {
        key: "pixel_ap",
        unit: Unit::Pixel,
        name: "AP",
        meaning: "average precision over pixels: the strictest of these where defects are small",
        metric: |metrics| &metrics.pixel_ap,
    },
    Column {
        key: "pixel_f1_max",
        unit: Unit::Pixel,
        name: "F1-max",
        meaning: "the best balance of precision and recall that any threshold on the anomaly map gives",
        metric: |metrics| &metrics.pixel_f1_max,
    },
    Column {
        key: "pixel_aupro",
        unit: Unit::Pixel,
        name: "AUPRO",
        meaning: "how much of each defect is covered, small and large alike, up to 30 % of normal pixels marked",
        metric: |metrics| &metrics.pixel_aupro,
    },
    Column {
        key: "pixel_aupro_200",
        unit: Unit::Pixel,
        name: "AUPRO-200",
        meaning: "AUPRO from 200 thresholds, as the paper computes it",
        metric: |metrics| &metrics.pixel_aupro_200,
    },
];

/// Returns a fraction in percent, as in every form for people.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}
