//! Files from the Hugging Face hub, through the cache that Python's `huggingface_hub` shares.
//!
//! `hf_hub` knows the cache's layout; the transfer is done here, because its client waits for a silent server for ever,
//! takes a connection that breaks off for the end of the file, and trusts header values as file names. Here every wait
//! ends, every name is checked, and a file gets its name in the cache only after its length and (for a large file,
//! whose entity tag is one) its SHA-256 were found right.
//!
//! The environment's variables: `HF_HOME` (or `XDG_CACHE_HOME`), `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`,
//! `HF_TOKEN_PATH`, `HF_HUB_OFFLINE` (anything but 0, false, no and off), and `HTTPS_PROXY` and its kin.

mod client;
mod download;

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hf_hub::{Cache, Repo, RepoType};

use crate::spec::HubFile;
use client::{Client, Metadata};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// No weight file of a backbone here has a twentieth of it.
const DEFAULT_MAX_BYTES: u64 = 8 << 30;

/// Why a file could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Neither `HF_HUB_CACHE` nor `HF_HOME` is set, and there is no home folder.
    #[error("there is no folder for the hub's cache: set HF_HOME to one that can be written")]
    NoCacheFolder,
    /// The server's address is none.
    #[error("\"{}\" is no address of a hub (from HF_ENDPOINT, unless the program set it); write https://host, without user and password", endpoint.escape_debug())]
    Endpoint {
        /// The address.
        endpoint: String,
    },
    /// The access token cannot be one.
    #[error(
        "the hub's access token (from HF_TOKEN or its file, unless the program set it) has characters that no token has; check it for spaces and line ends"
    )]
    Token,
    /// A repository, revision or file name that the hub could not have.
    #[error(
        "\"{value}\" is no valid {what} on the hub (in {file}); write owner/name, a branch, tag or commit, and a relative path"
    )]
    Name {
        /// Which part: repository, revision or file name.
        what: &'static str,
        /// The value.
        value: String,
        /// The file asked for, `owner/name@revision/file`.
        file: String,
    },
    /// The file is not in the cache and the network must not be used.
    #[error("{file} is not in the cache {} and HF_HUB_OFFLINE is set; unset it, or copy the file there", cache.display())]
    Offline {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// The server says that there is no such thing.
    #[error("{file} is not on {endpoint} ({reason}); check the repository, the revision and the file name")]
    NotFound {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// The server's word.
        reason: String,
    },
    /// The server wants a token, or another one.
    #[error(
        "{endpoint} refuses {file} (status {status}); set HF_TOKEN to a token that may read it, and accept the repository's terms on its page"
    )]
    Refused {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server cannot be reached, or stopped answering.
    #[error(
        "cannot fetch {file} from {endpoint}: {reason}; check the network and HF_ENDPOINT, or give a local weight file"
    )]
    Unreachable {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// What the transfer ended with.
        reason: String,
    },
    /// The server answers, but not as the hub does.
    #[error(
        "{endpoint} does not answer for {file} as the hub does: {reason}; a proxy or login page may stand in between, or HF_ENDPOINT may be wrong"
    )]
    Protocol {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The file is larger than allowed.
    #[error("{file} has {size} bytes, more than the {limit} allowed; raise the limit if it is the right file")]
    TooLarge {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The size that the server declares.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The received bytes are not the file's.
    #[error(
        "what {endpoint} sent for {file} has SHA-256 {found}, expected {expected}; it was thrown away: try again, and distrust the way to the server if that does not help"
    )]
    Sha256 {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// Expected digest.
        expected: String,
        /// Digest of what was received.
        found: String,
    },
    /// Another process keeps fetching the same file.
    #[error("another process has been fetching {file} for {} seconds; wait for it, or stop it (it holds {})", waited.as_secs(), lock.display())]
    Locked {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The lock.
        lock: PathBuf,
        /// How long this one waited.
        waited: Duration,
    },
    /// The cache cannot be written.
    #[error("cannot use the hub's cache at {}: {error}; see that it can be written and has space, or set HF_HOME to another folder", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's word.
        error: std::io::Error,
    },
}

/// How far a download is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a HubFile,
    /// Bytes that are there, those of an earlier, broken-off try included.
    pub received: u64,
    /// Bytes in all.
    pub total: u64,
}

type OnProgress = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// A file that is in the cache now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// The commit that its revision stood for.
    pub commit: String,
    /// The SHA-256 that the content had when it was fetched; the hub tells it of large files only.
    pub sha256: Option<String>,
}

/// A client of the hub: where it asks, where it keeps files, how long it waits.
///
/// ```no_run
/// use dualad_backbones::weights::hub::{Hub, terminal_progress};
/// use dualad_backbones::{Backbone, Weights};
///
/// let hub = Hub::from_env()?.on_progress(terminal_progress());
/// let weights = Weights::hub().with_hub(hub);
/// let extractor = Backbone::WideResNet50x2.extractor().weights(weights).build()?;
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    endpoint: String,
    cache: PathBuf,
    token: Option<String>,
    offline: bool,
    timeout: Duration,
    lock_timeout: Duration,
    max_bytes: u64,
    on_progress: Option<OnProgress>,
}

impl fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// As the process's environment says, read once, now.
    ///
    /// # Errors
    /// [`HubError::NoCacheFolder`].
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// As the given variables say: [`Self::from_env`] for another environment than the process's.
    ///
    /// # Errors
    /// [`HubError::NoCacheFolder`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let text = |name: &str| {
            let value = variable(name)?.to_string_lossy().trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let folder =
            |name: &str| variable(name).filter(|value| !value.is_empty()).map(|value| expand_home(value.into()));
        let home = folder("HF_HOME").or_else(|| {
            let cache = folder("XDG_CACHE_HOME").or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
            cache.map(|cache| cache.join("huggingface"))
        });
        let cache = folder("HF_HUB_CACHE").or_else(|| home.as_ref().map(|home| home.join("hub")));
        let token_file = folder("HF_TOKEN_PATH").or_else(|| home.as_ref().map(|home| home.join("token")));
        let token = text("HF_TOKEN").or_else(|| read_line(&token_file?));
        // Anything but a plain no: somebody who set it wants no network.
        let off = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off");
        Ok(Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.into()),
            cache: cache.ok_or(HubError::NoCacheFolder)?,
            token,
            offline: text("HF_HUB_OFFLINE").is_some_and(|value| !off(&value)),
            timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(600),
            max_bytes: DEFAULT_MAX_BYTES,
            on_progress: None,
        })
    }

    /// The server's address, `https://huggingface.co` unless told otherwise.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = url.into();
        self
    }

    /// The cache's folder (the one that holds `models--owner--name`).
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = folder.into();
        self
    }

    /// The access token, or none.
    #[must_use]
    pub fn token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    /// Never use the network.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// How long the server may be silent, while connecting, before its answer and between two pieces of a file: 30
    /// seconds unless told otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long to wait while another process fetches the same file: 10 minutes unless told otherwise.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// The largest file to fetch: 8 GiB unless told otherwise.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Called when a download starts, as it goes on, and once more when it is complete.
    #[must_use]
    pub fn on_progress(mut self, callback: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(callback));
        self
    }

    /// The file's path in the cache; it is fetched first if it is not there.
    ///
    /// A file that the cache has for the revision is used without asking the server, so a branch that moved on
    /// is not noticed: pin a commit to be sure of the content.
    ///
    /// # Errors
    /// Any [`HubError`]. The cache never holds a partial file under its final name.
    pub fn fetch(&self, file: &HubFile) -> Result<Fetched, HubError> {
        check_names(file)?;
        let layout = Layout::new(&self.cache, file);
        if let Some(fetched) = layout.find() {
            return Ok(fetched);
        }
        if self.offline {
            return Err(HubError::Offline { file: file.to_string(), cache: self.cache.clone() });
        }
        let client = Client::new(&self.endpoint, self.token.as_deref(), self.timeout)?;
        let metadata = client.metadata(file)?;
        if metadata.size > self.max_bytes {
            return Err(HubError::TooLarge { file: file.to_string(), size: metadata.size, limit: self.max_bytes });
        }
        let _lock = self.lock(&layout, &metadata)?;
        let blob = layout.blob(&metadata);
        if !download::is_whole(&blob, file, &metadata)? {
            let report = |received| {
                if let Some(callback) = &self.on_progress {
                    callback(Progress { file, received, total: metadata.size });
                }
            };
            download::download(&client, file, &metadata, &blob, &report)?;
        }
        layout.publish(&metadata, &blob)
    }

    /// Waits for other processes that fetch the same content. Released when dropped.
    fn lock(&self, layout: &Layout, metadata: &Metadata) -> Result<std::fs::File, HubError> {
        let path = layout.lock(metadata);
        let cache_error = |error| HubError::Cache { path: path.clone(), error };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(cache_error)?;
        }
        let file = std::fs::OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let file = file.map_err(cache_error)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if started.elapsed() < self.lock_timeout => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    let waited = started.elapsed();
                    return Err(HubError::Locked { file: layout.file.to_string(), lock: path, waited });
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(cache_error(error)),
            }
        }
    }
}

/// A progress bar on standard error, shown only if that is a terminal: for [`Hub::on_progress`].
///
/// ```no_run
/// use dualad_backbones::HubFile;
/// use dualad_backbones::weights::hub::{Hub, HubError, terminal_progress};
///
/// let hub = Hub::from_env()?.on_progress(terminal_progress());
/// let fetched = hub.fetch(&HubFile::new("timm/resnet18.tv_in1k"))?;
/// assert!(fetched.path.is_file());
/// # Ok::<(), HubError>(())
/// ```
pub fn terminal_progress() -> impl Fn(Progress<'_>) + Send + Sync + 'static {
    use indicatif::{ProgressBar, ProgressStyle};
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
    let bar = ProgressBar::new(0).with_style(style);
    move |progress| {
        if bar.length() != Some(progress.total) || bar.message().is_empty() {
            bar.set_length(progress.total);
            bar.set_message(progress.file.repo.clone());
        }
        bar.set_position(progress.received);
        if progress.received == progress.total {
            bar.finish();
        }
    }
}

/// Where the hub's cache keeps a file: content under `blobs`, names under `snapshots`, branches under `refs`.
struct Layout<'a> {
    cache: &'a Path,
    repo: hf_hub::CacheRepo,
    folder: PathBuf,
    file: &'a HubFile,
}

impl<'a> Layout<'a> {
    fn new(cache: &'a Path, file: &'a HubFile) -> Self {
        let repo = Repo::with_revision(file.repo.clone(), RepoType::Model, file.revision.clone());
        let folder = cache.join(repo.folder_name());
        Self { cache, repo: Cache::new(cache.into()).repo(repo), folder, file }
    }

    /// The file, if the cache has it for the revision (a branch that was fetched before, or a commit).
    fn find(&self) -> Option<Fetched> {
        let commits = [read_line(&self.reference()), Some(self.file.revision.to_ascii_lowercase())];
        commits.into_iter().flatten().filter(|commit| is_commit(commit)).find_map(|commit| {
            let path = self.repo.pointer_path(&commit).join(&self.file.filename);
            // The snapshot is a link to a blob, and a large file's blob is named by its SHA-256.
            let blob = path.is_file().then(|| std::fs::canonicalize(&path).ok()).flatten();
            let name = blob.as_ref().and_then(|blob| blob.file_name()?.to_str()).unwrap_or_default();
            let sha256 = is_sha256(name).then(|| name.to_owned());
            path.is_file().then_some(Fetched { path, commit, sha256 })
        })
    }

    fn reference(&self) -> PathBuf {
        self.folder.join("refs").join(&self.file.revision)
    }

    fn blob(&self, metadata: &Metadata) -> PathBuf {
        self.folder.join("blobs").join(&metadata.etag)
    }

    fn lock(&self, metadata: &Metadata) -> PathBuf {
        let folder = self.folder.file_name().unwrap_or_default();
        self.cache.join(".locks").join(folder).join(format!("{}.lock", metadata.etag))
    }

    /// Gives the content its name under the commit, then says that the revision is that commit.
    fn publish(&self, metadata: &Metadata, blob: &Path) -> Result<Fetched, HubError> {
        let commit = metadata.commit.clone();
        let snapshot = self.repo.pointer_path(&commit);
        let path = snapshot.join(&self.file.filename);
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |error| HubError::Cache { path, error }
        };
        let parent = path.parent().unwrap_or(&snapshot);
        std::fs::create_dir_all(parent).map_err(at(parent))?;
        if !path.is_file() {
            link(blob, &path, &self.folder).map_err(at(&path))?;
        }
        let reference = self.reference();
        if reference.file_name().is_some_and(|_| !is_commit(&self.file.revision)) {
            let parent = reference.parent().unwrap_or(&self.folder);
            std::fs::create_dir_all(parent).map_err(at(parent))?;
            let written = tempfile::NamedTempFile::new_in(parent).and_then(|mut file| {
                std::io::Write::write_all(&mut file, commit.as_bytes())?;
                share(&file)?;
                file.persist(&reference).map_err(|error| error.error)
            });
            written.map_err(at(&reference))?;
        }
        Ok(Fetched { path, commit, sha256: metadata.sha256().map(str::to_owned) })
    }
}

/// A relative link from a snapshot to its blob, as Python's client makes it; where links cannot be made, a copy.
fn link(blob: &Path, path: &Path, folder: &Path) -> std::io::Result<()> {
    let depth = path.parent().and_then(|parent| parent.strip_prefix(folder).ok()).map_or(0, |p| p.components().count());
    let mut target: PathBuf = std::iter::repeat_n("..", depth).collect();
    target.push("blobs");
    target.push(blob.file_name().unwrap_or_default());
    // A link that points nowhere (its blob was deleted) is in the way of a new one.
    if path.symlink_metadata().is_ok() && !path.exists() {
        std::fs::remove_file(path)?;
    }
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(&target, path);
    #[cfg(windows)]
    let linked = std::os::windows::fs::symlink_file(&target, path);
    #[cfg(not(any(unix, windows)))]
    let linked: std::io::Result<()> = Err(std::io::ErrorKind::Unsupported.into());
    if linked.is_ok() || path.is_file() {
        // Made, or made by another process meanwhile.
        return Ok(());
    }
    let mut copy = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(folder))?;
    std::io::copy(&mut std::fs::File::open(blob)?, &mut copy)?;
    share(&copy)?;
    copy.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// Gives a temporary file, which only its owner may read, the permissions of any other file in the cache.
fn share(file: &tempfile::NamedTempFile) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.as_file().sync_all()
}

/// `~/x` in the home folder, as Python's client reads it.
fn expand_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// The text of a small file of one line; of nothing but a regular file.
fn read_line(path: &Path) -> Option<String> {
    let file = super::open_file(path).ok()?;
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Nothing that leads out of the cache or changes the request's path.
fn check_names(file: &HubFile) -> Result<(), HubError> {
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        !part.is_empty() && part.len() <= 200 && part.bytes().all(allowed) && !part.bytes().all(|byte| byte == b'.')
    };
    let parts = |value: &str, limit: usize| value.split('/').count() <= limit && value.split('/').all(plain);
    let wrong = |what, value: &str| Err(HubError::Name { what, value: value.into(), file: file.to_string() });
    // The cache writes a repository's slash as two dashes; the hub has no names with such.
    if !parts(&file.repo, 2) || file.repo.contains("--") {
        return wrong("repository", &file.repo);
    }
    if !parts(&file.revision, 8) {
        return wrong("revision", &file.revision);
    }
    if !parts(&file.filename, 16) {
        return wrong("file name", &file.filename);
    }
    Ok(())
}
