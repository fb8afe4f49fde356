//! AVX-512 VNNI: 32 tokens in two registers.

use std::arch::x86_64::*;

use crate::neighbors::bytes::{GROUP, PANEL};

/// The rows of a tile: with two vectors each, the sums fit into the registers.
pub(super) const ROWS: usize = 12;

/// Multiplies up to [`ROWS`] rows by a panel.
///
/// # Safety
/// The processor has AVX-512 F and VNNI. `from` is valid for `rows` rows of `width` bytes, `panel` for `width / 4` lines of
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
    of!(1 2 3 4 5 6 7 8 9 10 11 12)
}

#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn rows_of<const R: usize>(
    from: *const i8,
    width: usize,
    panel: *const f32,
    biases: *const i32,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise; a group is four bytes, and two vectors are a line of the panel.
    unsafe {
        let bias = [_mm512_loadu_si512(biases.cast()), _mm512_loadu_si512(biases.add(16).cast())];
        let mut sums = [bias; R];
        for group in 0..width / GROUP {
            let line = panel.add(group * PANEL);
            let tokens = [_mm512_loadu_si512(line.cast()), _mm512_loadu_si512(line.add(16).cast())];
            for row in 0..R {
                let four = from.add(row * width + group * GROUP).cast::<i32>().read_unaligned();
                let four = _mm512_set1_epi32(four);
                for part in 0..2 {
                    sums[row][part] = _mm512_dpbusd_epi32(sums[row][part], tokens[part], four);
                }
            }
        }
        for row in 0..R {
            for part in 0..2 {
                _mm512_storeu_ps(to.add(row * stride + part * 16), _mm512_cvtepi32_ps(sums[row][part]));
            }
        }
    }
}
