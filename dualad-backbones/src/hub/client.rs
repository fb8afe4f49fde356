//! The hub's protocol: a file's metadata, and its bytes from a position on.

use std::io::Read;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::hub::error::HubError;
use crate::hub::name::{is_commit, is_sha256};
use crate::hub_file::HubFile;
use crate::text::shown;

/// The maximum number of redirects. The hub sends one to its storage, and one more for a renamed repository.
const MAX_REDIRECTS: u32 = 5;

/// The maximum timeout: one day. A much longer one would overflow the clock.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// The metadata of a file on the hub.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The commit that the revision names.
    pub(super) commit: String,
    /// The entity tag, which names the content. For a large file it is the content's SHA-256.
    pub(super) etag: String,
    /// The size in bytes.
    pub(super) size: u64,
}

impl Metadata {
    /// Returns the content's SHA-256, or `None` for a small file.
    pub(super) fn sha256(&self) -> Option<&str> {
        is_sha256(&self.etag).then_some(self.etag.as_str())
    }
}

/// A client of one server.
pub(super) struct Client<'a> {
    agent: Agent,
    pub(super) endpoint: &'a str,
    pub(super) timeout: Duration,
    token: Option<String>,
}

impl<'a> Client<'a> {
    pub(super) fn new(endpoint: &'a str, token: Option<&str>, timeout: Duration) -> Result<Self, HubError> {
        let endpoint = endpoint.trim().trim_end_matches('/');
        let scheme =
            ["https://", "http://"].into_iter().find(|scheme| endpoint.to_ascii_lowercase().starts_with(scheme));
        let host = scheme.map_or("", |scheme| &endpoint[scheme.len()..]);
        if host.is_empty() || host.starts_with('/') || host.contains(['@', ' ']) || host.contains(char::is_control) {
            // A password in it must not be repeated in an error.
            let endpoint = endpoint.rsplit('@').next().unwrap_or_default().to_owned();
            return Err(HubError::Endpoint { endpoint });
        }
        let token = token.map(str::trim).filter(|token| !token.is_empty());
        if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(HubError::Token);
        }
        let timeout = timeout.min(MAX_WAIT);
        let config = Agent::config_builder()
            .user_agent(concat!("dualad/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .https_only(scheme == Some("https://"))
            // Redirects are followed by this module, which decides whether the token is sent.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_send_request(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            // This ends an answer whose bytes never become content (endless chunk headers). A longer download takes several requests.
            .timeout_recv_body(Some(timeout.saturating_mul(10).min(MAX_WAIT)))
            .build();
        Ok(Self { agent: config.new_agent(), endpoint, timeout, token: token.map(|token| format!("Bearer {token}")) })
    }

    fn url(&self, file: &HubFile, revision: &str) -> String {
        format!("{}/{}/resolve/{}/{}", self.endpoint, file.repo, revision.replace('/', "%2F"), file.filename)
    }

    /// Sends one request to any server. The token is sent only to the hub itself.
    fn send(&self, file: &HubFile, head: bool, url: &str, range: Option<u64>) -> Result<Response<Body>, HubError> {
        let mut request = if head { self.agent.head(url) } else { self.agent.get(url) };
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token.as_ref().filter(|_| origin(url).eq_ignore_ascii_case(origin(self.endpoint))) {
            request = request.header(header::AUTHORIZATION, token);
        }
        if let Some(start) = range {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        request.call().map_err(|error| self.unreachable(file, &error))
    }

    /// Requests the file's metadata with `HEAD`. They are in the hub's own answer, not in that of the storage it redirects to.
    pub(super) fn metadata(&self, file: &HubFile) -> Result<Metadata, HubError> {
        let mut url = self.url(file, &file.revision);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(file, true, &url, None)?;
            let status = response.status();
            // For a renamed repository the hub redirects to another path on the same server, whose answer has the metadata.
            let next = status.is_redirection().then(|| target(&url, &response)).flatten();
            match next.filter(|next| origin(next).eq_ignore_ascii_case(origin(self.endpoint))) {
                Some(next) if text(&response, "x-repo-commit").is_none() => url = next,
                _ if status.is_success() || status.is_redirection() => return self.read(file, &response),
                _ => return Err(self.status(file, status, &response)),
            }
        }
        Err(self.protocol(file, format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn read(&self, file: &HubFile, response: &Response<Body>) -> Result<Metadata, HubError> {
        let wanted = |names: &[&str]| {
            let found = names.iter().find_map(|name| text(response, name));
            found.ok_or_else(|| self.protocol(file, format!("its answer has no header {}", names.join(" or "))))
        };
        let commit = wanted(&["x-repo-commit"])?.to_ascii_lowercase();
        let etag = wanted(&["x-linked-etag", "etag"])?;
        let size = wanted(&["x-linked-size", "content-length"])?;
        // The entity tag and the commit become file names.
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        if etag.is_empty() || etag.len() > 128 || !etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(self.protocol(file, format!("its entity tag is \"{}\"", shown(&etag))));
        }
        if !is_commit(&commit) {
            return Err(self.protocol(file, format!("its commit is \"{}\"", shown(&commit))));
        }
        if is_commit(&file.revision) && !file.revision.eq_ignore_ascii_case(&commit) {
            return Err(self.protocol(file, format!("it answers with commit {commit}")));
        }
        let size = match size.parse() {
            Ok(0) => return Err(self.protocol(file, "it says that the file is empty".into())),
            Ok(size) => size,
            Err(_) => return Err(self.protocol(file, format!("its size is \"{}\"", shown(&size)))),
        };
        Ok(Metadata { commit, etag, size })
    }

    /// Requests the file's bytes from `start` on. The second value is false if the server starts at 0 instead.
    pub(super) fn bytes(&self, file: &HubFile, commit: &str, start: u64) -> Result<(impl Read, bool), HubError> {
        // The metadata's commit is requested: a branch may have moved since.
        let mut url = self.url(file, commit);
        let mut start = start;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(file, false, &url, (start > 0).then_some(start))?;
            let status = response.status();
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                let next = target(&url, &response);
                url = next.ok_or_else(|| self.protocol(file, "it redirects to no address".into()))?;
                continue;
            }
            let encoding = text(&response, header::CONTENT_ENCODING.as_str());
            if encoding.as_deref().is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
                return Err(self.protocol(file, "it compresses the file although no compression was asked for".into()));
            }
            let continued = match status {
                StatusCode::OK => start == 0,
                StatusCode::PARTIAL_CONTENT => {
                    let range = text(&response, header::CONTENT_RANGE.as_str()).unwrap_or_default();
                    if !range.starts_with(&format!("bytes {start}-")) {
                        let reason = format!("it was asked for bytes from {start} and sends \"{}\"", shown(&range));
                        return Err(self.protocol(file, reason));
                    }
                    true
                }
                // The bytes of an earlier attempt are more than the file has: start again.
                StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => {
                    start = 0;
                    continue;
                }
                status => return Err(self.status(file, status, &response)),
            };
            return Ok((response.into_body().into_reader(), continued));
        }
        Err(self.protocol(file, format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn status(&self, file: &HubFile, status: StatusCode, response: &Response<Body>) -> HubError {
        let (file, endpoint) = (file.to_string(), self.endpoint.to_owned());
        let code = text(response, "x-error-code").unwrap_or_default();
        let code = shown(&code);
        match status.as_u16() {
            status @ (401 | 403) => HubError::Refused { file, endpoint, status },
            status @ (404 | 410) => HubError::NotFound { file, endpoint, reason: format!("status {status} {code}") },
            status if status == 429 || status >= 500 => {
                HubError::Unreachable { file, endpoint, reason: format!("the server answers with status {status}") }
            }
            status => HubError::Protocol { file, endpoint, reason: format!("status {status} {code}") },
        }
    }

    pub(super) fn protocol(&self, file: &HubFile, reason: String) -> HubError {
        HubError::Protocol { file: file.to_string(), endpoint: self.endpoint.into(), reason }
    }

    pub(super) fn unreachable(&self, file: &HubFile, reason: &dyn std::fmt::Display) -> HubError {
        HubError::Unreachable { file: file.to_string(), endpoint: self.endpoint.into(), reason: reason.to_string() }
    }
}

fn text(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.trim().to_owned())
}

/// Returns the address that a redirect leads to: one with a scheme, or a path on the same server.
fn target(url: &str, response: &Response<Body>) -> Option<String> {
    let location = text(response, header::LOCATION.as_str())?;
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(format!("{}{location}", origin(url)));
    }
    let lower = location.to_ascii_lowercase();
    // An address with user and password is refused: a server must not make this client send credentials.
    let plain = !location.contains(['@', '\\']) && !location.contains(char::is_whitespace);
    ((lower.starts_with("https://") || lower.starts_with("http://")) && plain).then_some(location)
}

/// Returns `scheme://host:port` of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find(['/', '?', '#']).map_or(url, |path| &url[..host + path])
}
