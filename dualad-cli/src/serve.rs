//! `dualad serve`: a model behind an HTTP interface.

use crate::common::{CommonArgs, Result};
use crate::model::ModelArgs;

/// Answer questions about images over HTTP
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    common: CommonArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let _ = (&args.model, &args.common);
    Err("not built yet".into())
}
