//! The errors of the hub.

use std::path::PathBuf;
use std::time::Duration;

use crate::text::shown;

/// The failure to get a file from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Neither `HF_HUB_CACHE` nor `HF_HOME` is set, and there is no home folder.
    #[error("there is no folder for the hub's cache: set HF_HOME to one that can be written")]
    NoCacheFolder,
    /// The server's address is not a valid URL.
    #[error(
        "\"{}\" is not a valid address of a hub (from HF_ENDPOINT, unless the program set it); write https://host, without user and password",
        shown(endpoint)
    )]
    Endpoint {
        /// The address.
        endpoint: String,
    },
    /// The access token has invalid characters.
    #[error(
        "the hub's access token (from HF_TOKEN or its file, unless the program set it) has invalid characters; check it for spaces and line breaks"
    )]
    Token,
    /// A repository, revision or file name is invalid.
    #[error(
        "\"{value}\" is not a valid {part} on the hub (in {file}); write owner/name, a branch, tag or commit, and a relative path"
    )]
    Name {
        /// The part that is invalid: `repository`, `revision` or `file name`.
        part: &'static str,
        /// The value.
        value: String,
        /// The file asked for, `owner/name@revision/file`.
        file: String,
    },
    /// The file is not in the cache and the network must not be used.
    #[error("{file} is not in the cache {} and HF_HUB_OFFLINE is set; unset it, copy the file there, or give a local file", cache.display())]
    Offline {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// The server does not have the file.
    #[error("{file} is not on {endpoint} ({reason}); check the repository, the revision and the file name")]
    NotFound {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// The server's status and error code.
        reason: String,
    },
    /// The server requires a token, or another one.
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
    #[error("cannot fetch {file} from {endpoint}: {reason}; check the network and HF_ENDPOINT, or give a local file")]
    Unreachable {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// The error of the transfer.
        reason: String,
    },
    /// The server's answer does not follow the hub's protocol.
    #[error(
        "{endpoint} does not answer for {file} as the hub does: {reason}; a proxy or a login page may answer instead, or HF_ENDPOINT may be wrong"
    )]
    Protocol {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// The part of the answer that is wrong.
        reason: String,
    },
    /// The file is larger than allowed.
    #[error(
        "{file} has {size} bytes, more than the {limit} that are fetched; fetch it another way, and give the local file"
    )]
    TooLarge {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The size that the server declares, in bytes.
        size: u64,
        /// The maximum, in bytes.
        limit: u64,
    },
    /// The received bytes do not have the expected SHA-256.
    #[error(
        "{endpoint} sent content for {file} with SHA-256 {found}, expected {expected}; it was deleted: try again, and if that does not help, check the proxies between this machine and the server"
    )]
    Sha256 {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The server.
        endpoint: String,
        /// The expected digest.
        expected: String,
        /// The digest of the received content.
        found: String,
    },
    /// Another process holds the lock of the same file for too long.
    #[error("another process has been fetching {file} for {} seconds; wait for it, or stop it (it holds {})", waited.as_secs(), lock.display())]
    Locked {
        /// The file asked for, `owner/name@revision/file`.
        file: String,
        /// The lock file.
        lock: PathBuf,
        /// The time that this process waited.
        waited: Duration,
    },
    /// The cache cannot be read or written.
    #[error("cannot use the hub's cache at {}: {error}; make sure that it is writable and has space, or set HF_HOME to another folder", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
}
