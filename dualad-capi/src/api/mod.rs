//! The exported functions. Their comments are those of the header.

mod detector;
mod inspect;
mod inspection;
mod library;
mod options;

pub use detector::*;
pub use inspect::*;
pub use inspection::*;
pub use library::*;
pub use options::*;
