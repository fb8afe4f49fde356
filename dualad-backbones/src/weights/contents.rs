//! The content of a weight file in either format.

use std::collections::HashMap;

use crate::error::WeightsError;
use crate::weights::format::Format;
use crate::weights::pytorch::PyTorchReader;
use crate::weights::reader::SafetensorsReader;

/// The tensors of a safetensors or a PyTorch file.
#[derive(Debug)]
pub(super) enum Contents<'a> {
    Safetensors(SafetensorsReader<'a>),
    PyTorch(PyTorchReader<'a>),
}

impl<'a> Contents<'a> {
    /// Reads the list of tensors. `name` is the file's name in errors.
    pub(super) fn open(name: &'a str, bytes: &'a [u8]) -> Result<Self, WeightsError> {
        Ok(match Format::of(name, bytes)? {
            Format::Safetensors => Self::Safetensors(SafetensorsReader::new(name, bytes)?),
            Format::PyTorch => Self::PyTorch(PyTorchReader::new(name, bytes)?),
        })
    }

    pub(super) fn name(&self) -> &'a str {
        match self {
            Self::Safetensors(reader) => reader.name(),
            Self::PyTorch(reader) => reader.name(),
        }
    }

    pub(super) fn keys(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Safetensors(reader) => Box::new(reader.keys()),
            Self::PyTorch(reader) => Box::new(reader.keys()),
        }
    }

    /// Returns the shapes of the tensors.
    pub(super) fn shapes(&self) -> HashMap<&str, Vec<usize>> {
        match self {
            Self::Safetensors(reader) => reader.shapes().collect(),
            Self::PyTorch(reader) => reader.shapes().collect(),
        }
    }

    pub(super) fn read(&self, key: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        match self {
            Self::Safetensors(reader) => reader.read(key, shape),
            Self::PyTorch(reader) => reader.read(key, shape),
        }
    }
}
