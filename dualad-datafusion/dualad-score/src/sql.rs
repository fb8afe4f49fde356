//! A query of the user's own.

use datafusion::execution::context::SQLOptions;
use datafusion::prelude::ParquetReadOptions;
use futures::TryStreamExt;

use crate::args::ScoreArgs;
use crate::cluster;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::output::Output;
use crate::progress::Progress;
use crate::session;

/// Writes the result of a query over the table `images`.
pub(crate) async fn run(args: &ScoreArgs, query: &str) -> Result<()> {
    let output = args.output()?;
    if output.exists() && !args.overwrite {
        return Err(Error::file(output, "it is there; --overwrite replaces it"));
    }
    let input = Input::open(&args.input)?;
    input.check_output(&output)?;
    let inspector = args.model.inspector()?;
    let threads = args.model.threads();
    let context = if args.workers.is_empty() {
        session::local(&inspector, threads, args.model.batch)
    } else {
        let mut workers = cluster::connect(&args.workers, inspector.digest()).await?;
        if let [worker] = &workers.0[..] {
            // The planner would leave the query of a single worker in this process.
            workers.0 = vec![worker.clone(); 2];
        }
        session::distributed(&inspector, workers, threads, args.model.batch)?
    };
    let paths: Vec<String> = input.files.iter().map(|file| file.path.to_string_lossy().into_owned()).collect();
    let table = context.read_parquet(paths, ParquetReadOptions::default()).await?;
    context.register_table("images", table.into_view())?;
    // Only queries: a statement such as COPY would write files.
    let queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let mut rows = context.sql_with_options(query, queries).await?.execute_stream().await?;
    let mut written = Output::create(&output, rows.schema())?;
    let progress = Progress::rows();
    while let Some(batch) = rows.try_next().await? {
        written.write(&batch)?;
        progress.add(batch.num_rows() as u64, 0);
    }
    written.finish()?;
    progress.finish();
    Ok(())
}
