//! The choice of weights, and their loading.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::DType;
use dualad_store::sha256;

use crate::backbone::Backbone;
use crate::error::{Result, WeightsError};
#[cfg(feature = "hub")]
use crate::hub::{Fetched, Hub};
#[cfg(feature = "hub")]
use crate::hub_file::HubFile;
use crate::network::Network;
use crate::weights::file::{open_file, read_file, write_file};
use crate::weights::fold::{LayerWeights, fold};
use crate::weights::provenance::{Provenance, WeightsSource};
use crate::weights::reader::{SafetensorsReader, SyntheticReader};

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
    /// Names a safetensors file of at most 8 GiB.
    ///
    /// It is read into memory, not mapped: if another process shortened a mapped file, reading it would end this process.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Source::File(path.into()).into()
    }

    /// Takes the content of a safetensors file, such as from `include_bytes!` or a `Vec<u8>`.
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

    /// Sets whether the file may hold tensors that the network does not know. Default: false. Missing tensors are always an error.
    #[must_use]
    pub fn allow_extra_keys(mut self, allow: bool) -> Self {
        self.allow_extra_keys = allow;
        self
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
                let provenance = Provenance::new(WeightsSource::File, path.display().to_string());
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
                provenance.revision = Some(fetched.commit);
                // A large file's name in the cache is its SHA-256, so damage since the download is detected.
                let expected = [file.sha256.as_deref(), fetched.sha256.as_deref()];
                self.load_file(&fetched.path, &wanted, provenance, &expected)
            }
            &Source::Synthetic(seed) => {
                let provenance = Provenance::new(WeightsSource::Synthetic, format!("seed {seed}"));
                Ok((fold(used, &SyntheticReader { seed }, dtype)?, provenance))
            }
        }
    }

    /// Writes a copy of the weights' file. Its content is not checked. The copy gets its name when it is complete.
    ///
    /// # Errors
    /// [`WeightsError::NotGiven`] for synthetic weights and if no weights were given, [`WeightsError::NotAFile`], [`WeightsError::Io`],
    /// and `Error::Hub` if the file cannot be downloaded.
    pub fn save(&self, backbone: Backbone, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match &self.source {
            Source::NotGiven | Source::Synthetic(_) => Err(WeightsError::NotGiven { backbone, on_hub: false }.into()),
            Source::File(from) => copy_file(from, path),
            Source::Bytes(bytes) => Ok(write_file(path, &mut (*bytes.0).as_ref())?),
            #[cfg(feature = "hub")]
            Source::Hub { client, file } => {
                copy_file(&Self::fetch(backbone, client.as_deref(), file.as_deref())?.1.path, path)
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
        self.load_bytes(&path.display().to_string(), &read_file(path)?, wanted, provenance, digests)
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
        let reader = SafetensorsReader::new(name, bytes)?;
        let found = sha256(bytes);
        for expected in expected {
            if !expected.eq_ignore_ascii_case(&found) {
                let (source_name, expected) = (name.into(), expected.into());
                return Err(WeightsError::Sha256 { source_name, expected, found }.into());
            }
        }
        reader.check_keys(wanted.whole, wanted.used, self.allow_extra_keys)?;
        let folded = fold(wanted.used, &reader, wanted.dtype)?;
        provenance.sha256 = Some(found);
        Ok((folded, provenance))
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    Ok(write_file(to, &mut open_file(from)?)?)
}

/// Checks that a value is a SHA-256 in hexadecimal.
fn check_digest(value: &str) -> Result<(), WeightsError> {
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { Ok(()) } else { Err(WeightsError::NotADigest { value: value.chars().take(200).collect() }) }
}
