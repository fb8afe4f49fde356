//! The end of a connection whose client is still sending.
//!
//! A socket that is closed with unread bytes resets the connection, and the client may lose the answer that was sent before.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::client::Client;

/// The time that a client has to send a part of its body, or to read its last answer and to close the connection.
const LINGER: Duration = Duration::from_secs(2);
/// The time that it has for all of it.
const MAX_LINGER: Duration = Duration::from_secs(10);

/// A stream that reads on for a while after its last answer, if a request's body was left unread.
pub(crate) struct Lingering<S> {
    stream: S,
    client: Arc<Client>,
    /// The number of bytes that are read after the last answer, if the client did not declare more.
    limit: u64,
    /// Set once the sending side is closed.
    end: Option<End>,
}

/// The bounds of what is read after the last answer.
struct End {
    /// The number of bytes that may still be read.
    left: u64,
    latest: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<S> Lingering<S> {
    /// Makes a stream that reads at most `limit` bytes after its last answer, or the declared length of the body that was left unread.
    pub(crate) fn new(stream: S, client: Arc<Client>, limit: u64) -> Self {
        Self { stream, client, limit, end: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.client.progress(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.client.progress(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, client, limit, end } = self.get_mut();
        if end.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        // The client sends all of a body that it declared before it reads: what is discarded takes no memory.
        let Some(rest) = client.unread() else { return Poll::Ready(Ok(())) };
        let end = end.get_or_insert_with(|| End {
            left: rest.max(*limit),
            latest: Instant::now() + MAX_LINGER,
            sleep: Box::pin(tokio::time::sleep(LINGER)),
        });
        let mut discarded = [0; 8 << 10];
        while end.left > 0 && end.sleep.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut discarded);
            // The client closed the connection, or it failed: nobody waits for more.
            if ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_err() || buffer.filled().is_empty() {
                break;
            }
            end.left = end.left.saturating_sub(buffer.filled().len() as u64);
            end.sleep.as_mut().reset((Instant::now() + LINGER).min(end.latest));
        }
        Poll::Ready(Ok(()))
    }
}
