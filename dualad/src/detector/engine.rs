//! The inspection of images.

use std::borrow::Cow;

use candle_core::DType;
use dualad_data::Cancel;
use dualad_data::image::Picture;
use dualad_kernels::are_finite;
use rayon::prelude::*;

use crate::detector::Detector;
use crate::detector::inspection::{AnomalyMap, Inspection, in_picture};
use crate::detector::merge::{Merge, pooled_maximum};
use crate::detector::request::Request;
use crate::error::{Error, Result};
use crate::features::{pixels, size};
use crate::model::Tile;
use crate::progress::Progress;
use crate::scorer::{BatchScores, ScoreParts};

/// The number of inputs in a forward pass, and of images in memory at a time.
pub(crate) const BATCH: usize = 8;

/// The score and the map of a picture.
struct ScoredPicture {
    image_score: f32,
    parts: Option<ScoreParts>,
    map: AnomalyMap,
}

/// The score of an input, and its map at the input's size.
struct ScoredInput {
    image_score: f32,
    parts: Option<ScoreParts>,
    map: Vec<f32>,
}

/// Answers requests in order, a batch at a time.
pub(crate) fn inspect(
    detector: &Detector,
    requests: &[Request<'_>],
    cancel: &Cancel,
    mut progress: impl FnMut(Progress),
) -> Vec<Result<Inspection>> {
    let mut answers = Vec::with_capacity(requests.len());
    for requests_here in requests.chunks(BATCH) {
        if cancel.is_cancelled() {
            break;
        }
        answers.extend(inspect_few(detector, requests_here, cancel));
        progress(Progress { done: answers.len(), total: requests.len() });
    }
    answers.resize_with(requests.len(), || Err(Error::Cancelled));
    answers
}

/// Returns the answer to the one request of a batch.
pub(super) fn only(mut answers: Vec<Result<Inspection>>) -> Result<Inspection> {
    // One request always has one answer.
    answers.pop().unwrap_or(Err(Error::NoImages { purpose: "inspect" }))
}

fn inspect_few(detector: &Detector, requests: &[Request<'_>], cancel: &Cancel) -> Vec<Result<Inspection>> {
    answer(detector, requests, decode(detector, requests), cancel)
}

/// Decodes the pictures of a batch of requests.
pub(super) fn decode<'a>(detector: &Detector, requests: &[Request<'a>]) -> Vec<Result<Cow<'a, Picture>>> {
    match requests {
        // One thread decodes an image. Other callers compute meanwhile.
        [request] => vec![request.picture(&detector.limits)],
        _ => detector.threads.run(|| requests.par_iter().map(|request| request.picture(&detector.limits)).collect()),
    }
}

/// Answers a batch of requests, whose pictures are decoded.
pub(super) fn answer(
    detector: &Detector,
    requests: &[Request<'_>],
    pictures: Vec<Result<Cow<'_, Picture>>>,
    cancel: &Cancel,
) -> Vec<Result<Inspection>> {
    let good: Vec<&Picture> = pictures.iter().filter_map(|picture| picture.as_deref().ok()).collect();
    let mut scored = match good.is_empty() {
        true => Vec::new(),
        false => detector.threads.run(|| score(detector, &good, cancel)),
    }
    .into_iter();
    let answer = |(request, picture): (&Request<'_>, Result<Cow<'_, Picture>>)| {
        let picture = picture?;
        let scored = scored.next().unwrap_or(Err(Error::Cancelled))?;
        inspection(detector, request, &picture, scored)
    };
    requests.iter().zip(pictures).map(answer).collect()
}

fn inspection(
    detector: &Detector,
    request: &Request<'_>,
    picture: &Picture,
    ScoredPicture { image_score, parts, map }: ScoredPicture,
) -> Result<Inspection> {
    let category = request.named_category();
    let (width, height) = (picture.width(), picture.height());
    let verdict = match detector.calibration() {
        Some(calibration) => calibration.decide(category, image_score)?,
        None => None,
    };
    let (regions, regions_left_out) = match &verdict {
        Some(verdict) => in_picture(&map, [width, height], verdict.region, &detector.regions)?,
        None => (Vec::new(), 0),
    };
    let categories = detector.categories();
    let nearest = parts.filter(|_| categories.len() > 1 && detector.tiling.is_none());
    Ok(Inspection {
        category: category.map(str::to_owned),
        width,
        height,
        image_score,
        parts,
        nearest_category: nearest.and_then(|parts| categories.get(parts.category)).cloned(),
        verdict,
        regions,
        regions_left_out,
        precision: detector.precision,
        anomaly_map: map,
    })
}

/// Scores pictures. If a batch fails, each picture is scored alone, so that one does not fail the others.
fn score(detector: &Detector, pictures: &[&Picture], cancel: &Cancel) -> Vec<Result<ScoredPicture>> {
    if detector.tiling.is_some() {
        return pictures.iter().map(|picture| score_tiled(detector, picture, cancel)).collect();
    }
    match score_whole(detector, pictures) {
        Ok(scored) => scored.into_iter().map(Ok).collect(),
        Err(error) if pictures.len() == 1 => vec![Err(error)],
        Err(_) => pictures.iter().map(|picture| score_whole(detector, &[*picture]).and_then(first)).collect(),
    }
}

fn first<T>(values: Vec<T>) -> Result<T> {
    values.into_iter().next().ok_or(Error::NoImages { purpose: "inspect" })
}

fn score_whole(detector: &Detector, pictures: &[&Picture]) -> Result<Vec<ScoredPicture>> {
    let [height, width] = size(&detector.preprocess);
    let scored = |ScoredInput { image_score, parts, map }| ScoredPicture {
        image_score,
        parts,
        map: AnomalyMap { width, height, values: map },
    };
    Ok(forward(detector, pictures)?.into_iter().map(scored).collect())
}

/// Scores one picture in tiles.
fn score_tiled(detector: &Detector, picture: &Picture, cancel: &Cancel) -> Result<ScoredPicture> {
    let (width, height) = (picture.width(), picture.height());
    let tiles = match &detector.tiling {
        Some(tiling) => tiling.tiles(width, height)?,
        None => vec![Tile { x: 0, y: 0, width, height }],
    };
    let size = size(&detector.preprocess);
    let first = tiles.first().copied().ok_or(Error::NoImages { purpose: "inspect" })?;
    let mut merge = Merge::new(width, height, first, size)?;
    // The score and its parts of the tile with the largest score.
    let mut largest: Option<(f32, Option<ScoreParts>)> = None;
    for tiles in tiles.chunks(BATCH) {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let cut: Vec<Picture> = tiles.par_iter().map(|tile| tile.cut(picture)).collect::<Result<_>>()?;
        for (&tile, scored) in tiles.iter().zip(forward(detector, &cut.iter().collect::<Vec<_>>())?) {
            if largest.is_none_or(|(score, _)| scored.image_score > score) {
                largest = Some((scored.image_score, scored.parts));
            }
            merge.add(tile, &scored.map, size);
        }
    }
    let (height, width) = (merge.rows, merge.columns);
    let values = merge.finish();
    let image_score = pooled_maximum(&values, height, width, detector.scorer.pool(size));
    let parts = largest.and_then(|(_, parts)| parts);
    Ok(ScoredPicture { image_score, parts, map: AnomalyMap { width, height, values } })
}

/// Scores pictures that are each one input.
fn forward(detector: &Detector, pictures: &[&Picture]) -> Result<Vec<ScoredInput>> {
    if pictures.is_empty() {
        return Ok(Vec::new());
    }
    let images = pixels(&detector.preprocess, pictures)?;
    let BatchScores { scores, parts } = detector.scorer.score(&*detector.extractor, &images)?;
    let image_scores: Vec<f32> = scores.image_score.to_dtype(DType::F32)?.to_vec1()?;
    let values: Vec<f32> = scores.anomaly_map.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    if !are_finite(&image_scores) || !are_finite(&values) {
        return Err(Error::NotFinite {
            values: format!("the scores, computed in {:?},", detector.dtype()),
            advice: "compute in f32, and check the model's and the backbone's weights",
        });
    }
    let [height, width] = size(&detector.preprocess);
    let parts = parts.map_or_else(|| vec![None; image_scores.len()], |parts| parts.into_iter().map(Some).collect());
    let inputs = values.chunks_exact(height * width).zip(image_scores).zip(parts);
    Ok(inputs.map(|((map, image_score), parts)| ScoredInput { image_score, parts, map: map.to_vec() }).collect())
}
