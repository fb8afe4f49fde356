//! Matrix products of strided slices, through the `gemm` crate that candle's own products use.
//!
//! Each product runs on one thread: callers run many products in parallel, and the result does not depend on the number of
//! threads.

use gemm::Parallelism;

/// The rows and columns of a matrix in a buffer, and the distances between them in elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MatrixShape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl MatrixShape {
    /// `rows` x `columns`, row by row, with `row_stride` elements from one row to the next.
    pub(crate) fn strided(rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { rows, columns, row_stride, column_stride: 1 }
    }

    /// `rows` x `columns` without gaps.
    pub(crate) fn dense(rows: usize, columns: usize) -> Self {
        Self::strided(rows, columns, columns)
    }

    /// The same elements read as the transposed matrix.
    pub(crate) fn transposed(self) -> Self {
        let Self { rows, columns, row_stride, column_stride } = self;
        Self { rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// The number of elements from the first to the last, gaps included.
    fn extent(self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// `target = alpha * left * right`, or `target += ...` where `add` is set.
///
/// # Panics
/// If a shape does not fit its buffer or the other shapes: a mistake in this crate, never a caller's input.
pub(crate) fn multiply_into(
    target: &mut [f32],
    shape: MatrixShape,
    add: bool,
    alpha: f32,
    (left, left_shape): (&[f32], MatrixShape),
    (right, right_shape): (&[f32], MatrixShape),
) {
    assert_eq!((left_shape.rows, right_shape.columns), (shape.rows, shape.columns), "the shapes of a product");
    assert_eq!(left_shape.columns, right_shape.rows, "the shapes of a product");
    assert!(left_shape.extent() <= left.len() && right_shape.extent() <= right.len(), "an operand's shape");
    assert!(shape.extent() <= target.len(), "the target's shape");
    if shape.extent() == 0 {
        return;
    }
    // SAFETY: the assertions above keep every element that the strides reach inside its buffer. `target` is borrowed
    // exclusively and the operands are shared slices, so that nothing is written while it is read.
    unsafe {
        gemm::gemm(
            shape.rows,
            shape.columns,
            left_shape.columns,
            target.as_mut_ptr(),
            shape.column_stride as isize,
            shape.row_stride as isize,
            add,
            left.as_ptr(),
            left_shape.column_stride as isize,
            left_shape.row_stride as isize,
            right.as_ptr(),
            right_shape.column_stride as isize,
            right_shape.row_stride as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// Covers odd sizes, gaps between rows, transposed operands, and accumulation.
    #[test]
    fn products_equal_the_definition() {
        let mut random = Random::new(0);
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 7), (17, 1, 9), (33, 31, 2), (196, 32, 196), (2, 300, 65)] {
            for gap in [0, 3] {
                let left_shape = MatrixShape::strided(rows, inner, inner + gap);
                let right_shape = MatrixShape::strided(columns, inner, inner + gap).transposed();
                let left = random.stream().normal(rows * (inner + gap));
                let right = random.stream().normal(columns * (inner + gap));
                let shape = MatrixShape::strided(rows, columns, columns + gap);
                let before = random.stream().normal(rows * (columns + gap));
                for add in [false, true] {
                    let mut target = before.clone();
                    multiply_into(&mut target, shape, add, 0.5, (&left, left_shape), (&right, right_shape));
                    for row in 0..rows {
                        for column in 0..columns + gap {
                            let at = row * (columns + gap) + column;
                            let mut expected = if add || column >= columns { f64::from(before[at]) } else { 0.0 };
                            if column < columns {
                                let product =
                                    |i: usize| left[row * (inner + gap) + i] * right[column * (inner + gap) + i];
                                expected += 0.5 * (0..inner).map(|i| f64::from(product(i))).sum::<f64>();
                            }
                            let error = (f64::from(target[at]) - expected).abs();
                            assert!(error < 1e-4, "{rows}x{inner}x{columns} gap {gap}: {error}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "the target's shape")]
    fn panics_if_the_target_is_too_small() {
        let one = ([1.0].as_slice(), MatrixShape::dense(1, 1));
        let row = ([1.0, 2.0].as_slice(), MatrixShape::dense(1, 2));
        multiply_into(&mut [0.0], MatrixShape::dense(1, 2), false, 1.0, one, row);
    }
}
