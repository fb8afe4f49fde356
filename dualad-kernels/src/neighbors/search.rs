//! The search for the nearest tokens of queries.

use rayon::prelude::*;

use crate::elementwise::squared_distance;
use crate::memory::with_scratch;
use crate::neighbors::bank::NearestNeighbors;
use crate::neighbors::basis::ROUNDOFF;
use crate::neighbors::heads::{Condition, UNDERFLOW};
use crate::neighbors::plain::{Best, check_queries, nearest_of};
use crate::neighbors::rows::{CHUNK, SPLIT};
use crate::neighbors::scan::{distances, largest_below, not_less, prefetch};

/// The queries of a task.
const BLOCK: usize = 48;
/// The elements from one query's bounds to the next: not a power of two, so that they fall into different sets of the cache.
const BOUNDS: usize = CHUNK + 16;

/// One query's search.
struct Query<'a> {
    vector: &'a [f32],
    /// The coordinates and the tail.
    row: &'a [f32],
    best: Best,
    /// False if the coordinates cannot be used, because the query is not finite or too long.
    usable: bool,
    /// The bound on the coordinates' error.
    error: f64,
    condition: Condition,
    thresholds: Thresholds,
    /// Tokens whose distances may have to be computed: their bounds and positions.
    waiting: Vec<(f32, usize)>,
}

/// The thresholds that follow from the nearest distance so far.
#[derive(Debug, Clone, Copy)]
struct Thresholds {
    /// The product of the heads is not less, for a token that may be nearer.
    product: f32,
    /// The squared distance of the rows is at most this and the token's margin.
    row: f32,
}

impl Thresholds {
    /// Every token may be nearer.
    const NONE: Self = Self { product: f32::NEG_INFINITY, row: f32::INFINITY };
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
        let (count, row) = (distances.len(), self.sizes.row);
        with_scratch(count * (row + BOUNDS), |scratch| {
            let (rows, bounds) = scratch.split_at_mut(count * row);
            let described = self.basis.coordinates(vectors, rows, self.sizes);
            let (heads, conditions) = self.heads.queries(self.sizes, rows, &described);
            let queries =
                vectors.chunks_exact(self.dims).zip(rows.chunks_exact(row)).zip(described.iter().zip(conditions));
            let mut searched: Vec<Query<'_>> = queries
                .map(|((vector, row), (described, condition))| {
                    let (error, usable) = (described.error, described.error.is_finite());
                    Query {
                        vector,
                        row,
                        best: Best::NONE,
                        usable,
                        error,
                        condition,
                        thresholds: Thresholds::NONE,
                        waiting: Vec::new(),
                    }
                })
                .collect();
            let mut lists = Lists::default();
            for chunk in 0..self.heads.chunks() {
                let tokens = self.heads.products(chunk, &heads, bounds, BOUNDS);
                for (query, bounds) in searched.iter_mut().zip(bounds.chunks_exact(BOUNDS)) {
                    if query.usable {
                        self.refine(query, chunk * CHUNK, &bounds[..tokens], &mut lists);
                    }
                }
            }
            for ((query, distance), index) in searched.iter_mut().zip(distances).zip(indices) {
                if query.usable {
                    self.finish(query);
                } else {
                    query.best = nearest_of(&self.tokens, query.vector);
                }
                (*distance, *index) = (query.best.squared.sqrt(), query.best.index);
            }
        });
    }

    /// Looks at those tokens of a chunk that may be nearer than the nearest so far. `products` are those of the heads. The distance of
    /// the most promising token is computed, the others wait: later, most of them are not promising any more.
    fn refine(&self, query: &mut Query<'_>, first: usize, products: &[f32], lists: &mut Lists) {
        let Lists { positions, bounds } = lists;
        if query.best.squared == f32::INFINITY {
            let largest = largest_below(products, self.heads.limit());
            if let Some(position) = products.iter().position(|&product| product == largest) {
                self.offer(query, first + position);
            }
        }
        not_less(self.isa, products, query.thresholds.product, positions);
        if positions.is_empty() {
            return;
        }
        distances(self.isa, query.row, &self.rows[first * query.row.len()..], positions, bounds);
        let mut nearest: Option<(f32, usize)> = None;
        for (&position, &bound) in positions.iter().zip(&*bounds) {
            let position = first + position as usize;
            if bound > query.thresholds.row + self.margins[position] {
                continue;
            }
            match nearest {
                Some((nearer, _)) if nearer <= bound => query.waiting.push((bound, position)),
                _ => query.waiting.extend(nearest.replace((bound, position))),
            }
        }
        if let Some((_, position)) = nearest {
            self.offer(query, position);
        }
    }

    /// Computes the distances of the waiting tokens that are still promising.
    fn finish(&self, query: &mut Query<'_>) {
        let mut waiting = std::mem::take(&mut query.waiting);
        waiting.retain(|&(bound, position)| bound <= query.thresholds.row + self.margins[position]);
        waiting.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        for (index, &(bound, position)) in waiting.iter().enumerate() {
            if let Some(&(_, next)) = waiting.get(index + 1) {
                let token = self.token(self.order[next]);
                // SAFETY: a prefetch does not access the memory.
                unsafe { prefetch(self.isa, token.as_ptr(), token.len()) };
            }
            if bound <= query.thresholds.row + self.margins[position] {
                self.offer(query, position);
            }
        }
    }

    /// Computes a distance, and the thresholds if the token is nearer than the nearest so far.
    fn offer(&self, query: &mut Query<'_>, position: usize) {
        let (index, before) = (self.order[position], query.best.squared);
        query.best.offer(squared_distance(query.vector, self.token(index), None), index);
        if query.best.squared < before {
            query.thresholds = self.thresholds(query);
        }
    }

    /// A token can be nearer, or as near with a lower index, only if |coordinates - coordinates'|^2 <= (distance + error + error')^2,
    /// where ' marks the token. This is at most (1 + SPLIT) (distance + error)^2 + (1 + 1 / SPLIT) error'^2; the last term is the
    /// token's margin.
    fn thresholds(&self, query: &Query<'_>) -> Thresholds {
        // The computed sums of squares: of this token and of one that is as near.
        let rounding = 2.0 * (self.dims.div_ceil(32) + 64) as f64 * ROUNDOFF;
        let distance = (f64::from(query.best.squared) * (1.0 + rounding) + UNDERFLOW).sqrt();
        let squared = (1.0 + SPLIT) * (distance + query.error).powi(2) + UNDERFLOW;
        let row_rounding = 2.0 * (query.row.len() / 8 + 32) as f64 * ROUNDOFF;
        Thresholds {
            product: query.condition.threshold(distance),
            row: ((squared * (1.0 + row_rounding)) as f32).next_up(),
        }
    }
}
