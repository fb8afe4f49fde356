//! A bank of tokens that is laid out for the search.

use rayon::prelude::*;

use crate::gemm::Packed;
use crate::memory::Buffer;
use crate::neighbors::basis::{Basis, ROUNDOFF};
use crate::simd::isa::Isa;

/// The coordinates of a head, the tail apart. Fewer let too many tokens through, and more cost too much for all.
const HEAD: usize = 31;
/// The tokens that the queries of a block are compared with at a time: heads and bounds stay in the second-level cache.
pub(crate) const CHUNK: usize = 1024;
/// Rows of coordinates are padded to vectors.
const PADDING: usize = 16;
/// The free parameter of (x + y)^2 <= (1 + SPLIT) x^2 + (1 + 1 / SPLIT) y^2, with a distance x and an error y that is about a
/// thousandth of it.
pub(crate) const SPLIT: f64 = 1e-3;

/// A bank of tokens, in which the exact nearest token of a query is found without computing most distances.
///
/// The search compares each query with all tokens by their first principal components, in a matrix product of about 1/12 of the
/// work for 384 dimensions. The distance of these components and of the lengths of the rests is a lower bound of the distance. Where
/// it is smaller than the nearest distance so far, 128 components give a better bound, and where that is smaller too, the distance
/// is computed. The bounds allow for rounding errors, so the results are those of [`nearest_plain`](crate::nearest_plain), to the
/// bit, on any number of threads.
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
    /// The heads of each chunk's tokens. With the bias, the product with a query's head is larger for a smaller lower bound.
    pub(crate) heads: Vec<Packed>,
    /// The coordinates at each position, `[tokens, sizes.row]`: then the tail, then zeros.
    pub(crate) rows: Buffer,
    /// For each position, the amount by which the squared bound from `rows` is too large at most.
    pub(crate) margins: Vec<f32>,
}

/// The sizes of coordinates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The coordinates, the tail apart.
    pub(crate) coordinates: usize,
    /// The coordinates of a head, the tail apart.
    pub(crate) head: usize,
    /// The elements from one row of coordinates to the next.
    pub(crate) row: usize,
}

impl Sizes {
    /// The factor of the squared lengths of query and token that bounds the rounding error of twice the product of their heads.
    pub(crate) fn product_error(self) -> f64 {
        4.0 * (self.head + 8) as f64 * ROUNDOFF
    }

    /// Writes the head of a row: the first coordinates and the length of the rest. Returns its squared length.
    pub(crate) fn write_head(self, row: &[f32], head: &mut [f32]) -> f64 {
        let (first, rest) = row[..self.coordinates + 1].split_at(self.head);
        head[..self.head].copy_from_slice(first);
        head[self.head] = rest.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt() as f32;
        head.iter().map(|&x| f64::from(x).powi(2)).sum()
    }
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
        let basis = Basis::new(isa, tokens, dims);
        let coordinates = basis.len();
        let sizes =
            Sizes { coordinates, head: coordinates.min(HEAD), row: (coordinates + 1).next_multiple_of(PADDING) };
        let chunks = count.div_ceil(CHUNK);
        let order: Vec<u32> = (0..chunks).flat_map(|first| (first as u32..count as u32).step_by(chunks)).collect();
        let mut owned = Buffer::zeros(tokens.len());
        owned.copy_from_slice(tokens);
        let mut bank = Self {
            isa,
            dims,
            tokens: owned,
            basis,
            sizes,
            order,
            heads: Vec::with_capacity(chunks),
            rows: Buffer::zeros(count * sizes.row),
            margins: vec![0.0; count],
        };
        bank.lay_out();
        bank
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

    /// Computes coordinates, heads and margins, chunk by chunk.
    fn lay_out(&mut self) {
        let Self { isa, dims, tokens, basis, sizes, order, rows, margins, .. } = self;
        let (isa, dims, width, row) = (*isa, *dims, sizes.head + 1, sizes.row);
        let (tokens, basis, sizes) = (&*tokens, &*basis, &*sizes);
        let lay_out_chunk = |((order, rows), margins): ((&[u32], &mut [f32]), &mut [f32])| {
            let vectors: Vec<f32> =
                order.iter().flat_map(|&index| &tokens[index as usize * dims..][..dims]).copied().collect();
            let (mut heads, mut biases) = (vec![0.0; order.len() * width], vec![0.0; order.len()]);
            basis.coordinates(&vectors, rows, row, |position, row, described| {
                let head = &mut heads[position * width..][..width];
                if !described.error.is_finite() {
                    // Such a token is always looked at: the bias is infinite, and the rest must not make NaN of it.
                    row.fill(0.0);
                    (biases[position], margins[position]) = (f32::INFINITY, f32::INFINITY);
                    return;
                }
                row[sizes.coordinates] = described.tail as f32;
                let squared = sizes.write_head(row, head);
                let margin = (1.0 + 1.0 / SPLIT) * described.error.powi(2);
                margins[position] = (margin as f32).next_up();
                let rounding = sizes.product_error() * described.squared;
                biases[position] = (((margin + rounding - squared) / 2.0) as f32).next_up();
            });
            Packed::new(isa, &heads, width, Some(&biases))
        };
        let chunks = order.par_chunks(CHUNK).zip(rows.par_chunks_mut(CHUNK * row)).zip(margins.par_chunks_mut(CHUNK));
        let mut heads: Vec<Packed> = chunks.with_max_len(1).map(lay_out_chunk).collect();
        Packed::gather(&mut heads);
        self.heads = heads;
    }
}
