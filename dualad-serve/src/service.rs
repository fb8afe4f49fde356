//! The answers to requests, on connections that the program accepts.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};

use axum::Router;
use axum::response::Response;
use dualad::detector::Replicas;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as HyperService;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::linger::Lingering;
use crate::metrics::{Metrics, Totals};
use crate::options::Options;
use crate::routes::router;
use crate::state::AppState;
use crate::thresholds::Watched;
use crate::worker::Worker;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The HTTP interface of a detector, without a listening socket.
///
/// Use it where the program accepts connections itself, and [`Server`](crate::Server) otherwise. Clones share the detector, the
/// queue and the metrics. The inspection threads end when the last clone is dropped and its connections are closed.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) state: Arc<AppState>,
    router: Router,
}

impl Service {
    /// Starts the inspection threads of a new service: one for a [`Detector`](dualad::Detector), and with [`Replicas`] one for each device.
    ///
    /// Load the detector, or the one of the replicas, with [`Options::image_limits`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::NoThresholds`] unless [`Options::scores_only`] is set; [`Error::Thread`] if the system
    /// starts no thread.
    pub fn new(detectors: impl Into<Replicas>, options: &Options) -> Result<Self> {
        options.check()?;
        let replicas = detectors.into();
        let replicas = if options.scores_only { replicas.with_calibration(None) } else { with_thresholds(replicas)? };
        let metrics = Arc::new(Metrics::new());
        // A slot for each upload bounds the jobs: sending never waits.
        let (jobs, queue) = mpsc::sync_channel(options.queue);
        let worker = Worker {
            replicas: replicas.clone(),
            jobs: Arc::new(Mutex::new(queue)),
            metrics: metrics.clone(),
            batch: options.batch,
            delay: options.batch_delay,
        };
        for _ in replicas.devices() {
            let worker = worker.clone();
            std::thread::Builder::new().name("inspect".into()).spawn(move || worker.run()).map_err(Error::Thread)?;
        }
        let state = Arc::new(AppState::new(replicas.detector().clone(), jobs, options, metrics));
        Ok(Self { router: router(state.clone()), state })
    }

    /// Serves one HTTP/1 connection until the client closes it or a timeout ends it.
    ///
    /// Needs a tokio runtime with time enabled.
    pub async fn serve_connection<S: AsyncRead + AsyncWrite + Send + 'static>(&self, stream: S) {
        let (_open, closing) = watch::channel(());
        self.serve_until(stream, Arc::default(), closing, true).await;
    }

    /// Returns the number of uploads that are being read, wait for their inspection, or are inspected.
    pub fn held_uploads(&self) -> usize {
        self.state.held_uploads()
    }

    /// Returns whether the content of [`Options::thresholds_file`] is another than was read, or the file is gone. Looks at the file at most
    /// every 2 s. False without a file.
    pub fn thresholds_changed(&self) -> bool {
        self.state.thresholds.as_ref().is_some_and(Watched::is_changed)
    }

    /// Returns the totals of all requests so far.
    pub fn totals(&self) -> Totals {
        self.state.metrics.totals()
    }

    /// Serves one connection until `closing` changes and the request in progress is answered.
    pub(crate) async fn serve_until<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        stream: S,
        client: Arc<Client>,
        mut closing: watch::Receiver<()>,
        keep_alive: bool,
    ) {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.state.io_timeout);
        builder.max_buf_size(MAX_HEAD).keep_alive(keep_alive);
        // A client that stops reading would otherwise keep its answer in memory, and its connection open.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.state.io_timeout));
        let stream = TokioIo::new(Lingering::new(Box::pin(stream), client.clone(), self.state.limits.bytes));
        let router = TowerToHyperService::new(self.router.clone());
        let connection = builder.serve_connection(stream, OfClient { router, client: client.clone() });
        let mut connection = pin!(connection);
        tokio::select! {
            // An error here is the client's: it closed the connection or sent something that is not HTTP.
            _ = connection.as_mut() => return,
            () = client.closed() => return,
            _ = closing.changed() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = client.closed() => {}
        }
    }
}

/// Refuses detectors whose answers would have no decisions.
fn with_thresholds(replicas: Replicas) -> Result<Replicas> {
    let thresholds = replicas.detector().calibration();
    match thresholds.is_some_and(|thresholds| thresholds.pooled.is_some() || !thresholds.categories.is_empty()) {
        true => Ok(replicas),
        false => Err(Error::NoThresholds),
    }
}

/// The routes, for the requests of one client.
struct OfClient {
    router: TowerToHyperService<Router>,
    client: Arc<Client>,
}

impl HyperService<hyper::Request<Incoming>> for OfClient {
    type Response = Response;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as HyperService<hyper::Request<Incoming>>>::Future;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        self.client.begin();
        request.extensions_mut().insert(self.client.clone());
        self.router.call(request)
    }
}
