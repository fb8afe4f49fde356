//! Dropout whose mask is a function of a counter-based random stream.

use crate::vectorized::vectorized;

/// A random stream whose blocks of four values can be computed in any order.
pub trait UniformBlocks: Copy {
    /// Returns blocks `block` to `block + 7`, uniform on [0, 1): element `[word][lane]` is value `word` of block `block + lane`.
    ///
    /// Mark an implementation `#[inline(always)]`: it is then compiled for the instruction set of its caller.
    fn eight_blocks(self, block: u64) -> [[f32; 8]; 4];
}

vectorized! {
    /// Sets each element to zero with `probability` and scales the others by 1 / (1 - `probability`).
    ///
    /// Element i of `x` is element `first` + i of the random stream. `kept`, if given, receives 1 for each element that is kept and
    /// 0 for each that is dropped.
    pub fn dropout<S: UniformBlocks>(
        x: &mut [f32], probability: f32, stream: S, first: usize, kept: Option<&mut [u8]>,
    ) = dropout_body
}

/// The elements of eight blocks.
const ELEMENTS: usize = 32;

#[inline(always)]
fn dropout_body<const FMA: bool, S: UniformBlocks>(
    x: &mut [f32],
    probability: f32,
    stream: S,
    first: usize,
    mut kept: Option<&mut [u8]>,
) {
    let scale = 1.0 / (1.0 - probability);
    let mut at = 0;
    while at < x.len() {
        // Blocks begin at multiples of four: up to three elements of the first block are skipped.
        let (block, skipped) = ((first + at) / 4, (first + at) % 4);
        let values = stream.eight_blocks(block as u64);
        let mut keep = [false; ELEMENTS];
        for lane in 0..ELEMENTS / 4 {
            for word in 0..4 {
                keep[4 * lane + word] = values[word][lane] >= probability;
            }
        }
        let keep = &keep[skipped..];
        let end = x.len().min(at + keep.len());
        for (x, keep) in x[at..end].iter_mut().zip(keep) {
            *x = if *keep { *x * scale } else { 0.0 };
        }
        if let Some(kept) = &mut kept {
            for (kept, keep) in kept[at..end].iter_mut().zip(keep) {
                *kept = u8::from(*keep);
            }
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream without structure: a hash of the element's index.
    #[derive(Clone, Copy)]
    struct Hash;

    impl Hash {
        fn at(index: u64) -> f32 {
            (index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / (1u32 << 24) as f32
        }
    }

    impl UniformBlocks for Hash {
        #[inline(always)]
        fn eight_blocks(self, block: u64) -> [[f32; 8]; 4] {
            std::array::from_fn(|word| std::array::from_fn(|lane| Self::at(4 * (block + lane as u64) + word as u64)))
        }
    }

    #[test]
    fn dropped_elements_are_those_of_the_stream() {
        for first in [0, 1, 2, 3, 4, 31, 32, 37] {
            for count in [0, 1, 2, 3, 31, 32, 33, 100, 200] {
                let values: Vec<f32> = (0..count).map(|index| 1.0 + index as f32).collect();
                let (mut found, mut alone, mut kept) = (values.clone(), values.clone(), vec![2; count]);
                dropout(&mut found, 0.3, Hash, first, Some(&mut kept));
                dropout(&mut alone, 0.3, Hash, first, None);
                assert_eq!(found, alone);
                for (index, value) in values.iter().enumerate() {
                    let keep = Hash::at((first + index) as u64) >= 0.3;
                    let expected = if keep { value * (1.0 / (1.0 - 0.3)) } else { 0.0 };
                    assert_eq!((found[index], kept[index]), (expected, u8::from(keep)), "{first} {index}");
                }
            }
        }
    }
}
