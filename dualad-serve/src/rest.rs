//! The rest of a request's body, after an answer that did not need it.
//!
//! The next request on a connection begins where the body ends. So the rest is read and discarded, within bounds, before the
//! answer is sent. Where that is not possible, the answer says that the connection is closed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use crate::client::Client;
use crate::state::AppState;

/// The longest time for reading the rest of a body.
const MAX_REST: Duration = Duration::from_secs(5);

/// Answers a request, and leaves its connection ready for the next one or says that it is closed.
pub(crate) async fn read_rest(
    State(state): State<Arc<AppState>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    // Such a client sends its body only when the server begins to read it.
    let waits = parts.headers.contains_key(header::EXPECT);
    let body = SharedBody::new(body);
    let mut response = next.run(Request::from_parts(parts, Body::new(body.clone()))).await;
    client.wait();
    let closes = response.headers().contains_key(header::CONNECTION);
    if !body.is_end_stream() && (closes || !body.discard(waits, state.limits.bytes, state.io_timeout).await) {
        client.leave_unread(body.size_hint().exact().unwrap_or_default());
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that can be read on after the handler has dropped it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Source>>);

struct Source {
    body: Body,
    /// True once a part of the body was asked for.
    begun: bool,
    /// True once there is nothing more to read.
    ended: bool,
}

impl SharedBody {
    fn new(body: Body) -> Self {
        let ended = body.is_end_stream();
        Self(Arc::new(Mutex::new(Source { body, begun: false, ended })))
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        // Never contended: the handler drops its clone before the rest is read.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Discards the rest of the body. Returns false if there may be more, because a bound was reached or the client waits for
    /// a sign to send it.
    async fn discard(&self, waits: bool, limit: u64, timeout: Duration) -> bool {
        let begun = self.lock().begun;
        if self.size_hint().lower() > limit || (waits && !begun) {
            return false;
        }
        let all = async {
            let mut read = 0;
            while let Some(frame) = poll_fn(|context| Pin::new(&mut self.clone()).poll_frame(context)).await {
                let Ok(frame) = frame else { return false };
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if read > limit {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(timeout.min(MAX_REST), all).await.unwrap_or(false)
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut source = self.lock();
        source.begun = true;
        let polled = Pin::new(&mut source.body).poll_frame(context);
        source.ended |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        let source = self.lock();
        source.ended || source.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}
