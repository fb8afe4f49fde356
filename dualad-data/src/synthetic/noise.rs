//! Smooth random fields, the same for the same seed wherever they are asked.

/// A point of the picture or of a part: x to the right, y down, the picture from -1 to 1.
pub(super) type Point = [f32; 2];

/// 32 unrelated bits for a lattice point (the finalizer of Appleby's MurmurHash3, public domain).
pub(super) fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ seed;
    h ^= h >> 16;
    h = h.wrapping_mul(0x85EB_CA6B);
    h ^= h >> 13;
    h = h.wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

/// Uniform on `[-1, 1)` for a lattice point.
pub(super) fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    (hash(x, y, seed) >> 8) as f32 * (2.0 / (1 << 24) as f32) - 1.0
}

/// About normal, of mean 0 and deviation 1: the sum of four bytes.
pub(super) fn normal(x: i32, y: i32, seed: u32) -> f32 {
    let sum: u32 = hash(x, y, seed).to_le_bytes().into_iter().map(u32::from).sum();
    (sum as f32 - 510.0) / 147.8
}

/// As `f32::floor`, which without SSE 4.1 is a call; asked for a hundred times a pixel, that shows.
fn floor(x: f32) -> i32 {
    let towards_zero = x as i32;
    towards_zero.saturating_sub(i32::from(x < towards_zero as f32))
}

/// Value noise in -1 to 1 whose lattice has a spacing of 1.
pub(super) fn noise([x, y]: Point, seed: u32) -> f32 {
    let (column, row) = (floor(x), floor(y));
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (right, down) = (ease(x - column as f32), ease(y - row as f32));
    let at = |dx: i32, dy: i32| lattice(column.wrapping_add(dx), row.wrapping_add(dy), seed);
    mix(mix(at(0, 0), at(1, 0), right), mix(at(0, 1), at(1, 1), right), down)
}

/// `octaves` of noise, each of twice the frequency and half the amplitude; about -1 to 1.
pub(super) fn fractal(point: Point, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut amplitude, mut frequency) = (0.0, 0.5, 1.0);
    for octave in 0..octaves {
        sum += amplitude * noise([point[0] * frequency, point[1] * frequency], seed.wrapping_add(octave * 0x51ED));
        amplitude *= 0.5;
        frequency *= 2.0;
    }
    sum
}

pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 up to `low`, 1 from `high` on, smooth between.
pub(super) fn step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
