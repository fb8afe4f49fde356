//! Datasets of industrial inspection, from files on disk to numbers, and back to pictures. Knows no network.

mod error;
pub mod image;
pub mod layout;
mod random;
pub mod render;
pub mod synthetic;

pub use error::{Error, Result};
