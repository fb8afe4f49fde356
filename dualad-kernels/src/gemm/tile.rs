//! The kernel of every matrix product: a tile of left rows times one panel of packed weights, with the sums in registers.

use crate::activation::Activation;
use crate::simd::isa::kernel;
use crate::simd::math::activate;
use crate::simd::vector::Simd;

/// The most elements of a vector on any instruction set.
const MAX_LANES: usize = 16;
/// The most rows of a tile on any instruction set.
pub(crate) const MAX_ROWS: usize = 6;

/// The left rows of one tile.
#[derive(Debug, Clone, Copy)]
enum LhsTile {
    /// Rows in segments of `length` contiguous elements. There are [`Simd::ROWS`] pointers for the first segment of each row, then
    /// as many for the second segment, and so on.
    Rows { pointers: *const *const f32, segments: usize, length: usize },
    /// The first element of every row, then the second of every row, and so on: always [`Simd::ROWS`] rows, padding included.
    Packed { start: *const f32, length: usize },
}

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

/// Memory that is prefetched during a tile: one cache line for each [`BLOCK`] of products, `step` elements after the previous one.
/// It may end past the buffer, because a prefetch does not access the memory. There is always one prefetch for the same number of
/// products, so that the sums stay in registers.
#[derive(Debug, Clone, Copy)]
struct Prefetch {
    start: *const f32,
    step: usize,
}

/// The left elements that are multiplied before the next cache line is prefetched.
const BLOCK: usize = 4;

#[inline(always)]
unsafe fn tile<S: Simd>(rows: usize, lhs: LhsTile, panel: *const f32, next: Prefetch, epilogue: &TileEpilogue) {
    macro_rules! of {
        ($($count:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($count if $count <= S::ROWS => unsafe {
                    // The products of vectors that are padding are skipped.
                    match epilogue.columns.div_ceil(S::LANES) {
                        1 => rows_of::<S, $count, 1>(lhs, panel, next, epilogue),
                        2 => rows_of::<S, $count, 2>(lhs, panel, next, epilogue),
                        3 if S::VECTORS >= 3 => rows_of::<S, $count, 3>(lhs, panel, next, epilogue),
                        4 if S::VECTORS >= 4 => rows_of::<S, $count, 4>(lhs, panel, next, epilogue),
                        vectors => debug_assert!(false, "a tile of {vectors} vectors"),
                    }
                },)*
                _ => debug_assert!(false, "a tile of {rows} rows"),
            }
        };
    }
    of!(1 2 3 4 5 6)
}

/// All left rows of a [`PanelProduct`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lhs {
    /// Packed tiles of [`Simd::ROWS`] rows, one after the other.
    Packed(*const f32),
    /// Rows that begin `stride` elements apart.
    Dense { start: *const f32, stride: usize },
    /// Pointers to the segments of the rows, as in [`LhsTile::Rows`], tile after tile. Each tile has pointers for `stride` segments, of
    /// which the first `segments` are multiplied.
    Pointers { pointers: *const *const f32, segments: usize, stride: usize },
}

/// The product of some left rows and one or a few panels. It goes from tile to tile, and within a tile from panel to panel, so that
/// the setup of a tile is done once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelProduct {
    pub(crate) rows: usize,
    pub(crate) lhs: Lhs,
    /// The length of a left row.
    pub(crate) depth: usize,
    /// The first panel. The others begin `panel_stride` elements apart.
    pub(crate) panel: *const f32,
    pub(crate) panels: usize,
    pub(crate) panel_stride: usize,
    /// The columns of the last panel that are not padding.
    pub(crate) last_columns: usize,
    /// The panel that is multiplied next, of the same length, or null. It is prefetched.
    pub(crate) next_panel: *const f32,
    /// The epilogue of the first row and panel, without residuals: they are described by the fields below.
    pub(crate) epilogue: TileEpilogue,
    /// The residual's row 0, or null. Its rows begin `residual_stride` elements apart and repeat after `period` rows.
    pub(crate) residual: *const f32,
    pub(crate) residual_stride: usize,
    pub(crate) period: usize,
    /// The residual's row for the first left row.
    pub(crate) first: usize,
}

kernel! {
    /// Computes a [`PanelProduct`].
    ///
    /// # Safety
    /// The left rows are valid for `depth` elements, each panel for as many lines, and so is the next panel if it is not null;
    /// `epilogue.out` is valid for `epilogue.columns` elements in each row, and no other thread uses them; the residual, if it is
    /// not null, is valid for as many elements in `period` rows, and `first` is less than `period`.
    pub(crate) unsafe fn multiply_panels(product: &PanelProduct) = multiply_panels_body
}

/// The elements of a cache line.
const LINE: usize = 16;

#[inline(always)]
unsafe fn multiply_panels_body<S: Simd>(product: &PanelProduct) {
    let tiles = product.rows.div_ceil(S::ROWS);
    let size = product.depth * S::VECTORS * S::LANES;
    // Each tile prefetches its share of the next panel, one cache line for each of its blocks.
    let share = product.depth.div_ceil(BLOCK) * LINE;
    let mut residual_row = product.first;
    for index in 0..tiles {
        let rows = (product.rows - index * S::ROWS).min(S::ROWS);
        // SAFETY: the caller's promise; the last tile may have fewer rows; prefetched addresses lie within the next panel.
        unsafe {
            let wanted = !product.next_panel.is_null() && index * share < size;
            let start = if wanted { product.next_panel.wrapping_add(index * share) } else { product.panel };
            let next = Prefetch { start, step: if wanted { LINE } else { 0 } };
            let mut residuals = [std::ptr::null(); MAX_ROWS];
            let mut epilogue = product.epilogue;
            epilogue.out = epilogue.out.wrapping_add(index * S::ROWS * epilogue.stride);
            if !product.residual.is_null() {
                for pointer in residuals.iter_mut().take(rows) {
                    *pointer = product.residual.add(residual_row * product.residual_stride);
                    residual_row = if residual_row + 1 == product.period { 0 } else { residual_row + 1 };
                }
            }
            let mut dense = [std::ptr::null(); MAX_ROWS];
            let lhs = match product.lhs {
                Lhs::Packed(start) => {
                    LhsTile::Packed { start: start.add(index * S::ROWS * product.depth), length: product.depth }
                }
                Lhs::Dense { start, stride } => {
                    for (row, pointer) in dense.iter_mut().enumerate().take(rows) {
                        *pointer = start.add((index * S::ROWS + row) * stride);
                    }
                    LhsTile::Rows { pointers: dense.as_ptr(), segments: 1, length: product.depth }
                }
                Lhs::Pointers { pointers, segments, stride } => LhsTile::Rows {
                    pointers: pointers.add(index * stride * S::ROWS),
                    segments,
                    length: product.depth / segments,
                },
            };
            for panel in 0..product.panels {
                if !product.residual.is_null() {
                    epilogue.residuals = residuals.as_ptr();
                }
                if panel + 1 == product.panels {
                    epilogue.columns = product.last_columns;
                }
                tile::<S>(rows, lhs, product.panel.add(panel * product.panel_stride), next, &epilogue);
                epilogue.out = epilogue.out.wrapping_add(S::VECTORS * S::LANES);
                if !epilogue.bias.is_null() {
                    epilogue.bias = epilogue.bias.wrapping_add(S::VECTORS * S::LANES);
                }
                for pointer in residuals.iter_mut().take(rows) {
                    *pointer = pointer.wrapping_add(S::VECTORS * S::LANES);
                }
            }
        }
    }
}

/// The sums of `R` rows, each `V` vectors wide.
pub(crate) type Sums<S, const R: usize, const V: usize> = [[<S as Simd>::V; V]; R];

#[inline(always)]
unsafe fn rows_of<S: Simd, const R: usize, const V: usize>(
    lhs: LhsTile,
    panel: *const f32,
    next: Prefetch,
    epilogue: &TileEpilogue,
) {
    // SAFETY: the caller's promise about the pointers.
    unsafe {
        // Prefetches the memory that the sums will be added to or stored in.
        for row in 0..R {
            S::prefetch_to_write(epilogue.out.wrapping_add(row * epilogue.stride));
            if !epilogue.residuals.is_null() {
                S::prefetch_near(*epilogue.residuals.add(row));
            }
        }
        // Returned by value: if their address escapes, LLVM spills the sums in every iteration.
        let sums = match lhs {
            LhsTile::Rows { pointers, segments, length } => {
                sums_of_rows::<S, R, V>(pointers, segments, length, panel, next)
            }
            LhsTile::Packed { start, length } => sums_of_packed::<S, R, V>(start, length, panel, next),
        };
        if epilogue.columns == V * S::LANES {
            store_full::<S, R, V>(sums, epilogue);
        } else {
            for row in 0..R {
                store_row::<S, V>(sums[row], row, epilogue);
            }
        }
    }
}

#[inline(always)]
unsafe fn sums_of_rows<S: Simd, const R: usize, const V: usize>(
    pointers: *const *const f32,
    segments: usize,
    length: usize,
    mut panel: *const f32,
    Prefetch { start: mut next, step }: Prefetch,
) -> Sums<S, R, V> {
    // SAFETY: as above; the loops stay within the rows and the panel.
    unsafe {
        let mut sums: Sums<S, R, V> = [[S::splat(0.0); V]; R];
        for segment in 0..segments {
            let rows: [*const f32; R] = std::array::from_fn(|row| *pointers.add(segment * S::ROWS + row));
            let whole = length / BLOCK * BLOCK;
            let mut k = 0;
            while k < whole {
                S::prefetch(next);
                next = next.wrapping_add(step);
                for index in 0..BLOCK {
                    let factors = std::array::from_fn(|row| rows[row].add(k + index));
                    add_products::<S, R, V>(factors, panel.add(index * S::VECTORS * S::LANES), &mut sums);
                }
                panel = panel.add(BLOCK * S::VECTORS * S::LANES);
                k += BLOCK;
            }
            while k < length {
                add_products::<S, R, V>(std::array::from_fn(|row| rows[row].add(k)), panel, &mut sums);
                panel = panel.add(S::VECTORS * S::LANES);
                k += 1;
            }
        }
        sums
    }
}

#[inline(always)]
unsafe fn sums_of_packed<S: Simd, const R: usize, const V: usize>(
    mut start: *const f32,
    length: usize,
    mut panel: *const f32,
    Prefetch { start: mut next, step }: Prefetch,
) -> Sums<S, R, V> {
    // SAFETY: as above; the loops stay within the rows and the panel.
    unsafe {
        let mut sums: Sums<S, R, V> = [[S::splat(0.0); V]; R];
        for _ in 0..length / BLOCK {
            S::prefetch(next);
            next = next.wrapping_add(step);
            for index in 0..BLOCK {
                let factors = std::array::from_fn(|row| start.add(index * S::ROWS + row));
                add_products::<S, R, V>(factors, panel.add(index * S::VECTORS * S::LANES), &mut sums);
            }
            (start, panel) = (start.add(BLOCK * S::ROWS), panel.add(BLOCK * S::VECTORS * S::LANES));
        }
        for _ in 0..length % BLOCK {
            add_products::<S, R, V>(std::array::from_fn(|row| start.add(row)), panel, &mut sums);
            (start, panel) = (start.add(S::ROWS), panel.add(S::VECTORS * S::LANES));
        }
        sums
    }
}

/// Adds one element of each row times a line of the panel.
#[inline(always)]
unsafe fn add_products<S: Simd, const R: usize, const V: usize>(
    factors: [*const f32; R],
    line: *const f32,
    sums: &mut Sums<S, R, V>,
) {
    // SAFETY: as above.
    unsafe {
        let rhs: [S::V; V] = std::array::from_fn(|vector| S::load(line.add(vector * S::LANES)));
        for row in 0..R {
            let x = S::splat(*factors[row]);
            for vector in 0..V {
                sums[row][vector] = S::mul_add(x, rhs[vector], sums[row][vector]);
            }
        }
    }
}

/// # Safety
/// There is a residual pointer for each row, valid for all columns.
#[inline(always)]
unsafe fn with_residual<S: Simd, const R: usize, const V: usize>(
    mut sums: Sums<S, R, V>,
    residuals: *const *const f32,
) -> Sums<S, R, V> {
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

/// Applies each operation to all sums, which stay in registers, so that each branch is taken once for a tile.
#[inline(always)]
unsafe fn store_full<S: Simd, const R: usize, const V: usize>(mut sums: Sums<S, R, V>, epilogue: &TileEpilogue) {
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
            other => {
                for row in 0..R {
                    for vector in 0..V {
                        sums[row][vector] = activate::<S>(sums[row][vector], other);
                    }
                }
            }
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

/// Stores the sums of one row.
///
/// # Safety
/// `epilogue.columns` elements of the row may be read and written; there is a residual pointer for the row if there are any.
#[inline(always)]
pub(crate) unsafe fn store_row<S: Simd, const V: usize>(sums: [S::V; V], row: usize, epilogue: &TileEpilogue) {
    let offset = |pointer: *const f32, at: usize| if pointer.is_null() { pointer } else { pointer.wrapping_add(at) };
    // SAFETY: the caller's promise; a vector with padding goes through buffers of the widest vector.
    unsafe {
        let out = epilogue.out.add(row * epilogue.stride);
        let residual = if epilogue.residuals.is_null() { std::ptr::null() } else { *epilogue.residuals.add(row) };
        for vector in 0..V {
            let at = vector * S::LANES;
            let (out, bias, residual) = (out.add(at), offset(epilogue.bias, at), offset(residual, at));
            let columns = epilogue.columns.saturating_sub(at);
            if columns >= S::LANES {
                let y = with_epilogue::<S>(sums[vector], epilogue, out, bias, residual);
                S::store(out, y);
                continue;
            }
            let (mut before, mut added, mut after) = ([0.0f32; MAX_LANES], [0.0f32; MAX_LANES], [0.0f32; MAX_LANES]);
            if epilogue.accumulate {
                std::ptr::copy_nonoverlapping(out, before.as_mut_ptr(), columns);
            }
            let mut added_at = residual;
            if !residual.is_null() {
                std::ptr::copy_nonoverlapping(residual, added.as_mut_ptr(), columns);
                added_at = added.as_ptr();
            }
            let y = with_epilogue::<S>(sums[vector], epilogue, before.as_ptr(), bias, added_at);
            S::store(after.as_mut_ptr(), y);
            std::ptr::copy_nonoverlapping(after.as_ptr(), out, columns);
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
