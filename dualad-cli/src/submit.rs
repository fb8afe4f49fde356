//! `dualad submit`: write a submission to the evaluation server of MVTec AD 2.

use std::path::PathBuf;

use dualad::data::{Cancel, PrivateImage};
use dualad::detector::Request;
use serde::Serialize;

use crate::common::{CommonArgs, Result, print};
use crate::guard::Guard;
use crate::model::{ModelArgs, at_a_time, check_category};
use crate::progress::{Bar, ProgressArgs};
use crate::signals::cancel_on_signal;

/// Write a submission to the evaluation server of MVTec AD 2
///
/// Inspects the images of test_private and test_private_mixed. Writes their anomaly maps into OUT/anomaly_images, and the maps
/// with the threshold applied into OUT/anomaly_images_thresholded. The threshold is the region value of the model's thresholds
/// for the category, or --threshold.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder of MVTec AD 2, or of one of its categories
    #[arg(long, value_name = "ROOT")]
    data: PathBuf,
    /// Value of the anomaly map from which on a pixel is defective [default: of the model's thresholds]
    #[arg(long, value_name = "VALUE", value_parser = parse_threshold, allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Folder for the submission
    #[arg(long, value_name = "DIR", default_value = "out/submission")]
    out: PathBuf,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Parses a value of an anomaly map.
fn parse_threshold(text: &str) -> std::result::Result<f32, String> {
    let value = text.parse().ok().filter(|value: &f32| value.is_finite());
    value.ok_or_else(|| "must be a finite number, such as 0.95".into())
}

/// The JSON of a submission.
#[derive(Debug, Serialize)]
struct Outcome {
    format: u32,
    out: String,
    images: usize,
}

/// Runs `dualad submit`.
pub(crate) fn run(args: &Args) -> Result<()> {
    args.progress.apply();
    let guard = Guard::default().reads(args.model.files());
    args.common.check_json(&guard)?;
    let cancel = Cancel::default();
    cancel_on_signal(&cancel)?;
    let images = PrivateImage::list(&args.data).map_err(dualad::Error::from)?;
    let replicas = args.model.replicas(&args.common)?;
    let detector = replicas.detector();
    for image in &images {
        check_category(detector, Some(&image.category))?;
    }
    let threshold = |category: &str| {
        let own = || Some(detector.calibration()?.thresholds(Some(category))?.0.region);
        args.threshold.or_else(own).ok_or_else(|| {
            format!("the model has no thresholds for {category}: give --threshold, or write thresholds with `dualad calibrate`")
        })
    };
    for image in &images {
        threshold(&image.category)?;
    }
    let bar = Bar::new("inspecting images");
    let mut done = 0;
    for batch in images.chunks(at_a_time(&replicas)) {
        if cancel.is_cancelled() {
            return Err("interrupted; the submission is not complete".into());
        }
        let requests = batch.iter().map(|image| Request::from(&image.path).category(&image.category));
        for (image, found) in batch.iter().zip(replicas.inspect_batch(requests)) {
            let found = found?;
            let map = found.map_at_original();
            let size = (found.width, found.height);
            image.write(&args.out, &map.values, size, threshold(&image.category)?).map_err(dualad::Error::from)?;
        }
        done += batch.len();
        bar.set(done, images.len());
    }
    drop(bar);
    let outcome = Outcome { format: 1, out: args.out.display().to_string(), images: images.len() };
    args.common.write_json(&outcome)?;
    if !args.common.json_to_stdout() {
        print(&format!("maps and decisions of {} images: {}\n", images.len(), args.out.display()))?;
    }
    Ok(())
}
