//! The layout of a network's parameters in one flat vector. Projections that are read together are adjacent.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use crate::config::DualAdConfig;
use crate::error::{Error, Result};

/// The places of the trained parameters.
#[derive(Debug, Clone)]
pub(crate) struct ParameterLayout {
    parameters: Vec<Place>,
    offsets: BTreeMap<String, usize>,
    /// The number of elements of all parameters.
    pub(crate) length: usize,
}

/// The place of one parameter.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    shape: Vec<usize>,
    offset: usize,
}

impl Place {
    fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.shape.iter().product::<usize>()
    }
}

impl ParameterLayout {
    /// Returns the layout of a configuration's parameters.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration describes no network.
    pub(crate) fn new(config: &DualAdConfig) -> Result<Self> {
        let mut listed: Vec<_> = config.parameters()?.into_iter().filter(|parameter| parameter.trained).collect();
        // The projections of one attention get the same key, and a rank among them; the sort is stable, so the other parameters
        // keep their order.
        let key = |name: &str| -> (String, u8) {
            for (rank, part) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
                if let Some((attention, kind)) = name.split_once(&format!(".{part}.")) {
                    return (format!("{attention}.{kind}"), rank as u8);
                }
            }
            (name.to_owned(), 0)
        };
        listed.sort_by_cached_key(|parameter| key(&parameter.name));
        let (mut parameters, mut offsets, mut length) = (Vec::new(), BTreeMap::new(), 0);
        for parameter in listed {
            offsets.insert(parameter.name.clone(), length);
            let place = Place { name: parameter.name, shape: parameter.shape, offset: length };
            length = place.range().end;
            parameters.push(place);
        }
        Ok(Self { parameters, offsets, length })
    }

    /// Returns the offset of a parameter, or `None` if the network has no trained parameter of that name.
    pub(crate) fn offset(&self, name: &str) -> Option<usize> {
        self.offsets.get(name).copied()
    }

    /// Checks that every name is that of a trained parameter.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first one that is not.
    pub(crate) fn check_names(&self, named: &BTreeMap<String, Tensor>) -> Result<()> {
        match named.keys().find(|name| self.offset(name).is_none()) {
            Some(name) => Err(Error::Parameter { name: name.clone(), reason: "is not one of the network's".into() }),
            None => Ok(()),
        }
    }

    /// Copies named tensors into one flat vector. Tensors that are not in the layout are ignored.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first parameter that is missing or has another shape, [`Error::Candle`] if one cannot be read.
    pub(crate) fn flatten(&self, named: &BTreeMap<String, Tensor>) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; self.length];
        for place in &self.parameters {
            let Place { name, shape, .. } = place;
            let wrong = |reason: String| Error::Parameter { name: name.clone(), reason };
            let tensor = named.get(name).ok_or_else(|| wrong("is missing".into()))?;
            if tensor.dims() != shape.as_slice() {
                return Err(wrong(format!("has shape {:?}, not {shape:?}", tensor.dims())));
            }
            flat[place.range()].copy_from_slice(&values(tensor)?);
        }
        Ok(flat)
    }

    /// Copies a flat vector into named tensors: the inverse of [`Self::flatten`].
    ///
    /// # Errors
    /// [`Error::Candle`] if a tensor cannot be made.
    pub(crate) fn named(&self, flat: &[f32]) -> Result<BTreeMap<String, Tensor>> {
        let tensor = |place: &Place| {
            let tensor = Tensor::from_slice(&flat[place.range()], place.shape.as_slice(), &Device::Cpu)?;
            Ok((place.name.clone(), tensor))
        };
        self.parameters.iter().map(tensor).collect()
    }

    /// Returns copies of the parts of a flat tensor as named tensors. Each has memory of its own: candle copies the whole memory of a
    /// tensor from one device to another, also for a part of it.
    ///
    /// # Errors
    /// [`Error::Candle`] if the tensor has another length, or its device has no memory for the copies.
    pub(crate) fn copies(&self, flat: &Tensor) -> Result<BTreeMap<String, Tensor>> {
        let copy = |place: &Place| {
            let range = place.range();
            let part = flat.detach().narrow(0, range.start, range.len())?.reshape(place.shape.as_slice())?;
            Ok((place.name.clone(), part.force_contiguous()?))
        };
        self.parameters.iter().map(copy).collect()
    }
}

/// Returns the elements of a tensor as f32.
///
/// # Errors
/// [`Error::Candle`] if the tensor cannot be read.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variant;
    use dualad_backbones::Backbone;

    #[test]
    fn projections_of_one_attention_are_adjacent() {
        let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18);
        let layout = ParameterLayout::new(&config).unwrap();
        assert_eq!(layout.length, config.parameter_count().unwrap());
        let (width, at) = (256, |name: &str| layout.offset(&format!("decoder.layers.2.attn2.{name}")).unwrap());
        assert_eq!(at("k_proj.weight"), at("q_proj.weight") + width * width);
        assert_eq!(at("v_proj.weight"), at("k_proj.weight") + width * width);
        assert_eq!(at("k_proj.bias"), at("q_proj.bias") + width);
        assert_eq!(at("v_proj.bias"), at("k_proj.bias") + width);
        let mut end = 0;
        for place in &layout.parameters {
            assert_eq!(place.offset, end, "{}", place.name);
            end = place.range().end;
        }
        assert_eq!(end, layout.length);
    }
}
