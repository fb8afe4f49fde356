//! The dot products of Armv8.2: 16 tokens in four registers, half a panel at a time.

use std::arch::aarch64::*;

use crate::int8::add_products;
use crate::neighbors::bytes::{GROUP, PANEL};

/// The rows of a tile: with four vectors each, the sums fit into the registers, beside four of tokens and one of a row.
pub(super) const ROWS: usize = 6;
/// The registers of half a panel.
const VECTORS: usize = 4;
/// The elements of f32 or i32 in a register, which are as many tokens.
const LANES: usize = 4;

/// Multiplies up to [`ROWS`] rows by a panel.
///
/// # Safety
/// The processor has NEON and the dot products. `from` is valid for `rows` rows of `width` bytes, `panel` for `width / 4` lines of
/// [`PANEL`] elements, `biases` for [`PANEL`] elements, and so is each row of `to`; those begin `stride` elements apart.
pub(super) unsafe fn tile(
    rows: usize,
    from: *const i8,
    width: usize,
    panel: *const f32,
    biases: *const i32,
    to: *mut f32,
    stride: usize,
) {
    macro_rules! of {
        ($($count:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($count => unsafe { rows_of::<$count>(from, width, panel, biases, to, stride) },)*
                _ => debug_assert!(false, "a tile of {rows} rows"),
            }
        };
    }
    of!(1 2 3 4 5 6)
}

#[target_feature(enable = "neon,dotprod")]
unsafe fn rows_of<const R: usize>(
    from: *const i8,
    width: usize,
    panel: *const f32,
    biases: *const i32,
    to: *mut f32,
    stride: usize,
) {
    for first in (0..PANEL).step_by(VECTORS * LANES) {
        // SAFETY: the caller's promise; a group is four bytes, and two halves of four vectors are a line of the panel.
        unsafe {
            let bias: [int32x4_t; VECTORS] =
                std::array::from_fn(|vector| vld1q_s32(biases.add(first + vector * LANES)));
            let mut sums = [bias; R];
            for group in 0..width / GROUP {
                let line = panel.add(group * PANEL + first);
                let tokens: [int8x16_t; VECTORS] =
                    std::array::from_fn(|vector| vld1q_s8(line.add(vector * LANES).cast()));
                for row in 0..R {
                    // Four bytes, loaded as one f32: no computation looks at them as such.
                    let four = from.add(row * width + group * GROUP).cast::<f32>().read_unaligned();
                    for vector in 0..VECTORS {
                        sums[row][vector] = add_products(sums[row][vector], tokens[vector], four);
                    }
                }
            }
            for row in 0..R {
                for vector in 0..VECTORS {
                    let to = to.add(row * stride + first + vector * LANES);
                    vst1q_f32(to, vcvtq_f32_s32(sums[row][vector]));
                }
            }
        }
    }
}
