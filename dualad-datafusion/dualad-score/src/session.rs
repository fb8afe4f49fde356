//! Sessions of the query engine.

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_distributed::{DistributedExt, SessionStateBuilderExt};
use dualad_datafusion::Inspector;
use url::Url;

use crate::cluster::Workers;
use crate::error::Result;

fn config(partitions: usize, batch: usize) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch);
    // Text stays of the type that the file has, and the output can be read by older readers.
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config
}

/// Returns a session in this process.
pub(crate) fn local(inspector: &Inspector, partitions: usize, batch: usize) -> SessionContext {
    let context = SessionContext::new_with_config(config(partitions, batch));
    inspector.register(&context);
    context
}

/// Returns a session whose queries run on workers.
pub(crate) fn distributed(
    inspector: &Inspector,
    workers: Workers,
    partitions: usize,
    batch: usize,
) -> Result<SessionContext> {
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config(partitions, batch))
        .with_distributed_worker_resolver(workers)
        .with_distributed_planner()
        // Images are large and slow: as many tasks as there are workers, also for few bytes.
        .with_distributed_file_scan_config_bytes_per_partition(1)?
        .build();
    let context = SessionContext::new_with_state(state);
    inspector.register(&context);
    Ok(context)
}

/// Returns a session whose queries run on one worker.
pub(crate) fn on_worker(
    inspector: &Inspector,
    worker: &Url,
    partitions: usize,
    batch: usize,
) -> Result<SessionContext> {
    // A query for a single worker would run in this process. Named twice, it gets the two halves.
    distributed(inspector, Workers(vec![worker.clone(), worker.clone()]), partitions, batch)
}
