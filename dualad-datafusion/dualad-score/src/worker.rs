//! A worker: inspects images for other machines.

use std::time::Duration;

use datafusion::common::Result as QueryResult;
use datafusion::execution::SessionState;
use datafusion_distributed::{DistributedExt, Worker, WorkerQueryContext};
use dualad_datafusion::Models;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::args::WorkerArgs;
use crate::channels::Channels;
use crate::cluster;
use crate::error::{Error, Result};
use crate::progress::note;

/// The silence after which a query gives up another worker that it reads from.
const PATIENCE: Duration = Duration::from_secs(600);

/// Serves until the program is ended.
pub(crate) async fn serve(args: &WorkerArgs) -> Result<()> {
    let inspector = args.model.inspector()?;
    let version = cluster::version(inspector.digest());
    let mut functions = inspector.functions();
    functions.push(Models::default().function().into());
    let channels = Channels::new(PATIENCE);
    let session = move |context: WorkerQueryContext| {
        let (functions, channels) = (functions.clone(), channels.clone());
        let mut builder = context.builder;
        // Beside the functions of the engine, which `with_scalar_functions` would replace.
        builder.scalar_functions().get_or_insert_default().extend(functions);
        // A query of several stages reads from other workers.
        let builder = builder.with_distributed_channel_resolver(channels.clone());
        async move { QueryResult::<SessionState>::Ok(builder.build()) }
    };
    let worker = Worker::from_session_builder(session).with_version(version.clone());
    let failed = |error: &dyn std::fmt::Display| Error::message(format!("cannot listen on {}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen.as_str()).await.map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    // Small messages are sent at once.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    note(&format!("{version} on {address}"));
    let served = Server::builder().add_service(worker.into_worker_server()).serve_with_incoming(incoming).await;
    served.map_err(|error| failed(&error))
}
