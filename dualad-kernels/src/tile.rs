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

/// What is fetched during a tile: a line with each [`BLOCK`] of products, `step` numbers after the one before. It may go beyond
/// what is there: nothing is read. Always one, and always the same number of products, so that the sums stay in registers.
#[derive(Debug, Clone, Copy)]
struct Next {
    start: *const f32,
    step: usize,
}

/// Left numbers that are multiplied before the next line is fetched.
const BLOCK: usize = 4;

#[inline(always)]
unsafe fn tile<S: Simd>(rows: usize, left: Left, panel: *const f32, next: Next, finish: &Finish) {
    macro_rules! of {
        ($($count:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($count if $count <= S::ROWS => unsafe {
                    // Half a panel's columns, or fewer: the other half's products are not made.
                    if finish.columns <= S::LANES {
                        rows_of::<S, $count, 1>(left, panel, next, finish)
                    } else {
                        rows_of::<S, $count, VECTORS>(left, panel, next, finish)
                    }
                },)*
                _ => debug_assert!(false, "a tile of {rows} rows"),
            }
        };
    }
    of!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// Where a column's left rows are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeftColumn {
    /// Packed: tiles of [`Simd::ROWS`] rows, one after the other.
    Packed(*const f32),
    /// Each row `stride` after the one before.
    Dense { start: *const f32, stride: usize },
    /// Pointers to the rows' segments, as in [`Left::Rows`], one tile's after the other's.
    Pointers { pointers: *const *const f32, segments: usize },
}

/// Rows of a product that one panel, or a few, are multiplied with: tile after tile, and of each tile panel after panel, so that
/// what a tile costs beside its products is paid once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Rows in all.
    pub(crate) rows: usize,
    pub(crate) left: LeftColumn,
    /// Numbers of a left row.
    pub(crate) depth: usize,
    /// The first panel; the others are `panel_stride` apart.
    pub(crate) panel: *const f32,
    pub(crate) panels: usize,
    pub(crate) panel_stride: usize,
    /// Columns of the last panel that there are.
    pub(crate) last_columns: usize,
    /// What is multiplied after this panel, as long; fetched on the way. May be null.
    pub(crate) next_panel: *const f32,
    /// For the first row and panel, without residuals: those are below.
    pub(crate) finish: Finish,
    /// The residual of row 0, or null; rows are `residual_stride` apart, and begin again after `period`.
    pub(crate) residual: *const f32,
    pub(crate) residual_stride: usize,
    pub(crate) period: usize,
    /// The residual's row of the first row.
    pub(crate) first: usize,
}

kernel! {
    /// All rows of a column.
    ///
    /// # Safety
    /// The left rows are good for `depth` numbers, the panel for as many lines, and the next panel, where it is not null, too;
    /// `finish.out` is good for `finish.columns` numbers in each row and nobody else uses them; the residual, where it is not
    /// null, is good for as many in `period` rows, and `first` is less than that.
    pub(crate) unsafe fn column(column: &Column) = column_body
}

/// Numbers of a cache line.
const LINE: usize = 16;

#[inline(always)]
unsafe fn column_body<S: Simd>(column: &Column) {
    let tiles = column.rows.div_ceil(S::ROWS);
    let size = column.depth * VECTORS * S::LANES;
    // Each tile fetches its share of the next panel, a line with each of its blocks.
    let share = column.depth.div_ceil(BLOCK) * LINE;
    let mut residual_row = column.first;
    for index in 0..tiles {
        let rows = (column.rows - index * S::ROWS).min(S::ROWS);
        // SAFETY: the caller's promise; the last tile may have fewer rows, and what is fetched lies within the next panel.
        unsafe {
            let wanted = !column.next_panel.is_null() && index * share < size;
            let start = if wanted { column.next_panel.wrapping_add(index * share) } else { column.panel };
            let next = Next { start, step: if wanted { LINE } else { 0 } };
            let mut residuals = [std::ptr::null(); MOST_ROWS];
            let mut finish = column.finish;
            finish.out = finish.out.wrapping_add(index * S::ROWS * finish.stride);
            if !column.residual.is_null() {
                for pointer in residuals.iter_mut().take(rows) {
                    *pointer = column.residual.add(residual_row * column.residual_stride);
                    residual_row = if residual_row + 1 == column.period { 0 } else { residual_row + 1 };
                }
            }
            let mut dense = [std::ptr::null(); MOST_ROWS];
            let left = match column.left {
                LeftColumn::Packed(start) => {
                    Left::Packed { start: start.add(index * S::ROWS * column.depth), length: column.depth }
                }
                LeftColumn::Dense { start, stride } => {
                    for (row, pointer) in dense.iter_mut().enumerate().take(rows) {
                        *pointer = start.add((index * S::ROWS + row) * stride);
                    }
                    Left::Rows { pointers: dense.as_ptr(), segments: 1, length: column.depth }
                }
                LeftColumn::Pointers { pointers, segments } => Left::Rows {
                    pointers: pointers.add(index * segments * S::ROWS),
                    segments,
                    length: column.depth / segments,
                },
            };
            for panel in 0..column.panels {
                if !column.residual.is_null() {
                    finish.residuals = residuals.as_ptr();
                }
                if panel + 1 == column.panels {
                    finish.columns = column.last_columns;
                }
                tile::<S>(rows, left, column.panel.add(panel * column.panel_stride), next, &finish);
                finish.out = finish.out.wrapping_add(VECTORS * S::LANES);
                if !finish.bias.is_null() {
                    finish.bias = finish.bias.wrapping_add(VECTORS * S::LANES);
                }
                for pointer in residuals.iter_mut().take(rows) {
                    *pointer = pointer.wrapping_add(VECTORS * S::LANES);
                }
            }
        }
    }
}

/// Of some rows, each some vectors wide.
type Sums<S, const R: usize, const V: usize> = [[<S as Simd>::V; V]; R];

#[inline(always)]
unsafe fn rows_of<S: Simd, const R: usize, const V: usize>(left: Left, panel: *const f32, next: Next, finish: &Finish) {
    // SAFETY: the caller promises what the pointers are good for.
    unsafe {
        // What the sums will be added to, or written over, comes while they are made.
        for row in 0..R {
            S::prefetch_to_write(finish.out.wrapping_add(row * finish.stride));
            if !finish.residuals.is_null() {
                S::prefetch_near(*finish.residuals.add(row));
            }
        }
        // By value: sums whose address somebody has are stored at every step.
        let sums = match left {
            Left::Rows { pointers, segments, length } => {
                sums_of_rows::<S, R, V>(pointers, segments, length, panel, next)
            }
            Left::Packed { start, length } => sums_of_packed::<S, R, V>(start, length, panel, next),
        };
        if finish.columns == V * S::LANES {
            finish_whole::<S, R, V>(sums, finish);
        } else {
            finish_partly::<S, R, V>(sums, finish);
        }
    }
}

#[inline(always)]
unsafe fn sums_of_rows<S: Simd, const R: usize, const V: usize>(
    pointers: *const *const f32,
    segments: usize,
    length: usize,
    mut panel: *const f32,
    Next { start: mut next, step }: Next,
) -> Sums<S, R, V> {
    // SAFETY: as above; the loops stay within.
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
                    add_products::<S, R, V>(factors, panel.add(index * VECTORS * S::LANES), &mut sums);
                }
                panel = panel.add(BLOCK * VECTORS * S::LANES);
                k += BLOCK;
            }
            while k < length {
                add_products::<S, R, V>(std::array::from_fn(|row| rows[row].add(k)), panel, &mut sums);
                panel = panel.add(VECTORS * S::LANES);
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
    Next { start: mut next, step }: Next,
) -> Sums<S, R, V> {
    // SAFETY: as above; the loops stay within.
    unsafe {
        let mut sums: Sums<S, R, V> = [[S::splat(0.0); V]; R];
        for _ in 0..length / BLOCK {
            S::prefetch(next);
            next = next.wrapping_add(step);
            for index in 0..BLOCK {
                let factors = std::array::from_fn(|row| start.add(index * S::ROWS + row));
                add_products::<S, R, V>(factors, panel.add(index * VECTORS * S::LANES), &mut sums);
            }
            (start, panel) = (start.add(BLOCK * S::ROWS), panel.add(BLOCK * VECTORS * S::LANES));
        }
        for _ in 0..length % BLOCK {
            add_products::<S, R, V>(std::array::from_fn(|row| start.add(row)), panel, &mut sums);
            (start, panel) = (start.add(S::ROWS), panel.add(VECTORS * S::LANES));
        }
        sums
    }
}

/// A number of each row times a line of the panel.
#[inline(always)]
unsafe fn add_products<S: Simd, const R: usize, const V: usize>(
    factors: [*const f32; R],
    line: *const f32,
    sums: &mut Sums<S, R, V>,
) {
    // SAFETY: as above.
    unsafe {
        let right: [S::V; V] = std::array::from_fn(|vector| S::load(line.add(vector * S::LANES)));
        for row in 0..R {
            let x = S::splat(*factors[row]);
            for vector in 0..V {
                sums[row][vector] = S::mul_add(x, right[vector], sums[row][vector]);
            }
        }
    }
}

/// # Safety
/// There is a residual for each row, good for all columns.
#[inline(always)]
unsafe fn with_residual<S: Simd, const R: usize, const V: usize>(
    sums: Sums<S, R, V>,
    residuals: *const *const f32,
) -> Sums<S, R, V> {
    // SAFETY: the caller's promise.
    std::array::from_fn(|row| unsafe {
        let residual = *residuals.add(row);
        std::array::from_fn(|vector| S::add(sums[row][vector], S::load(residual.add(vector * S::LANES))))
    })
}

/// One thing after the other for all sums, which stay in their registers: what is asked is asked once a tile.
#[inline(always)]
unsafe fn finish_whole<S: Simd, const R: usize, const V: usize>(mut sums: Sums<S, R, V>, finish: &Finish) {
    // SAFETY: all pointers are good for all columns, as the caller promises.
    unsafe {
        if finish.accumulate {
            for row in 0..R {
                for vector in 0..V {
                    let before = S::load(finish.out.add(row * finish.stride + vector * S::LANES));
                    sums[row][vector] = S::add(sums[row][vector], before);
                }
            }
        }
        if !finish.bias.is_null() {
            for vector in 0..V {
                let bias = S::load(finish.bias.add(vector * S::LANES));
                for row in 0..R {
                    sums[row][vector] = S::add(sums[row][vector], bias);
                }
            }
        }
        if !finish.residuals.is_null() && !finish.residual_last {
            sums = with_residual::<S, R, V>(sums, finish.residuals);
        }
        match finish.activation {
            Activation::Identity => {}
            Activation::Relu => {
                let zero = S::splat(0.0);
                for row in 0..R {
                    for vector in 0..V {
                        // NaN stays NaN: it is the second operand.
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
        if !finish.residuals.is_null() && finish.residual_last {
            sums = with_residual::<S, R, V>(sums, finish.residuals);
        }
        for row in 0..R {
            for vector in 0..V {
                S::store(finish.out.add(row * finish.stride + vector * S::LANES), sums[row][vector]);
            }
        }
    }
}

/// Columns that a vector would go beyond: through buffers.
#[inline(never)]
unsafe fn finish_partly<S: Simd, const R: usize, const V: usize>(sums: Sums<S, R, V>, finish: &Finish) {
    let (mut before, mut residual, mut after) = ([0.0f32; WIDEST], [0.0f32; WIDEST], [0.0f32; WIDEST]);
    for (row, sums) in sums.into_iter().enumerate() {
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
            finish_row::<S, V>(sums, finish, before.as_ptr(), after.as_mut_ptr(), residual_at);
            std::ptr::copy_nonoverlapping(after.as_ptr(), out, finish.columns);
        }
    }
}

#[inline(always)]
unsafe fn finish_row<S: Simd, const V: usize>(
    sums: [S::V; V],
    finish: &Finish,
    before: *const f32,
    out: *mut f32,
    residual: *const f32,
) {
    for (vector, sum) in sums.into_iter().enumerate() {
        let at = vector * S::LANES;
        // SAFETY: the caller's pointers are good for a panel's columns.
        unsafe {
            let mut y = sum;
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
