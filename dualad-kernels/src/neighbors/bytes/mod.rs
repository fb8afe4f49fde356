//! Products of vectors of bytes, for processors that add up four of them in one instruction: AVX-512 VNNI, and the dot products
//! of Armv8.2 and later.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::memory::Buffer;
use crate::simd::isa::Isa;

/// The tokens of a panel.
const PANEL: usize = 32;
/// The elements whose products an instruction adds up.
pub(crate) const GROUP: usize = 4;
/// The number that is added to an element when it is stored: x86-64 multiplies unsigned bytes by signed ones.
pub(crate) const SHIFT: i32 = if cfg!(target_arch = "x86_64") { 128 } else { 0 };
/// A token's bias from which on no threshold is larger.
pub(crate) const ALWAYS: i32 = 1 << 29;

/// Returns `true` if this instruction set has [`ByteMatrix`].
pub(crate) fn has_bytes(isa: Isa) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        isa.0 == crate::simd::isa::IsaKind::Avx512 && std::arch::is_x86_feature_detected!("avx512vnni")
    }
    #[cfg(target_arch = "aarch64")]
    {
        isa.0 == crate::simd::isa::IsaKind::Neon && std::arch::is_aarch64_feature_detected!("dotprod")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = isa;
        false
    }
}

/// Tokens of bytes, each with a bias, laid out in panels. In a panel, the first four elements of every token are followed by the
/// next four of every token, and so on. An element x is stored as x + [`SHIFT`].
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
                let stored = values.map(|x| (i32::from(x) + SHIFT) as u8);
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

    /// Computes the products of rows `[rows, width]` and all tokens: sum of (token + [`SHIFT`]) row + bias, exact up to 2^24. Rows of
    /// `out` begin `stride` elements apart; elements up to the next multiple of 32 are overwritten.
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
            self.tiles(x86::ROWS, rows, out, stride, |tile, from, panel, biases, to| {
                // SAFETY: the processor has the instructions; the pointers are those of `tiles`.
                unsafe { x86::tile(tile, from, self.width, panel, biases, to, stride) };
            });
        }
        #[cfg(target_arch = "aarch64")]
        {
            assert!(std::arch::is_aarch64_feature_detected!("dotprod"));
            self.tiles(arm::ROWS, rows, out, stride, |tile, from, panel, biases, to| {
                // SAFETY: as above.
                unsafe { arm::tile(tile, from, self.width, panel, biases, to, stride) };
            });
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        self.products_plain(rows, out, stride);
    }

    /// Calls `multiply` for every tile of at most `height` rows and every panel: with the number of rows, the first row, the panel,
    /// its biases and the first result. The tile's rows have `width` elements, the panel `width / 4` lines of [`PANEL`] elements,
    /// and the biases and each row of `out` [`PANEL`] elements.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn tiles(
        &self,
        height: usize,
        rows: &[i8],
        out: &mut [f32],
        stride: usize,
        multiply: impl Fn(usize, *const i8, *const f32, *const i32, *mut f32),
    ) {
        let count = rows.len() / self.width;
        for (index, biases) in self.biases.chunks_exact(PANEL).enumerate() {
            let panel = &self.panels[index * PANEL * self.width / GROUP..][..PANEL * self.width / GROUP];
            for first in (0..count).step_by(height) {
                let tile = (count - first).min(height);
                let from = &rows[first * self.width..][..tile * self.width];
                let to = &mut out[first * stride + index * PANEL..][..(tile - 1) * stride + PANEL];
                multiply(tile, from.as_ptr(), panel.as_ptr(), biases.as_ptr(), to.as_mut_ptr());
            }
        }
    }

    /// The definition of [`Self::products`], without padding.
    #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    fn products_plain(&self, rows: &[i8], out: &mut [f32], stride: usize) {
        for (row, out) in rows.chunks_exact(self.width).zip(out.chunks_mut(stride)) {
            for token in 0..self.count {
                let first = token / PANEL * PANEL * self.width / GROUP + token % PANEL;
                let stored = |at: usize| self.panels[first + at / GROUP * PANEL].to_bits().to_le_bytes()[at % GROUP];
                let shifted = |at: usize| i32::from(stored(at).wrapping_sub(SHIFT as u8) as i8) + SHIFT;
                let sum: i32 = row.iter().enumerate().map(|(at, &x)| i32::from(x) * shifted(at)).sum();
                out[token] = (sum + self.biases[token]) as f32;
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
            println!("skipped: this processor has neither AVX-512 VNNI nor dot products");
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
                        .map(|at| (i32::from(right[token * width + at]) + SHIFT) * i32::from(left[row * width + at]))
                        .sum();
                    assert_eq!(found[row * stride + token], (product + biases[token]) as f32);
                }
            }
        }
    }
}
