//! Smooth random fields with random access.

/// A point of the picture or of a part: x to the right, y down. The picture covers -1 to 1.
pub(super) type Point = [f32; 2];

/// Returns 32 pseudorandom bits for a lattice point (the finalizer of Appleby's MurmurHash3, public domain).
pub(super) fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ seed;
    h ^= h >> 16;
    h = h.wrapping_mul(0x85EB_CA6B);
    h ^= h >> 13;
    h = h.wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

/// Returns a value that is uniform on `[-1, 1)` for a lattice point.
pub(super) fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    (hash(x, y, seed) >> 8) as f32 * (2.0 / (1 << 24) as f32) - 1.0
}

/// Returns an approximately standard normal value for a lattice point: the scaled sum of four bytes.
pub(super) fn normal(x: i32, y: i32, seed: u32) -> f32 {
    let sum: u32 = hash(x, y, seed).to_le_bytes().into_iter().map(u32::from).sum();
    (sum as f32 - 510.0) / 147.8
}

/// Rounds down. `f32::floor` is a function call without SSE 4.1, which is slow a hundred times per pixel.
fn floor(x: f32) -> i32 {
    let towards_zero = x as i32;
    towards_zero.saturating_sub(i32::from(x < towards_zero as f32))
}

/// Returns value noise from -1 to 1 on a lattice of spacing 1.
pub(super) fn noise([x, y]: Point, seed: u32) -> f32 {
    let (column, row) = (floor(x), floor(y));
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (right, down) = (ease(x - column as f32), ease(y - row as f32));
    let at = |dx: i32, dy: i32| lattice(column.wrapping_add(dx), row.wrapping_add(dy), seed);
    mix(mix(at(0, 0), at(1, 0), right), mix(at(0, 1), at(1, 1), right), down)
}

/// Returns the sum of octaves of noise, each with twice the frequency and half the amplitude; about -1 to 1.
pub(super) fn fractal(point: Point, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut amplitude, mut frequency) = (0.0, 0.5, 1.0);
    for octave in 0..octaves {
        sum += amplitude * noise([point[0] * frequency, point[1] * frequency], seed.wrapping_add(octave * 0x51ED));
        amplitude *= 0.5;
        frequency *= 2.0;
    }
    sum
}

/// Interpolates linearly.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Returns 0 below `low`, 1 above `high`, and a smooth transition between.
pub(super) fn step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
