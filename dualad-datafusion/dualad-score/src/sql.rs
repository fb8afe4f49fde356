//! A query of the user's own.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::context::SQLOptions;
use futures::TryStreamExt;
use url::Url;

use crate::args::ScoreArgs;
use crate::channels::Channels;
use crate::cluster;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::output::Output;
use crate::progress::Progress;
use crate::session;
use crate::unit::options;

/// Writes the result of a query over the table `images`.
pub(crate) async fn run(args: &ScoreArgs, query: &str) -> Result<()> {
    let output = args.output()?;
    if output.exists() && !args.overwrite {
        return Err(Error::file(output, "it is there; --overwrite replaces it"));
    }
    // A query of a folder, `images('FOLDER')`, needs no other input.
    let input = if args.input.is_empty() { None } else { Some(Input::open(&args.input)?) };
    if let Some(input) = &input {
        input.check_output(&output)?;
    }
    let inspector = args.model.inspector()?;
    let threads = args.model.threads();
    let context = if args.workers.is_empty() {
        session::local(&inspector, threads, args.batch)
    } else {
        let mut workers = cluster::find(&args.workers, inspector.digest()).await?;
        if let [worker] = &workers.0[..] {
            // The planner would leave the query of a single worker in this process.
            workers.0 = vec![worker.clone(); 2];
        }
        session::distributed(&inspector, workers, Channels::new(args.patience()), threads, args.batch)?
    };
    if let Some(input) = &input {
        context.register_table("images", table(input)?)?;
    }
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

/// Returns the table of all files. A name is a name: it may have any ending, and a star in it stands for itself.
fn table(input: &Input) -> Result<Arc<dyn TableProvider>> {
    let urls = input.files.iter().map(|file| {
        let url = Url::from_file_path(&file.path).map_err(|()| Error::file(&file.path, "its path is no address"))?;
        Ok(ListingTableUrl::try_new(url, None)?)
    });
    let options =
        ListingOptions::new(Arc::new(ParquetFormat::default().with_options(options()))).with_file_extension("");
    let config = ListingTableConfig::new_with_multi_paths(urls.collect::<Result<Vec<_>>>()?);
    let config = config.with_listing_options(options).with_schema(input.schema.clone());
    Ok(Arc::new(ListingTable::try_new(config)?))
}
