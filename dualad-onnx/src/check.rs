//! The comparison of a graph with its model.

use dualad::data::image::Picture;
use dualad::{Detector, Random};
use serde::Serialize;

use crate::error::{Error, Result};

/// The largest relative difference that a check allows.
pub const TOLERANCE: f32 = 1e-4;

/// The result of a check, which the file records.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// The program that ran the graph: `onnxruntime`.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// The number of images.
    pub images: usize,
    /// The largest difference of a score, relative to the score.
    pub score_difference: f32,
    /// The largest difference of a pixel of a map, relative to the largest value of the map.
    pub map_difference: f32,
    /// The largest difference that is allowed.
    pub tolerance: f32,
}

/// An image for a check, and its name in errors.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckImage {
    /// The name.
    pub name: String,
    /// The image, of any size.
    pub picture: Picture,
}

impl CheckImage {
    /// Names an image.
    pub fn new(name: impl Into<String>, picture: Picture) -> Self {
        Self { name: name.into(), picture }
    }

    /// Makes images of a rule from a seed: an even one, then noise of several grain sizes.
    ///
    /// # Errors
    /// [`Error::Dualad`] for a model whose input has no pixels.
    pub fn made(detector: &Detector, count: usize, seed: u64) -> Result<Vec<Self>> {
        let preprocess = detector.config().input.preprocess()?;
        let (width, height) = (preprocess.width(), preprocess.height());
        let mut random = Random::new(seed);
        let mut images = Vec::new();
        for index in 0..count {
            let mut pixels = vec![128.0f32; 3 * width as usize * height as usize];
            // The grain halves from image to image, and begins anew.
            let grain = 64 >> (index % 6);
            if index > 0 {
                let (columns, rows) = (width.div_ceil(grain) as usize, height.div_ceil(grain) as usize);
                let values = random.stream().uniform(3 * columns * rows);
                for (at, pixel) in pixels.iter_mut().enumerate() {
                    let (place, channel) = (at / 3, at % 3);
                    let (row, column) = (place / width as usize, place % width as usize);
                    let cell = (row / grain as usize * columns + column / grain as usize) * 3 + channel;
                    *pixel = 255.0 * values.get(cell).copied().unwrap_or(0.5);
                }
            }
            let pixels = pixels.into_iter().map(|value| value as u8).collect();
            let picture = Picture::new(width, height, pixels).map_err(dualad::Error::from)?;
            images.push(Self::new(format!("made from seed {seed}, number {index}"), picture));
        }
        Ok(images)
    }
}

/// The results of a graph for some images.
#[derive(Debug)]
pub(crate) struct Results {
    /// `[images]`.
    pub(crate) scores: Vec<f32>,
    /// `[images, height * width]`.
    pub(crate) maps: Vec<f32>,
}

/// A program that runs a graph.
pub(crate) trait Runtime {
    /// Returns the program's name and version.
    fn name(&self) -> (String, String);

    /// Runs the graph on pixels `[images, 3, height, width]` from 0 to 255.
    fn run(&mut self, pixels: Vec<f32>, shape: [usize; 4]) -> Result<Results>;
}

/// The images of a batch after the first: the first one is run alone, to see that a graph takes batches of any size.
const BATCH: usize = 3;

/// Runs the graph on images and compares the results with the model's.
///
/// # Errors
/// [`Error::Differs`] for the first image whose score or map differs, and those of the runtime and of the model.
pub(crate) fn check(detector: &Detector, runtime: &mut dyn Runtime, images: &[CheckImage]) -> Result<Check> {
    let (name, version) = runtime.name();
    let mut check = Check {
        runtime: name,
        version,
        images: images.len(),
        score_difference: 0.0,
        map_difference: 0.0,
        tolerance: TOLERANCE,
    };
    let (first, others) = images.split_at(images.len().min(1));
    for batch in std::iter::once(first).filter(|first| !first.is_empty()).chain(others.chunks(BATCH)) {
        compare(detector, runtime, batch, &mut check)?;
    }
    Ok(check)
}

fn compare(detector: &Detector, runtime: &mut dyn Runtime, images: &[CheckImage], check: &mut Check) -> Result<()> {
    let preprocess = detector.config().input.preprocess()?;
    // The graph and the model see the same pixels: resizing is not a part of the graph.
    let resized = images.iter().map(|image| preprocess.picture(&image.picture));
    let resized: Vec<Picture> = resized.collect::<Result<_, _>>().map_err(dualad::Error::from)?;
    let (height, width) = (preprocess.height() as usize, preprocess.width() as usize);
    let mut pixels = Vec::with_capacity(3 * height * width * resized.len());
    for picture in &resized {
        for channel in 0..3 {
            pixels.extend(picture.pixels().iter().skip(channel).step_by(3).map(|&level| f32::from(level)));
        }
    }
    let found = runtime.run(pixels, [resized.len(), 3, height, width])?;
    let wanted = detector.inspect_batch(&resized);
    let results = images.iter().zip(wanted).zip(found.scores.iter().zip(found.maps.chunks_exact(height * width)));
    for ((image, wanted), (score, map)) in results {
        let wanted = wanted?;
        let score = difference(&[wanted.image_score], &[*score]);
        let map = difference(&wanted.anomaly_map.values, map);
        for (values, difference) in [("score", score), ("anomaly map", map)] {
            // NaN is not <= anything.
            if !matches!(difference.partial_cmp(&TOLERANCE), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal))
            {
                return Err(Error::Differs { values, image: image.name.clone(), difference, tolerance: TOLERANCE });
            }
        }
        check.score_difference = check.score_difference.max(score);
        check.map_difference = check.map_difference.max(map);
    }
    Ok(())
}

/// Returns the largest difference, relative to the largest wanted value; infinity if the numbers of values differ.
fn difference(wanted: &[f32], found: &[f32]) -> f32 {
    if wanted.len() != found.len() {
        return f32::INFINITY;
    }
    let largest = wanted.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let mut most = 0.0f32;
    for (wanted, found) in wanted.iter().zip(found) {
        let difference = (wanted - found).abs() / largest;
        if difference.is_nan() {
            return f32::NAN;
        }
        most = most.max(difference);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_to_the_largest_value() {
        assert_eq!(difference(&[1.0, -4.0], &[2.0, -4.0]), 0.25);
        assert_eq!(difference(&[0.0], &[0.0]), 0.0);
        assert_eq!(difference(&[1.0], &[]), f32::INFINITY);
        assert!(difference(&[1.0, 2.0], &[f32::NAN, 2.0]).is_nan());
    }
}
