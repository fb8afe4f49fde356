//! A listening socket: connections are accepted within bounds, and stopping loses no answer.

use std::net::SocketAddr;
use std::time::Duration;

use dualad::detector::Replicas;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::metrics::Totals;
use crate::options::Options;
use crate::service::Service;
use crate::state::MAX_ACCEPTED;

/// The pause after a failed accept, such as one that finds no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connections that the system keeps until they are accepted, if it allows as many: it drops further ones, whose clients try again
/// after a second, and later and later.
const BACKLOG: u32 = 4096;

/// An HTTP server that listens on a TCP port.
#[derive(Debug)]
pub struct Server {
    service: Service,
    listener: TcpListener,
    address: SocketAddr,
    stop_timeout: Duration,
    connections: JoinSet<()>,
    /// A connection that was accepted and waits for room.
    accepted: Option<(TcpStream, SocketAddr)>,
    /// A change asks every connection to close after its current request.
    closing: watch::Sender<()>,
}

impl Server {
    /// Binds a server to an address, with port 0 for any free port. From then on the system accepts connections; they are
    /// answered once [`Self::run`] runs.
    ///
    /// Needs a tokio runtime with time and IO enabled. Load the detector, or the one of the replicas, with [`Options::image_limits`].
    ///
    /// # Errors
    /// [`Error::Listen`] if the address cannot be listened on; otherwise as [`Service::new`].
    pub async fn bind(detectors: impl Into<Replicas>, options: &Options, address: SocketAddr) -> Result<Self> {
        let listen = |source| Error::Listen { address, source };
        let service = Service::new(detectors, options)?;
        let listener = listen_at(address).map_err(listen)?;
        Ok(Self {
            service,
            address: listener.local_addr().map_err(listen)?,
            listener,
            stop_timeout: options.stop_timeout,
            connections: JoinSet::new(),
            accepted: None,
            closing: watch::channel(()).0,
        })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the service that answers the requests.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Answers requests until `stop` completes, then answers the requests that were accepted, and returns the totals.
    ///
    /// While it stops, it answers new uploads with status 503.
    ///
    /// # Errors
    /// [`Error::StopTimeout`] if requests are still unanswered [`Options::stop_timeout`] after `stop` completed.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Totals> {
        tokio::select! {
            () = self.accept_all(true) => {}
            () = stop => {}
        }
        let (timeout, service) = (self.stop_timeout, self.service.clone());
        tokio::time::timeout(timeout, self.drain()).await.map_err(|_| Error::StopTimeout { timeout })?;
        Ok(service.totals())
    }

    /// Answers what was accepted. In between it accepts connections, to answer that the server is stopping.
    async fn drain(mut self) {
        let state = self.service.state.clone();
        state.stop();
        self.closing.send_replace(());
        tokio::select! {
            () = self.accept_all(false) => {}
            _ = state.accepted.acquire_many(MAX_ACCEPTED) => {}
        }
        drop(self.listener);
        self.closing.send_replace(());
        while self.connections.join_next().await.is_some() {}
    }

    /// Accepts connections and serves each in a task of its own. Never returns.
    async fn accept_all(&mut self, keep_alive: bool) {
        loop {
            // This future may be dropped at each `await`: what was accepted stays.
            let Some((_, address)) = self.accepted else {
                match self.listener.accept().await {
                    Ok(accepted) => self.accepted = Some(accepted),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
                continue;
            };
            let client = self.service.state.connections.room(address.into()).await;
            let Some((stream, _)) = self.accepted.take() else { continue };
            while self.connections.try_join_next().is_some() {}
            // Answers are small and waited for: they are sent at once.
            let _ = stream.set_nodelay(true);
            let (service, closing) = (self.service.clone(), self.closing.subscribe());
            let keep_alive = keep_alive && !client.is_reserved();
            self.connections.spawn(async move { service.serve_until(stream, client, closing, keep_alive).await });
        }
    }
}

fn listen_at(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As in `TcpListener::bind`: a server that is started again finds its port free. On Windows, it would take the port of another.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
