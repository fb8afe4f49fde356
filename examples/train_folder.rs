//! Trains a detector on a folder of normal images, and saves it with thresholds.
//!
//! ```sh
//! cargo run --release --example train_folder -- parts model        # parts/gear/*.png, parts/plate/*.png, ...
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use dualad::Detector;
use dualad::fit::FitProgress;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let parts = arguments.next().ok_or("usage: train_folder PARTS MODEL [EPOCHS]")?;
    let model = arguments.next().ok_or("usage: train_folder PARTS MODEL [EPOCHS]")?;
    let mut fit = Detector::fit(parts.as_str()).progress(|progress| {
        if let FitProgress::Training(step) = progress {
            eprint!("\repoch {} of {}, loss {:.4} ", step.epoch, step.epochs, step.loss);
        }
    });
    if let Some(epochs) = arguments.next() {
        fit = fit.epochs(epochs.parse()?);
    }
    // For real parts: fit.backbone(Backbone::ResNet18, Weights::hub())
    let fitted = fit.run()?;
    for notice in &fitted.notices {
        eprintln!("{notice}");
    }
    fitted.detector.save(&model)?;
    println!("{model}: {} images held out for the thresholds", fitted.held_out.len());
    Ok(())
}
