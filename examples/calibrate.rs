//! Sets the thresholds of a saved model: of good parts, at most 1 % may be rejected. Thresholds of products without images stay.
//!
//! ```sh
//! cargo run --release --example calibrate -- model data        # the test images of a dataset
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use dualad::calibration::{Calibrator, Rule};
use dualad::data::{Cancel, Dataset, Split};
use dualad::detector::Request;
use dualad::{Detector, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: calibrate MODEL DATA")?;
    let data = Dataset::open(arguments.next().ok_or("usage: calibrate MODEL DATA")?)?;
    let detector = Detector::load(&model)?;

    let rule = Rule::FalseAlarmRate { rate: 0.01, confidence: 0.95 };
    let images = data
        .samples(Split::Test)
        .map(|sample| (Request::from(&sample.path).category(&sample.category), sample.label.clone()));
    let calibration = detector.calibrate(&Calibrator::new(rule), images, &Cancel::default(), |_progress| {})?;
    for warning in calibration.warnings() {
        eprintln!("{warning}");
    }
    // The share of good images that each threshold would reject.
    for line in calibration.summary() {
        println!("{line}");
    }
    // Keeps the earlier file as `calibration.previous.json`.
    Model::save_thresholds(&model, &calibration)?;
    Ok(())
}
