//! The errors of scores and masks that cannot be measured.

/// An error of a set of images. Images are numbered from 0 in the order given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The number of values of a map is not that of its sides.
    #[error(
        "image {image} (category \"{category}\"): the anomaly map has {values} values, but height x width is {height} x {width}"
    )]
    MapSize {
        /// The image's number.
        image: usize,
        /// Its category.
        category: String,
        /// The number of rows.
        height: usize,
        /// The number of columns.
        width: usize,
        /// The number of values in the map.
        values: usize,
    },
    /// A mask has another size than the map.
    #[error(
        "image {image} (category \"{category}\"): the mask has {mask} pixels, the anomaly map {map}; resize the mask to the map"
    )]
    MaskSize {
        /// The image's number.
        image: usize,
        /// Its category.
        category: String,
        /// The number of pixels of the mask.
        mask: usize,
        /// The number of pixels of the anomaly map.
        map: usize,
    },
    /// A map has more pixels than can be counted.
    #[error(
        "image {image} (category \"{category}\"): the anomaly map has {pixels} pixels; at most {} can be measured",
        u32::MAX
    )]
    TooLarge {
        /// The image's number.
        image: usize,
        /// Its category.
        category: String,
        /// The number of pixels.
        pixels: usize,
    },
    /// The mask of a normal image has marked pixels.
    #[error(
        "image {image} (category \"{category}\"): labeled normal, but its mask marks {pixels} pixels; correct the label or the mask"
    )]
    MarkedNormal {
        /// The image's number.
        image: usize,
        /// Its category.
        category: String,
        /// The number of marked pixels.
        pixels: u64,
    },
    /// An image score is NaN or infinite.
    #[error("image {image} (category \"{category}\"): the image score is {score}, which cannot be ranked")]
    ImageScore {
        /// The image's number.
        image: usize,
        /// Its category.
        category: String,
        /// The score.
        score: f32,
    },
    /// There are more or fewer labels or masks than scores or maps.
    #[error("there are {scores} scores or maps and {labels} labels or masks; give one for each")]
    Labels {
        /// The number of scores or maps.
        scores: usize,
        /// The number of labels or masks.
        labels: usize,
    },
    /// A score of a list is NaN or infinite.
    #[error("score {index} is {score}, which cannot be ranked")]
    Score {
        /// The score's place in the list, from 0.
        index: usize,
        /// The score.
        score: f32,
    },
    /// The metric is undefined.
    #[error("the metric is undefined: {0}")]
    Undefined(#[from] super::Undefined),
    /// A share is not in `(0, 1]`.
    #[error("{what} is {value}, but it must be above 0 and at most 1")]
    Share {
        /// The argument.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// A pixel's score is NaN or infinite.
    #[error(
        "image {image} (category \"{category}\"): the anomaly map is {score} at row {row}, column {column}, which cannot be ranked"
    )]
    PixelScore {
        /// The image's number.
        image: usize,
        /// Its category.
        category: String,
        /// The pixel's row, from 0.
        row: usize,
        /// The pixel's column, from 0.
        column: usize,
        /// The score.
        score: f32,
    },
}
