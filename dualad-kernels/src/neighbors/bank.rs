//! A bank of tokens that is laid out for the search.

use rayon::prelude::*;

use crate::memory::Buffer;
use crate::neighbors::basis::Basis;
use crate::neighbors::heads::{Heads, head_values};
use crate::neighbors::rows::{CHUNK, Coordinates, Sizes};
use crate::simd::isa::Isa;

/// A bank of tokens, in which the exact nearest token of a query is found without computing most distances.
///
/// The search compares each query with all tokens by their first principal components and the lengths of the rests: 32 values, or
/// 64 values of one byte where the processor has AVX-512 VNNI or the dot products of Armv8.2. This is a matrix product of about 1/12 of the work for 384
/// dimensions, and it gives a lower bound of each distance. Where the bound is smaller than the nearest distance so far, 128 values
/// give a better one, and where that is smaller too, the distance is computed. The bounds allow for rounding errors, so the results
/// are those of [`nearest_plain`](crate::nearest_plain), to the bit, on any number of threads.
///
/// ```
/// use dualad_kernels::{Isa, NearestNeighbors};
///
/// let bank = NearestNeighbors::new(Isa::best(), &[0.0, 0.0, 3.0, 4.0], 2);
/// let (mut distances, mut indices) = ([0.0; 2], [0; 2]);
/// bank.search(&[0.0, 0.0, 3.0, 5.0], &mut distances, &mut indices);
/// assert_eq!((distances, indices), ([0.0, 1.0], [0, 1]));
/// ```
#[derive(Debug)]
pub struct NearestNeighbors {
    pub(crate) isa: Isa,
    pub(crate) dims: usize,
    /// `[tokens, dims]`.
    pub(crate) tokens: Buffer,
    pub(crate) basis: Basis,
    pub(crate) sizes: Sizes,
    /// The token at each position: every chunk is spread over the whole bank, so that the first one has a token near every query.
    pub(crate) order: Vec<u32>,
    pub(crate) heads: Heads,
    /// The coordinates at each position, `[tokens, sizes.row]`: then the tail, then zeros.
    pub(crate) rows: Buffer,
    /// For each position, the amount by which the squared bound from `rows` is too large at most.
    pub(crate) margins: Vec<f32>,
}

impl NearestNeighbors {
    /// Lays out a bank, `[tokens, dims]` in row-major order. Tokens with NaN or infinity are infinitely far from every query. Runs
    /// on the current thread pool; the result does not depend on the number of threads.
    ///
    /// The time grows with the number of tokens, and with `dims` up to its third power: 0.1 to 1 s for 10,000 to 50,000 tokens of
    /// 384 dimensions.
    ///
    /// # Panics
    /// If `dims` is 0 or does not divide the length of `tokens`, or for 2^32 tokens and more.
    pub fn new(isa: Isa, tokens: &[f32], dims: usize) -> Self {
        assert!(dims > 0 && tokens.len().is_multiple_of(dims), "the tokens of a bank");
        let count = tokens.len() / dims;
        assert!(u32::try_from(count).is_ok(), "the number of tokens of a bank");
        let values = head_values(isa);
        let basis = Basis::new(isa, tokens, dims, values - 1);
        let sizes = Sizes::new(basis.len(), values);
        let chunks = count.div_ceil(CHUNK);
        let order: Vec<u32> = (0..chunks).flat_map(|first| (first as u32..count as u32).step_by(chunks)).collect();
        let mut owned = Buffer::zeros(tokens.len());
        owned.copy_from_slice(tokens);
        let mut rows = Buffer::zeros(count * sizes.row);
        let of_chunk = |(order, rows): (&[u32], &mut [f32])| -> Vec<Coordinates> {
            let vectors: Vec<f32> =
                order.iter().flat_map(|&index| &tokens[index as usize * dims..][..dims]).copied().collect();
            basis.coordinates(&vectors, rows, sizes)
        };
        let described = order.par_chunks(CHUNK).zip(rows.par_chunks_mut(CHUNK * sizes.row)).with_max_len(1);
        let described = described.map(of_chunk).collect::<Vec<_>>().concat();
        // Not finite for a token that is not usable.
        let margin = |described: &Coordinates| match described.error.is_finite() {
            true => (described.margin() as f32).next_up(),
            false => f32::INFINITY,
        };
        let margins = described.iter().map(margin).collect();
        let heads = Heads::new(isa, sizes, &rows, &described);
        Self { isa, dims, tokens: owned, basis, sizes, order, heads, rows, margins }
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns `true` if the bank has no tokens: every distance is infinite.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The number of dimensions of a token.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Returns a token.
    pub(crate) fn token(&self, index: u32) -> &[f32] {
        &self.tokens[index as usize * self.dims..][..self.dims]
    }
}
