//! Weights and inputs made by a rule, so that two implementations can compare whole networks without exchanging a file.
//!
//! For a tensor named `k` with `n` elements and a seed `s`, let `h` be the 64-bit FNV-1a hash of `k`'s bytes. For element `i` of
//! `0..n`, splitmix64's mix of `h + s + (i + 1) * 0x9E3779B97F4A7C15` (modulo 2^64) is a 64-bit `x`. Then
//! `u = (x >> 11) * 2^-53` is uniform on `[0, 1)` and `v = 2 u - 1` on `[-1, 1)`. The element is computed in f64 and rounded to f32:
//!
//! | tensor | value |
//! |---|---|
//! | name ends in `running_var` | 0.8 + 0.4 u |
//! | name ends in `running_mean` or `.bias` | 0.1 v |
//! | any other of one dimension | 0.8 + 0.4 u |
//! | `pos_embed`, `cls_token` | 0.2 v |
//! | `input` | 2 v |
//! | every other | v * sqrt(3 / product of all dimensions but the first) |

/// Returns the tensor named `key`, row-major.
///
/// # Panics
/// Panics if there is not enough memory, as `vec!` does.
///
/// ```
/// use dualad_backbones::weights::synthetic;
///
/// let images = synthetic::tensor("input", &[2, 3, 64, 64], 1);
/// assert_eq!(images.len(), 2 * 3 * 64 * 64);
/// assert!(images.iter().all(|x| (-2.0..2.0).contains(x)));
/// ```
pub fn tensor(key: &str, shape: &[usize], seed: u64) -> Vec<f32> {
    let product = |sides: &[usize]| sides.iter().fold(1usize, |product, &side| product.saturating_mul(side));
    let count = product(shape);
    let fan_in = product(shape.get(1..).unwrap_or_default()).max(1);
    let value = |u: f64| {
        let v = 2.0 * u - 1.0;
        if key.ends_with("running_var") {
            0.8 + 0.4 * u
        } else if key.ends_with("running_mean") || key.ends_with(".bias") {
            0.1 * v
        } else if key == "input" {
            2.0 * v
        } else if key == "pos_embed" || key == "cls_token" {
            0.2 * v
        } else if shape.len() == 1 {
            0.8 + 0.4 * u
        } else {
            v * (3.0 / fan_in as f64).sqrt()
        }
    };
    let mut state = fnv1a(key.as_bytes()).wrapping_add(seed);
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            value((mix(state) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)) as f32
        })
        .collect()
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
