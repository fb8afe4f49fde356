//! The kernel of every product: some rows of the left matrix times one panel of packed weights, the sums in registers.

use crate::Activation;
use crate::math::activate;
use crate::simd::{Simd, VECTORS, kernel};

/// The most lanes of a panel on any instruction set.
const WIDEST: usize = 32;
/// The most rows of a tile on any instruction set.
pub(crate) const MOST_ROWS: usize = 12;

/// Where the left rows are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left {
    /// Each row's numbers lie side by side in some segments: pointers of the first segment's rows, then the second's, each
    /// segment's [`Simd::ROWS`] after the one before. All segments have `length` numbers.
    Rows { pointers: *const *const f32, segments: usize, length: usize },
    /// The rows' first numbers, then their second, ...: [`Simd::ROWS`] at a time, whether they are needed or not.
    Packed { start: *const f32, length: usize },
}

/// What is done with the sums.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    /// The first row's first number.
    pub(crate) out: *mut f32,
    /// From one row to the next.
    pub(crate) stride: usize,
    /// Columns of the panel that there are; the others are padding.
    pub(crate) columns: usize,
    /// Add to what is there.
    pub(crate) accumulate: bool,
    /// As wide as a panel; may be null.
    pub(crate) bias: *const f32,
    pub(crate) activation: Activation,
    /// Added before the activation, or after it; null without. One pointer for each row.
    pub(crate) residuals: *const *const f32,
    pub(crate) residual_last: bool,
}

kernel! {
    /// `rows` (1 to [`Simd::ROWS`]) rows times a panel.
    ///
    /// # Safety
    /// `left` is good for that many rows, `panel` for as many lines as the left rows have numbers, `finish.out` and the
    /// residuals for `columns` numbers in each row, and nobody else uses what is written.
    pub(crate) unsafe fn tile(rows: usize, left: Left, panel: *const f32, finish: &Finish) = tile_body
}

#[inline(always)]
unsafe fn tile_body<S: Simd>(rows: usize, left: Left, panel: *const f32, finish: &Finish) {
    macro_rules! of {
        ($($count:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($count if $count <= S::ROWS => unsafe { rows_of::<S, $count>(left, panel, finish) },)*
                _ => debug_assert!(false, "a tile of {rows} rows"),
            }
        };
    }
    of!(1 2 3 4 5 6 7 8 9 10 11 12)
}

type Sums<S, const R: usize> = [[<S as Simd>::V; VECTORS]; R];

#[inline(always)]
unsafe fn rows_of<S: Simd, const R: usize>(left: Left, panel: *const f32, finish: &Finish) {
    // SAFETY: the caller promises what the pointers are good for; the loops stay within.
    unsafe {
        let mut sums: Sums<S, R> = [[S::splat(0.0); VECTORS]; R];
        match left {
            Left::Rows { pointers, segments, length } => {
                let mut panel = panel;
                for segment in 0..segments {
                    let rows: [*const f32; R] = std::array::from_fn(|row| *pointers.add(segment * S::ROWS + row));
                    for k in 0..length {
                        let right = [S::load(panel), S::load(panel.add(S::LANES))];
                        for row in 0..R {
                            let x = S::splat(*rows[row].add(k));
                            sums[row][0] = S::mul_add(x, right[0], sums[row][0]);
                            sums[row][1] = S::mul_add(x, right[1], sums[row][1]);
                        }
                        panel = panel.add(VECTORS * S::LANES);
                    }
                }
            }
            Left::Packed { start, length } => {
                for k in 0..length {
                    let (line, start) = (panel.add(k * VECTORS * S::LANES), start.add(k * S::ROWS));
                    let right = [S::load(line), S::load(line.add(S::LANES))];
                    for row in 0..R {
                        let x = S::splat(*start.add(row));
                        sums[row][0] = S::mul_add(x, right[0], sums[row][0]);
                        sums[row][1] = S::mul_add(x, right[1], sums[row][1]);
                    }
                }
            }
        }
        if finish.columns == VECTORS * S::LANES {
            finish_whole::<S, R>(&mut sums, finish);
        } else {
            finish_partly::<S, R>(&mut sums, finish);
        }
    }
}

#[inline(always)]
unsafe fn finish_whole<S: Simd, const R: usize>(sums: &mut Sums<S, R>, finish: &Finish) {
    // SAFETY: all pointers are good for a whole panel's columns, as the caller promises.
    unsafe {
        for row in 0..R {
            let out = finish.out.add(row * finish.stride);
            let residual = if finish.residuals.is_null() { std::ptr::null() } else { *finish.residuals.add(row) };
            finish_row::<S>(&mut sums[row], finish, out, out, residual);
        }
    }
}

/// Columns that a vector would go beyond: through buffers.
#[inline(never)]
unsafe fn finish_partly<S: Simd, const R: usize>(sums: &mut Sums<S, R>, finish: &Finish) {
    let (mut before, mut residual, mut after) = ([0.0f32; WIDEST], [0.0f32; WIDEST], [0.0f32; WIDEST]);
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: `columns` numbers of a row are good to read and write, as the caller promises, and fit the buffers, which
        // are as wide as the widest panel.
        unsafe {
            let out = finish.out.add(row * finish.stride);
            std::ptr::copy_nonoverlapping(out, before.as_mut_ptr(), if finish.accumulate { finish.columns } else { 0 });
            let mut residual_at = std::ptr::null();
            if !finish.residuals.is_null() {
                std::ptr::copy_nonoverlapping(*finish.residuals.add(row), residual.as_mut_ptr(), finish.columns);
                residual_at = residual.as_ptr();
            }
            finish_row::<S>(sums, finish, before.as_ptr(), after.as_mut_ptr(), residual_at);
            std::ptr::copy_nonoverlapping(after.as_ptr(), out, finish.columns);
        }
    }
}

#[inline(always)]
unsafe fn finish_row<S: Simd>(
    sums: &mut [S::V; VECTORS],
    finish: &Finish,
    before: *const f32,
    out: *mut f32,
    residual: *const f32,
) {
    for (vector, sum) in sums.iter_mut().enumerate() {
        let at = vector * S::LANES;
        // SAFETY: the caller's pointers are good for a panel's columns.
        unsafe {
            let mut y = *sum;
            if finish.accumulate {
                y = S::add(y, S::load(before.add(at)));
            }
            if !finish.bias.is_null() {
                y = S::add(y, S::load(finish.bias.add(at)));
            }
            if !residual.is_null() && !finish.residual_last {
                y = S::add(y, S::load(residual.add(at)));
            }
            y = activate::<S>(y, finish.activation);
            if !residual.is_null() && finish.residual_last {
                y = S::add(y, S::load(residual.add(at)));
            }
            S::store(out.add(at), y);
        }
    }
}
