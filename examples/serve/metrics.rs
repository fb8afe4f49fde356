//! What is counted, as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dualad::detector::Inspection;
use serde::Serialize;

/// Upper ends of the histogram's buckets, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counts>);

/// Also the totals that are written at the end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Counts {
    /// By status.
    pub(crate) requests: BTreeMap<u16, u64>,
    pub(crate) images_inspected: u64,
    /// By kind.
    pub(crate) decisions: BTreeMap<String, u64>,
    /// By status.
    pub(crate) uploads_rejected: BTreeMap<u16, u64>,
    pub(crate) batches: u64,
    pub(crate) images_in_batches: u64,
    pub(crate) seconds: f64,
    #[serde(skip)]
    buckets: [u64; BUCKETS.len()],
}

impl Metrics {
    fn with<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        // Counts are whole whenever the lock is free.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request was answered; `upload` if it was to bring an image.
    pub(crate) fn answered(&self, status: u16, upload: bool) {
        self.with(|counts| {
            *counts.requests.entry(status).or_default() += 1;
            if upload && status >= 400 {
                *counts.uploads_rejected.entry(status).or_default() += 1;
            }
        });
    }

    pub(crate) fn batch(&self, images: usize) {
        self.with(|counts| {
            counts.batches += 1;
            counts.images_in_batches += images as u64;
        });
    }

    /// `took` is from the upload's last byte.
    pub(crate) fn inspected(&self, inspection: &Inspection, took: Duration) {
        let decision = inspection.verdict.as_ref().map_or("none".into(), |verdict| verdict.decision.to_string());
        let seconds = took.as_secs_f64();
        self.with(|counts| {
            counts.images_inspected += 1;
            *counts.decisions.entry(decision).or_default() += 1;
            counts.seconds += seconds;
            for (bucket, end) in counts.buckets.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(seconds <= end);
            }
        });
    }

    pub(crate) fn counts(&self) -> Counts {
        self.with(|counts| counts.clone())
    }
}

impl Counts {
    /// The text exposition format, version 0.0.4; `queued` uploads are held now.
    pub(crate) fn prometheus(&self, queued: usize) -> String {
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
            let count = self.decisions.get(decision).copied().unwrap_or(0);
            (format!("{{decision=\"{decision}\"}}"), count.to_string())
        });
        let batch = [("_sum".into(), self.images_in_batches.to_string()), ("_count".into(), self.batches.to_string())];
        let bucket = |end: &str, count: u64| (format!("_bucket{{le=\"{end}\"}}"), count.to_string());
        let mut seconds: Vec<_> =
            BUCKETS.iter().zip(self.buckets).map(|(end, count)| bucket(&end.to_string(), count)).collect();
        seconds.push(bucket("+Inf", self.images_inspected));
        seconds.push(("_sum".into(), self.seconds.to_string()));
        seconds.push(("_count".into(), self.images_inspected.to_string()));
        family("requests_total", "counter", "Requests answered, by status.", &by_status(&self.requests));
        family("images_inspected_total", "counter", "Images inspected.", &one(self.images_inspected));
        family("decisions_total", "counter", "Images inspected, by decision.", &decisions);
        let rejected = by_status(&self.uploads_rejected);
        family("uploads_rejected_total", "counter", "Uploads that were not inspected, by status.", &rejected);
        family("queue_depth", "gauge", "Uploads held: being read, waiting, or inspected.", &one(queued as u64));
        family("batch_images", "summary", "Images inspected together.", &batch);
        let help = "From an upload's last byte to its inspection.";
        family("inspection_seconds", "histogram", help, &seconds);
        text
    }
}
