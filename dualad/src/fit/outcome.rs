//! The result of a run.

use serde::Serialize;

use crate::detector::Detector;

/// The result of a [`Fit`](crate::fit::Fit).
#[derive(Debug)]
#[non_exhaustive]
pub struct Fitted {
    /// The trained detector, with thresholds where images were held out.
    pub detector: Detector,
    /// The mean loss of each epoch.
    pub losses: Vec<f64>,
    /// The category and the image score of every held-out image.
    pub held_out: Vec<(String, f32)>,
    /// The changes to the scores of categories that a continued model knew, from their held-out images; empty for a new model.
    pub changes: Vec<CategoryChange>,
    /// Notices for the user, such as of categories with too few images.
    pub notices: Vec<String>,
}

/// The image scores of a category's held-out images before and after a model's training was continued. Where scores rise much,
/// the model forgets: give it more images of the category, or more epochs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CategoryChange {
    /// The category.
    pub category: String,
    /// The number of images.
    pub images: usize,
    /// The mean score before, and after.
    pub mean: [f64; 2],
    /// The largest score before, and after.
    pub largest: [f32; 2],
}

/// Compares the scores of the categories in `known` before and after.
pub(super) fn changes(known: &[String], before: &[(String, f32)], after: &[(String, f32)]) -> Vec<CategoryChange> {
    let of = |scores: &[(String, f32)], category: &str| -> Vec<f32> {
        scores.iter().filter(|(name, _)| name == category).map(|(_, score)| *score).collect()
    };
    let change = |category: &String| {
        let scores = [of(before, category), of(after, category)];
        if scores[0].is_empty() {
            return None;
        }
        let mean = |scores: &Vec<f32>| scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64;
        let largest = |scores: &Vec<f32>| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Some(CategoryChange {
            category: category.clone(),
            images: scores[0].len(),
            mean: [mean(&scores[0]), mean(&scores[1])],
            largest: [largest(&scores[0]), largest(&scores[1])],
        })
    };
    known.iter().filter_map(change).collect()
}
