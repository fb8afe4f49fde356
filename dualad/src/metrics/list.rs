//! The metrics by name, and as JSON.

use serde::{Serialize, Serializer};

use super::{Metric, Metrics, Undefined};

impl Metrics {
    /// Returns every metric with its name, in the order of the fields. To print the undefined ones:
    ///
    /// ```
    /// # let metrics = dualad::metrics::evaluate(&[])?.pooled.metrics;
    /// for (name, metric) in metrics.iter() {
    ///     if let Err(reason) = metric {
    ///         println!("{name}: {reason}");
    ///     }
    /// }
    /// # Ok::<(), dualad::metrics::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Metric)> {
        [
            ("image_auroc", &self.image_auroc),
            ("image_ap", &self.image_ap),
            ("image_f1_max", &self.image_f1_max),
            ("pixel_auroc", &self.pixel_auroc),
            ("pixel_ap", &self.pixel_ap),
            ("pixel_f1_max", &self.pixel_f1_max),
            ("pixel_aupro", &self.pixel_aupro),
            ("pixel_aupro_200", &self.pixel_aupro_200),
        ]
        .into_iter()
    }

    /// Returns the mean of each metric over the sets in which it is defined.
    pub(super) fn mean<'a>(sets: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mean = |metric: fn(&Self) -> &Metric| {
            let (mut sum, mut count) = (0.0, 0);
            for value in sets.clone().filter_map(|set| metric(set).as_ref().ok()) {
                sum += value;
                count += 1;
            }
            if count > 0 { Ok(sum / f64::from(count)) } else { Err(Undefined::NoCategory) }
        };
        Self {
            image_auroc: mean(|set| &set.image_auroc),
            image_ap: mean(|set| &set.image_ap),
            image_f1_max: mean(|set| &set.image_f1_max),
            pixel_auroc: mean(|set| &set.pixel_auroc),
            pixel_ap: mean(|set| &set.pixel_ap),
            pixel_f1_max: mean(|set| &set.pixel_f1_max),
            pixel_aupro: mean(|set| &set.pixel_aupro),
            pixel_aupro_200: mean(|set| &set.pixel_aupro_200),
        }
    }
}

/// Writes a map from each metric's name to its value, `null` if it is undefined.
impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, metric)| (name, metric.as_ref().ok())))
    }
}
