//! Matrix products with packed weights.

mod epilogue;
mod packed;
mod product;
pub(crate) mod store;
pub(crate) mod tile;

pub use epilogue::{Epilogue, Residual};
pub use packed::Packed;
pub(crate) use product::{DEPTH, divide, product_here};
pub use product::{Rows, product};
