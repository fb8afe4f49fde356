//! The speed of the search for the nearest token, beside a matrix product that computes every distance, and of the selection of a
//! bank.
//!
//! ```sh
//! cargo bench --workspace --bench neighbors          # clustered values that are generated
//! DUALAD_TOKENS=tokens.f32 DUALAD_QUERIES=queries.f32 DUALAD_DIMS=384 cargo bench --workspace --bench neighbors
//! ```
//!
//! The files hold rows of `DUALAD_DIMS` little-endian f32. How many distances need not be computed depends on the values: measure
//! with features. Items are the multiply-adds of all distances. Times are those of 784 queries (an image), except for `lay_out` and
//! `select`.

use std::sync::LazyLock;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use dualad_kernels::{Epilogue, Isa, NearestNeighbors, Packed, Rows, k_center, product};

fn main() {
    divan::main();
}

/// The queries of an image.
const QUERIES: usize = 784;

/// Tokens and queries.
struct Data {
    tokens: Vec<f32>,
    queries: Vec<f32>,
    dims: usize,
}

static DATA: LazyLock<Data> = LazyLock::new(|| {
    let file =
        |name: &str| std::env::var_os(name).and_then(|path| std::fs::read(path).ok()).map(|bytes| values(&bytes));
    let dims = std::env::var("DUALAD_DIMS").ok().and_then(|dims| dims.parse().ok()).unwrap_or(384);
    let (tokens, queries) = (file("DUALAD_TOKENS"), file("DUALAD_QUERIES"));
    Data {
        tokens: tokens.unwrap_or_else(|| clustered(10_000, dims, 1)),
        queries: queries.unwrap_or_else(|| clustered(4 * QUERIES, dims, 2)),
        dims,
    }
});

fn values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Vectors around 100 centers. Their variance falls with the dimension as that of features does along principal components.
fn clustered(count: usize, dims: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = move || {
        // Xorshift* (G. Marsaglia): the mean of four uniform values is close enough to a normal one.
        let mut sum = 0.0;
        for _ in 0..4 {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            sum += (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        }
        sum
    };
    let spread = |dim: usize| 1.0 / (1.0 + dim as f32 / 4.0).sqrt();
    let center = |index: usize, dim: usize| ((index * 7919 + dim * 104_729) % 1013) as f32 / 506.0 - 1.0;
    let mut out = Vec::with_capacity(count * dims);
    for index in 0..count {
        let of = index * 31 % 100;
        out.extend((0..dims).map(|dim| spread(dim) * (center(of, dim) + 0.5 * next())));
    }
    out
}

fn in_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Option<R> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok().map(|pool| pool.install(work))
}

/// Runs `work` for one image after the other.
fn for_images(bencher: Bencher<'_, '_>, threads: usize, mut work: impl FnMut(&[f32], &mut [f32], &mut [u32]) + Send) {
    let data = &*DATA;
    let (mut distances, mut indices) = (vec![0.0; QUERIES], vec![0; QUERIES]);
    let images: Vec<&[f32]> = data.queries.chunks_exact(QUERIES * data.dims).collect();
    let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(threads).build() else { return };
    let mut image = 0;
    bencher.counter(ItemsCount::new(QUERIES * data.tokens.len())).bench_local(|| {
        let queries = images[image % images.len()];
        image += 1;
        pool.install(|| work(black_box(queries), &mut distances, &mut indices));
    });
}

#[divan::bench(args = [1, 2], sample_count = 48)]
fn search(bencher: Bencher<'_, '_>, threads: usize) {
    let bank = NearestNeighbors::new(Isa::best(), &DATA.tokens, DATA.dims);
    for_images(bencher, threads, |queries, distances, indices| bank.search(queries, distances, indices));
}

/// Every distance by a product, and the smallest ones.
#[divan::bench(args = [1, 2], sample_count = 12)]
fn products_and_minima(bencher: Bencher<'_, '_>, threads: usize) {
    let (tokens, dims) = (&DATA.tokens, DATA.dims);
    let biases: Vec<f32> =
        tokens.chunks_exact(dims).map(|token| -0.5 * token.iter().map(|x| x * x).sum::<f32>()).collect();
    let packed = Packed::new(Isa::best(), tokens, dims, Some(&biases));
    let count = biases.len();
    let mut all = vec![0.0f32; QUERIES * count];
    for_images(bencher, threads, |queries, distances, _| {
        product(queries, Rows::Dense { stride: dims }, QUERIES, &packed, &mut all, count, Epilogue::NONE);
        for (row, distance) in all.chunks_exact(count).zip(distances) {
            let (lanes, rest) = row.as_chunks::<16>();
            let largest = lanes.iter().fold([f32::NEG_INFINITY; 16], |mut largest, values| {
                let pairs = largest.iter_mut().zip(values);
                pairs.for_each(|(largest, x)| *largest = if *x > *largest { *x } else { *largest });
                largest
            });
            *distance = largest.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max);
        }
    });
}

#[divan::bench(args = [1, 2], sample_count = 3)]
fn lay_out(bencher: Bencher<'_, '_>, threads: usize) {
    bencher.bench_local(|| in_threads(threads, || NearestNeighbors::new(Isa::best(), &DATA.tokens, DATA.dims)));
}

/// 4,000 tokens of 60,000, each of 64 dimensions: the first ones of tokens from a file.
#[divan::bench(args = [1, 2], sample_count = 2)]
fn select(bencher: Bencher<'_, '_>, threads: usize) {
    const DIMS: usize = 64;
    let from_file = DATA.dims >= DIMS && std::env::var_os("DUALAD_TOKENS").is_some();
    let tokens: Vec<f32> = match from_file {
        true => DATA.tokens.chunks_exact(DATA.dims).take(60_000).flat_map(|token| &token[..DIMS]).copied().collect(),
        false => clustered(60_000, DIMS, 3),
    };
    let count = 4000;
    bencher
        .counter(ItemsCount::new(tokens.len() * count))
        .bench_local(|| in_threads(threads, || k_center(Isa::best(), black_box(&tokens), DIMS, count, 0)));
}
