//! Answers to requests that fail.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dualad::{Error, data};
use serde::Serialize;

/// The reason to refuse an upload without content.
pub(crate) const EMPTY: &str = "the body is empty; send an image file, or raw pixels with X-Image-Shape";

/// A status and the reason in one line.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// The status tells whether the image or the server is at fault. The advice is for a client: it has no access to the server's
/// files and limits.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Data(data::Error::TooLarge { path, unit, found, limit }) => Self::too_large(format!(
                "{} is too large: {found} {unit}, and the limit is {limit}; send a smaller image",
                path.display()
            )),
            Error::Data(data::Error::EmptyFile { .. }) => Self::bad(EMPTY),
            Error::Data(data::Error::FormatDisabled { feature, .. }) => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("this server does not read {feature} images; send another format"),
            ),
            Error::Data(error @ data::Error::Unsupported { .. }) => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string())
            }
            // Uploads are no files: the memory for one was not found.
            Error::Data(data::Error::Io { .. }) => Self::busy("there is no memory for the image; ask again"),
            Error::Data(error) => Self::bad(error.to_string()),
            error => Self::internal(error.to_string()),
        }
    }
}

#[derive(Serialize)]
struct Message<'a> {
    error: &'a str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let line: Vec<&str> = self.message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut response = json(self.status, &Message { error: &line.join(" ") });
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // The rest of the upload is not read.
            StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// Returns an answer of one line of JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    json_body(status, value, Body::from)
}

/// Returns an answer of one line of JSON, whose body `body` makes.
pub(crate) fn json_body(status: StatusCode, value: &impl Serialize, body: impl FnOnce(String) -> Body) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], body(text + "\n")).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
