//! Connections: accepted within bounds, and ended so that no answer is lost.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::handlers::App;
use crate::patience::Patience;

/// Connections at a time; more wait to be accepted.
const MOST: usize = 512;
/// A request's head may be as large as this, in bytes.
const MOST_HEAD: usize = 64 << 10;

/// Serves until `stop`, and then until everything that was accepted is answered.
///
/// In between it goes on accepting connections, to tell them that it is stopping.
pub(crate) async fn serve(listener: TcpListener, router: Router, app: Arc<App>, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MOST));
    let (phase, _) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        while connections.try_join_next().is_some() {}
        let stopping = app.stopping.load(Ordering::Relaxed);
        let accept = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        tokio::select! {
            (place, accepted) = accept => match accepted {
                Ok((stream, _)) => {
                    // Answers are small, and waited for.
                    let _ = stream.set_nodelay(true);
                    let connection = connection(stream, router.clone(), phase.subscribe(), app.read_timeout, !stopping);
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                // Such as no more file descriptors: others may end meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            () = &mut stop, if !stopping => {
                app.stopping.store(true, Ordering::Relaxed);
                phase.send_replace(());
            }
            _ = app.slots.acquire_many(app.queue as u32), if stopping => break,
        }
    }
    drop(listener);
    phase.send_replace(());
    while connections.join_next().await.is_some() {}
}

/// One connection, until `phase` changes and its request is answered.
pub(crate) async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    mut phase: watch::Receiver<()>,
    read_timeout: Duration,
    keep_alive: bool,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(read_timeout);
    builder.max_buf_size(MOST_HEAD).keep_alive(keep_alive);
    let stream = TokioIo::new(Patience::new(stream, read_timeout));
    let connection = builder.serve_connection(stream, TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that breaks off is nobody's fault here.
        _ = connection.as_mut() => return,
        _ = phase.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
