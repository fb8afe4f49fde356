//! The greedy selection of tokens that cover a set.

use rayon::prelude::*;

use crate::memory::Buffer;
use crate::simd::isa::{Isa, kernel};
use crate::simd::vector::Simd;

/// The tokens of a block.
const BLOCK: usize = 64;
/// The vectors of tokens whose distances are computed at a time.
const VECTORS: usize = 2;
/// The selected tokens whose distances are computed at a time.
const CENTERS: usize = 4;
/// The multiply-adds from which on threads share the work of a step.
const MIN_PARALLEL: usize = 1 << 19;
/// The blocks that are updated one by one before the threshold for the others is known.
const FIRST: usize = 4;

/// Selects up to `count` tokens such that every token is near a selected one: beginning with `first`, it selects the token that is
/// farthest from all selected ones, the lowest index among equals (T. F. Gonzalez, Clustering to minimize the maximum intercluster
/// distance, 1985). `tokens` is `[tokens, dims]`. Returns the indices in the order of selection and, for each, the largest distance
/// of any token to its nearest selected one from then on, which never increases.
///
/// It stops early if every token equals a selected one. Tokens with NaN or infinity are not selected, unless as `first`. Runs on the
/// current thread pool; the result does not depend on the number of threads.
///
/// A distance to a selected token is computed only when it may matter: a block of tokens waits until the largest of its distances,
/// which can only decrease, is the largest of all. It is compared with all tokens selected meanwhile at once, so most of the
/// tokens rest in the cache.
///
/// ```
/// use dualad_kernels::{Isa, k_center};
///
/// let (selected, radii) = k_center(Isa::best(), &[0.0, 1.0, 4.0, 9.0], 1, 3, 0);
/// assert_eq!((selected, radii), (vec![0, 3, 2], vec![9.0, 4.0, 1.0]));
/// ```
///
/// # Panics
/// If `dims` is 0 or does not divide the length of `tokens`, or if there is no token `first` and `count` is not 0.
pub fn k_center(isa: Isa, tokens: &[f32], dims: usize, count: usize, first: usize) -> (Vec<u32>, Vec<f32>) {
    k_center_while(isa, tokens, dims, count, first, || true)
}

/// Selects tokens as [`k_center`] does, while `goes_on` returns true. It is asked before each token: a selection of many tokens can
/// take minutes.
///
/// # Panics
/// As [`k_center`].
pub fn k_center_while(
    isa: Isa,
    tokens: &[f32],
    dims: usize,
    count: usize,
    first: usize,
    goes_on: impl Fn() -> bool,
) -> (Vec<u32>, Vec<f32>) {
    assert!(dims > 0 && tokens.len().is_multiple_of(dims), "the tokens of a selection");
    let available = tokens.len() / dims;
    let (mut selected, mut radii) = (Vec::new(), Vec::new());
    if count == 0 {
        return (selected, radii);
    }
    assert!(first < available && u32::try_from(available).is_ok(), "the first token of a selection");
    let mut cover = Cover::new(isa, tokens, dims);
    let mut next = first;
    while selected.len() < count && goes_on() {
        selected.push(next as u32);
        cover.centers.extend_from_slice(&tokens[next * dims..][..dims]);
        let (farthest, squared) = cover.farthest();
        radii.push(squared.max(0.0).sqrt());
        if squared <= 0.0 {
            break;
        }
        next = farthest;
    }
    (selected, radii)
}

/// All tokens, with their distances to the selected ones.
struct Cover {
    isa: Isa,
    dims: usize,
    blocks: Vec<Block>,
    /// The selected tokens.
    centers: Vec<f32>,
}

/// Some tokens.
struct Block {
    /// `[dims, BLOCK]`.
    tokens: Buffer,
    /// The squared distances to the nearest of the first `seen` selected tokens; -1 for tokens that are never selected.
    squared: [f32; BLOCK],
    seen: usize,
    /// The largest of the distances, and its position.
    largest: f32,
    position: usize,
}

impl Block {
    /// Compares the tokens with the selected ones that they were not compared with yet.
    fn update(&mut self, isa: Isa, dims: usize, centers: &[f32]) {
        let (all, new) = (centers.len() / dims, &centers[self.seen * dims..]);
        // SAFETY: a block has `BLOCK` tokens of `dims` elements and as many distances, and `new` has whole tokens.
        unsafe {
            nearer(isa, self.tokens.as_ptr(), dims, new.as_ptr(), new.len() / dims, self.squared.as_mut_ptr());
        }
        self.seen = all;
        (self.largest, self.position) = (f32::NEG_INFINITY, 0);
        for (position, &squared) in self.squared.iter().enumerate() {
            if squared > self.largest {
                (self.largest, self.position) = (squared, position);
            }
        }
    }
}

impl Cover {
    fn new(isa: Isa, tokens: &[f32], dims: usize) -> Self {
        let block = |tokens: &[f32]| {
            let (mut columns, mut squared) = (Buffer::zeros(BLOCK * dims), [-1.0; BLOCK]);
            for (position, (token, squared)) in tokens.chunks_exact(dims).zip(&mut squared).enumerate() {
                token.iter().enumerate().for_each(|(dim, &x)| columns[dim * BLOCK + position] = x);
                if token.iter().all(|x| x.is_finite()) {
                    *squared = f32::INFINITY;
                }
            }
            let largest = squared.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            Block { tokens: columns, squared, seen: 0, largest, position: 0 }
        };
        Self { isa, dims, blocks: tokens.par_chunks(BLOCK * dims).map(block).collect(), centers: Vec::new() }
    }

    /// Returns the token with the largest distance to the selected ones, and that distance, squared.
    fn farthest(&mut self) -> (usize, f32) {
        let Self { isa, dims, blocks, centers } = self;
        let (isa, dims, centers) = (*isa, *dims, &**centers);
        let selected = centers.len() / dims;
        // The distance of an updated block is a lower bound for the result: blocks with smaller ones need no update.
        let mut bound = f32::NEG_INFINITY;
        for _ in 0..FIRST {
            let stale = blocks.iter_mut().filter(|block| block.seen < selected && block.largest >= bound);
            let Some(block) = stale.max_by(|a, b| a.largest.total_cmp(&b.largest)) else { break };
            block.update(isa, dims, centers);
            bound = bound.max(block.largest);
        }
        let mut stale: Vec<&mut Block> =
            blocks.iter_mut().filter(|block| block.seen < selected && block.largest >= bound).collect();
        let work: usize = stale.iter().map(|block| (selected - block.seen) * BLOCK * dims).sum();
        if work >= MIN_PARALLEL && rayon::current_num_threads() > 1 {
            stale.par_iter_mut().with_min_len(4).for_each(|block| block.update(isa, dims, centers));
        } else {
            stale.sort_by(|a, b| b.largest.total_cmp(&a.largest));
            for block in stale {
                if block.largest >= bound {
                    block.update(isa, dims, centers);
                    bound = bound.max(block.largest);
                }
            }
        }
        let mut best = (0, f32::NEG_INFINITY);
        for (index, block) in blocks.iter().enumerate() {
            if block.seen == selected && block.largest > best.1 {
                best = (index * BLOCK + block.position, block.largest);
            }
        }
        best
    }
}

kernel! {
    /// Lowers each squared distance to that of the nearest center. NaN does not count.
    ///
    /// # Safety
    /// `tokens` is valid for `BLOCK` elements in each of `dims` lines, `centers` for `dims` elements in each of `count` rows, and
    /// `squared` for `BLOCK` elements.
    unsafe fn nearer(tokens: *const f32, dims: usize, centers: *const f32, count: usize, squared: *mut f32) = nearer_body
}

#[inline(always)]
unsafe fn nearer_body<S: Simd>(tokens: *const f32, dims: usize, centers: *const f32, count: usize, squared: *mut f32) {
    // SAFETY: the caller's promise; a block consists of whole groups of vectors.
    unsafe {
        for at in (0..BLOCK).step_by(VECTORS * S::LANES) {
            let (tokens, squared) = (tokens.add(at), squared.add(at));
            let whole = count / CENTERS * CENTERS;
            for center in (0..whole).step_by(CENTERS) {
                nearer_than::<S, CENTERS>(tokens, dims, centers.add(center * dims), squared);
            }
            for center in whole..count {
                nearer_than::<S, 1>(tokens, dims, centers.add(center * dims), squared);
            }
        }
    }
}

/// The order of each sum is the same for any number of centers.
#[inline(always)]
unsafe fn nearer_than<S: Simd, const C: usize>(
    tokens: *const f32,
    dims: usize,
    centers: *const f32,
    squared: *mut f32,
) {
    // SAFETY: the caller's promise, for some vectors of the block and `C` centers.
    unsafe {
        let mut sums = [[S::splat(0.0); VECTORS]; C];
        for dim in 0..dims {
            let line: [S::V; VECTORS] = std::array::from_fn(|part| S::load(tokens.add(dim * BLOCK + part * S::LANES)));
            for center in 0..C {
                let x = S::splat(*centers.add(center * dims + dim));
                for part in 0..VECTORS {
                    let difference = S::sub(line[part], x);
                    sums[center][part] = S::mul_add(difference, difference, sums[center][part]);
                }
            }
        }
        for part in 0..VECTORS {
            let mut nearest = S::load(squared.add(part * S::LANES));
            for center in 0..C {
                nearest = S::min(sums[center][part], nearest);
            }
            S::store(squared.add(part * S::LANES), nearest);
        }
    }
}
