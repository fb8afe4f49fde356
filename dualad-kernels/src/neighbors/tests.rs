//! The search against its definition, and the selection against a double loop.

use proptest::prelude::*;

use crate::tests::{TestValues, is_emulated, on_threads, random_cases};
use crate::{Isa, NearestNeighbors, k_center, nearest_plain};

/// Runs `run` on pools of one and of three threads and checks that the results are equal.
fn on_pools<R: PartialEq + std::fmt::Debug + Send>(run: impl Fn() -> R + Sync + Send) -> R {
    let three = on_threads(3, &run);
    if is_emulated() {
        return three;
    }
    let one = on_threads(1, &run);
    assert_eq!(one, three, "threads change the result");
    one
}

fn bits(distances: &[f32]) -> Vec<u32> {
    distances.iter().map(|x| x.to_bits()).collect()
}

/// Checks a search on the instruction sets, with the queries at once and in two parts.
fn check(tokens: &[f32], dims: usize, queries: &[f32]) {
    let count = queries.len() / dims;
    let (mut expected, mut nearest) = (vec![0.0; count], vec![0; count]);
    nearest_plain(tokens, dims, queries, &mut expected, &mut nearest);
    let sets = if is_emulated() { vec![Isa::best()] } else { Isa::available() };
    for isa in sets {
        let found = on_pools(|| {
            let bank = NearestNeighbors::new(isa, tokens, dims);
            assert_eq!((bank.len(), bank.dims(), bank.is_empty()), (tokens.len() / dims, dims, tokens.is_empty()));
            let (mut distances, mut indices) = (vec![-1.0; count], vec![7; count]);
            for part in [0..count / 3, count / 3..count] {
                let of_part = &queries[part.start * dims..part.end * dims];
                bank.search(of_part, &mut distances[part.clone()], &mut indices[part]);
            }
            let (mut at_once, mut indices_at_once) = (vec![-1.0; count], vec![7; count]);
            bank.search(queries, &mut at_once, &mut indices_at_once);
            assert_eq!((bits(&at_once), &indices_at_once), (bits(&distances), &indices), "parts change the result");
            (bits(&distances), indices)
        });
        assert_eq!(found.1, nearest, "{isa}: {} tokens, {dims} dims, {count} queries", tokens.len() / dims);
        assert_eq!(found.0, bits(&expected), "{isa}: {} tokens, {dims} dims, {count} queries", tokens.len() / dims);
    }
}

/// Clustered vectors of `rank` dimensions with noise in all of them, around a common point.
fn clustered(random: &mut TestValues, count: usize, dims: usize, rank: usize, noise: f32) -> Vec<f32> {
    let mut fixed = TestValues::new(99);
    let (directions, offset) = (fixed.take(rank * dims), fixed.take(dims));
    let centers = fixed.take(12 * rank);
    let mut out = Vec::with_capacity(count * dims);
    for _ in 0..count {
        let center = (random.next().abs() * 12.0) as usize % 12;
        let at: Vec<f32> = centers[center * rank..][..rank].iter().map(|x| x + 0.3 * random.next()).collect();
        for dim in 0..dims {
            let along: f32 = at.iter().enumerate().map(|(k, x)| x * directions[k * dims + dim]).sum();
            out.push(3.0 * offset[dim] + along + noise * random.next());
        }
    }
    out
}

#[test]
fn the_plain_form_is_exact_to_rounding() {
    let mut random = TestValues::new(1);
    for (count, dims) in [(1, 1), (2, 3), (33, 17), (40, 384), (20, 1024)] {
        let (tokens, queries) = (random.take(count * dims), random.take(9 * dims));
        let (mut distances, mut indices) = (vec![0.0; 9], vec![0; 9]);
        nearest_plain(&tokens, dims, &queries, &mut distances, &mut indices);
        for (query, (found, index)) in queries.chunks(dims).zip(distances.iter().zip(indices)) {
            let exact: Vec<f64> = tokens
                .chunks(dims)
                .map(|token| token.iter().zip(query).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>())
                .map(f64::sqrt)
                .collect();
            let smallest = exact.iter().copied().fold(f64::INFINITY, f64::min);
            assert!((f64::from(*found) - smallest).abs() <= 1e-6 * smallest, "{found} {smallest}");
            assert!(exact[index as usize] <= smallest * (1.0 + 1e-6));
        }
    }
}

#[test]
fn odd_sizes_equal_the_definition() {
    let mut random = TestValues::new(2);
    for dims in [1, 3, 17, 31, 32, 64, 127, 128, 384] {
        for (tokens, queries) in [(0, 3), (1, 0), (1, 1), (2, 5), (33, 49), (1500, 50)] {
            check(&random.take(tokens * dims), dims, &random.take(queries * dims));
        }
    }
    check(&random.take(70 * 1024), 1024, &random.take(50 * 1024));
}

#[test]
fn a_bank_like_real_features_equals_the_definition() {
    let mut random = TestValues::new(3);
    for (dims, rank, noise) in [(384, 20, 0.1), (192, 60, 0.5), (64, 5, 0.0), (40, 60, 0.01)] {
        let tokens = clustered(&mut random, 3000, dims, rank, noise);
        check(&tokens, dims, &clustered(&mut random, 784, dims, rank, noise));
        // Tokens themselves, and beside them.
        let near: Vec<f32> = tokens[..60 * dims].iter().map(|x| x + 1e-4 * random.next()).collect();
        check(&tokens, dims, &tokens[tokens.len() - 60 * dims..]);
        check(&tokens, dims, &near);
    }
}

#[test]
fn the_lowest_index_of_equal_tokens_is_taken() {
    let mut random = TestValues::new(4);
    for dims in [1, 5, 48, 384] {
        let few = random.take(40 * dims);
        let tokens: Vec<f32> = (0..3000).flat_map(|index| few[index * 7 % 40 * dims..][..dims].to_vec()).collect();
        check(&tokens, dims, &few);
        check(&tokens, dims, &random.take(60 * dims));
        check(&vec![0.0; 2100 * dims], dims, &vec![0.0; 50 * dims]);
        check(&vec![1.5; 2100 * dims], dims, &random.take(50 * dims));
    }
    // Integers on a line: many equal distances.
    let line: Vec<f32> = (0..4000).map(|index| (index * 37 % 2000) as f32).collect();
    check(&line, 1, &(0..500).map(|index| index as f32 * 4.0 + 0.5).collect::<Vec<_>>());
}

#[test]
fn values_of_any_size_and_nan_follow_the_definition() {
    let mut random = TestValues::new(5);
    for dims in [1, 4, 40, 200] {
        let plain = random.take(1300 * dims);
        for scale in [1e-42f32, 1e-30, 1e-20, 1e-18, 1e10, 1e17, 1e18, 1e19, 1e25, 3e38] {
            let scaled: Vec<f32> = plain.iter().map(|x| x * scale).collect();
            check(&scaled, dims, &random.take(50 * dims).iter().map(|x| x * scale).collect::<Vec<_>>());
            // A few odd tokens and queries among usual ones.
            let (mut tokens, mut queries) = (plain.clone(), random.take(60 * dims));
            for (at, value) in [(3, scale), (700, -scale), (900, f32::NAN), (1100, f32::INFINITY), (1200, f32::MAX)] {
                tokens[at * dims + at % dims] = value;
            }
            for (at, value) in [(2, scale), (30, f32::NAN), (50, f32::NEG_INFINITY), (59, -f32::MAX)] {
                queries[at * dims + at % dims] = value;
            }
            check(&tokens, dims, &queries);
        }
        check(&vec![f32::NAN; 40 * dims], dims, &random.take(4 * dims));
    }
    let bank = NearestNeighbors::new(Isa::best(), &[0.0; 8], 2);
    let (mut distances, mut indices) = ([0.0; 3], [9; 3]);
    bank.search(&[f32::NAN, 0.0, f32::INFINITY, 1.0, f32::MAX, f32::MAX], &mut distances, &mut indices);
    assert_eq!((distances, indices), ([f32::INFINITY; 3], [0; 3]));
}

proptest! {
    #![proptest_config(random_cases(24))]

    #[test]
    fn searches_equal_the_definition(
        count in 1usize..2500, dims in 1usize..200, queries in 0usize..100, rank in 1usize..40,
        noise in 0.0f32..1.0, shift in -100.0f32..100.0, seed: u64,
    ) {
        let mut random = TestValues::new(seed);
        let mut tokens = clustered(&mut random, count, dims, rank, noise);
        let mut queries = clustered(&mut random, queries, dims, rank, noise);
        tokens.iter_mut().chain(&mut queries).for_each(|x| *x += shift);
        check(&tokens, dims, &queries);
    }
}

/// The selection by its definition.
fn k_center_plain(tokens: &[f32], dims: usize, count: usize, first: usize) -> Vec<usize> {
    let token = |index: usize| &tokens[index * dims..][..dims];
    let mut nearest = vec![f64::INFINITY; tokens.len() / dims];
    let (mut selected, mut next) = (Vec::new(), first);
    while selected.len() < count {
        selected.push(next);
        for (index, nearest) in nearest.iter_mut().enumerate() {
            let squared = token(index).iter().zip(token(next)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            *nearest = nearest.min(squared);
        }
        let mut farthest = (0, f64::NEG_INFINITY);
        for (index, &squared) in nearest.iter().enumerate() {
            if squared > farthest.1 {
                farthest = (index, squared);
            }
        }
        if farthest.1 <= 0.0 {
            break;
        }
        next = farthest.0;
    }
    selected
}

#[test]
fn selections_equal_the_definition() {
    let mut random = TestValues::new(6);
    for (count, dims, selected) in [(1, 1, 3), (2, 3, 2), (65, 17, 65), (700, 5, 90), (3000, 24, 300)] {
        // Whole numbers: f32 and f64 agree on all distances, and many of them are equal.
        let tokens: Vec<f32> = (0..count * dims).map(|_| (random.next() * 6.0).round()).collect();
        for first in [0, count / 2, count - 1] {
            let expected = k_center_plain(&tokens, dims, selected, first);
            for isa in Isa::available() {
                let (found, radii) = on_pools(|| k_center(isa, &tokens, dims, selected, first));
                assert_eq!(found.iter().map(|&index| index as usize).collect::<Vec<_>>(), expected);
                assert!(radii.len() == found.len() && radii.windows(2).all(|pair| pair[0] >= pair[1]));
                // Each radius is the largest distance of the search in the tokens selected until then.
                for until in [1, found.len().div_ceil(2), found.len()] {
                    let bank: Vec<f32> =
                        found[..until].iter().flat_map(|&i| tokens[i as usize * dims..][..dims].to_vec()).collect();
                    let (mut distances, mut indices) = (vec![0.0; count], vec![0; count]);
                    nearest_plain(&bank, dims, &tokens, &mut distances, &mut indices);
                    assert_eq!(distances.iter().copied().fold(0.0, f32::max), radii[until - 1]);
                }
            }
        }
    }
}

#[test]
fn selections_stop_at_duplicates_and_pass_over_odd_tokens() {
    for isa in Isa::available() {
        let asked = std::cell::Cell::new(0);
        let goes_on = || asked.replace(asked.get() + 1) < 2;
        let (selected, radii) = crate::k_center_while(isa, &[0.0, 1.0, 4.0, 9.0], 1, 4, 0, goes_on);
        assert_eq!((selected, radii), (vec![0, 3], vec![9.0, 4.0]));
        assert_eq!(k_center(isa, &[], 3, 0, 0), (vec![], vec![]));
        assert_eq!(k_center(isa, &[2.0; 300], 3, 10, 7), (vec![7], vec![0.0]));
        let mut tokens = [1.0f32; 200];
        (tokens[60], tokens[100], tokens[130], tokens[170]) = (f32::NAN, 3.0, f32::INFINITY, f32::MAX);
        let (selected, radii) = k_center(isa, &tokens, 1, 10, 0);
        assert_eq!((selected, radii), (vec![0, 170, 100], vec![f32::INFINITY, 2.0, 0.0]));
    }
}
