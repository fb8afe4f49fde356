//! The errors of the hub.

use std::path::PathBuf;
use std::time::Duration;

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
