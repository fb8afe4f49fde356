//! The hub's protocol: a file's facts, and its bytes from a position on.

use std::io::Read;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::spec::HubFile;
use crate::weights::hub::HubError;

/// Redirects to follow before giving up. The hub sends one to its storage, and one more for a renamed repository.
const MAX_REDIRECTS: u32 = 5;

/// What the hub says of a file.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The commit that the revision stands for.
    pub(super) commit: String,
    /// Names the content. For a large file it is the content's SHA-256.
    pub(super) etag: String,
    /// Bytes.
    pub(super) size: u64,
}

impl Metadata {
    /// The content's SHA-256, where the hub tells it.
    pub(super) fn sha256(&self) -> Option<&str> {
        let is_digest = self.etag.len() == 64 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then_some(self.etag.as_str())
    }
}

/// Talks to one server.
pub(super) struct Client<'a> {
    agent: Agent,
    pub(super) endpoint: &'a str,
    pub(super) timeout: Duration,
    token: Option<&'a str>,
}

impl<'a> Client<'a> {
    pub(super) fn new(endpoint: &'a str, token: Option<&'a str>, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .user_agent(concat!("dualad/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .https_only(endpoint.starts_with("https://"))
            .max_redirects(MAX_REDIRECTS)
            // A redirect leads to other people's storage: it does not get the token.
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_send_request(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_read(Some(timeout))
            .build();
        Self { agent: config.new_agent(), endpoint, timeout, token }
    }

    fn url(&self, file: &HubFile) -> String {
        let revision = file.revision.replace('/', "%2F");
        format!("{}/{}/resolve/{revision}/{}", self.endpoint, file.repo, file.filename)
    }

    /// Asks for the file's facts with `HEAD`. The facts are the hub's own: they stand in its answer, not in that of the
    /// storage it redirects to.
    pub(super) fn metadata(&self, file: &HubFile) -> Result<Metadata, HubError> {
        let mut url = self.url(file);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.head(&url).header(header::ACCEPT_ENCODING, "identity");
            if let Some(token) = self.token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let request = request.config().max_redirects(0).max_redirects_will_error(false).build();
            let response = request.call().map_err(|error| self.unreachable(file, &error))?;
            let location = text(&response, header::LOCATION.as_str());
            match (response.status(), location) {
                // Renamed repositories: the new place on the same server.
                (status, Some(path)) if status.is_redirection() && path.starts_with('/') && !path.starts_with("//") => {
                    url = format!("{}{path}", origin(self.endpoint));
                }
                (status, _) if status.is_success() || status.is_redirection() => return self.read(file, &response),
                (status, _) => return Err(self.status(file, status, &response)),
            }
        }
        Err(self.protocol(file, format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn read(&self, file: &HubFile, response: &Response<Body>) -> Result<Metadata, HubError> {
        let wanted = |names: [&str; 2]| {
            let found = names.into_iter().find_map(|name| text(response, name));
            found.ok_or_else(|| self.protocol(file, format!("its answer has no header {}", names.join(" or "))))
        };
        let commit = wanted(["x-repo-commit", "x-repo-commit"])?;
        let etag = wanted(["x-linked-etag", "etag"])?;
        let size = wanted(["x-linked-size", "content-length"])?;
        // Both become file names.
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        if etag.is_empty() || etag.len() > 128 || !etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(self.protocol(file, format!("its entity tag is \"{etag}\"")));
        }
        if !super::is_commit(&commit) {
            return Err(self.protocol(file, format!("its commit is \"{commit}\"")));
        }
        let size = size.parse().map_err(|_| self.protocol(file, format!("its size is \"{size}\"")))?;
        Ok(Metadata { commit, etag, size })
    }

    /// The file's bytes from `start` on; also whether the server began there (it may begin at 0 instead).
    pub(super) fn bytes(&self, file: &HubFile, start: u64) -> Result<(impl Read, bool), HubError> {
        let mut request = self.agent.get(self.url(file)).header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.call().map_err(|error| self.unreachable(file, &error))?;
        let continued = match response.status() {
            StatusCode::OK => start == 0,
            StatusCode::PARTIAL_CONTENT => {
                let range = text(&response, header::CONTENT_RANGE.as_str()).unwrap_or_default();
                if !range.starts_with(&format!("bytes {start}-")) {
                    return Err(self.protocol(file, format!("it was asked for bytes from {start} and sends {range}")));
                }
                true
            }
            // What was received in an earlier try is longer than the file is: start over.
            StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => {
                return self.bytes(file, 0).map(|(body, _)| (body, false));
            }
            status => return Err(self.status(file, status, &response)),
        };
        Ok((response.into_body().into_reader(), continued))
    }

    fn status(&self, file: &HubFile, status: StatusCode, response: &Response<Body>) -> HubError {
        let (file, endpoint) = (file.to_string(), self.endpoint.to_owned());
        let code = text(response, "x-error-code").unwrap_or_default();
        match status.as_u16() {
            status @ (401 | 403) => HubError::Refused { file, endpoint, status },
            404 | 410 => {
                let reason = if code.is_empty() { format!("status {}", status.as_u16()) } else { code };
                HubError::NotFound { file, endpoint, reason }
            }
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

/// `scheme://host:port` of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |path| &url[..host + path])
}
