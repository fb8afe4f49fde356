//! The backbone's weights of a saved model.

use std::path::{Path, PathBuf};

#[cfg(feature = "hub")]
use dualad_backbones::HubFile;
use dualad_backbones::{Provenance, Weights, WeightsSource};

use super::DetectorBuilder;
use crate::error::{Error, Result};
use crate::file::sha256_of_file;
use crate::model::{BACKBONE, Model};

impl DetectorBuilder {
    /// Returns the source of the backbone's weights that a model's configuration names. `name` is the model's folder or name.
    pub(super) fn recorded_weights(&self, model: &Model, name: &Path) -> Result<Weights> {
        let recorded = &model.config().weights;
        Ok(match recorded.source {
            WeightsSource::File => {
                Weights::file(recorded_file(recorded, name).ok_or_else(|| missing_weights(model, name))?)
            }
            WeightsSource::Bytes => return Err(missing_weights(model, name)),
            #[cfg(feature = "hub")]
            WeightsSource::Hub => {
                let file = recorded.location.splitn(3, '/').collect::<Vec<_>>();
                let mut weights = match file.as_slice() {
                    [owner, name, filename] => {
                        let mut file = HubFile::new(format!("{owner}/{name}")).filename(*filename);
                        if let Some(revision) = &recorded.revision {
                            file = file.revision(revision);
                        }
                        Weights::hub_file(file)
                    }
                    _ => Weights::hub(),
                };
                if let Some(hub) = &self.hub {
                    weights = weights.with_hub(hub.clone());
                }
                weights
            }
            WeightsSource::Synthetic => {
                let seed = recorded.location.strip_prefix("seed ").and_then(|seed| seed.parse().ok());
                seed.map_or_else(Weights::default, Weights::synthetic)
            }
            // The extractor reports missing weights.
            _ => Weights::default(),
        })
    }
}

/// Returns the file that a configuration names, or, for a model that was moved with it, the one of its name and content in the
/// model's folder.
fn recorded_file(recorded: &Provenance, folder: &Path) -> Option<PathBuf> {
    let file = PathBuf::from(&recorded.location);
    if file.exists() {
        return Some(file);
    }
    // The path may be of another operating system.
    let beside = folder.join(recorded.location.rsplit(['/', '\\']).next()?);
    // The model's own parameters may have the same name.
    (beside.is_file() && sha256_of_file(&beside).ok() == recorded.sha256).then_some(beside)
}

/// Returns the error of a model whose backbone's weights are not at hand.
pub(super) fn missing_weights(model: &Model, name: &Path) -> Error {
    let config = model.config();
    let (backbone, recorded) = (config.backbone, &config.weights);
    let place = match recorded.source {
        WeightsSource::File => format!("they were in {}, which is not here", recorded.location),
        _ => "its configuration names no file of them".into(),
    };
    let digest = recorded.sha256.as_ref().map_or_else(String::new, |sha256| format!(" (SHA-256 {sha256})"));
    let reason = format!(
        "it needs the weights of its backbone {backbone}, and {place}; give that file{digest}, or copy it into the model's folder as {BACKBONE}"
    );
    Error::ModelWeights { model: name.into(), reason }
}
