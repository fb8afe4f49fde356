//! The workers of a run: their addresses and their models.

use datafusion::common::Result as QueryResult;
use datafusion_distributed::{GetWorkerInfoRequest, WorkerResolver};
use futures::future::join_all;
use url::Url;

use crate::address::Address;
use crate::channels::{ANSWER, cause, connect};
use crate::error::{Error, Result};

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
pub(crate) async fn find(addresses: &[Address], digest: &str) -> Result<Workers> {
    let urls: Vec<Url> = addresses.iter().map(Address::url).collect();
    let answers = join_all(urls.iter().map(|url| check(url, digest))).await;
    if let Some(reason) = answers.into_iter().find_map(std::result::Result::err) {
        return Err(Error::message(format!(
            "{reason}; start it with the same program and model, or leave it out of --workers"
        )));
    }
    Ok(Workers(urls))
}

/// Checks that a worker answers, and has this model and version. The error is the reason why not.
pub(crate) async fn check(url: &Url, digest: &str) -> std::result::Result<(), String> {
    let (worker, expected) = (url.authority(), version(digest));
    match tokio::time::timeout(ANSWER, ask(url)).await {
        Ok(Ok(found)) if found == expected => Ok(()),
        Ok(Ok(found)) => Err(format!("the worker {worker} is \"{found}\", and this program is \"{expected}\"")),
        Ok(Err(reason)) => Err(format!("the worker {worker} does not answer ({reason})")),
        Err(_) => Err(format!("the worker {worker} does not answer (nothing came in {} s)", ANSWER.as_secs())),
    }
}

/// Returns the version that a worker tells. The error is the reason why it tells none.
async fn ask(url: &Url) -> std::result::Result<String, String> {
    let mut client = connect(url).await.map_err(|error| cause(&error))?;
    let answer = client.get_worker_info(GetWorkerInfoRequest {}).await;
    Ok(answer.map_err(|error| cause(&error))?.version)
}
