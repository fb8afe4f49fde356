//! Connections to workers.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::common::{DataFusionError, Result as QueryResult};
use datafusion_distributed::{ChannelResolver, WorkerChannel, grpc};
use tonic::transport::Endpoint;
use url::Url;

/// The time that a machine has to accept a connection, and a worker to tell its version.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// Connections that the queries of a session share. A worker that hangs is noticed, because it no longer answers pings.
#[derive(Clone)]
pub(crate) struct Channels {
    patience: Duration,
    open: Arc<Mutex<HashMap<Url, grpc::BoxCloneSyncChannel>>>,
}

impl Channels {
    /// Makes connections that fail when a worker is silent for longer than `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, open: Arc::default() }
    }
}

#[async_trait::async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, url: &Url) -> QueryResult<Box<dyn WorkerChannel>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match open.get(url) {
            Some(channel) => channel.clone(),
            None => {
                let endpoint = endpoint(url).map_err(|error| DataFusionError::External(Box::new(error)))?;
                // A worker with work for all its threads answers a ping after a batch: half of the time is for that.
                let endpoint =
                    endpoint.http2_keep_alive_interval(self.patience / 2).keep_alive_timeout(self.patience / 2);
                // It connects again by itself when a worker is back.
                let channel = grpc::BoxCloneSyncChannel::new(endpoint.connect_lazy());
                open.insert(url.clone(), channel.clone());
                channel
            }
        };
        Ok(grpc::create_worker_client(channel))
    }
}

/// Opens a connection for one question. A kept one may be of a worker that has ended.
pub(crate) async fn connect(url: &Url) -> Result<Box<dyn WorkerChannel>, tonic::transport::Error> {
    let channel = endpoint(url)?.connect().await?;
    Ok(grpc::create_worker_client(grpc::BoxCloneSyncChannel::new(channel)))
}

fn endpoint(url: &Url) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(url.to_string())?.connect_timeout(ANSWER))
}

/// Returns the innermost cause of an error, such as "Connection refused".
pub(crate) fn cause(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
