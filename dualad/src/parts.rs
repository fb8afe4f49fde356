//! The parts of a model as plain numbers, for programs that write the model in another format. [`crate::Detector::parts`] returns them.
//!
//! `docs/method.md` has the equations that they stand in.

use dualad_backbones::Stage;
use dualad_backbones::layers::Layers;

/// The parts of a model, for one input of `size`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Parts {
    /// The height and the width of the input in pixels.
    pub size: [usize; 2],
    /// The backbone. `None` for the filter bank.
    pub backbone: Option<Layers>,
    /// The stages that are read; their maps are the outputs of the backbone.
    pub stages: Vec<Stage>,
    /// The upsampling of the network's errors, `[batch, rows, columns]`, and the pool of the image score. `None` if the network has no
    /// part in the scores.
    pub errors: Option<Upsampling>,
    /// The bank of normal tokens.
    pub bank: Option<BankParts>,
}

/// A linear map along one axis, row by row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Matrix {
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub columns: usize,
    /// The values, `[rows, columns]`.
    pub values: Vec<f32>,
}

/// Linear maps of values `[rows, columns]`: the first matrix is multiplied from the left, the second from the right.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Upsampling {
    /// To pixels, `[height, width]`.
    pub pixels: [Matrix; 2],
    /// To the mean of each window of the image score. The score is the largest one.
    pub windows: [Matrix; 2],
}

/// A bank of normal tokens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BankParts {
    /// For each category, the factor of the network's errors in the scores.
    pub error_factors: Vec<f32>,
    /// The scales. The first one, the local one, tells the category.
    pub scales: Vec<ScaleParts>,
    /// The rule by which the local tokens tell an image's category.
    pub rule: CategoryRule,
}

/// The rule by which local tokens tell an image's category.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CategoryRule {
    /// The cells whose tokens stand for an image.
    pub cells: Vec<usize>,
    /// The number of a category's first tokens that its coarse distance is measured to.
    pub coarse_tokens: usize,
    /// The largest coarse distance of a category that the image may be of, in multiples of the least.
    pub near: f32,
    /// The largest number of such categories.
    pub most: usize,
}

/// One scale of a bank.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScaleParts {
    /// The rows and columns of the tokens.
    pub grid: [usize; 2],
    /// The number of elements of a token.
    pub dims: usize,
    /// The side of the square of cells that is averaged. Cells beyond the border do not count.
    pub neighborhood: usize,
    /// The projection of the stages: a token is the sum over them, plus the offset.
    pub stages: Vec<StageParts>,
    /// The constant part of a token, `[dims]`.
    pub offset: Vec<f32>,
    /// The row and the column of each cell's center, from 0 to 1, `[rows * columns, 2]`.
    pub positions: Vec<f32>,
    /// The tokens of each category.
    pub categories: Vec<CategoryTokens>,
    /// The upsampling of the distances, and the pool of the image score.
    pub upsampling: Upsampling,
    /// For each category, the factor of the distances in the scores.
    pub factors: Vec<f32>,
}

/// The projection of one stage's map.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StageParts {
    /// The stage's place in [`Parts::stages`].
    pub stage: usize,
    /// The components, `[dims, channels]`.
    pub components: Vec<f32>,
    /// The interpolation to the grid of the tokens, from the left and from the right. `None` where the map has that grid.
    pub resize: Option<[Matrix; 2]>,
}

/// The tokens of a category at one scale.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CategoryTokens {
    /// The tokens, `[tokens, dims]`.
    pub values: Vec<f32>,
    /// The row and the column of each token in its image, from 0 to 1, `[tokens, 2]`.
    pub positions: Vec<f32>,
    /// The factor of the distance to each token.
    pub weights: Vec<f32>,
    /// The factor of a position's difference in the distance.
    pub position_scale: f32,
}
