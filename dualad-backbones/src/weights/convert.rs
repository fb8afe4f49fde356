//! PyTorch files as safetensors files.

use std::collections::HashSet;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use crate::error::{Result, WeightsError};
use crate::network::Network;
use crate::weights::contents::Contents;
use crate::weights::format::Format;
use crate::weights::keys::find_prefix;

/// Returns a PyTorch file's tensors of a network as a safetensors file, in f32, under the network's own names; `None` for a file
/// of another format. Tensors that the network has and the file does not, or not in their shape, are left out: features may need
/// the first stages alone.
pub(super) fn to_safetensors(name: &str, bytes: &[u8], network: &Network) -> Result<Option<Vec<u8>>> {
    if Format::of(name, bytes)? != Format::PyTorch {
        return Ok(None);
    }
    let contents = Contents::open(name, bytes)?;
    let first = network.stages().first().map(|stage| stage.index);
    let prefix = find_prefix(&contents, network, &network.up_to(first.as_slice())?)?;
    let there: HashSet<&str> = contents.keys().collect();
    let mut tensors = Vec::new();
    for parameter in network.parameters() {
        let key = format!("{prefix}{}", parameter.key);
        if !there.contains(key.as_str()) {
            continue;
        }
        match contents.read(&key, &parameter.shape) {
            Ok(values) => {
                let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
                tensors.push((parameter.key, parameter.shape, bytes));
            }
            Err(WeightsError::Shape { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let views = tensors.iter().map(|(key, shape, bytes)| Ok((key, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
    let written = views.collect::<Result<Vec<_>, _>>().and_then(|views| serialize(views, None));
    let malformed = |error: safetensors::SafeTensorError| WeightsError::Malformed {
        source_name: name.into(),
        format: "PyTorch",
        reason: error.to_string(),
    };
    Ok(Some(written.map_err(malformed)?))
}
