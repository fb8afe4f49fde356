//! Heads: few values of a vector whose distances are lower bounds of the vectors' distances, compared by products.

use rayon::prelude::*;

use crate::gemm::{Packed, product_here};
use crate::neighbors::basis::ROUNDOFF;
use crate::neighbors::bytes::{ALWAYS, ByteMatrix, GROUP, SHIFT, has_bytes};
use crate::neighbors::rows::{CHUNK, Coordinates, SPLIT, Sizes};
use crate::simd::isa::Isa;

/// The values of a head of f32, the last one of which is the length of the rest. Fewer let too many tokens through, and more cost
/// too much for all.
const FLOATS: usize = 32;
/// The values of a head of bytes.
const BYTES: usize = 64;
/// The part of the tokens whose heads may not fit into the range of bytes, and the part whose errors may be larger than the common
/// bound. They are always looked at.
const OUTLIERS: f64 = 2e-4;
/// Queries may be a little larger than tokens.
const ROOM: f64 = 1.1;
/// A sum of underflowing products is wrong by less.
pub(crate) const UNDERFLOW: f64 = 1e-35;

/// Returns the number of values of a head.
pub(crate) fn head_values(isa: Isa) -> usize {
    if has_bytes(isa) { BYTES } else { FLOATS }
}

/// The heads of a bank.
#[derive(Debug)]
pub(crate) enum Heads {
    /// One matrix for each chunk. The bias contains half the squared length of the token's head, and its errors.
    Floats(Vec<Packed>),
    /// Rounded to multiples of a step.
    Bytes(ByteHeads),
}

#[derive(Debug)]
pub(crate) struct ByteHeads {
    chunks: Vec<ByteMatrix>,
    step: f64,
    /// The value that is subtracted from each length of the rest.
    rest: f64,
    /// The bound on the tokens' errors, rounding to the step included.
    error: f64,
}

/// The heads of a block of queries.
pub(crate) enum QueryHeads {
    Floats(Vec<f32>),
    Bytes(Vec<i8>),
}

/// The condition of one query: a token whose distance is at most d has a product of at least `offset - weight (d + error)^2`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition {
    offset: f64,
    weight: f64,
    error: f64,
}

impl Condition {
    /// Returns the smallest product of a token that is not farther than `distance`.
    pub(crate) fn threshold(self, distance: f64) -> f32 {
        ((self.offset - self.weight * (distance + self.error).powi(2) - UNDERFLOW) as f32).next_down()
    }
}

impl Heads {
    /// Lays out the heads of rows of coordinates. `described` has one entry for each row.
    pub(crate) fn new(isa: Isa, sizes: Sizes, rows: &[f32], described: &[Coordinates]) -> Self {
        let width = sizes.head + 1;
        let mut heads = vec![0.0; described.len() * width];
        let squares: Vec<f64> = heads
            .par_chunks_mut(width)
            .zip(rows.par_chunks(sizes.row))
            .map(|(head, row)| sizes.write_head(row, head))
            .collect();
        if has_bytes(isa) {
            return Self::Bytes(ByteHeads::new(&mut heads, width, described));
        }
        let chunk = |((heads, squares), described): ((&[f32], &[f64]), &[Coordinates])| {
            let bias = |(squared, described): (&f64, &Coordinates)| {
                // Such a token is always looked at.
                if !described.error.is_finite() {
                    return f32::INFINITY;
                }
                let rounding = product_error(sizes) * described.squared;
                (((described.margin() + rounding - squared) / 2.0) as f32).next_up()
            };
            let biases: Vec<f32> = squares.iter().zip(described).map(bias).collect();
            Packed::new(isa, heads, width, Some(&biases))
        };
        let chunks = heads.par_chunks(CHUNK * width).zip(squares.par_chunks(CHUNK)).zip(described.par_chunks(CHUNK));
        let mut chunks: Vec<Packed> = chunks.with_max_len(1).map(chunk).collect();
        Packed::gather(&mut chunks);
        Self::Floats(chunks)
    }

    /// Returns a value that products are less than, except for tokens that are always looked at.
    pub(crate) fn limit(&self) -> f32 {
        match self {
            Self::Floats(_) => f32::INFINITY,
            Self::Bytes(_) => (ALWAYS / 2) as f32,
        }
    }

    /// Returns the number of chunks.
    pub(crate) fn chunks(&self) -> usize {
        match self {
            Self::Floats(chunks) => chunks.len(),
            Self::Bytes(heads) => heads.chunks.len(),
        }
    }

    /// Returns the heads of queries with these rows of coordinates, and their conditions.
    pub(crate) fn queries(
        &self,
        sizes: Sizes,
        rows: &[f32],
        described: &[Coordinates],
    ) -> (QueryHeads, Vec<Condition>) {
        let width = sizes.head + 1;
        let mut floats = vec![0.0; described.len() * width];
        let all = floats.chunks_exact_mut(width).zip(rows.chunks_exact(sizes.row));
        let squares: Vec<f64> = all.map(|(head, row)| sizes.write_head(row, head)).collect();
        match self {
            Self::Floats(_) => {
                let condition = |(squared, described): (f64, &Coordinates)| Condition {
                    offset: (squared - product_error(sizes) * described.squared) / 2.0,
                    weight: (1.0 + SPLIT) / 2.0,
                    error: described.error,
                };
                let conditions = squares.into_iter().zip(described).map(condition).collect();
                (QueryHeads::Floats(floats), conditions)
            }
            Self::Bytes(heads) => {
                let mut bytes = vec![0; described.len() * width.next_multiple_of(GROUP)];
                let mut conditions = Vec::with_capacity(described.len());
                let all = floats.chunks_exact_mut(width).zip(bytes.chunks_exact_mut(width.next_multiple_of(GROUP)));
                for ((head, bytes), described) in all.zip(described) {
                    let rounded = heads.round(head, bytes);
                    let sum: i32 = bytes.iter().map(|&x| i32::from(x)).sum();
                    conditions.push(Condition {
                        offset: f64::from(squared_length(bytes)) / 2.0 + f64::from(SHIFT * sum),
                        weight: 0.5 * (1.0 + 1e-9) / heads.step.powi(2),
                        error: described.error + rounded + heads.error,
                    });
                }
                (QueryHeads::Bytes(bytes), conditions)
            }
        }
    }

    /// Computes the products of queries and the tokens of a chunk, in rows that begin `stride` elements apart. Returns the number of
    /// tokens.
    pub(crate) fn products(&self, chunk: usize, queries: &QueryHeads, out: &mut [f32], stride: usize) -> usize {
        match (self, queries) {
            (Self::Floats(chunks), QueryHeads::Floats(queries)) => {
                let packed = &chunks[chunk];
                product_here(queries, packed, out, stride, packed.inputs());
                packed.outputs()
            }
            (Self::Bytes(heads), QueryHeads::Bytes(queries)) => {
                heads.chunks[chunk].products(queries, out, stride);
                heads.chunks[chunk].len()
            }
            _ => 0,
        }
    }
}

/// The factor of the squared lengths of query and token that bounds the rounding error of twice the product of their heads.
fn product_error(sizes: Sizes) -> f64 {
    4.0 * (sizes.head + 8) as f64 * ROUNDOFF
}

fn squared_length(bytes: &[i8]) -> i32 {
    bytes.iter().map(|&x| i32::from(x).pow(2)).sum()
}

impl ByteHeads {
    fn new(heads: &mut [f32], width: usize, described: &[Coordinates]) -> Self {
        let usable = || heads.chunks_exact(width).zip(described).filter(|(_, described)| described.error.is_finite());
        let count = usable().count().max(1) as f64;
        // Both are values of f32: rounding uses the same ones.
        let rest = usable().map(|(head, _)| f64::from(head[width - 1])).sum::<f64>() / count;
        let rest = f64::from(rest as f32);
        let largest = usable().map(|(head, _)| {
            let largest = head[..width - 1].iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            f64::from(largest).max((f64::from(head[width - 1]) - rest).abs())
        });
        let step =
            f64::from((ROOM * without_outliers(largest.collect()) / 127.0) as f32).max(f64::from(f32::MIN_POSITIVE));
        let mut all = Self { chunks: Vec::new(), step, rest, error: 0.0 };
        let stride = width.next_multiple_of(GROUP);
        let mut bytes = vec![0; described.len() * stride];
        let errors: Vec<f64> = heads
            .par_chunks_mut(width)
            .zip(bytes.par_chunks_mut(stride))
            .zip(described)
            .map(|((head, bytes), described)| all.round(head, bytes) + described.error)
            .collect();
        all.error = without_outliers(errors.iter().copied().filter(|error| error.is_finite()).collect());
        let bias = |(bytes, &error): (&[i8], &f64)| {
            // Rounded up; an error may be NaN.
            if error <= all.error { -(squared_length(bytes) / 2) } else { ALWAYS }
        };
        let biases: Vec<i32> = bytes.chunks_exact(stride).zip(&errors).map(bias).collect();
        let chunks = bytes.par_chunks(CHUNK * stride).zip(biases.par_chunks(CHUNK));
        all.chunks = chunks.map(|(bytes, biases)| ByteMatrix::new(bytes, stride, biases)).collect();
        all
    }

    /// Rounds a head to multiples of the step. Returns the distance between the head and the rounded one.
    fn round(&self, head: &mut [f32], bytes: &mut [i8]) -> f64 {
        let last = head.len() - 1;
        head[last] -= self.rest as f32;
        let (step, inverse) = (self.step as f32, (1.0 / self.step) as f32);
        let mut squared = 0.0f32;
        for (x, byte) in head.iter().zip(bytes) {
            let rounded = (x * inverse).clamp(-127.0, 127.0).round_ties_even();
            *byte = rounded as i8;
            let error = x - rounded * step;
            squared += error * error;
        }
        // The rounding of these lines, a few units in the last place of each value.
        let values: f32 = head.iter().map(|x| x * x).sum();
        f64::from(squared).sqrt() * (1.0 + 1e-5) + 1e-6 * f64::from(values).sqrt()
    }
}

/// Returns the largest value apart from the outliers, 0 for none.
fn without_outliers(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let outliers = (values.len() as f64 * OUTLIERS) as usize;
    values.len().checked_sub(outliers + 1).map_or(0.0, |index| values[index])
}
