//! The origin of the backbone's weights, as the report lists it.

use dualad_backbones::Provenance;

/// Returns the known properties as pairs of a name and a value, in the order shown.
pub(super) fn rows(weights: Option<&Provenance>) -> Vec<(&'static str, String)> {
    let Some(weights) = weights else { return Vec::new() };
    let rows = [
        ("source", Some(weights.source.to_string())),
        ("location", Some(weights.location.clone()).filter(|location| !location.is_empty())),
        ("revision", weights.revision.clone()),
        ("sha256", weights.sha256.clone()),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
