//! What a trained model finds in a picture.

mod original;
mod outline;
mod regions;
#[cfg(test)]
mod tests;

pub use original::{OriginalRegion, Stretch};
pub use regions::{Bounds, Region, RegionOptions, Regions, regions};
