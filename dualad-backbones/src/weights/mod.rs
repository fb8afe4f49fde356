//! Pretrained weights: their sources, their files, and their folding into layers.

mod contents;
mod convert;
mod file;
mod fold;
mod format;
mod gap;
mod keys;
mod network_reader;
mod provenance;
mod pytorch;
mod reader;
mod source;
pub mod synthetic;

pub use file::{read_file, read_weights};
pub(crate) use fold::{Affine, LayerWeights};
pub use provenance::{Provenance, WeightsSource};
pub use pytorch::PyTorchReader;
pub use reader::SafetensorsReader;
pub use source::Weights;
