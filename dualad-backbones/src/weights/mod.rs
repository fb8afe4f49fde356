//! Where weights come from, how they are read, and how they become folded layers.

mod fold;
#[cfg(feature = "hub")]
pub mod hub;
mod reader;
pub mod synthetic;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::DType;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Result, WeightsError};
use crate::network::Network;
use crate::spec::Backbone;
#[cfg(feature = "hub")]
use crate::spec::HubFile;

pub(crate) use fold::{Affine, Folded, fold};
pub use reader::SafetensorsReader;
use reader::SyntheticReader;

/// No file of weights comes near it.
const MOST_BYTES: u64 = 8 << 30;

/// Which weights to load a backbone with, and how strictly.
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
        client: Option<Box<hub::Hub>>,
        file: Option<Box<HubFile>>,
    },
    Synthetic(u64),
}

/// What a load is for.
struct Wanted<'a> {
    /// The full network, whose keys a file may hold beyond those needed.
    whole: &'a Network,
    /// What is needed.
    used: &'a Network,
    /// What the weights will be narrowed to.
    dtype: DType,
}

/// Bytes that are shared, not copied, and not printed.
#[derive(Clone)]
struct Bytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", (*self.0).as_ref().len())
    }
}

/// Where a loaded backbone's weights came from: what a saved model records so that they can be had again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Provenance {
    /// `file`, `bytes`, `hub`, `synthetic` or `none` (a backbone without weights).
    pub source: String,
    /// The file's path, or `owner/name/file` on the hub; empty for the others.
    pub location: String,
    /// The commit on the hub, if the weights came from there.
    pub revision: Option<String>,
    /// The SHA-256 of the whole file, in lower-case hexadecimal.
    pub sha256: Option<String>,
}

impl Provenance {
    fn new(source: &str, location: String) -> Self {
        Self { source: source.into(), location, revision: None, sha256: None }
    }

    /// For a backbone that has no weights.
    pub(crate) fn none() -> Self {
        Self::new("none", String::new())
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
    /// A safetensors file of at most 8 GiB.
    ///
    /// It is read into memory and not mapped: of a mapped file, one that another process shortens meanwhile ends this one.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Source::File(path.into()).into()
    }

    /// A safetensors file's content: from `include_bytes!`, a `Vec<u8>`, a download of your own.
    pub fn bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Source::Bytes(Bytes(Arc::new(bytes))).into()
    }

    /// The backbone's own repository on the hub ([`Backbone::hub_file`]); the environment decides the rest
    /// ([`hub::Hub::from_env`]).
    #[cfg(feature = "hub")]
    pub fn hub() -> Self {
        Source::Hub { client: None, file: None }.into()
    }

    /// Any file on the hub.
    #[cfg(feature = "hub")]
    pub fn hub_file(file: HubFile) -> Self {
        Source::Hub { client: None, file: Some(Box::new(file)) }.into()
    }

    /// Use this client, and not the environment's, for the hub. Without effect on other sources.
    #[cfg(feature = "hub")]
    #[must_use]
    pub fn with_hub(mut self, hub: hub::Hub) -> Self {
        if let Source::Hub { client, .. } = &mut self.source {
            *client = Some(Box::new(hub));
        }
        self
    }

    /// Numbers made by a fixed rule from each tensor's name and a seed ([`synthetic`]): good for tests and timing, useless for
    /// inspection.
    pub fn synthetic(seed: u64) -> Self {
        Source::Synthetic(seed).into()
    }

    /// Demand this SHA-256 (64 hexadecimal digits) of the whole file. Rule-made weights have none, and are not checked.
    #[must_use]
    pub fn sha256(mut self, hex: impl Into<String>) -> Self {
        self.sha256 = Some(hex.into().to_ascii_lowercase());
        self
    }

    /// Load although the file holds tensors that the network does not know. Missing ones are always an error.
    #[must_use]
    pub fn allow_extra_keys(mut self, allow: bool) -> Self {
        self.allow_extra_keys = allow;
        self
    }

    /// Reads and folds what `used` needs. `whole` is the full network, whose other keys a file may hold too.
    pub(crate) fn load(
        &self,
        backbone: Backbone,
        whole: &Network,
        used: &Network,
        dtype: DType,
    ) -> Result<(Vec<Folded>, Provenance)> {
        let wanted = Wanted { whole, used, dtype };
        match &self.source {
            Source::NotGiven => {
                let on_hub = cfg!(feature = "hub") && backbone.hub_file().is_some();
                Err(WeightsError::NotGiven { backbone, on_hub }.into())
            }
            Source::File(path) => {
                let provenance = Provenance::new("file", path.display().to_string());
                self.load_file(path, &wanted, provenance, &[])
            }
            Source::Bytes(bytes) => {
                let provenance = Provenance::new("bytes", String::new());
                self.load_bytes("<bytes>", (*bytes.0).as_ref(), &wanted, provenance, &[])
            }
            #[cfg(feature = "hub")]
            Source::Hub { client, file } => {
                let (file, fetched) = Self::fetch(backbone, client.as_deref(), file.as_deref())?;
                let mut provenance = Provenance::new("hub", format!("{}/{}", file.repo, file.filename));
                provenance.revision = Some(fetched.commit);
                // A large file's name in the cache is its SHA-256: damage since the download is noticed here.
                let expected = [file.sha256.as_deref(), fetched.sha256.as_deref()];
                self.load_file(&fetched.path, &wanted, provenance, &expected)
            }
            &Source::Synthetic(seed) => {
                let provenance = Provenance::new("synthetic", format!("seed {seed}"));
                Ok((fold(used, &SyntheticReader { seed }, dtype)?, provenance))
            }
        }
    }

    /// Writes a copy of the file that these weights are read from, under a temporary name first. Nothing in it is checked.
    ///
    /// # Errors
    /// [`WeightsError::NotGiven`] for weights that are no file, and whatever keeps them from being read or written.
    pub fn save(&self, backbone: Backbone, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let copy = |from: &Path| copy_file(from, path);
        match &self.source {
            Source::NotGiven | Source::Synthetic(_) => Err(WeightsError::NotGiven { backbone, on_hub: false }.into()),
            Source::File(from) => copy(from),
            Source::Bytes(bytes) => write_file(path, &mut (*bytes.0).as_ref()),
            #[cfg(feature = "hub")]
            Source::Hub { client, file } => copy(&Self::fetch(backbone, client.as_deref(), file.as_deref())?.1.path),
        }
    }

    #[cfg(feature = "hub")]
    fn fetch(backbone: Backbone, client: Option<&hub::Hub>, file: Option<&HubFile>) -> Result<(HubFile, hub::Fetched)> {
        let file = file.cloned().or_else(|| backbone.hub_file());
        let file = file.ok_or(WeightsError::NotGiven { backbone, on_hub: false })?;
        let fetched = match client {
            Some(client) => client.fetch(&file)?,
            None => hub::Hub::from_env()?.fetch(&file)?,
        };
        Ok((file, fetched))
    }

    fn load_file(
        &self,
        path: &Path,
        wanted: &Wanted<'_>,
        provenance: Provenance,
        sha256: &[Option<&str>],
    ) -> Result<(Vec<Folded>, Provenance)> {
        self.load_bytes(&path.display().to_string(), &read_file(path)?, wanted, provenance, sha256)
    }

    fn load_bytes(
        &self,
        name: &str,
        bytes: &[u8],
        wanted: &Wanted<'_>,
        mut provenance: Provenance,
        sha256: &[Option<&str>],
    ) -> Result<(Vec<Folded>, Provenance)> {
        let expected: Vec<&str> = sha256.iter().copied().chain([self.sha256.as_deref()]).flatten().collect();
        expected.iter().try_for_each(|expected| check_digest(expected))?;
        // The header first: it is small and tells a file of another kind before all of it is hashed.
        let reader = SafetensorsReader::new(name, bytes)?;
        let found = hex(&Sha256::digest(bytes));
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
    write_file(to, &mut open_file(from)?)
}

/// The file gets its name when it is complete.
fn write_file(path: &Path, content: &mut dyn Read) -> Result<()> {
    let io = |error| WeightsError::Io { path: path.into(), error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    std::io::copy(content, &mut file).map_err(io)?;
    #[cfg(unix)]
    {
        // Temporary files are their owner's alone; what is saved is for others to read.
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map(|_| ()).map_err(|error| io(error.error).into())
}

/// The SHA-256 of bytes, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a file, in lower-case hexadecimal, without holding the file in memory.
///
/// # Errors
/// [`WeightsError::Io`] if the file cannot be read, [`WeightsError::NotAFile`] if it is none.
pub fn sha256_of_file(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let io = |error| WeightsError::Io { path: path.into(), error };
    let mut file = open_file(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The content of a safetensors file of at most 8 GiB, of which only the first bytes were looked at: that they are a header's, so
/// that no memory is taken for a file of another kind.
///
/// ```
/// use dualad_backbones::WeightsError;
/// use dualad_backbones::weights::read_file;
///
/// let error = read_file(std::env::temp_dir()).unwrap_err();
/// assert!(matches!(error, WeightsError::NotAFile { .. }));
/// ```
///
/// # Errors
/// [`WeightsError::NotAFile`], [`WeightsError::Io`], [`WeightsError::Malformed`].
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>, WeightsError> {
    let path = path.as_ref();
    let io = |error| WeightsError::Io { path: path.into(), error };
    let malformed = |reason: String| {
        let source_name = path.display().to_string();
        Err(WeightsError::Malformed { source_name, format: "safetensors", reason })
    };
    let mut file = open_file(path)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MOST_BYTES {
        return malformed(format!("it has {length} bytes, and at most {MOST_BYTES} are read"));
    }
    let mut header = [0; 8];
    if length < 8 {
        return malformed(format!("it has {length} bytes, and the length of a header alone takes 8"));
    }
    file.read_exact(&mut header).map_err(io)?;
    let header_length = u64::from_le_bytes(header);
    if header_length < 2 || header_length > length - 8 {
        return malformed(format!("its header would have {header_length} bytes, and the file has {length}"));
    }
    let mut bytes = Vec::new();
    let reserved = usize::try_from(length).map(|length| bytes.try_reserve_exact(length));
    if !matches!(reserved, Ok(Ok(()))) {
        return Err(io(std::io::ErrorKind::OutOfMemory.into()));
    }
    bytes.extend_from_slice(&header);
    // As many as there were: whoever adds to it meanwhile is not followed.
    file.take(length - 8).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Opens a regular file. Opening anything else may wait for ever (a pipe), and reading it may never end.
fn open_file(path: &Path) -> Result<File, WeightsError> {
    let io = |error| WeightsError::Io { path: path.into(), error };
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(WeightsError::NotAFile { path: path.into() });
    }
    File::open(path).map_err(io)
}

/// Whether this is a SHA-256 in hexadecimal.
fn check_digest(value: &str) -> Result<(), WeightsError> {
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { Ok(()) } else { Err(WeightsError::NotADigest { value: value.chars().take(200).collect() }) }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
