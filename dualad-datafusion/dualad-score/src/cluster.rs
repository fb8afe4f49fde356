//! The workers of a run: their addresses and their models.

use std::time::Duration;

use datafusion::common::Result as QueryResult;
use datafusion_distributed::{GetWorkerInfoRequest, WorkerResolver, grpc};
use url::Url;

use crate::error::{Error, Result};

/// The time that a worker has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Workers that a query may use.
#[derive(Debug, Clone)]
pub(crate) struct Workers(pub(crate) Vec<Url>);

impl WorkerResolver for Workers {
    fn get_urls(&self) -> QueryResult<Vec<Url>> {
        Ok(self.0.clone())
    }
}

/// Returns the version that a worker with this model tells.
pub(crate) fn version(digest: &str) -> String {
    format!("dualad-score {} model {digest}", env!("CARGO_PKG_VERSION"))
}

/// Asks every worker for its version, and refuses a worker that does not answer, or has another model.
pub(crate) async fn connect(addresses: &[String], digest: &str) -> Result<Workers> {
    let mut urls = Vec::new();
    for address in addresses {
        let url = Url::parse(&format!("http://{address}"));
        let url = url.map_err(|error| Error::message(format!("--workers {address}: {error}")))?;
        if !answers(&url, digest).await? {
            return Err(Error::message(format!(
                "the worker {address} does not answer; start it, or leave it out of --workers"
            )));
        }
        urls.push(url);
    }
    Ok(Workers(urls))
}

/// Returns whether a worker answers.
///
/// # Errors
/// If it has another model or version.
pub(crate) async fn answers(url: &Url, digest: &str) -> Result<bool> {
    let expected = version(digest);
    // A connection of its own: a kept one may be of a worker that has ended.
    match tokio::time::timeout(PATIENCE, ask(url)).await {
        Ok(Some(found)) if found == expected => Ok(true),
        Ok(Some(found)) => Err(Error::message(format!(
            "the worker {url} is \"{found}\", and this program is \"{expected}\"; start all with the same program and model"
        ))),
        Ok(None) | Err(_) => Ok(false),
    }
}

/// Returns the version that a worker tells, or `None` if it does not answer.
async fn ask(url: &Url) -> Option<String> {
    let channel = grpc::DefaultChannelResolver::default().get_channel(url).await.ok()?;
    let mut client = grpc::create_worker_client(channel);
    Some(client.get_worker_info(GetWorkerInfoRequest {}).await.ok()?.version)
}
