//! The choice of weights, and their loading.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::DType;
use dualad_store::sha256;

use crate::backbone::Backbone;
#[cfg(feature = "hub")]
use crate::error::Error;
use crate::error::{Result, WeightsError};
#[cfg(feature = "hub")]
use crate::hub::{Fetched, Hub};
#[cfg(feature = "hub")]
use crate::hub_file::HubFile;
use crate::network::Network;
use crate::weights::contents::Contents;
use crate::weights::convert::to_safetensors;
use crate::weights::file::{read_weights, write_file};
use crate::weights::fold::{LayerWeights, fold};
use crate::weights::network_reader::NetworkReader;
use crate::weights::provenance::{Provenance, WeightsSource};
use crate::weights::reader::SyntheticReader;

/// The source of a backbone's weights, and the checks when they are loaded.
///
/// ```no_run
/// use dualad_backbones::{Backbone, Weights};
///
/// let weights = Weights::file("resnet18.safetensors");
/// let extractor = Backbone::ResNet18.extractor().weights(weights).build()?;
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Weights {
    source: Source,
    sha256: Option<String>,
    allow_extra_keys: bool,
}

#[derive(Debug, Clone)]
enum Source {
    NotGiven,
    File(PathBuf),
    Bytes(Bytes),
    #[cfg(feature = "hub")]
    Hub {
        client: Option<Box<Hub>>,
        file: Option<Box<HubFile>>,
    },
    Synthetic(u64),
}

/// The networks and the dtype that weights are loaded for.
struct Wanted<'a> {
    /// The whole network. A file may hold any of its keys.
    whole: &'a Network,
    /// The part of the network that is run. A file must hold all of its keys.
    used: &'a Network,
    /// The dtype that the weights are converted to.
    dtype: DType,
}

/// Bytes that clones share. `Debug` prints their number only.
#[derive(Clone)]
struct Bytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", (*self.0).as_ref().len())
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::from(Source::NotGiven)
    }
}

impl From<Source> for Weights {
    fn from(source: Source) -> Self {
        Self { source, sha256: None, allow_extra_keys: false }
    }
}

impl Weights {
    /// Names a file of at most 8 GiB: safetensors, or PyTorch's (`.pth`, `.pt`, `.bin`). Its content tells its format.
    ///
    /// The network's tensors may be anywhere in it, such as under `state_dict` and a wrapper's `module.backbone.`. No code that a
    /// PyTorch file names is executed.
    ///
    /// It is read into memory, not mapped: if another process shortened a mapped file, reading it would end this process.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Source::File(path.into()).into()
    }

    /// Makes the path of [`Self::file`] absolute, so that it names the same file after the process changes its folder.
    #[must_use]
    pub fn with_absolute_path(mut self) -> Self {
        if let Source::File(path) = &mut self.source
            && let Ok(absolute) = std::path::absolute(&*path)
        {
            *path = absolute;
        }
        self
    }

    /// Takes the content of a file as [`Self::file`] reads it, such as from `include_bytes!` or a `Vec<u8>`.
    pub fn bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Source::Bytes(Bytes(Arc::new(bytes))).into()
    }

    /// Names the backbone's own file on the hub ([`Backbone::hub_file`]). Environment variables configure the client
    /// ([`crate::hub::Hub::from_env`]).
    #[cfg(feature = "hub")]
    pub fn hub() -> Self {
        Source::Hub { client: None, file: None }.into()
    }

    /// Names a file on the hub.
    #[cfg(feature = "hub")]
    pub fn hub_file(file: HubFile) -> Self {
        Source::Hub { client: None, file: Some(Box::new(file)) }.into()
    }

    /// Sets the client of the hub. It has no effect on other sources.
    #[cfg(feature = "hub")]
    #[must_use]
    pub fn with_hub(mut self, hub: Hub) -> Self {
        if let Source::Hub { client, .. } = &mut self.source {
            *client = Some(Box::new(hub));
        }
        self
    }

    /// Makes weights by a rule from each tensor's name and a seed ([`crate::weights::synthetic`]), for tests and benchmarks. They
    /// extract no useful features.
    pub fn synthetic(seed: u64) -> Self {
        Source::Synthetic(seed).into()
    }

    /// Sets the SHA-256 (64 hexadecimal digits) that the whole file must have. Synthetic weights are not checked.
    #[must_use]
    pub fn sha256(mut self, hex: impl Into<String>) -> Self {
        self.sha256 = Some(hex.into().to_ascii_lowercase());
        self
    }

    /// Sets whether the file may hold tensors among the network's that it does not know. Default: false; heads, such as a
    /// classifier, are always allowed. Missing tensors are always an error.
    #[must_use]
    pub fn allow_extra_keys(mut self, allow: bool) -> Self {
        self.allow_extra_keys = allow;
        self
    }

    /// Returns `false` for the default, which names no source.
    pub(crate) fn are_given(&self) -> bool {
        !matches!(self.source, Source::NotGiven)
    }

    /// Reads and folds the weights of `used`. `whole` is the whole network, whose other keys a file may hold too.
    pub(crate) fn load(
        &self,
        backbone: Backbone,
        whole: &Network,
        used: &Network,
        dtype: DType,
    ) -> Result<(Vec<LayerWeights>, Provenance)> {
        let wanted = Wanted { whole, used, dtype };
        match &self.source {
            Source::NotGiven => {
                let on_hub = cfg!(feature = "hub") && backbone.hub_file().is_some();
                Err(WeightsError::NotGiven { backbone, on_hub }.into())
            }
            Source::File(path) => {
                // Relative to the present folder, it would not be found from another.
                let location = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                let provenance = Provenance::new(WeightsSource::File, location.display().to_string());
                self.load_file(path, &wanted, provenance, &[])
            }
            Source::Bytes(bytes) => {
                let provenance = Provenance::new(WeightsSource::Bytes, String::new());
                self.load_bytes("<bytes>", (*bytes.0).as_ref(), &wanted, provenance, &[])
            }
            #[cfg(feature = "hub")]
            Source::Hub { client, file } => {
                let (file, fetched) = Self::fetch(backbone, client.as_deref(), file.as_deref())?;
                let mut provenance = Provenance::new(WeightsSource::Hub, format!("{}/{}", file.repo, file.filename));
                provenance.revision = Some(fetched.commit.clone());
                // A large file's name in the cache is its SHA-256, so damage since the download is detected.
                let expected = [file.sha256.as_deref(), fetched.sha256.as_deref()];
                let loaded = self.load_file(&fetched.path, &wanted, provenance, &expected);
                loaded.map_err(|error| in_cache(&fetched, error))
            }
            &Source::Synthetic(seed) => {
                let provenance = Provenance::new(WeightsSource::Synthetic, format!("seed {seed}"));
                Ok((fold(used, &SyntheticReader { seed }, dtype)?, provenance))
            }
        }
    }

    /// Writes the weights as a safetensors file, which gets its name when it is complete.
    ///
    /// Of a safetensors file, it is a copy, whose content is not checked; the result is `None`. Of a PyTorch file, the network's
    /// tensors are written in f32, under the network's own names; the result is the SHA-256 of the PyTorch file.
    ///
    /// # Errors
    /// [`WeightsError::NotGiven`] for synthetic weights and if no weights were given, [`WeightsError::NotAFile`], [`WeightsError::Io`],
    /// `Error::Hub` if the file cannot be downloaded, and for a PyTorch file the errors of loading it.
    pub fn save(&self, backbone: Backbone, path: impl AsRef<Path>) -> Result<Option<String>> {
        let path = path.as_ref();
        match &self.source {
            Source::NotGiven | Source::Synthetic(_) => Err(WeightsError::NotGiven { backbone, on_hub: false }.into()),
            Source::File(from) => save_file(backbone, from, path),
            Source::Bytes(bytes) => save_bytes(backbone, "<bytes>", (*bytes.0).as_ref(), path),
            #[cfg(feature = "hub")]
            Source::Hub { client, file } => {
                save_file(backbone, &Self::fetch(backbone, client.as_deref(), file.as_deref())?.1.path, path)
            }
        }
    }

    #[cfg(feature = "hub")]
    fn fetch(backbone: Backbone, client: Option<&Hub>, file: Option<&HubFile>) -> Result<(HubFile, Fetched)> {
        let file = file.cloned().or_else(|| backbone.hub_file());
        let file = file.ok_or(WeightsError::NotGiven { backbone, on_hub: false })?;
        let fetched = match client {
            Some(client) => client.fetch(&file)?,
            None => Hub::from_env()?.fetch(&file)?,
        };
        Ok((file, fetched))
    }

    fn load_file(
        &self,
        path: &Path,
        wanted: &Wanted<'_>,
        provenance: Provenance,
        digests: &[Option<&str>],
    ) -> Result<(Vec<LayerWeights>, Provenance)> {
        self.load_bytes(&path.display().to_string(), &read_weights(path)?, wanted, provenance, digests)
    }

    fn load_bytes(
        &self,
        name: &str,
        bytes: &[u8],
        wanted: &Wanted<'_>,
        mut provenance: Provenance,
        digests: &[Option<&str>],
    ) -> Result<(Vec<LayerWeights>, Provenance)> {
        let expected: Vec<&str> = digests.iter().copied().chain([self.sha256.as_deref()]).flatten().collect();
        expected.iter().try_for_each(|expected| check_digest(expected))?;
        // The header is checked first: it is small, and a file of another format is refused before all of it is hashed.
        let contents = Contents::open(name, bytes)?;
        let found = sha256(bytes);
        for expected in expected {
            if !expected.eq_ignore_ascii_case(&found) {
                let (source_name, expected) = (name.into(), expected.into());
                return Err(WeightsError::Sha256 { source_name, expected, found }.into());
            }
        }
        let reader = NetworkReader::new(contents, wanted.whole, wanted.used, self.allow_extra_keys)?;
        let folded = fold(wanted.used, &reader, wanted.dtype)?;
        provenance.sha256 = Some(found);
        Ok((folded, provenance))
    }
}

/// Returns the error of a file in the hub's cache: a damaged one must be deleted there, or it is never fetched again.
#[cfg(feature = "hub")]
fn in_cache(fetched: &Fetched, error: Error) -> Error {
    let reason = match error {
        Error::Weights(WeightsError::Malformed { format, reason, .. }) => {
            format!("is not a complete {format} file: {reason}")
        }
        Error::Weights(WeightsError::Sha256 { expected, found, .. })
            if fetched.sha256.as_ref().is_some_and(|sha256| sha256.eq_ignore_ascii_case(&expected)) =>
        {
            format!("has SHA-256 {found}, and had {expected} when it was fetched")
        }
        other => return other,
    };
    WeightsError::DamagedCache { path: fetched.path.clone(), reason }.into()
}

fn save_file(backbone: Backbone, from: &Path, to: &Path) -> Result<Option<String>> {
    save_bytes(backbone, &from.display().to_string(), &read_weights(from)?, to)
}

fn save_bytes(backbone: Backbone, name: &str, bytes: &[u8], to: &Path) -> Result<Option<String>> {
    let converted = match backbone.network() {
        Some(network) => to_safetensors(name, bytes, &network)?,
        None => None,
    };
    write_file(to, &mut converted.as_deref().unwrap_or(bytes))?;
    Ok(converted.map(|_| sha256(bytes)))
}

/// Checks that a value is a SHA-256 in hexadecimal.
fn check_digest(value: &str) -> Result<(), WeightsError> {
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { Ok(()) } else { Err(WeightsError::NotADigest { value: value.chars().take(200).collect() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_absolute_path_begins_with_the_folder_of_the_process() {
        let Source::File(path) = Weights::file("weights.safetensors").with_absolute_path().source else { panic!() };
        assert_eq!(path, std::env::current_dir().unwrap().join("weights.safetensors"));
        assert!(matches!(Weights::synthetic(1).with_absolute_path().source, Source::Synthetic(1)));
    }
}
