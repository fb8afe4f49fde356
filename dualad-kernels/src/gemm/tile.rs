//! The kernel of every matrix product: a tile of left rows times one panel of packed weights, with the sums in registers.

use crate::gemm::store::{StoredSums, TileEpilogue, store_plain};
use crate::simd::isa::kernel;
use crate::simd::vector::Simd;

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
type Sums<S, const R: usize, const V: usize> = [[<S as Simd>::V; V]; R];

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
        if epilogue.is_plain(V * S::LANES) {
            store_plain::<S, R, V>(sums, epilogue);
        } else {
            let mut stored = StoredSums::<R>::new();
            for row in 0..R {
                stored.set::<S, V>(row, sums[row]);
            }
            stored.store::<S>(epilogue);
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
