//! Synthetic weight files.

#![allow(dead_code, clippy::print_stderr)]

pub(crate) mod pytorch;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dualad_backbones::Backbone;
use dualad_backbones::weights::synthetic;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// A tensor of a file.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Raw {
    pub(crate) fn f32(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    pub(crate) fn values(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

pub(crate) type File = BTreeMap<String, Raw>;

pub(crate) const SEED: u64 = 7;

/// Returns the weights of stage 1 of ResNet-18: 157,000 values, small enough for every test to write a file of its own.
pub(crate) fn resnet18_stage1() -> File {
    let tensors = Backbone::ResNet18.tensors(&[1]).unwrap().into_iter();
    tensors.map(|(key, shape)| (key.clone(), Raw::f32(&shape, &synthetic::tensor(&key, &shape, SEED)))).collect()
}

pub(crate) fn serialize(file: &File) -> Vec<u8> {
    let views = file.iter().map(|(key, raw)| {
        (key.as_str(), TensorView::new(raw.dtype, raw.shape.clone(), &raw.bytes).expect("a consistent tensor"))
    });
    safetensors::serialize(views, None).unwrap()
}

/// Returns a folder of the evaluation material beside the checkout, or `None` if there is none.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "skipped: {} is not there (it holds evaluation material that is not part of the repository)",
        path.display()
    );
    None
}
