//! Readers of tensors by key.

use dualad_kernels::are_finite;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::error::WeightsError;
use crate::network::Parameter;
use crate::weights::synthetic;

const FORMAT: &str = "safetensors";

/// A source of parameters.
pub(crate) trait Reader {
    /// Returns the name used in errors.
    fn name(&self) -> &str;
    /// Returns the parameter's values, row-major and finite.
    fn read(&self, parameter: &Parameter) -> Result<Vec<f32>, WeightsError>;
}

/// The tensors of a safetensors file by key. Shape and dtype are checked before values are copied.
///
/// ```
/// use dualad_backbones::WeightsError;
/// use dualad_backbones::weights::SafetensorsReader;
///
/// let error = SafetensorsReader::new("a page", b"<html>...").unwrap_err();
/// assert!(matches!(error, WeightsError::Malformed { .. }));
/// ```
#[derive(Debug)]
pub struct SafetensorsReader<'a> {
    name: &'a str,
    tensors: SafeTensors<'a>,
}

impl<'a> SafetensorsReader<'a> {
    /// Reads and checks the header: every tensor's range lies in the file, and the ranges cover it without gap or overlap.
    /// `name` is the file's name in errors.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] if the file is not a complete safetensors file.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Result<Self, WeightsError> {
        let malformed = |reason: String| WeightsError::Malformed { source_name: name.into(), format: FORMAT, reason };
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { name, tensors })
    }

    /// Returns the file's name in errors.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the keys, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(key, _)| key)
    }

    /// Returns the keys and the shapes.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        self.tensors.iter().map(|(key, view)| (key, view.shape().to_vec()))
    }

    /// Returns the tensor's values, row-major and finite, converted from F32, F16, BF16 or F64.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] if there is no such tensor, [`WeightsError::Shape`] if it has another shape,
    /// [`WeightsError::DType`] if its dtype is another, [`WeightsError::NotFinite`] if it holds NaN or infinity.
    pub fn read(&self, key: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let view = self.tensors.tensor(key).map_err(|error| WeightsError::Malformed {
            source_name: self.name.into(),
            format: FORMAT,
            reason: format!("tensor \"{key}\": {error}"),
        })?;
        if view.shape() != shape {
            return Err(WeightsError::Shape {
                source_name: self.name.into(),
                key: key.into(),
                expected: shape.to_vec(),
                found: view.shape().to_vec(),
            });
        }
        let bytes = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => elements(bytes, f32::from_le_bytes),
            Dtype::F16 => elements(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => elements(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => elements(bytes, |b| f64::from_le_bytes(b) as f32),
            other => {
                let (source_name, key, found) = (self.name.into(), key.into(), format!("{other:?}"));
                return Err(WeightsError::DType { source_name, key, found });
            }
        };
        if !are_finite(&values) {
            return Err(WeightsError::NotFinite { source_name: self.name.into(), key: key.into() });
        }
        Ok(values)
    }
}

/// Converts little-endian elements of `N` bytes each. The bytes need no alignment.
fn elements<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
}

/// A reader of values made by rule from a seed.
pub(crate) struct SyntheticReader {
    pub(crate) seed: u64,
}

impl Reader for SyntheticReader {
    fn name(&self) -> &str {
        "<synthetic>"
    }

    fn read(&self, parameter: &Parameter) -> Result<Vec<f32>, WeightsError> {
        Ok(synthetic::tensor(&parameter.key, &parameter.shape, self.seed))
    }
}
