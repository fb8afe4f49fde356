//! `dualad serve`: a model behind an HTTP interface.

mod args;
mod signals;

use dualad::Detector;
use dualad_serve::{Error, Server, Totals};
use tokio::sync::watch;

pub(crate) use self::args::Args;
use self::signals::Signals;
use crate::common::{Result, note, print};
use crate::guard::Guard;

pub(crate) fn run(args: &Args) -> Result<()> {
    args.common.check_json(&Guard::default().reads(args.model.files()))?;
    let detector = args.model.detector_within(&args.common, args.options().image_limits())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start threads: {error}"))?;
    let served = runtime.block_on(serve(args, detector));
    runtime.shutdown_background();
    let totals = served?;
    let answered: u64 = totals.requests.values().sum();
    let rejected: u64 = totals.uploads_rejected.values().sum();
    let images = totals.images_inspected;
    note(&format!("stopped: answered {answered} requests, inspected {images} images, rejected {rejected} uploads"));
    args.common.write_json(&totals)
}

async fn serve(args: &Args, detector: Detector) -> Result<Totals> {
    let signals = Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let server = Server::bind(detector, &args.options(), args.address()).await.map_err(explain)?;
    let address = server.address();
    if !address.ip().is_loopback() {
        note(&format!("warning: {address} can be reached from other machines, and there is no authentication"));
    }
    if args.scores_only {
        note("serving scores only: no answer has a decision");
    }
    print(&format!("listening on http://{address}\n"))?;
    let (stop, mut stopped) = watch::channel(false);
    tokio::spawn(signals.watch(stop));
    let stopped = async move {
        if stopped.wait_for(|stop| *stop).await.is_err() {
            // The task that watches the signals is gone: no signal can arrive any more.
            std::future::pending::<()>().await;
        }
    };
    Ok(server.run(stopped).await.map_err(explain)?)
}

/// Adds the flag that helps to a server's error.
fn explain(error: Error) -> String {
    match error {
        Error::Listen { .. } => {
            format!("{error}; choose another --address or --port, or end the program that listens there")
        }
        Error::NoThresholds => format!("{error}: use `dualad calibrate`, or --scores-only"),
        Error::StopTimeout { .. } => format!("{error}; raise --stop-timeout-s"),
        error => error.to_string(),
    }
}
