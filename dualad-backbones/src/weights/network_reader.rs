//! A network's tensors in a weight file.

use crate::error::WeightsError;
use crate::network::{Network, Parameter};
use crate::weights::contents::Contents;
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
        Ok(Self { contents, prefix })
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
        Ok(values)
    }
}

/// Returns whether a parameter is the weight of a convolution or a linear layer. Only these are never 0 everywhere: biases, means and
/// tokens may be.
fn is_weight(parameter: &Parameter) -> bool {
    parameter.key.ends_with("weight") && parameter.shape.len() >= 2 && parameter.shape.iter().product::<usize>() > 1
}
