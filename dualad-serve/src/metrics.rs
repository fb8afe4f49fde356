//! Counters of requests and images, and their text form for Prometheus.
//!
//! The text is written here: the crate prometheus-client writes OpenMetrics, which names counters otherwise, ends with
//! `# EOF` and has no summaries, so that it is not the text format 0.0.4 that the server promises.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dualad::detector::Inspection;
use serde::Serialize;

/// Upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug)]
pub(crate) struct Metrics {
    started: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    totals: Totals,
    /// Inspections up to each bound of [`BUCKETS`].
    buckets: [u64; BUCKETS.len()],
}

/// The totals of all requests that were answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Answered requests by HTTP status.
    pub requests: BTreeMap<u16, u64>,
    /// Inspected images.
    pub images_inspected: u64,
    /// Inspected images by decision: `accept`, `review` and `reject`, or `none` without thresholds.
    pub decisions: BTreeMap<String, u64>,
    /// Uploads that were not inspected, by HTTP status.
    pub uploads_rejected: BTreeMap<u16, u64>,
    /// Batches of images that were inspected together.
    pub batches: u64,
    /// Images in those batches.
    pub images_in_batches: u64,
    /// The time since the server started, in seconds.
    pub seconds: f64,
    /// The time of it in which images were inspected, in seconds; with several devices, the sum of theirs.
    pub busy_seconds: f64,
    /// The sum over the inspected images of the time from the upload's last byte to the end of its inspection, in seconds. Images
    /// wait at the same time, so it can be more than [`Self::seconds`].
    pub waiting_seconds: f64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), counts: Mutex::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        // No code that holds the lock can panic halfway through an update.
        work(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts an answered request, which is an upload or not.
    pub(crate) fn answered(&self, status: u16, upload: bool) {
        self.with(|Counts { totals, .. }| {
            *totals.requests.entry(status).or_default() += 1;
            if upload && status >= 400 {
                *totals.uploads_rejected.entry(status).or_default() += 1;
            }
        });
    }

    /// Counts a batch of so many images, and the time of its inspection.
    pub(crate) fn batch(&self, images: usize, time: Duration) {
        self.with(|Counts { totals, .. }| {
            totals.batches += 1;
            totals.busy_seconds += time.as_secs_f64();
            totals.images_in_batches += images as u64;
        });
    }

    /// Counts an inspected image, and the time since its upload's last byte.
    pub(crate) fn inspected(&self, inspection: &Inspection, time: Duration) {
        let decision = inspection.verdict.as_ref().map_or("none".into(), |verdict| verdict.decision.to_string());
        let seconds = time.as_secs_f64();
        self.with(|Counts { totals, buckets }| {
            totals.images_inspected += 1;
            *totals.decisions.entry(decision).or_default() += 1;
            totals.waiting_seconds += seconds;
            for (bucket, bound) in buckets.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(seconds <= bound);
            }
        });
    }

    pub(crate) fn totals(&self) -> Totals {
        let seconds = self.started.elapsed().as_secs_f64();
        self.with(|counts| Totals { seconds, ..counts.totals.clone() })
    }

    /// Returns the metrics in Prometheus' text format 0.0.4, with the number of uploads that are held now.
    pub(crate) fn prometheus(&self, held: usize) -> String {
        self.with(|counts| counts.clone()).prometheus(held)
    }
}

impl Counts {
    fn prometheus(&self, held: usize) -> String {
        let totals = &self.totals;
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP dualad_{name} {help}\n# TYPE dualad_{name} {kind}");
            for (suffix, value) in samples {
                let _ = writeln!(text, "dualad_{name}{suffix} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), value.to_string())];
        let by_status = |counts: &BTreeMap<u16, u64>| -> Vec<_> {
            counts.iter().map(|(status, count)| (format!("{{status=\"{status}\"}}"), count.to_string())).collect()
        };
        let decisions = ["accept", "review", "reject", "none"].map(|decision| {
            let count = totals.decisions.get(decision).copied().unwrap_or(0);
            (format!("{{decision=\"{decision}\"}}"), count.to_string())
        });
        let batch =
            [("_sum".into(), totals.images_in_batches.to_string()), ("_count".into(), totals.batches.to_string())];
        let bucket = |bound: &str, count: u64| (format!("_bucket{{le=\"{bound}\"}}"), count.to_string());
        let mut seconds: Vec<_> =
            BUCKETS.iter().zip(self.buckets).map(|(bound, count)| bucket(&bound.to_string(), count)).collect();
        seconds.push(bucket("+Inf", totals.images_inspected));
        seconds.push(("_sum".into(), totals.waiting_seconds.to_string()));
        seconds.push(("_count".into(), totals.images_inspected.to_string()));
        family("requests_total", "counter", "Requests answered, by status.", &by_status(&totals.requests));
        family("images_inspected_total", "counter", "Images inspected.", &one(totals.images_inspected));
        family("decisions_total", "counter", "Images inspected, by decision.", &decisions);
        let rejected = by_status(&totals.uploads_rejected);
        family("uploads_rejected_total", "counter", "Uploads that were not inspected, by status.", &rejected);
        family("queue_depth", "gauge", "Uploads held: being read, waiting, or inspected.", &one(held as u64));
        family("batch_images", "summary", "Images inspected together.", &batch);
        let help = "Time from an upload's last byte to the end of its inspection.";
        family("inspection_seconds", "histogram", help, &seconds);
        text
    }
}
