//! Products of 8-bit integers: weights of one scale for each output, rows of one scale for each row.
//!
//! A row x is stored as q = round(x / step + zero) with q from 0 to 255. Its step and zero follow from its smallest and its largest
//! element, so no ranges have to be known before. A weight is stored as an integer from -127 to 127. The sums are exact, so every
//! instruction set gives the same bits.

#[cfg(target_arch = "aarch64")]
mod arm;
mod cells;
mod dot;
mod isa;
mod packed;
mod patches;
mod product;
mod quantize;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::add_products;
pub use cells::ByteCells;
pub(crate) use packed::PackedBytes;
pub(crate) use patches::convolve;
pub(crate) use product::product;
