//! Matrix products on parts of larger buffers, through the `gemm` crate that candle's own products use.
//!
//! One thread each: the operations here run many of them side by side, and the result does not depend on how many.

use gemm::Parallelism;

/// Rows and columns in a buffer, with the distance from one to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl Shape {
    /// `rows` x `columns`, each row `row_stride` after the one before.
    pub(crate) fn strided(rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { rows, columns, row_stride, column_stride: 1 }
    }

    /// `rows` x `columns` without gaps.
    pub(crate) fn dense(rows: usize, columns: usize) -> Self {
        Self::strided(rows, columns, columns)
    }

    pub(crate) fn transposed(self) -> Self {
        let Self { rows, columns, row_stride, column_stride } = self;
        Self { rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// Elements from the first to one past the last.
    fn extent(self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// A matrix that is written: a part of a buffer that several threads write disjoint parts of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    start: *mut f32,
    length: usize,
}

// SAFETY: a `Target` is a pointer and a length; what it is used for is argued where it is used.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    pub(crate) fn new(buffer: &mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), length: buffer.len() }
    }
}

/// `target[offset..] = alpha * left * right`, or added to it.
///
/// # Safety
/// While this runs nobody else reads or writes the elements of `target` that `shape` at `offset` covers, and the buffer that
/// `target` was made of is alive.
///
/// # Panics
/// If a shape does not fit its buffer or the others: a mistake in this crate, never a caller's input.
pub(crate) unsafe fn multiply(
    target: Target,
    offset: usize,
    shape: Shape,
    add: bool,
    alpha: f32,
    (left, left_shape): (&[f32], Shape),
    (right, right_shape): (&[f32], Shape),
) {
    assert_eq!((left_shape.rows, right_shape.columns), (shape.rows, shape.columns), "the shapes of a product");
    assert_eq!(left_shape.columns, right_shape.rows, "the shapes of a product");
    assert!(left_shape.extent() <= left.len() && right_shape.extent() <= right.len(), "an operand's shape");
    assert!(offset + shape.extent() <= target.length, "the target's shape");
    if shape.extent() == 0 {
        return;
    }
    // SAFETY: every element that the strides reach lies inside its buffer, as asserted above; the operands are shared
    // slices and the target is ours alone by this function's contract, so that nothing is written while it is read.
    unsafe {
        gemm::gemm(
            shape.rows,
            shape.columns,
            left_shape.columns,
            target.start.add(offset),
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

/// [`multiply`] into a buffer of one's own.
pub(crate) fn multiply_into(
    buffer: &mut [f32],
    shape: Shape,
    add: bool,
    alpha: f32,
    left: (&[f32], Shape),
    right: (&[f32], Shape),
) {
    let target = Target::new(buffer);
    // SAFETY: `buffer` is borrowed exclusively until this returns.
    unsafe { multiply(target, 0, shape, add, alpha, left, right) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// Odd sizes, gaps, transposes, accumulation: against the definition.
    #[test]
    fn products_equal_the_definition() {
        let mut random = Random::new(0);
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 7), (17, 1, 9), (33, 31, 2), (196, 32, 196), (2, 300, 65)] {
            for gap in [0, 3] {
                let left_shape = Shape::strided(rows, inner, inner + gap);
                let right_shape = Shape::strided(columns, inner, inner + gap).transposed();
                let left = random.stream().normal(rows * (inner + gap));
                let right = random.stream().normal(columns * (inner + gap));
                let shape = Shape::strided(rows, columns, columns + gap);
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
    fn a_target_that_is_too_small_is_noticed() {
        let one = ([1.0].as_slice(), Shape::dense(1, 1));
        let row = ([1.0, 2.0].as_slice(), Shape::dense(1, 2));
        multiply_into(&mut [0.0], Shape::dense(1, 2), false, 1.0, one, row);
    }
}
