//! Sessions of the query engine.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::Result as QueryResult;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_distributed::{
    DistributedExt, DistributedLeafExec, NetworkCoalesceExec, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
    SessionStateBuilderExt,
};
use dualad_datafusion::Inspector;
use url::Url;

use crate::channels::Channels;
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
    channels: Channels,
    partitions: usize,
    batch: usize,
) -> Result<SessionContext> {
    let state = SessionStateBuilder::new()
        .with_default_features()
        // A plan of one partition has no place to be cut: it would run in this process.
        .with_config(config(partitions.max(2), batch))
        .with_distributed_worker_resolver(workers)
        .with_distributed_channel_resolver(channels)
        .with_distributed_planner()
        // Images are large and slow: as many tasks as there are workers, also for few bytes.
        .with_distributed_file_scan_config_bytes_per_partition(1)?
        // A worker has a configuration of its own, and takes this from the query.
        .with_distributed_shuffle_batch_size(batch)?
        .build();
    let context = SessionContext::new_with_state(state);
    inspector.register(&context);
    Ok(context)
}

/// Returns a session whose scans of a unit run on one worker.
pub(crate) fn on_worker(
    inspector: &Inspector,
    worker: &Url,
    channels: Channels,
    partitions: usize,
    batch: usize,
) -> Result<SessionContext> {
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config(partitions, batch))
        // Named for each of the two tasks.
        .with_distributed_worker_resolver(Workers(vec![worker.clone(); TASKS]))
        .with_distributed_channel_resolver(channels)
        .with_distributed_scale_up_leaf_node_handler(whole_unit)
        // A worker has a configuration of its own, and takes this from the query.
        .with_distributed_shuffle_batch_size(batch)?
        // The distributed planner calls this one first, and keeps its boundary.
        .with_query_planner(Arc::new(Remote))
        .with_distributed_planner()
        .build();
    let context = SessionContext::new_with_state(state);
    inspector.register(&context);
    Ok(context)
}

/// The number of tasks of a unit. The distributed planner leaves a single task in this process, so an empty one is added.
const TASKS: usize = 2;

/// Plans scans so that a worker runs all of them. By itself, the distributed planner leaves small scans in this process.
#[derive(Debug)]
struct Remote;

#[async_trait::async_trait]
impl QueryPlanner for Remote {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        let plan = DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await?;
        Ok(Arc::new(CoalescePartitionsExec::new(Arc::new(NetworkCoalesceExec::try_new(plan, TASKS, 1)?))))
    }
}

/// Gives the files of a scan to the first task, and none to the others.
fn whole_unit(event: ScaleUpLeafNodeEvent<'_>) -> Option<QueryResult<ScaleUpLeafNodeEventResponse>> {
    let scan = event.plan.downcast_ref::<DataSourceExec>()?;
    let mut empty = scan.data_source().downcast_ref::<FileScanConfig>()?.clone();
    empty.file_groups.iter_mut().for_each(|group| *group = FileGroup::default());
    let empty: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(empty);
    let tasks = std::iter::once(event.plan.clone()).chain((1..event.task_count).map(|_| empty.clone()));
    let leaf = DistributedLeafExec::try_new(event.plan.clone(), tasks);
    Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
}
