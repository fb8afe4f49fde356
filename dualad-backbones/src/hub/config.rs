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

/// A client of the hub: the server's address, the cache's folder, the access token and the limits.
///
/// ```no_run
/// use dualad_backbones::hub::{Hub, terminal_progress};
/// use dualad_backbones::{Backbone, Weights};
///
/// let hub = Hub::from_env()?.progress(terminal_progress());
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
    pub(super) progress: Option<OnProgress>,
}

impl fmt::Debug for Hub {
    /// Omits the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Configures the client by the process's environment variables, which are read by this call.
    ///
    /// # Errors
    /// [`HubError::NoCacheFolder`] if neither `HF_HUB_CACHE` nor `HF_HOME` is set and there is no home folder.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// Configures the client by the given variables. [`Self::from_env`] takes those of the process.
    ///
    /// # Errors
    /// [`HubError::NoCacheFolder`] if neither `HF_HUB_CACHE` nor `HF_HOME` is set and there is no home folder.
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
        // Any other value means that the user wants no network.
        let is_off = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off");
        Ok(Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.into()),
            cache: cache.ok_or(HubError::NoCacheFolder)?,
            token,
            offline: text("HF_HUB_OFFLINE").is_some_and(|value| !is_off(&value)),
            timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(600),
            max_bytes: DEFAULT_MAX_BYTES,
            progress: None,
        })
    }

    /// Sets the server's address. Default: `HF_ENDPOINT`, else `https://huggingface.co`.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = url.into();
        self
    }

    /// Sets the cache's folder, which holds folders such as `models--owner--name`.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = folder.into();
        self
    }

    /// Sets the access token. `None` sends no token.
    #[must_use]
    pub fn token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    /// Forbids the network: only files in the cache are found.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Sets the time that the server may be silent while connecting, before its answer and between two pieces of a file.
    /// Default: 30 seconds. At most one day is used.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time to wait while another process fetches the same file. Default: 10 minutes.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets the maximum size of a file in bytes. Default: 8 GiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets a function that is called when a download starts, while it runs, and when it is complete.
    #[must_use]
    pub fn progress(mut self, callback: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(callback));
        self
    }
}

/// Replaces a leading `~` by the home folder, as Python's client does.
fn expand_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}
