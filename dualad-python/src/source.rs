//! The origin of a backbone's weights.

use std::path::PathBuf;

use dualad::backbones::Weights;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// The origin of a backbone's weights: a seed of synthetic ones, the content of a file, or a path. The path `hub` is the hub.
#[derive(Debug, FromPyObject)]
pub(crate) enum Source {
    Seed(u64),
    Bytes(PyBackedBytes),
    Path(PathBuf),
}

impl Source {
    pub(crate) fn weights(&self) -> Weights {
        match self {
            Self::Seed(seed) => Weights::synthetic(*seed),
            Self::Bytes(bytes) => Weights::bytes(bytes.to_vec()),
            Self::Path(path) if path.as_os_str() == "hub" => Weights::hub(),
            Self::Path(path) => Weights::file(path),
        }
    }
}
