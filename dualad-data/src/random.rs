//! The source of all random values: initial weights, dropout, pseudo anomalies, shuffling, synthetic images.
//!
//! The generator is counter based: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
//! Value `i` of stream `s` under seed `k` depends on (k, s, i) alone. Any number of threads and any device compute the same
//! values in any order.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The number of values that one task computes. The values do not depend on it.
const CHUNK: usize = 4096;

/// A generator of independent [`Stream`]s. Equal states give equal streams; serde saves and restores the state.
///
/// ```
/// use dualad_data::Random;
///
/// let mut random = Random::new(7);
/// let first = random.stream().uniform(3);
/// let mut again = Random::new(7);
/// assert_eq!(again.stream().uniform(3), first);
/// assert_ne!(again.stream().uniform(3), first);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    seed: u64,
    next_stream: u64,
}

/// The bit that separates the named streams from the numbered ones.
const NAMED: u64 = 1 << 63;

impl Random {
    /// Creates a generator in its initial state.
    pub fn new(seed: u64) -> Self {
        Self { seed, next_stream: 0 }
    }

    /// Returns the next numbered stream. Every call returns another one.
    pub fn stream(&mut self) -> Stream {
        // A state that was read from a file may hold any value.
        let stream = Stream { seed: self.seed, stream: self.next_stream % NAMED };
        self.next_stream = (self.next_stream % NAMED + 1) % NAMED;
        stream
    }

    /// Returns the stream of a name. It does not depend on the streams that were drawn before: the initial weights of a
    /// parameter come from the stream of its name.
    pub fn named(&self, name: &str) -> Stream {
        let hash = name
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        Stream { seed: self.seed, stream: hash | NAMED }
    }
}

/// A stream of random values with random access: each value is computed from its index.
///
/// ```
/// use dualad_data::Random;
///
/// let stream = Random::new(7).named("weight");
/// let values = stream.uniform(8);
/// assert_eq!(stream.uniform(5), values[..5]);
/// // The same stream as a sequence.
/// let mut sequence = stream.sequence();
/// assert!(sequence.below(10) < 10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    seed: u64,
    stream: u64,
}

impl Stream {
    /// Returns block number `block` of the stream: four words of 32 random bits.
    pub fn bits(&self, block: u64) -> [u32; 4] {
        let low = |x: u64| x as u32;
        let high = |x: u64| (x >> 32) as u32;
        let mut counter = [low(block), high(block), low(self.stream), high(self.stream)];
        let mut key = [low(self.seed), high(self.seed)];
        for _ in 0..10 {
            let a = u64::from(counter[0]) * 0xD251_1F53;
            let b = u64::from(counter[2]) * 0xCD9E_8D57;
            counter = [high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)];
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        counter
    }

    /// Returns the [`bits`](Self::bits) of eight blocks from `block` on, as `[word][block]`. The compiler turns this form into
    /// vector instructions.
    #[inline(always)]
    pub fn bits_of_eight(&self, block: u64) -> [[u32; 8]; 4] {
        let low = |x: u64| x as u32;
        let high = |x: u64| (x >> 32) as u32;
        let blocks: [u64; 8] = std::array::from_fn(|lane| block.wrapping_add(lane as u64));
        let mut counter = [blocks.map(low), blocks.map(high), [low(self.stream); 8], [high(self.stream); 8]];
        let mut key = [low(self.seed), high(self.seed)];
        for _ in 0..10 {
            let before = counter;
            for lane in 0..8 {
                let a = u64::from(before[0][lane]) * 0xD251_1F53;
                let b = u64::from(before[2][lane]) * 0xCD9E_8D57;
                counter[0][lane] = high(b) ^ before[1][lane] ^ key[0];
                counter[1][lane] = low(b);
                counter[2][lane] = high(a) ^ before[3][lane] ^ key[1];
                counter[3][lane] = low(a);
            }
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        counter
    }

    /// Returns the key of the stream, for generators on other devices: the low and the high word of the seed, then of the
    /// stream number.
    pub fn words(&self) -> [u32; 4] {
        [self.seed as u32, (self.seed >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32]
    }

    /// Returns the first `count` values as uniform on `[0, 1)`, in steps of 2^-24.
    pub fn uniform(&self, count: usize) -> Vec<f32> {
        self.fill(count, |bits| bits.map(unit))
    }

    /// Returns the first `count` values as standard normal (the Box-Muller transform).
    pub fn normal(&self, count: usize) -> Vec<f32> {
        self.fill(count, |[a, b, c, d]| {
            let (x, y) = box_muller(a, b);
            let (z, w) = box_muller(c, d);
            [x, y, z, w]
        })
    }

    /// Returns a permutation of `0..count`. All permutations are equally likely (the Fisher-Yates shuffle).
    pub fn permutation(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            let [a, b, ..] = self.bits(last as u64);
            order.swap(last, scaled(join(a, b), last + 1));
        }
        order
    }

    /// Returns the values of the stream one after the other.
    pub fn sequence(&self) -> Sequence {
        Sequence { stream: *self, next: 0 }
    }

    /// Writes the values of [`normal`](Self::normal) from index `first` on.
    pub fn normal_into(&self, first: usize, values: &mut [f32]) {
        let mut index = 0;
        while index < values.len() {
            let element = first + index;
            let [a, b, c, d] = self.bits((element / 4) as u64);
            let (x, y) = box_muller(a, b);
            let (z, w) = box_muller(c, d);
            let made = &[x, y, z, w][element % 4..];
            let count = made.len().min(values.len() - index);
            values[index..index + count].copy_from_slice(&made[..count]);
            index += count;
        }
    }

    fn fill(&self, count: usize, make: impl Fn([u32; 4]) -> [f32; 4] + Sync) -> Vec<f32> {
        let mut values = vec![0.0; count];
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            let first = (chunk * CHUNK / 4) as u64;
            for (block, values) in values.chunks_mut(4).enumerate() {
                let made = make(self.bits(first + block as u64));
                values.copy_from_slice(&made[..values.len()]);
            }
        });
        values
    }
}

/// The values of a [`Stream`] one after the other, 64 random bits each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    stream: Stream,
    next: u64,
}

impl Sequence {
    /// Returns the next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.stream.bits(self.next / 2);
        let first = self.next.is_multiple_of(2);
        self.next = self.next.wrapping_add(1);
        if first { join(a, b) } else { join(c, d) }
    }

    /// Returns a value that is uniform on `[0, 1)`.
    pub fn unit(&mut self) -> f32 {
        unit((self.bits() >> 32) as u32)
    }

    /// Returns a value that is uniform on `[low, high)`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Returns an integer that is uniform on `0..count`, and 0 if `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        scaled(self.bits(), count)
    }
}

/// Maps 32 random bits to a value that is uniform on `[0, 1)`, by the upper 24 bits.
#[inline(always)]
pub fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Maps 64 random bits to `0..count`. The bias is below `count` / 2^64.
fn scaled(bits: u64, count: usize) -> usize {
    ((u128::from(bits) * count as u128) >> 64) as usize
}

fn box_muller(a: u32, b: u32) -> (f32, f32) {
    // In (0, 1], so that the logarithm is finite.
    let radius = (-2.0 * (1.0 - unit(a)).ln()).sqrt();
    let (sine, cosine) = (std::f32::consts::TAU * unit(b)).sin_cos();
    (radius * cosine, radius * sine)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123, the library of the authors.
    #[test]
    fn blocks_equal_the_known_answers_of_philox() {
        let zeros = Stream { seed: 0, stream: 0 };
        assert_eq!(zeros.bits(0), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
        let ones = Stream { seed: u64::MAX, stream: u64::MAX };
        assert_eq!(ones.bits(u64::MAX), [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]);
        let digits = Stream { seed: 0x299F_31D0_A409_3822, stream: 0x0370_7344_1319_8A2E };
        assert_eq!(digits.bits(0x85A3_08D3_243F_6A88), [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]);
    }

    #[test]
    fn eight_blocks_at_once_equal_eight_single_blocks() {
        let stream = Random::new(0x1234_5678_9ABC_DEF0).named("weight");
        for first in [0, 1, 7, u64::from(u32::MAX) - 3, u64::MAX - 7, u64::MAX - 2] {
            let eight = stream.bits_of_eight(first);
            for lane in 0..8 {
                let one = stream.bits(first.wrapping_add(lane as u64));
                assert_eq!(eight.map(|word| word[lane]), one, "{first} {lane}");
            }
        }
    }

    #[test]
    fn values_do_not_depend_on_the_count() {
        let stream = Random::new(3).named("weight");
        let many = stream.normal(3 * CHUNK + 15);
        for count in [0, 1, 3, 4, 5, CHUNK - 1, CHUNK + 1, 2 * CHUNK + 2] {
            assert_eq!(stream.normal(count), many[..count]);
            for first in [0, 1, 2, 3, 4, 7] {
                let mut values = vec![0.0; count];
                stream.normal_into(first, &mut values);
                assert_eq!(values, many[first..first + count]);
            }
        }
    }

    #[test]
    fn mean_and_variance_are_those_of_the_distribution() {
        let stream = Random::new(1).stream();
        let moments = |values: &[f32]| {
            let count = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
            let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
            (mean, variance)
        };
        // The standard error of the mean is at most 1e-3. Five of them are allowed.
        let (mean, variance) = moments(&stream.normal(1_000_000));
        assert!(mean.abs() < 5e-3 && (variance - 1.0).abs() < 8e-3, "{mean} {variance}");
        let (mean, variance) = moments(&stream.uniform(1_000_000));
        assert!((mean - 0.5).abs() < 2e-3 && (variance - 1.0 / 12.0).abs() < 1e-3, "{mean} {variance}");
    }

    #[test]
    fn every_state_is_valid() {
        for next_stream in [0, NAMED - 1, NAMED, u64::MAX] {
            let mut random = Random { seed: 1, next_stream };
            let (first, second) = (random.stream(), random.stream());
            assert!(first != second && first.stream < NAMED && second.stream < NAMED);
        }
    }

    #[test]
    fn permutations_are_permutations_and_differ() {
        let mut random = Random::new(5);
        let order = random.stream().permutation(1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_ne!(random.stream().permutation(1000), order);
        assert_eq!(random.stream().permutation(0), [0; 0]);
        // The first of 3 elements takes every value equally often.
        let mut first = [0; 3];
        for _ in 0..3000 {
            first[random.stream().permutation(3)[0]] += 1;
        }
        assert!(first.iter().all(|&times| (850..1150).contains(&times)), "{first:?}");
    }

    #[test]
    fn a_sequence_is_uniform_and_repeats() {
        let stream = Random::new(9).named("sequence");
        let values = |mut sequence: Sequence| -> Vec<u64> { (0..9).map(|_| sequence.bits()).collect() };
        assert_eq!(values(stream.sequence()), values(stream.sequence()));
        let mut sequence = stream.sequence();
        let mut counts = [0; 5];
        (0..5000).for_each(|_| counts[sequence.below(5)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        let mean =
            (0..10_000).map(|_| sequence.range(-1.0, 3.0)).inspect(|x| assert!((-1.0..3.0).contains(x))).sum::<f32>();
        assert!((mean / 10_000.0 - 1.0).abs() < 0.06, "{mean}");
        assert_eq!(sequence.below(0), 0);
    }
}
