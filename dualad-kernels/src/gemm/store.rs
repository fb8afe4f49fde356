//! The operations that follow the products of a tile, and the storage of its sums.

use crate::activation::Activation;
use crate::simd::isa::{Isa, kernel};
use crate::simd::math::activate;
use crate::simd::vector::Simd;

/// The most elements of a vector on any instruction set.
const MAX_LANES: usize = 16;
/// The most columns of a panel on any instruction set.
const MAX_PANEL: usize = 64;

/// The operations on the sums of a tile, and the place where the results are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TileEpilogue {
    /// The first element of the first row.
    pub(crate) out: *mut f32,
    /// The distance between two rows, in elements.
    pub(crate) stride: usize,
    /// The columns of the panel that are not padding.
    pub(crate) columns: usize,
    /// True to add the results to the previous content, false to overwrite it.
    pub(crate) accumulate: bool,
    /// The bias, as wide as a panel, or null.
    pub(crate) bias: *const f32,
    pub(crate) activation: Activation,
    /// The residual, one pointer for each row, or null.
    pub(crate) residuals: *const *const f32,
    /// True to add the residual after the activation, false to add it before.
    pub(crate) residual_last: bool,
}

impl TileEpilogue {
    /// Returns `true` if all of a tile's columns are stored, with an activation that is cheap. Other epilogues are applied to sums in
    /// memory, by one function for all tiles: in registers, each size of a tile would have its own code for them.
    #[inline(always)]
    pub(crate) fn is_plain(&self, columns: usize) -> bool {
        self.columns == columns && matches!(self.activation, Activation::Identity | Activation::Relu)
    }
}

/// The sums of some rows in memory.
pub(crate) struct StoredSums<const R: usize>([[f32; MAX_PANEL]; R]);

impl<const R: usize> StoredSums<R> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self([[0.0; MAX_PANEL]; R])
    }

    /// Sets the sums of a row.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(crate) unsafe fn set<S: Simd, const V: usize>(&mut self, row: usize, sums: [S::V; V]) {
        for (vector, sums) in sums.into_iter().enumerate() {
            // SAFETY: a row is as wide as the widest panel.
            unsafe { S::store(self.0[row].as_mut_ptr().add(vector * S::LANES), sums) };
        }
    }

    /// Applies an epilogue of any kind to the sums and stores them.
    ///
    /// # Safety
    /// As for [`store`].
    #[inline(always)]
    pub(crate) unsafe fn store<S: Simd>(&self, epilogue: &TileEpilogue) {
        // SAFETY: the caller's promise.
        unsafe { store(Isa::running::<S>(), self.0.as_ptr().cast(), R, epilogue) };
    }
}

kernel! {
    /// Applies an epilogue of any kind to the sums of some rows, `[rows, MAX_PANEL]`, and stores them.
    ///
    /// # Safety
    /// `sums` is valid for the rows; `epilogue.columns` elements of each output row may be read and written; the bias, if it is not null,
    /// is valid for a panel; there is a residual pointer for each row if there are any, valid for the columns.
    unsafe fn store(sums: *const f32, rows: usize, epilogue: &TileEpilogue) = store_body
}

#[inline(always)]
unsafe fn store_body<S: Simd>(sums: *const f32, rows: usize, epilogue: &TileEpilogue) {
    let at =
        |pointer: *const f32, offset: usize| if pointer.is_null() { pointer } else { pointer.wrapping_add(offset) };
    for row in 0..rows {
        // SAFETY: the caller's promise; a vector with padding goes through buffers of the widest vector.
        unsafe {
            let residual = if epilogue.residuals.is_null() { std::ptr::null() } else { *epilogue.residuals.add(row) };
            for first in (0..epilogue.columns).step_by(S::LANES) {
                let out = epilogue.out.add(row * epilogue.stride + first);
                let sums = S::load(sums.add(row * MAX_PANEL + first));
                let (bias, residual) = (at(epilogue.bias, first), at(residual, first));
                let columns = epilogue.columns - first;
                if columns >= S::LANES {
                    S::store(out, with_epilogue::<S>(sums, epilogue, out, bias, residual));
                    continue;
                }
                let (mut before, mut added, mut after) =
                    ([0.0f32; MAX_LANES], [0.0f32; MAX_LANES], [0.0f32; MAX_LANES]);
                if epilogue.accumulate {
                    std::ptr::copy_nonoverlapping(out, before.as_mut_ptr(), columns);
                }
                let mut added_at = residual;
                if !residual.is_null() {
                    std::ptr::copy_nonoverlapping(residual, added.as_mut_ptr(), columns);
                    added_at = added.as_ptr();
                }
                let y = with_epilogue::<S>(sums, epilogue, before.as_ptr(), bias, added_at);
                S::store(after.as_mut_ptr(), y);
                std::ptr::copy_nonoverlapping(after.as_ptr(), out, columns);
            }
        }
    }
}

/// Returns a vector of sums after the operations of an epilogue. The bias and the residual may be null.
#[inline(always)]
unsafe fn with_epilogue<S: Simd>(
    sums: S::V,
    epilogue: &TileEpilogue,
    before: *const f32,
    bias: *const f32,
    residual: *const f32,
) -> S::V {
    // SAFETY: the caller's pointers are null or valid for a vector.
    unsafe {
        let mut y = sums;
        if epilogue.accumulate {
            y = S::add(y, S::load(before));
        }
        if !bias.is_null() {
            y = S::add(y, S::load(bias));
        }
        if !residual.is_null() && !epilogue.residual_last {
            y = S::add(y, S::load(residual));
        }
        y = activate::<S>(y, epilogue.activation);
        if !residual.is_null() && epilogue.residual_last {
            y = S::add(y, S::load(residual));
        }
        y
    }
}

/// # Safety
/// There is a residual pointer for each row, valid for all columns.
#[inline(always)]
unsafe fn with_residual<S: Simd, const R: usize, const V: usize>(
    mut sums: [[S::V; V]; R],
    residuals: *const *const f32,
) -> [[S::V; V]; R] {
    // Not by closures: where the compiler does not inline them, each instruction is a call.
    for row in 0..R {
        for vector in 0..V {
            // SAFETY: the caller's promise.
            unsafe {
                let residual = (*residuals.add(row)).add(vector * S::LANES);
                sums[row][vector] = S::add(sums[row][vector], S::load(residual));
            }
        }
    }
    sums
}

/// Stores the sums of a tile with a plain epilogue. Each operation is applied to all sums, which stay in registers, so that each branch is
/// taken once for a tile.
#[inline(always)]
pub(crate) unsafe fn store_plain<S: Simd, const R: usize, const V: usize>(
    mut sums: [[S::V; V]; R],
    epilogue: &TileEpilogue,
) {
    // SAFETY: all pointers are valid for all columns, as the caller promises.
    unsafe {
        if epilogue.accumulate {
            for row in 0..R {
                for vector in 0..V {
                    let before = S::load(epilogue.out.add(row * epilogue.stride + vector * S::LANES));
                    sums[row][vector] = S::add(sums[row][vector], before);
                }
            }
        }
        if !epilogue.bias.is_null() {
            for vector in 0..V {
                let bias = S::load(epilogue.bias.add(vector * S::LANES));
                for row in 0..R {
                    sums[row][vector] = S::add(sums[row][vector], bias);
                }
            }
        }
        if !epilogue.residuals.is_null() && !epilogue.residual_last {
            sums = with_residual::<S, R, V>(sums, epilogue.residuals);
        }
        match epilogue.activation {
            Activation::Identity => {}
            Activation::Relu => {
                let zero = S::splat(0.0);
                for row in 0..R {
                    for vector in 0..V {
                        // The sum is the second operand, so NaN stays NaN.
                        sums[row][vector] = S::max(zero, sums[row][vector]);
                    }
                }
            }
            Activation::Silu | Activation::Gelu => debug_assert!(false, "not a plain epilogue"),
        }
        if !epilogue.residuals.is_null() && epilogue.residual_last {
            sums = with_residual::<S, R, V>(sums, epilogue.residuals);
        }
        for row in 0..R {
            for vector in 0..V {
                S::store(epilogue.out.add(row * epilogue.stride + vector * S::LANES), sums[row][vector]);
            }
        }
    }
}
