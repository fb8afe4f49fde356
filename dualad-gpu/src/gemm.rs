//! The arguments of cuBLAS for a product of strided matrices.

use candle_core::{Layout, Result};

/// A factor in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Factor {
    /// The index of the first element in its storage.
    pub(crate) start: usize,
    /// True if the columns are contiguous, false if the rows are.
    pub(crate) by_columns: bool,
    /// The elements from one row (or column) to the next.
    pub(crate) stride: i32,
}

/// A product as cuBLAS takes it. Its matrices are stored column by column, so a matrix with contiguous rows is its transpose there:
/// it computes target^T = right^T left^T.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))] // only CUDA reads it
pub(crate) struct Gemm {
    pub(crate) rows: i32,
    pub(crate) columns: i32,
    pub(crate) inner: i32,
    pub(crate) left: Factor,
    pub(crate) right: Factor,
    pub(crate) target: Factor,
}

impl Gemm {
    /// Returns the product of two layouts into a third, or `None` if the target has no elements.
    pub(crate) fn new(target: &Layout, left: &Layout, right: &Layout) -> Result<Option<Self>> {
        let ([rows, columns], [left_rows, inner], [right_rows, right_columns]) =
            (dims(target)?, dims(left)?, dims(right)?);
        if [left_rows, right_rows, right_columns] != [rows, inner, columns] || inner == 0 {
            candle_core::bail!(
                "a product of {:?} and {:?} into {:?}: the shapes do not fit",
                left.dims(),
                right.dims(),
                target.dims()
            );
        }
        if rows * columns == 0 {
            return Ok(None);
        }
        let target_factor = Factor::new(target)?;
        if target_factor.by_columns {
            candle_core::bail!("a product into a matrix needs contiguous rows, not strides of {:?}", target.stride());
        }
        let (left, right) = (Factor::new(left)?, Factor::new(right)?);
        let [rows, columns, inner] = [int(rows)?, int(columns)?, int(inner)?];
        Ok(Some(Self { rows, columns, inner, left, right, target: target_factor }))
    }
}

impl Factor {
    fn new(layout: &Layout) -> Result<Self> {
        let [rows, columns] = dims(layout)?;
        let (start, stride) = (layout.start_offset(), layout.stride());
        let (row_stride, column_stride) = (stride[0], stride[1]);
        // The stride of a single row or column is never used, but cuBLAS checks it.
        if (column_stride == 1 || columns == 1) && (row_stride >= columns || rows == 1) {
            let stride = int(if rows == 1 { columns } else { row_stride })?;
            return Ok(Self { start, by_columns: false, stride });
        }
        if (row_stride == 1 || rows == 1) && (column_stride >= rows || columns == 1) {
            let stride = int(if columns == 1 { rows } else { column_stride })?;
            return Ok(Self { start, by_columns: true, stride });
        }
        candle_core::bail!("a product needs contiguous rows or columns, not strides of {stride:?}")
    }
}

fn dims(layout: &Layout) -> Result<[usize; 2]> {
    let (rows, columns) = layout.shape().dims2()?;
    Ok([rows, columns])
}

fn int(size: usize) -> Result<i32> {
    size.try_into().map_err(|_| candle_core::Error::Msg(format!("a matrix of {size} rows or columns is too large")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{CpuStorage, Device, Storage, Tensor};

    /// The product by cuBLAS's definition: C = op(A) op(B) with every matrix stored column by column.
    fn column_major(gemm: &Gemm, target: &mut [f32], left: &[f32], right: &[f32]) {
        // A is the right factor and B the left one. Contiguous rows are columns there, so `op` transposes the others.
        let at = |factor: Factor, row: i32, column: i32| {
            let [along, across] = if factor.by_columns { [column, row] } else { [row, column] };
            factor.start + (along + across * factor.stride) as usize
        };
        for i in 0..gemm.columns {
            for j in 0..gemm.rows {
                let terms = (0..gemm.inner).map(|l| right[at(gemm.right, i, l)] * left[at(gemm.left, l, j)]);
                target[gemm.target.start + (i + j * gemm.target.stride) as usize] = terms.sum();
            }
        }
    }

    fn matrix(rows: usize, columns: usize, first: f32) -> Tensor {
        let values = (0..rows * columns).map(|i| first + ((i * 7) % 11) as f32).collect::<Vec<_>>();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    }

    fn storage(tensor: &Tensor) -> Vec<f32> {
        match &*tensor.storage_and_layout().0 {
            Storage::Cpu(CpuStorage::F32(values)) => values.clone(),
            _ => unreachable!("made on the CPU in f32"),
        }
    }

    /// A factor in each of its forms: whole, a part of a wider matrix, and both transposed.
    fn forms(rows: usize, columns: usize) -> Vec<Tensor> {
        vec![
            matrix(rows, columns, -3.0),
            matrix(rows + 2, columns + 3, -3.0).narrow(0, 1, rows).unwrap().narrow(1, 2, columns).unwrap(),
            matrix(columns, rows, -3.0).t().unwrap(),
            matrix(columns + 1, rows + 2, -3.0).narrow(1, 1, rows).unwrap().narrow(0, 1, columns).unwrap().t().unwrap(),
        ]
    }

    #[test]
    fn the_arguments_give_the_product_by_the_definition_of_cublas() {
        for (rows, inner, columns) in [(2, 3, 4), (1, 5, 3), (3, 1, 2), (4, 3, 1), (1, 4, 1), (1, 1, 1)] {
            for left in forms(rows, inner) {
                for right in forms(inner, columns) {
                    for whole in [matrix(rows, columns, 0.0), matrix(rows + 1, columns + 2, 0.0)] {
                        let target = whole.narrow(0, whole.dim(0).unwrap() - rows, rows).unwrap();
                        let target = target.narrow(1, 0, columns).unwrap();
                        let gemm = Gemm::new(target.layout(), left.layout(), right.layout()).unwrap().unwrap();
                        for (factor, least) in [
                            (gemm.left, if gemm.left.by_columns { rows } else { inner }),
                            (gemm.right, if gemm.right.by_columns { inner } else { columns }),
                            (gemm.target, columns),
                        ] {
                            assert!(factor.stride as usize >= least, "{gemm:?}");
                        }
                        let mut found = storage(&whole);
                        column_major(&gemm, &mut found, &storage(&left), &storage(&right));
                        let found = Tensor::from_vec(found, whole.dims(), &Device::Cpu).unwrap();
                        let found = found.narrow(0, whole.dim(0).unwrap() - rows, rows).unwrap();
                        let found = found.narrow(1, 0, columns).unwrap().to_vec2::<f32>().unwrap();
                        let expected = left.contiguous().unwrap().matmul(&right.contiguous().unwrap()).unwrap();
                        assert_eq!(found, expected.to_vec2::<f32>().unwrap(), "{gemm:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn matrices_that_do_not_fit_are_refused() {
        let (a, b) = (matrix(2, 3, 0.0), matrix(3, 4, 0.0));
        let layout = |tensor: &Tensor| tensor.layout().clone();
        let refused = |target: &Tensor, left: &Tensor, right: &Tensor| {
            Gemm::new(&layout(target), &layout(left), &layout(right)).unwrap_err().to_string()
        };
        assert!(refused(&matrix(2, 5, 0.0), &a, &b).contains("[2, 3] and [3, 4] into [2, 5]"));
        assert!(refused(&matrix(4, 2, 0.0).t().unwrap(), &a, &b).contains("contiguous rows"));
        let row = matrix(1, 3, 0.0).broadcast_as((2, 3)).unwrap();
        assert!(refused(&matrix(2, 4, 0.0), &row, &b).contains("strides of [0, 1]"));
        let empty = Gemm::new(&layout(&matrix(0, 4, 0.0)), &layout(&matrix(0, 3, 0.0)), &layout(&b)).unwrap();
        assert_eq!(empty, None);
    }
}
