//! Uses two parts of the library alone: the features of a frozen backbone, and the metrics. The anomaly score is the distance
//! to the nearest feature of a normal image at the same place.
//!
//! ```sh
//! cargo run --release --example features_and_metrics -- data
//! ```

#![allow(clippy::print_stdout)]

use dualad::backbones::Backbone;
use dualad::data::image::Preprocess;
use dualad::data::{Dataset, Split};
use dualad::features::{Features, TokenSource};
use dualad::metrics::{ScoredImage, evaluate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = Dataset::open(std::env::args().nth(1).ok_or("usage: features_and_metrics DATA")?)?;
    let features = |split| -> dualad::Result<Features> {
        let extractor = Backbone::FilterBank.extractor().build()?.into();
        Features::of(data.samples(split).cloned(), extractor, Preprocess::new(224, 224)?).compute()
    };
    let (train, test) = (features(Split::Train)?, features(Split::Test)?);

    // [images, 14 * 14 tokens, channels]
    let normal = train.batch(&(0..train.images()).collect::<Vec<_>>())?;
    let mut maps: Vec<Vec<f32>> = Vec::new();
    for index in 0..test.images() {
        let distances = normal.broadcast_sub(&test.batch(&[index])?)?.sqr()?.sum(2)?;
        maps.push(distances.min(0)?.to_vec1()?);
    }
    let scored = test.samples().iter().zip(&maps).map(|(sample, map)| ScoredImage {
        category: &sample.category,
        anomalous: sample.label.is_anomalous(),
        image_score: map.iter().copied().fold(0.0, f32::max),
        height: 14,
        width: 14,
        map,
        mask: None,
    });
    let evaluation = evaluate(&scored.collect::<Vec<_>>())?;
    println!("mean image AUROC: {:?}", evaluation.mean.image_auroc);
    Ok(())
}
