//! Every reader of outside bytes on damaged bytes: the fuzz targets of `fuzz/`, without the fuzzer.
//!
//! Each runs over its seeds, over what once was wrong (`fuzz/regressions`), and over seeds that are damaged at random from a
//! fixed seed: as many as `DUALAD_DAMAGED` says. `fuzz/run` looks for more, by the compiler's coverage.

#![cfg(unix)]
#![allow(clippy::print_stdout, clippy::print_stderr, unreachable_pub)]

#[allow(dead_code)]
#[path = "../examples/common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../examples/serve/connections.rs"]
mod connections;
#[path = "../examples/serve/failure.rs"]
mod failure;
#[path = "../examples/serve/handlers.rs"]
mod handlers;
#[allow(dead_code)]
#[path = "../examples/serve/metrics.rs"]
mod metrics;
#[allow(dead_code)]
#[path = "../examples/common/model.rs"]
mod model;
#[path = "../examples/serve/patience.rs"]
mod patience;
#[path = "../examples/serve/query.rs"]
mod query;
#[allow(dead_code)]
#[path = "../fuzz/src/readers.rs"]
mod readers;
#[path = "../fuzz/src/requests.rs"]
mod requests;
#[path = "../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../examples/serve/upload.rs"]
mod upload;
#[path = "../examples/serve/worker.rs"]
mod worker;

use std::path::Path;

fn damaged() -> usize {
    std::env::var("DUALAD_DAMAGED").map_or(1500, |count| count.parse().unwrap())
}

/// The bits that damage is chosen by (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % most.max(1) as u64) as usize
    }

    /// Some bytes changed, cut out, put in, repeated, or taken from another input.
    fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let most = if self.below(4) == 0 { 200 } else { 4 };
            let length = 1 + self.below(most);
            let end = (at + length).min(bytes.len());
            match self.below(7) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend_from_within(at..end),
                3 => bytes[at..end].iter_mut().for_each(|byte| *byte ^= 1 << self.below(8)),
                4 => bytes[at..end].fill([0, 0xff, 0x7f, b'0', b'9', b'"', b'{'][self.below(7)]),
                5 => {
                    let from = self.below(other.len() + 1);
                    let piece = &other[from..(from + length).min(other.len())];
                    bytes.splice(at..end, piece.iter().copied());
                }
                _ => bytes.splice(at..at, std::iter::repeat_n(self.0 as u8, length)).for_each(drop),
            }
        }
    }
}

fn run(name: &str, target: fn(&[u8])) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let seeds = seeds::seeds(&here.join("tests/fixtures"));
    let seeds: Vec<Vec<u8>> = seeds.into_iter().filter(|seed| seed.0 == name).map(|seed| seed.2).collect();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().for_each(|seed| target(seed));
    let mut regressions = 0;
    for entry in std::fs::read_dir(here.join("fuzz/regressions").join(name)).into_iter().flatten() {
        target(&std::fs::read(entry.unwrap().path()).unwrap());
        regressions += 1;
    }
    let mut dice = Dice(name.bytes().map(u64::from).sum());
    for _ in 0..damaged() {
        let mut bytes = seeds[dice.below(seeds.len())].clone();
        let other = &seeds[dice.below(seeds.len())];
        dice.damage(&mut bytes, other);
        target(&bytes);
    }
    println!("{name}: {} seeds, {regressions} regressions, {} damaged inputs", seeds.len(), damaged());
}

#[test]
fn readers_refuse_damaged_bytes() {
    for (name, target) in readers::TARGETS {
        run(name, target);
    }
}

#[test]
fn the_server_answers_damaged_requests() {
    run("serve", requests::serve);
}
