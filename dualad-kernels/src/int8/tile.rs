//! The kernel of every product of bytes: a tile of rows times one panel of packed weights, with the sums in registers.

use crate::gemm::store::{StoredSums, TileEpilogue, store_plain};
use crate::gemm::tile::MAX_ROWS;
use crate::int8::dot::Dot;
use crate::int8::isa::dot_kernel;
use crate::int8::quantize::Scale;
use crate::simd::vector::Simd;

/// The product of some rows and one panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BytePanelProduct {
    pub(crate) rows: usize,
    /// Pointers to the segments of the rows. A tile has as many pointers as a full tile has rows for the first segment, then as many
    /// for the second one, and so on. Tile follows tile.
    pub(crate) pointers: *const *const u8,
    pub(crate) segments: usize,
    /// The elements of a segment, a multiple of four.
    pub(crate) length: usize,
    /// The scale of each row.
    pub(crate) scales: *const Scale,
    pub(crate) panel: *const i8,
    /// The panel that is multiplied next, of the same length, or null. It is prefetched.
    pub(crate) next_panel: *const i8,
    /// The scale of each column of the panel.
    pub(crate) steps: *const f32,
    /// The sum of each column's weights.
    pub(crate) sums: *const i32,
    /// The epilogue of the first row, without residuals: they are described by the fields below.
    pub(crate) epilogue: TileEpilogue,
    /// The residual's row 0, or null. Its rows begin `residual_stride` elements apart and repeat after `period` rows.
    pub(crate) residual: *const f32,
    pub(crate) residual_stride: usize,
    pub(crate) period: usize,
    /// The residual's row for the first left row.
    pub(crate) first: usize,
}

/// The elements of f32 in a cache line.
const LINE: usize = 16;
/// The bytes of a cache line.
const LINE_BYTES: usize = 64;
/// The groups that are multiplied before the next cache line is prefetched.
const BLOCK: usize = 4;

/// Memory that is prefetched during a tile: one cache line for each [`BLOCK`] of groups, `step` bytes after the previous one. It may end
/// past the buffer, because a prefetch does not access the memory.
#[derive(Debug, Clone, Copy)]
struct Prefetch {
    start: *const i8,
    step: usize,
}

dot_kernel! {
    /// Computes a [`BytePanelProduct`].
    ///
    /// # Safety
    /// Each pointer of a row is valid for `length` stored elements, the panel for a line for each of their groups, and so is the next
    /// panel if it is not null; `scales` is valid
    /// for all rows, `steps` and `sums` for a panel's columns; `epilogue.out` is valid for `epilogue.columns` elements in each row, and
    /// no other thread uses them; the residual, if it is not null, is valid for as many elements in `period` rows, and `first` is less
    /// than `period`.
    pub(crate) unsafe fn multiply_bytes(product: &BytePanelProduct) = multiply_body
}

#[inline(always)]
unsafe fn multiply_body<D: Dot>(product: &BytePanelProduct) {
    let height = D::Floats::ROWS;
    let size = product.segments * product.length * D::Floats::VECTORS * D::Floats::LANES;
    // Each tile prefetches its share of the next panel, one cache line for each of its blocks.
    let share = product.segments * (product.length / (BLOCK * D::GROUP)) * LINE_BYTES;
    let mut residual_row = product.first;
    for index in 0..product.rows.div_ceil(height) {
        let rows = (product.rows - index * height).min(height);
        // SAFETY: the caller's promise; the last tile may have fewer rows.
        unsafe {
            let mut residuals = [std::ptr::null(); MAX_ROWS];
            let mut epilogue = product.epilogue;
            epilogue.out = epilogue.out.wrapping_add(index * height * epilogue.stride);
            if !product.residual.is_null() {
                for pointer in residuals.iter_mut().take(rows) {
                    *pointer = product.residual.add(residual_row * product.residual_stride);
                    residual_row = if residual_row + 1 == product.period { 0 } else { residual_row + 1 };
                }
                epilogue.residuals = residuals.as_ptr();
            }
            let pointers = product.pointers.add(index * product.segments * height);
            let wanted = !product.next_panel.is_null() && index * share < size;
            let start = if wanted { product.next_panel.wrapping_add(index * share) } else { product.panel };
            let next = Prefetch { start, step: if wanted { LINE_BYTES } else { 0 } };
            tile::<D>(rows, product, pointers, product.scales.add(index * height), next, &epilogue);
        }
    }
}

#[inline(always)]
unsafe fn tile<D: Dot>(
    rows: usize,
    product: &BytePanelProduct,
    pointers: *const *const u8,
    scales: *const Scale,
    next: Prefetch,
    epilogue: &TileEpilogue,
) {
    macro_rules! of {
        ($($count:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($count if $count <= D::Floats::ROWS => unsafe {
                    // The products of vectors that are padding are skipped.
                    match epilogue.columns.div_ceil(D::Floats::LANES) {
                        1 => rows_of::<D, $count, 1>(product, pointers, scales, next, epilogue),
                        2 => rows_of::<D, $count, 2>(product, pointers, scales, next, epilogue),
                        3 if D::Floats::VECTORS >= 3 => rows_of::<D, $count, 3>(product, pointers, scales, next, epilogue),
                        4 if D::Floats::VECTORS >= 4 => rows_of::<D, $count, 4>(product, pointers, scales, next, epilogue),
                        vectors => debug_assert!(false, "a tile of {vectors} vectors"),
                    }
                },)*
                _ => debug_assert!(false, "a tile of {rows} rows"),
            }
        };
    }
    of!(1 2 3 4 5 6)
}

#[inline(always)]
unsafe fn rows_of<D: Dot, const R: usize, const V: usize>(
    product: &BytePanelProduct,
    pointers: *const *const u8,
    scales: *const Scale,
    next: Prefetch,
    epilogue: &TileEpilogue,
) {
    let lanes = D::Floats::LANES;
    // SAFETY: the caller's promise about the pointers.
    unsafe {
        // Prefetches the memory that is added and written after the products.
        for row in 0..R {
            for at in (0..V * lanes).step_by(LINE) {
                D::Floats::prefetch_to_write(epilogue.out.wrapping_add(row * epilogue.stride + at));
                if !epilogue.residuals.is_null() {
                    D::Floats::prefetch_near((*epilogue.residuals.add(row)).wrapping_add(at));
                }
            }
        }
        let sums = sums_of::<D, R, V>(product, pointers, scales, next);
        // A row at a time: operations on all sums would not fit into the registers.
        if epilogue.is_plain(V * lanes) {
            for row in 0..R {
                let mut of_row = *epilogue;
                of_row.out = epilogue.out.wrapping_add(row * epilogue.stride);
                if !epilogue.residuals.is_null() {
                    of_row.residuals = epilogue.residuals.add(row);
                }
                store_plain::<D::Floats, 1, V>([floats_of::<D, V>(sums[row], product, scales.add(row))], &of_row);
            }
        } else {
            let mut stored = StoredSums::<R>::new();
            for row in 0..R {
                stored.set::<D::Floats, V>(row, floats_of::<D, V>(sums[row], product, scales.add(row)));
            }
            stored.store::<D::Floats>(epilogue);
        }
    }
}

/// Returns the sums of a row in f32.
#[inline(always)]
unsafe fn floats_of<D: Dot, const V: usize>(
    sums: [D::Sums; V],
    product: &BytePanelProduct,
    scale: *const Scale,
) -> [<D::Floats as Simd>::V; V] {
    // SAFETY: the caller's promise about the pointers.
    unsafe {
        let row_step = D::Floats::splat((*scale).step);
        let mut floats = [row_step; V];
        for vector in 0..V {
            let step = D::Floats::mul(D::Floats::load(product.steps.add(vector * D::Floats::LANES)), row_step);
            floats[vector] = D::Floats::mul(D::to_floats(sums[vector]), step);
        }
        floats
    }
}

/// Returns the sums of `weight * (q - zero)`.
#[inline(always)]
unsafe fn sums_of<D: Dot, const R: usize, const V: usize>(
    product: &BytePanelProduct,
    pointers: *const *const u8,
    scales: *const Scale,
    Prefetch { start: mut next, step }: Prefetch,
) -> [[D::Sums; V]; R] {
    let &BytePanelProduct { segments, length, mut panel, .. } = product;
    let lanes = D::Floats::LANES;
    // SAFETY: as above; the loops stay within the rows and the panel.
    unsafe {
        // By loops, not by closures: where the compiler does not inline those, each instruction is a call.
        let mut sums = [[D::scale_sums(D::load_sums(product.sums), 0); V]; R];
        let mut is_shifted = false;
        for row in 0..R {
            is_shifted |= (*scales.add(row)).zero != D::SHIFT;
        }
        if is_shifted {
            for vector in 0..V {
                let column = D::load_sums(product.sums.add(vector * lanes));
                for row in 0..R {
                    sums[row][vector] = D::scale_sums(column, D::SHIFT - (*scales.add(row)).zero);
                }
            }
        }
        for segment in 0..segments {
            let mut rows: [*const D::Element; R] = [std::ptr::null(); R];
            for row in 0..R {
                rows[row] = (*pointers.add(segment * D::Floats::ROWS + row)).cast();
            }
            let whole = length / (BLOCK * D::GROUP) * (BLOCK * D::GROUP);
            let mut k = 0;
            while k < whole {
                D::Floats::prefetch(next.cast());
                next = next.wrapping_add(step);
                for _ in 0..BLOCK {
                    add_products::<D, R, V>(&rows, k, panel, &mut sums);
                    panel = panel.add(D::Floats::VECTORS * lanes * D::GROUP);
                    k += D::GROUP;
                }
            }
            while k < length {
                add_products::<D, R, V>(&rows, k, panel, &mut sums);
                panel = panel.add(D::Floats::VECTORS * lanes * D::GROUP);
                k += D::GROUP;
            }
        }
        sums
    }
}

/// Adds one group of each row times a line of the panel.
#[inline(always)]
unsafe fn add_products<D: Dot, const R: usize, const V: usize>(
    rows: &[*const D::Element; R],
    k: usize,
    panel: *const i8,
    sums: &mut [[D::Sums; V]; R],
) {
    // SAFETY: as above.
    unsafe {
        let mut line = [D::load_line(panel); V];
        for vector in 1..V {
            line[vector] = D::load_line(panel.add(vector * D::Floats::LANES * D::GROUP));
        }
        for row in 0..R {
            let group = D::load_group(rows[row].add(k));
            for vector in 0..V {
                sums[row][vector] = D::dot(sums[row][vector], group, line[vector]);
            }
        }
    }
}
