//! Every target of the fuzzer on its seeds, on former failures and on damaged seeds, without the fuzzer.
//!
//! Former failures are the files of `fuzz/regressions/TARGET`. Damage is random with a fixed seed; the environment variable
//! `DUALAD_DAMAGED` sets the number of damaged inputs of each target. `fuzz/run` searches for more failures.

#![cfg(unix)]
#![allow(clippy::print_stdout)]

use std::path::Path;

use dualad::{Random, Stream};
use dualad_fuzz::{readers, requests, seeds};

fn damaged() -> usize {
    std::env::var("DUALAD_DAMAGED").map_or(1500, |count| count.parse().unwrap())
}

/// A random choice of damage.
struct Damage {
    stream: Stream,
    next: u64,
}

impl Damage {
    fn below(&mut self, limit: usize) -> usize {
        self.next += 1;
        let [high, low, ..] = self.stream.bits(self.next);
        ((u64::from(high) << 32 | u64::from(low)) % limit.max(1) as u64) as usize
    }

    /// Changes, removes, inserts or repeats some bytes, or takes them from another input.
    fn apply(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
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
                _ => bytes.splice(at..at, std::iter::repeat_n(self.below(256) as u8, length)).for_each(drop),
            }
        }
    }
}

fn run(name: &str, target: fn(&[u8])) {
    let seeds: Vec<Vec<u8>> = seeds::seeds().into_iter().filter(|seed| seed.0 == name).map(|seed| seed.2).collect();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().for_each(|seed| target(seed));
    let mut regressions = 0;
    for entry in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(name)).into_iter().flatten()
    {
        target(&std::fs::read(entry.unwrap().path()).unwrap());
        regressions += 1;
    }
    let mut damage = Damage { stream: Random::new(0).named(name), next: 0 };
    for _ in 0..damaged() {
        let mut bytes = seeds[damage.below(seeds.len())].clone();
        let other = &seeds[damage.below(seeds.len())];
        damage.apply(&mut bytes, other);
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
