//! Matrix products with packed weights.

mod epilogue;
mod packed;
mod product;
pub(crate) mod store;
pub(crate) mod tile;

pub use epilogue::{Epilogue, Residual};
pub use packed::Packed;
pub use product::{Rows, product};
pub(crate) use product::{divide, product_here};
