//! The learned position embedding: a column's half, then a row's half (method, section 4).

use candle_core::{Result, Tensor};

use crate::cdbn::scope::{Init, Scope};
use crate::config::DualAdConfig;

/// Position embeddings, one for each token, shared by all layers of the narrow-deep branch.
#[derive(Debug, Clone)]
pub(crate) struct PositionEmbedding {
    /// `[rows, d / 2]`.
    row: Tensor,
    /// `[columns, d / 2]`.
    column: Tensor,
}

impl PositionEmbedding {
    pub(crate) fn new(config: &DualAdConfig, scope: &Scope<'_>) -> crate::Result<Self> {
        let half = config.narrow_width / 2;
        let [rows, columns] = config.grid;
        Ok(Self {
            row: scope.get("row_embed", &[rows, half], Init::Uniform)?,
            column: scope.get("col_embed", &[columns, half], Init::Uniform)?,
        })
    }

    /// `[1, tokens, d]`.
    pub(crate) fn tokens(&self) -> Result<Tensor> {
        let (rows, half) = self.row.dims2()?;
        let columns = self.column.dim(0)?;
        let column = self.column.unsqueeze(0)?.broadcast_as((rows, columns, half))?;
        let row = self.row.unsqueeze(1)?.broadcast_as((rows, columns, half))?;
        Tensor::cat(&[column, row], 2)?.reshape((1, rows * columns, 2 * half))
    }
}
