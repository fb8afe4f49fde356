//! Pretrained weights: their sources, their files, and their folding into layers.

mod file;
mod fold;
mod provenance;
mod reader;
mod source;
pub mod synthetic;

pub use file::read_file;
pub(crate) use fold::{Affine, LayerWeights};
pub use provenance::{Provenance, WeightsSource};
pub use reader::SafetensorsReader;
pub use source::Weights;
