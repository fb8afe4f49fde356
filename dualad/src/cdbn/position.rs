//! The learned position embedding (docs/method.md, section 4.4): d/2 channels for the column, then d/2 for the row.

use candle_core::{Result, Tensor};

use crate::cdbn::scope::{Init, Scope};
use crate::config::DualAdConfig;

/// The position embedding of the narrow-deep branch, shared by its layers.
#[derive(Debug, Clone)]
pub(super) struct PositionEmbedding {
    /// `[rows, d / 2]`.
    row: Tensor,
    /// `[columns, d / 2]`.
    column: Tensor,
}

impl PositionEmbedding {
    pub(super) fn new(config: &DualAdConfig, scope: &Scope<'_>) -> crate::Result<Self> {
        let half = config.narrow_width / 2;
        let [rows, columns] = config.grid;
        Ok(Self {
            row: scope.get("row_embed", &[rows, half], Init::Uniform)?,
            column: scope.get("col_embed", &[columns, half], Init::Uniform)?,
        })
    }

    /// Returns the embedding of every token, `[1, tokens, d]`.
    pub(super) fn tokens(&self) -> Result<Tensor> {
        position_of_tokens(&self.row, &self.column)
    }
}

/// Returns the embedding of every token, `[1, rows * columns, d]`, for embeddings of `[rows, d / 2]` and `[columns, d / 2]`.
pub(crate) fn position_of_tokens(row: &Tensor, column: &Tensor) -> Result<Tensor> {
    let (rows, half) = row.dims2()?;
    let columns = column.dim(0)?;
    let column = column.unsqueeze(0)?.broadcast_as((rows, columns, half))?;
    let row = row.unsqueeze(1)?.broadcast_as((rows, columns, half))?;
    Tensor::cat(&[column, row], 2)?.reshape((1, rows * columns, 2 * half))
}
