//! The search for the nearest tokens of queries.

use rayon::prelude::*;

use crate::elementwise::squared_distance;
use crate::gemm::product_here;
use crate::memory::with_scratch;
use crate::neighbors::bank::{CHUNK, NearestNeighbors, SPLIT};
use crate::neighbors::basis::ROUNDOFF;
use crate::neighbors::plain::{Best, check_queries, nearest_of};
use crate::neighbors::scan::{distances, largest, not_less};

/// The queries of a task.
const BLOCK: usize = 48;
/// The elements from one query's bounds to the next: not a power of two, so that they fall into different sets of the cache.
const BOUNDS: usize = CHUNK + 16;
/// A sum of underflowing products is wrong by less.
const UNDERFLOW: f64 = 1e-35;

/// One query's search.
struct Query<'a> {
    vector: &'a [f32],
    /// The coordinates and the tail.
    row: &'a [f32],
    best: Best,
    /// False if the coordinates cannot be used, because the query is not finite or too long.
    bounded: bool,
    /// The bound on the coordinates' error.
    error: f64,
    /// The squared length of the head less the rounding error of the product.
    squared: f64,
}

/// The thresholds that follow from the nearest distance so far.
#[derive(Debug, Clone, Copy)]
struct Thresholds {
    /// The product of the heads is not less, for a token that may be nearer.
    product: f32,
    /// The squared distance of the rows is at most this and the token's margin.
    row: f32,
}

/// The memory of a task that grows as needed.
#[derive(Default)]
struct Lists {
    positions: Vec<u32>,
    bounds: Vec<f32>,
}

impl NearestNeighbors {
    /// Computes the Euclidean distance of each query to the nearest token, and that token's index. `queries` is `[queries, dims]`.
    /// The results are those of [`nearest_plain`](crate::nearest_plain), to the bit, which also defines them for NaN, infinity and
    /// equally near tokens. Runs on the current thread pool.
    ///
    /// # Panics
    /// If `dims` does not divide the length of `queries`, or if the results do not have one element per query.
    pub fn search(&self, queries: &[f32], distances: &mut [f32], indices: &mut [u32]) {
        check_queries(self.dims, queries, distances, indices);
        queries
            .par_chunks(BLOCK * self.dims)
            .zip(distances.par_chunks_mut(BLOCK))
            .zip(indices.par_chunks_mut(BLOCK))
            .with_max_len(1)
            .for_each(|((queries, distances), indices)| self.search_block(queries, distances, indices));
    }

    fn search_block(&self, vectors: &[f32], distances: &mut [f32], indices: &mut [u32]) {
        let (count, row, width) = (distances.len(), self.sizes.row, self.sizes.head + 1);
        with_scratch(count * (row + width + BOUNDS), |scratch| {
            let (rows, scratch) = scratch.split_at_mut(count * row);
            let (heads, bounds) = scratch.split_at_mut(count * width);
            rows.fill(0.0);
            let mut described = Vec::with_capacity(count);
            self.basis.coordinates(vectors, rows, row, |index, row, coordinates| {
                let head = &mut heads[index * width..][..width];
                let bounded = coordinates.error.is_finite();
                if bounded {
                    row[self.sizes.coordinates] = coordinates.tail as f32;
                } else {
                    row.fill(0.0);
                }
                let squared = self.sizes.write_head(row, head) - self.sizes.product_error() * coordinates.squared;
                described.push((bounded, coordinates.error, squared));
            });
            let mut searched: Vec<Query<'_>> = vectors
                .chunks_exact(self.dims)
                .zip(rows.chunks_exact(row))
                .zip(described)
                .map(|((vector, row), (bounded, error, squared))| Query {
                    vector,
                    row,
                    best: Best::NONE,
                    bounded,
                    error,
                    squared,
                })
                .collect();
            let mut lists = Lists::default();
            for (chunk, packed) in self.heads.iter().enumerate() {
                product_here(heads, packed, bounds, BOUNDS, width);
                for (query, bounds) in searched.iter_mut().zip(bounds.chunks_exact(BOUNDS)) {
                    if query.bounded {
                        self.refine(query, chunk * CHUNK, &bounds[..packed.outputs()], &mut lists);
                    }
                }
            }
            for ((query, distance), index) in searched.iter_mut().zip(distances).zip(indices) {
                if !query.bounded {
                    query.best = nearest_of(&self.tokens, query.vector);
                }
                (*distance, *index) = (query.best.squared.sqrt(), query.best.index);
            }
        });
    }

    /// Looks at those tokens of a chunk that may be nearer than the nearest so far. `products` are those of the heads.
    fn refine(&self, query: &mut Query<'_>, first: usize, products: &[f32], lists: &mut Lists) {
        let Lists { positions, bounds } = lists;
        if query.best.squared == f32::INFINITY {
            not_less(self.isa, products, largest(self.isa, products), positions);
            if let Some(&position) = positions.first() {
                self.offer(query, first + position as usize);
            }
        }
        let mut thresholds = self.thresholds(query);
        not_less(self.isa, products, thresholds.product, positions);
        if positions.is_empty() {
            return;
        }
        let rows = &self.rows[first * query.row.len()..];
        distances(self.isa, query.row, rows, positions, bounds);
        // The most promising token first: after it, the bounds of most others are too large.
        let mut nearest = (f32::INFINITY, 0);
        for (&position, &bound) in positions.iter().zip(&*bounds) {
            if bound < nearest.0 {
                nearest = (bound, position);
            }
        }
        let margins = &self.margins[first..];
        let promising =
            |bound: f32, position: u32, thresholds: Thresholds| bound <= thresholds.row + margins[position as usize];
        if promising(nearest.0, nearest.1, thresholds) && self.offer(query, first + nearest.1 as usize) {
            thresholds = self.thresholds(query);
        }
        for (&position, &bound) in positions.iter().zip(&*bounds) {
            let other = position != nearest.1;
            if other && promising(bound, position, thresholds) && self.offer(query, first + position as usize) {
                thresholds = self.thresholds(query);
            }
        }
    }

    /// Computes a distance. Returns `true` if the token is nearer than the nearest so far.
    fn offer(&self, query: &mut Query<'_>, position: usize) -> bool {
        let (index, before) = (self.order[position], query.best.squared);
        query.best.offer(squared_distance(query.vector, self.token(index), None), index);
        query.best.squared < before
    }

    /// A token can be nearer, or as near with a lower index, only if |coordinates - coordinates'|^2 <= (distance + error + error')^2,
    /// where ' marks the token. This is at most (1 + SPLIT) (distance + error)^2 + (1 + 1 / SPLIT) error'^2; the token's part is in
    /// its bias and margin.
    fn thresholds(&self, query: &Query<'_>) -> Thresholds {
        // The computed sums of squares: of this token and of one that is as near.
        let rounding = 2.0 * (self.dims.div_ceil(32) + 64) as f64 * ROUNDOFF;
        let distance = (f64::from(query.best.squared) * (1.0 + rounding) + UNDERFLOW).sqrt();
        let squared = (1.0 + SPLIT) * (distance + query.error).powi(2) + UNDERFLOW;
        let row_rounding = 2.0 * (query.row.len() / 8 + 32) as f64 * ROUNDOFF;
        Thresholds {
            product: (((query.squared - squared) / 2.0) as f32).next_down(),
            row: ((squared * (1.0 + row_rounding)) as f32).next_up(),
        }
    }
}
