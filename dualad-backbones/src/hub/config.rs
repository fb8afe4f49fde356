//! The configuration of the hub's client.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::cache::read_line;
use crate::hub::error::HubError;
use crate::hub::progress::Progress;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// The default maximum size of a file: more than 20 times the size of any backbone's weights.
const DEFAULT_MAX_BYTES: u64 = 8 << 30;

type OnProgress = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// A client of the hub: where it asks, where it keeps files, how long it waits.
///
/// ```no_run
/// use dualad_backbones::hub::{Hub, terminal_progress};
/// use dualad_backbones::{Backbone, Weights};
///
/// let hub = Hub::from_env()?.on_progress(terminal_progress());
/// let weights = Weights::hub().with_hub(hub);
/// let extractor = Backbone::WideResNet50x2.extractor().weights(weights).build()?;
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    pub(super) endpoint: String,
    pub(super) cache: PathBuf,
    pub(super) token: Option<String>,
    pub(super) offline: bool,
    pub(super) timeout: Duration,
    pub(super) lock_timeout: Duration,
    pub(super) max_bytes: u64,
    pub(super) on_progress: Option<OnProgress>,
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
}

/// `~/x` in the home folder, as Python's client reads it.
fn expand_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}
