//! A network's tensors in a file: under which prefix they are, and which others the file may hold.

use std::collections::HashMap;

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
/// differ from project to project, so the prefix is the one under which the file holds all tensors that `used` needs, in their
/// shapes. Of several, those without tensors that `whole` does not know are preferred: another network may have all tensors of this
/// one, and more.
///
/// # Errors
/// [`WeightsError::MissingKey`] or [`WeightsError::Shape`] if there is none, [`WeightsError::SeveralNetworks`] if there are several with
/// different values.
pub(super) fn find_prefix(contents: &Contents<'_>, whole: &Network, used: &Network) -> Result<String, WeightsError> {
    let parameters = used.parameters();
    let shapes = contents.shapes();
    let shape = |prefix: &str, parameter: &Parameter| shapes.get(format!("{prefix}{}", parameter.key).as_str());
    let mut prefixes = vec![""];
    if let Some(Parameter { key: first, .. }) = parameters.first() {
        let before = |key: &'_ &str| key.strip_suffix(first.as_str()).is_some_and(|before| before.ends_with('.'));
        prefixes.extend(shapes.keys().copied().filter(before).map(|key| &key[..key.len() - first.len()]));
    }
    prefixes.sort_unstable_by_key(|prefix| (prefix.len(), *prefix));
    prefixes.truncate(MAX_PREFIXES);
    // The numbers of tensors that are not there, and that have another shape: those are of another network.
    let unfit = |prefix: &str| {
        let found = || parameters.iter().map(|parameter| (parameter, shape(prefix, parameter)));
        let missing = found().filter(|(_, found)| found.is_none()).count();
        let reshaped =
            found().filter(|(parameter, found)| found.is_some_and(|found| *found != parameter.shape)).count();
        (missing, reshaped)
    };
    let counted: Vec<((usize, usize), &str)> = prefixes.into_iter().map(|prefix| (unfit(prefix), prefix)).collect();
    // Of equal ones, the first is the shortest.
    let Some(&((missing, reshaped), prefix)) = counted.iter().min_by_key(|(unfit, _)| *unfit) else {
        return Ok(String::new());
    };
    let name = || contents.name().to_owned();
    if missing > 0 {
        let absent = parameters.iter().find(|parameter| shape(prefix, parameter).is_none());
        let key = absent.map(|parameter| format!("{prefix}{}", parameter.key)).unwrap_or_default();
        return Err(WeightsError::MissingKey { source_name: name(), network: used.name(), key, missing });
    }
    // Without a prefix, the file has this network alone. A tensor of another shape is an error once it is read.
    if prefix.is_empty() || reshaped > 0 {
        return Ok(prefix.to_owned());
    }
    let fitting: Vec<&str> = counted.iter().filter(|(unfit, _)| *unfit == (0, 0)).map(|(_, prefix)| *prefix).collect();
    let known = known(whole);
    let is_pure = |prefix: &&str| {
        let under = shapes.iter().filter_map(|(key, shape)| Some((key.strip_prefix(prefix)?, shape)));
        under.into_iter().all(|(key, shape)| match known.get(key) {
            Some(expected) => shape == expected,
            None => !is_extra(&known, key),
        })
    };
    let pure: Vec<&str> = fitting.iter().copied().filter(is_pure).collect();
    let candidates = if pure.is_empty() { fitting } else { pure };
    let prefix = candidates.first().copied().unwrap_or(prefix);
    for &other in candidates.iter().skip(1) {
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
    let known = known(whole);
    let under = contents.keys().filter_map(|key| key.strip_prefix(prefix));
    let mut extra: Vec<&str> = under.filter(|key| is_extra(&known, key)).collect();
    extra.sort_unstable();
    match extra.first() {
        Some(first) => {
            let (source_name, key) = (contents.name().into(), format!("{prefix}{first}"));
            Err(WeightsError::ExtraKey { source_name, network: whole.name(), key, extra: extra.len() })
        }
        None => Ok(()),
    }
}

/// Returns the shapes of a network's tensors.
fn known(network: &Network) -> HashMap<String, Vec<usize>> {
    network.parameters().into_iter().map(|Parameter { key, shape, .. }| (key, shape)).collect()
}

/// Returns true for a tensor that is neither one of these nor allowed beside them.
fn is_extra(known: &HashMap<String, Vec<usize>>, key: &str) -> bool {
    !known.contains_key(key) && !is_counter(key) && !is_head(key)
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
