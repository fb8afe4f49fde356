//! A worker: inspects images for other machines.

use datafusion::common::Result as QueryResult;
use datafusion::execution::SessionState;
use datafusion_distributed::{Worker, WorkerQueryContext};
use dualad_datafusion::Models;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::args::WorkerArgs;
use crate::cluster;
use crate::error::{Error, Result};
use crate::progress::note;

/// Serves until the program is ended.
pub(crate) async fn serve(args: &WorkerArgs) -> Result<()> {
    let inspector = args.model.inspector()?;
    let version = cluster::version(inspector.digest());
    let mut functions = inspector.functions();
    functions.push(Models::default().function().into());
    let session = move |context: WorkerQueryContext| {
        let functions = functions.clone();
        let mut builder = context.builder;
        // Beside the functions of the engine, which `with_scalar_functions` would replace.
        builder.scalar_functions().get_or_insert_default().extend(functions);
        async move { QueryResult::<SessionState>::Ok(builder.build()) }
    };
    let worker = Worker::from_session_builder(session).with_version(version.clone());
    let failed = |error: &dyn std::fmt::Display| Error::message(format!("cannot listen on {}: {error}", args.listen));
    let incoming = TcpIncoming::bind(args.listen).map_err(|error| failed(&error))?;
    note(&format!("{version} on {}", args.listen));
    let served = Server::builder().add_service(worker.into_worker_server()).serve_with_incoming(incoming).await;
    served.map_err(|error| failed(&error))
}
