//! A network's tensors in a file: under which prefix they are, and which others the file may hold.

use std::collections::HashSet;

use crate::error::WeightsError;
use crate::network::{Network, Parameter};
use crate::weights::contents::Contents;

/// The maximum number of prefixes that are tried.
const MAX_PREFIXES: usize = 1000;
/// Endings of tensors that modules keep beside their parameters: PyTorch's batch norms count batches, and profilers count operations.
const COUNTERS: [&str; 3] = ["num_batches_tracked", "total_ops", "total_params"];
/// Modules after the features: classifiers and heads of self-supervised training.
const HEADS: [&str; 8] = ["fc", "linear", "last_linear", "logits", "fc_norm", "projection", "projector", "predictor"];

/// Returns the prefix of the network's tensors, such as `state_dict.module.backbone.`; the empty one for a file of the network alone.
///
/// A wrapper adds its attribute's name to every tensor, and a checkpoint has the tensors in a dictionary of its own. Their names
/// differ from project to project, so the prefix is the one under which the file holds all tensors that `used` needs.
///
/// # Errors
/// [`WeightsError::MissingKey`] if there is none, [`WeightsError::SeveralNetworks`] if there are several with different values.
pub(super) fn find_prefix(contents: &Contents<'_>, used: &Network) -> Result<String, WeightsError> {
    let parameters = used.parameters();
    let there: HashSet<&str> = contents.keys().collect();
    let mut prefixes = vec![""];
    if let Some(Parameter { key: first, .. }) = parameters.first() {
        let before = |key: &'_ &str| key.strip_suffix(first.as_str()).is_some_and(|before| before.ends_with('.'));
        prefixes.extend(there.iter().copied().filter(before).map(|key| &key[..key.len() - first.len()]));
    }
    prefixes.sort_unstable_by_key(|prefix| (prefix.len(), *prefix));
    prefixes.truncate(MAX_PREFIXES);
    let missing = |prefix: &str| {
        let is_missing = |parameter: &&Parameter| !there.contains(format!("{prefix}{}", parameter.key).as_str());
        parameters.iter().filter(is_missing).count()
    };
    let counted: Vec<(usize, &str)> = prefixes.into_iter().map(|prefix| (missing(prefix), prefix)).collect();
    // Of equal ones, the first is the shortest.
    let Some(&(missing, prefix)) = counted.iter().min_by_key(|(missing, _)| *missing) else { return Ok(String::new()) };
    let name = || contents.name().to_owned();
    if missing > 0 {
        let absent = |parameter: &&Parameter| !there.contains(format!("{prefix}{}", parameter.key).as_str());
        let key = parameters.iter().find(absent).map(|parameter| format!("{prefix}{}", parameter.key));
        let (key, network) = (key.unwrap_or_default(), used.name());
        return Err(WeightsError::MissingKey { source_name: name(), network, key, missing });
    }
    // A file of the network alone has no other parts.
    if prefix.is_empty() {
        return Ok(String::new());
    }
    for &(_, other) in counted.iter().filter(|(missing, other)| *missing == 0 && *other != prefix) {
        for Parameter { key, shape, .. } in &parameters {
            let of = |prefix: &str| contents.read(&format!("{prefix}{key}"), shape);
            if of(prefix)? != of(other)? {
                let prefixes = [prefix, other].map(|prefix| prefix.trim_end_matches('.').to_owned());
                return Err(WeightsError::SeveralNetworks { source_name: name(), network: used.name(), prefixes });
            }
        }
    }
    Ok(prefix.to_owned())
}

/// Checks that the file holds no tensors of another network under the prefix. Classifiers and other heads are allowed, and all that
/// has another prefix: it is another part of what was trained.
///
/// # Errors
/// [`WeightsError::ExtraKey`].
pub(super) fn check_extra(contents: &Contents<'_>, whole: &Network, prefix: &str) -> Result<(), WeightsError> {
    let known: HashSet<String> = whole.parameters().into_iter().map(|parameter| parameter.key).collect();
    let is_extra = |key: &&str| !known.contains(*key) && !is_counter(key) && !is_head(key);
    let mut extra: Vec<&str> = contents.keys().filter_map(|key| key.strip_prefix(prefix)).filter(is_extra).collect();
    extra.sort_unstable();
    match extra.first() {
        Some(first) => {
            let (source_name, key) = (contents.name().into(), format!("{prefix}{first}"));
            Err(WeightsError::ExtraKey { source_name, network: whole.name(), key, extra: extra.len() })
        }
        None => Ok(()),
    }
}

fn is_counter(key: &str) -> bool {
    COUNTERS.contains(&key.rsplit('.').next().unwrap_or(key))
}

/// Returns true for a tensor of a module after the features, by the name of the module.
fn is_head(key: &str) -> bool {
    let Some((module, _)) = key.split_once('.') else { return false };
    let module = module.to_ascii_lowercase();
    HEADS.contains(&module.as_str())
        || ["head", "heads", "classifier", "_fc"].iter().any(|ending| module.ends_with(ending))
}
