//! Products of vectors of bytes, for processors with AVX-512 VNNI.

use crate::memory::Buffer;
use crate::simd::isa::Isa;

/// The tokens of a panel.
const PANEL: usize = 32;
/// The rows of a tile: with two vectors each, the sums fit into the registers.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 12;
/// The elements whose products an instruction adds up.
pub(crate) const GROUP: usize = 4;
/// A token's bias from which on no threshold is larger.
pub(crate) const ALWAYS: i32 = 1 << 29;

/// Returns `true` if this instruction set has [`ByteMatrix`].
pub(crate) fn has_bytes(isa: Isa) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        isa.0 == crate::simd::isa::IsaKind::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        false
    }
}

/// Tokens of bytes, each with a bias, laid out in panels. In a panel, the first four elements of every token are followed by the
/// next four of every token, and so on. An element x is stored as x + 128.
#[derive(Debug)]
pub(crate) struct ByteMatrix {
    width: usize,
    count: usize,
    /// Four bytes are one element of the buffer.
    panels: Buffer,
    biases: Vec<i32>,
}

impl ByteMatrix {
    /// Lays out `values`, `[tokens, width]` between -127 and 127. `width` is a multiple of [`GROUP`].
    pub(crate) fn new(values: &[i8], width: usize, biases: &[i32]) -> Self {
        let count = biases.len();
        assert!(width.is_multiple_of(GROUP) && values.len() == count * width, "the sides of a byte matrix");
        let padded = count.next_multiple_of(PANEL);
        let mut panels = Buffer::zeros(padded * width / GROUP);
        for (token, values) in values.chunks_exact(width).enumerate() {
            let first = token / PANEL * PANEL * width / GROUP + token % PANEL;
            for (group, values) in values.as_chunks::<GROUP>().0.iter().enumerate() {
                let stored = values.map(|x| (i32::from(x) + 128) as u8);
                panels[first + group * PANEL] = f32::from_bits(u32::from_le_bytes(stored));
            }
        }
        let mut biases = biases.to_vec();
        biases.resize(padded, 0);
        Self { width, count, panels, biases }
    }

    /// The number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Computes the products of rows `[rows, width]` and all tokens: sum of (token + 128) row + bias, exact up to 2^24. Rows of `out`
    /// begin `stride` elements apart; elements up to the next multiple of 32 are overwritten.
    ///
    /// # Panics
    /// If the processor lacks the instructions, or `out` is too small.
    pub(crate) fn products(&self, rows: &[i8], out: &mut [f32], stride: usize) {
        let (count, padded) = (rows.len() / self.width, self.biases.len());
        if count == 0 || padded == 0 {
            return;
        }
        assert!(stride >= padded && (count - 1) * stride + padded <= out.len(), "the result of a byte product");
        #[cfg(target_arch = "x86_64")]
        {
            assert!(
                std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512vnni")
            );
            for (index, biases) in self.biases.chunks_exact(PANEL).enumerate() {
                let panel = &self.panels[index * PANEL * self.width / GROUP..];
                for first in (0..count).step_by(ROWS) {
                    let tile = (count - first).min(ROWS);
                    let from = rows[first * self.width..].as_ptr();
                    let to = out[first * stride + index * PANEL..].as_mut_ptr();
                    // SAFETY: the processor has the instructions; the tile's rows, the panel and its biases have as many elements,
                    // and so have the rows of `out`, all as asserted above.
                    unsafe { x86::tile(tile, from, self.width, panel.as_ptr(), biases.as_ptr(), to, stride) };
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.products_plain(rows, out, stride);
    }

    /// The definition of [`Self::products`], without padding.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn products_plain(&self, rows: &[i8], out: &mut [f32], stride: usize) {
        for (row, out) in rows.chunks_exact(self.width).zip(out.chunks_mut(stride)) {
            for token in 0..self.count {
                let first = token / PANEL * PANEL * self.width / GROUP + token % PANEL;
                let stored = |at: usize| self.panels[first + at / GROUP * PANEL].to_bits().to_le_bytes()[at % GROUP];
                let sum: i32 = row.iter().enumerate().map(|(at, &x)| i32::from(x) * i32::from(stored(at))).sum();
                out[token] = (sum + self.biases[token]) as f32;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{GROUP, PANEL};

    /// Multiplies up to [`super::ROWS`] rows by a panel.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::TestValues;

    #[test]
    fn byte_products_equal_their_definition() {
        if !Isa::available().into_iter().any(has_bytes) {
            println!("skipped: this processor has no AVX-512 VNNI");
            return;
        }
        let mut random = TestValues::new(0);
        for (rows, width, count) in
            [(1, 4, 1), (3, 8, 31), (12, 64, 32), (13, 64, 33), (48, 128, 1024), (5, 12, 100), (0, 4, 5), (2, 4, 0)]
        {
            let mut bytes =
                |count: usize| -> Vec<i8> { random.take(count).iter().map(|x| (x * 127.4) as i8).collect() };
            let (left, right) = (bytes(rows * width), bytes(count * width));
            let biases: Vec<i32> = bytes(count).into_iter().map(|x| i32::from(x) * 1000).collect();
            let matrix = ByteMatrix::new(&right, width, &biases);
            let stride = count.next_multiple_of(PANEL) + 7;
            let (mut found, mut expected) = (vec![0.5; rows * stride], vec![0.5; rows * stride]);
            matrix.products(&left, &mut found, stride);
            matrix.products_plain(&left, &mut expected, stride);
            for row in 0..rows {
                assert_eq!(found[row * stride..][..count], expected[row * stride..][..count], "{rows} {width} {count}");
                for token in 0..count {
                    let product: i32 = (0..width)
                        .map(|at| (i32::from(right[token * width + at]) + 128) * i32::from(left[row * width + at]))
                        .sum();
                    assert_eq!(found[row * stride + token], (product + biases[token]) as f32);
                }
            }
        }
    }
}
