//! `dualad submit`: write a submission to the evaluation server of MVTec AD 2.

use std::path::PathBuf;

use dualad::data::{Cancel, PrivateImage};
use dualad::detector::Request;
use serde::Serialize;

use crate::common::{CommonArgs, Result, print};
use crate::guard::Guard;
use crate::model::ModelArgs;
use crate::progress::Bar;
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
    #[arg(long, value_name = "VALUE")]
    threshold: Option<f32>,
    /// Folder for the submission
    #[arg(long, value_name = "DIR", default_value = "out/submission")]
    out: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
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
    let guard = Guard::default().reads(args.model.files());
    args.common.check_json(&guard)?;
    let cancel = Cancel::default();
    cancel_on_signal(&cancel)?;
    let images = PrivateImage::list(&args.data).map_err(dualad::Error::from)?;
    let detector = args.model.detector(&args.common)?;
    if let Some(image) = images.iter().find(|image| !detector.categories().contains(&image.category)) {
        let known = detector.categories().join(", ");
        return Err(format!(
            "the model was not trained on {}, but on {known}; train it on all categories",
            image.category
        )
        .into());
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
    for (done, image) in images.iter().enumerate() {
        if cancel.is_cancelled() {
            return Err("interrupted; the submission is not complete".into());
        }
        let found = detector.inspect(Request::from(&image.path).category(&image.category))?;
        let map = found.map_at_original();
        let size = (found.width, found.height);
        image.write(&args.out, &map.values, size, threshold(&image.category)?).map_err(dualad::Error::from)?;
        bar.set(done + 1, images.len());
    }
    drop(bar);
    let outcome = Outcome { format: 1, out: args.out.display().to_string(), images: images.len() };
    args.common.write_json(&outcome)?;
    if !args.common.json_to_stdout() {
        print(&format!("maps and decisions of {} images: {}\n", images.len(), args.out.display()))?;
    }
    Ok(())
}
