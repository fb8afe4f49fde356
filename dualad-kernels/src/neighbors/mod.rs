//! Distances to the nearest token of a bank, and the selection of a bank's tokens.

mod bank;
mod basis;
mod bytes;
mod heads;
mod k_center;
mod plain;
mod rows;
mod scan;
mod search;
#[cfg(test)]
mod tests;

pub use bank::NearestNeighbors;
pub use k_center::{k_center, k_center_while};
pub use plain::nearest_plain;
