//! The answers to requests, on connections that the program accepts.

use std::pin::pin;
use std::sync::{Arc, mpsc};

use axum::Router;
use dualad::Detector;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;

use crate::error::{Error, Result};
use crate::metrics::{Metrics, Totals};
use crate::options::Options;
use crate::routes::router;
use crate::state::AppState;
use crate::upload::UploadLimits;
use crate::worker::Worker;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The HTTP interface of a detector, without a listening socket.
///
/// Use it where the program accepts connections itself, and [`Server`](crate::Server) otherwise. Clones share the detector, the
/// queue and the metrics. The inspection thread ends when the last clone is dropped and its connections are closed.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) state: Arc<AppState>,
    router: Router,
}

impl Service {
    /// Starts the inspection thread of a new service.
    ///
    /// Load the detector with [`Options::image_limits`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`], and [`Error::Thread`] if the system starts no thread.
    pub fn new(detector: Detector, options: &Options) -> Result<Self> {
        options.check()?;
        let metrics = Arc::new(Metrics::default());
        // A slot for each upload bounds the jobs: sending never waits.
        let (jobs, queue) = mpsc::sync_channel(options.queue);
        let worker = Worker {
            detector: detector.clone(),
            jobs: queue,
            metrics: metrics.clone(),
            batch: options.batch,
            delay: options.batch_delay,
        };
        std::thread::Builder::new().name("inspect".into()).spawn(move || worker.run()).map_err(Error::Thread)?;
        let limits = UploadLimits { bytes: options.max_body_bytes, pixels: options.max_pixels };
        let state = Arc::new(AppState::new(detector, jobs, options.queue, limits, options.io_timeout, metrics));
        Ok(Self { router: router(state.clone()), state })
    }

    /// Serves one HTTP/1 connection until the client closes it or a timeout ends it.
    ///
    /// Needs a tokio runtime with time enabled.
    pub async fn serve_connection<S: AsyncRead + AsyncWrite + Send + 'static>(&self, stream: S) {
        let (_open, closing) = watch::channel(());
        self.serve_until(stream, closing, true).await;
    }

    /// Returns the number of uploads that are being read, wait for their inspection, or are inspected.
    pub fn held_uploads(&self) -> usize {
        self.state.held_uploads()
    }

    /// Returns the totals of all requests so far.
    pub fn totals(&self) -> Totals {
        self.state.metrics.totals()
    }

    /// Serves one connection until `closing` changes and the request in progress is answered.
    pub(crate) async fn serve_until<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        stream: S,
        mut closing: watch::Receiver<()>,
        keep_alive: bool,
    ) {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.state.io_timeout);
        builder.max_buf_size(MAX_HEAD).keep_alive(keep_alive);
        // A client that stops reading would otherwise keep its answer in memory, and its connection open.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.state.io_timeout));
        let stream = TokioIo::new(Box::pin(stream));
        let connection = builder.serve_connection(stream, TowerToHyperService::new(self.router.clone()));
        let mut connection = pin!(connection);
        tokio::select! {
            // An error here is the client's: it closed the connection or sent something that is not HTTP.
            _ = connection.as_mut() => return,
            _ = closing.changed() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
