//! A network's tensors in a weight file.

use std::collections::HashSet;

use crate::error::WeightsError;
use crate::network::{Network, Parameter};
use crate::weights::contents::Contents;
use crate::weights::gap;
use crate::weights::keys::{check_extra, find_prefix};
use crate::weights::reader::Reader;

/// A network's tensors in a file.
pub(super) struct NetworkReader<'a> {
    contents: Contents<'a>,
    prefix: String,
}

impl<'a> NetworkReader<'a> {
    /// Finds the tensors that `used` needs, and checks that the file holds no others that `whole` does not know, unless
    /// `allow_extra`.
    pub(super) fn new(
        contents: Contents<'a>,
        whole: &Network,
        used: &Network,
        allow_extra: bool,
    ) -> Result<Self, WeightsError> {
        let prefix = find_prefix(&contents, whole, used)?;
        if !allow_extra {
            check_extra(&contents, whole, &prefix)?;
        }
        let reader = Self { contents, prefix };
        reader.check_rest(whole, used)?;
        Ok(reader)
    }

    /// Checks the tensors of the network that are not used: a file with a part that was not written is the wrong file to keep.
    fn check_rest(&self, whole: &Network, used: &Network) -> Result<(), WeightsError> {
        let used: HashSet<String> = used.parameters().into_iter().map(|parameter| parameter.key).collect();
        let there = self.contents.shapes();
        let key = |parameter: &Parameter| format!("{}{}", self.prefix, parameter.key);
        let is_rest = |parameter: &Parameter| {
            !used.contains(&parameter.key) && there.get(key(parameter).as_str()) == Some(&parameter.shape)
        };
        for parameter in whole.parameters().into_iter().filter(is_rest) {
            match self.read(&parameter) {
                // Their values do not matter.
                Ok(_) | Err(WeightsError::DType { .. } | WeightsError::NotFinite { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Reader for NetworkReader<'_> {
    fn name(&self) -> &str {
        self.contents.name()
    }

    fn read(&self, parameter: &Parameter) -> Result<Vec<f32>, WeightsError> {
        let key = format!("{}{}", self.prefix, parameter.key);
        let values = self.contents.read(&key, &parameter.shape)?;
        if is_weight(parameter) && values.iter().all(|value| *value == 0.0) {
            return Err(WeightsError::OnlyZeros { source_name: self.name().into(), key });
        }
        if let Some(gap) = gap::find(&values, &parameter.shape) {
            let (from, count) = (gap.start, gap.len());
            return Err(WeightsError::Gap { source_name: self.name().into(), key, from, count });
        }
        Ok(values)
    }
}

/// Returns whether a parameter is one that training never makes 0 everywhere: the weight of a convolution or a linear layer, the
/// variances of a batch norm or the embedding of positions. Biases, means, scales and tokens may be.
fn is_weight(parameter: &Parameter) -> bool {
    let Parameter { key, shape, .. } = parameter;
    let is_kind =
        key.ends_with("weight") && shape.len() >= 2 || key.ends_with("running_var") || key.ends_with("pos_embed");
    is_kind && shape.iter().product::<usize>() > 1
}
