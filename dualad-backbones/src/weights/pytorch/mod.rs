//! Files of PyTorch: state dicts, checkpoints that hold one, whole modules and TorchScript, as a zip archive or as pickles in a row
//! (before version 1.6).

mod pickle;
mod storages;
mod tensors;

use std::collections::BTreeMap;

use dualad_kernels::are_finite;
use half::{bf16, f16};

use self::storages::Storages;
use self::tensors::Place;
use crate::error::WeightsError;

/// The tensors of a PyTorch file by name. Shape and dtype are checked before values are copied, and no code that the file names is
/// executed.
///
/// The names in dictionaries within each other are joined with dots: `state_dict.backbone.conv1.weight`.
///
/// ```
/// use dualad_backbones::WeightsError;
/// use dualad_backbones::weights::PyTorchReader;
///
/// let error = PyTorchReader::new("a page", b"<html>...").unwrap_err();
/// assert!(matches!(error, WeightsError::Malformed { .. }));
/// ```
#[derive(Debug)]
pub struct PyTorchReader<'a> {
    name: &'a str,
    tensors: BTreeMap<String, Place>,
    storages: Storages<'a>,
}

impl<'a> PyTorchReader<'a> {
    /// Reads the names, shapes and dtypes of the tensors. `name` is the file's name in errors.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] if the content is not a complete PyTorch file.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Result<Self, WeightsError> {
        let (values, storages) = Storages::open(bytes).map_err(|reason| malformed(name, reason))?;
        let tensors = tensors::tensors(&values).map_err(|reason| malformed(name, reason))?;
        if tensors.is_empty() {
            return Err(malformed(name, "it holds no tensors by name; save model.state_dict()".into()));
        }
        Ok(Self { name, tensors, storages })
    }

    /// Returns the file's name in errors.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Returns true if the content begins as PyTorch's files do.
    pub(super) fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") || matches!(bytes, [0x80, 2..=5, ..])
    }

    /// Returns the names, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns the names and the shapes.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        self.tensors.iter().map(|(key, place)| (key.as_str(), place.shape.clone()))
    }

    /// Returns a tensor's shape.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.tensors.get(key).map(|place| place.shape.as_slice())
    }

    /// Returns the tensor's values, row-major and finite, converted from float, half, bfloat16 or double.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] if there is no such tensor or its values are not in the file, [`WeightsError::Shape`] if it has
    /// another shape, [`WeightsError::DType`] if its dtype is another, [`WeightsError::NotFinite`] if it holds NaN or infinity.
    pub fn read(&self, key: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let wrong = |reason: &str| malformed(self.name, format!("tensor \"{key}\": {reason}"));
        let place = self.tensors.get(key).ok_or_else(|| wrong("there is none"))?;
        let read: fn(&[u8], Indices<'_>) -> Option<Vec<f32>> = match place.kind.as_str() {
            "FloatStorage" => |bytes, at| values(bytes, at, f32::from_le_bytes),
            "HalfStorage" => |bytes, at| values(bytes, at, |b| f16::from_le_bytes(b).to_f32()),
            "BFloat16Storage" => |bytes, at| values(bytes, at, |b| bf16::from_le_bytes(b).to_f32()),
            "DoubleStorage" => |bytes, at| values(bytes, at, |b| f64::from_le_bytes(b) as f32),
            other => {
                let (source_name, found) = (self.name.into(), other.trim_end_matches("Storage").into());
                return Err(WeightsError::DType { source_name, key: key.into(), found });
            }
        };
        if place.shape != shape {
            return Err(WeightsError::Shape {
                source_name: self.name.into(),
                key: key.into(),
                expected: shape.to_vec(),
                found: place.shape.clone(),
            });
        }
        let bytes = self.storages.bytes(&place.storage).map_err(|reason| wrong(&reason))?;
        let at = Indices { offset: place.offset, shape, strides: &place.strides };
        let values = read(bytes, at).ok_or_else(|| wrong("its values are not in the file"))?;
        if !are_finite(&values) {
            return Err(WeightsError::NotFinite { source_name: self.name.into(), key: key.into() });
        }
        Ok(values)
    }
}

fn malformed(name: &str, reason: String) -> WeightsError {
    WeightsError::Malformed { source_name: name.into(), format: "PyTorch", reason }
}

/// The indices of a tensor's values in its storage.
#[derive(Clone, Copy)]
struct Indices<'a> {
    offset: u64,
    shape: &'a [usize],
    strides: &'a [u64],
}

/// Returns the values at the indices, row-major, or `None` if one of them is not in `bytes`.
fn values<const N: usize>(bytes: &[u8], at: Indices<'_>, convert: fn([u8; N]) -> f32) -> Option<Vec<f32>> {
    let Indices { offset, shape, strides } = at;
    let stored = bytes.as_chunks::<N>().0;
    if shape.len() != strides.len() {
        return None;
    }
    if shape.contains(&0) {
        return Some(Vec::new());
    }
    let mut last = offset;
    for (&size, &stride) in shape.iter().zip(strides) {
        last = last.checked_add((size as u64 - 1).checked_mul(stride)?)?;
    }
    if last >= stored.len() as u64 {
        return None;
    }
    // From here on every index is within the storage.
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
    if is_row_major(shape, strides) {
        let from = usize::try_from(offset).ok()?;
        return Some(stored.get(from..from.checked_add(count)?)?.iter().map(|&value| convert(value)).collect());
    }
    let mut values = Vec::new();
    // Strides of 0 can make a small file a large tensor.
    values.try_reserve_exact(count).ok()?;
    let mut position = vec![0; shape.len()];
    let mut index = offset as usize;
    for _ in 0..count {
        values.push(convert(*stored.get(index)?));
        for axis in (0..shape.len()).rev() {
            let stride = strides[axis] as usize;
            position[axis] += 1;
            if position[axis] < shape[axis] {
                index += stride;
                break;
            }
            index -= stride * (shape[axis] - 1);
            position[axis] = 0;
        }
    }
    Some(values)
}

/// Returns true if the values are next to each other, in their order. The stride of a dimension of 1 has no meaning.
fn is_row_major(shape: &[usize], strides: &[u64]) -> bool {
    let mut distance = 1u64;
    shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == distance;
        distance = distance.saturating_mul(size as u64);
        fits
    })
}
