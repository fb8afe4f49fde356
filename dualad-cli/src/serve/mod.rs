//! `dualad serve`: a model behind an HTTP interface.

mod args;
mod signals;

use std::path::PathBuf;
use std::time::Duration;

use dualad::Detector;
use dualad::detector::Replicas;
use dualad_serve::{Error, Options, Server, Service, ThresholdsFile, Totals};
use tokio::sync::watch;

pub(crate) use self::args::Args;
use self::signals::Signals;
use crate::common::{Result, note, print};
use crate::guard::Guard;
use crate::model::thresholds_changed;

/// The time between two looks at the file of the thresholds.
const LOOK_EVERY: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &Args) -> Result<()> {
    args.common.check_json(&Guard::default().reads(args.model.files()))?;
    // Before the thresholds are read: a change in between is noticed then. An error is that of the detector, too.
    let file = args.model.thresholds()?.map(ThresholdsFile::read);
    let replicas = args.model.replicas_within(&args.common, args.options().image_limits())?;
    let options = args.options().with_thresholds_file(file.transpose().map_err(explain)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start threads: {error}"))?;
    let served = runtime.block_on(serve(args, &options, replicas));
    runtime.shutdown_background();
    let totals = served?;
    let answered: u64 = totals.requests.values().sum();
    let rejected: u64 = totals.uploads_rejected.values().sum();
    let images = totals.images_inspected;
    note(&format!("stopped: answered {answered} requests, inspected {images} images, rejected {rejected} uploads"));
    args.common.write_json(&totals)
}

async fn serve(args: &Args, options: &Options, replicas: Replicas) -> Result<Totals> {
    let signals = Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let identity = identity(options, replicas.detector());
    let server = Server::bind(replicas, options, args.address()).await.map_err(explain)?;
    let address = server.address();
    if !address.ip().is_loopback() {
        note(&format!("warning: {address} can be reached from other machines, and there is no authentication"));
    }
    if args.scores_only {
        note("serving scores only: no answer has a decision");
    }
    note(&identity);
    print(&format!("listening on http://{address}\n"))?;
    let (stop, mut stopped) = watch::channel(false);
    tokio::spawn(signals.watch(stop));
    if let Some(file) = &options.thresholds_file {
        tokio::spawn(watch_thresholds(server.service().clone(), file.path().to_owned()));
    }
    let stopped = async move {
        if stopped.wait_for(|stop| *stop).await.is_err() {
            // The task that watches the signals is gone: no signal can arrive any more.
            std::future::pending::<()>().await;
        }
    };
    Ok(server.run(stopped).await.map_err(explain)?)
}

/// Returns a line on the model and the thresholds that are served.
fn identity(options: &Options, detector: &Detector) -> String {
    let short = |sha256: &str| sha256.get(..16).unwrap_or(sha256).to_owned();
    let (sha256, precision) = (short(&detector.config().sha256), detector.precision());
    let model = format!("model {sha256} (SHA-256 of its parameters), scores in {precision}");
    if options.scores_only {
        return model;
    }
    let count = detector.calibration().map_or(0, |found| found.categories.len() + found.pooled.iter().count());
    let sets = if count == 1 { "1 set".into() } else { format!("{count} sets") };
    let file = options.thresholds_file.as_ref();
    let file = file.map(|file| format!(" from {} (SHA-256 {})", file.path().display(), short(file.sha256())));
    format!("{model}, {sets} of thresholds{}", file.unwrap_or_default())
}

/// Warns once that the file of the thresholds has changed.
async fn watch_thresholds(service: Service, path: PathBuf) {
    loop {
        let service = service.clone();
        match tokio::task::spawn_blocking(move || service.thresholds_changed()).await {
            Ok(true) => break,
            Ok(false) => tokio::time::sleep(LOOK_EVERY).await,
            // The program ends.
            Err(_) => return,
        }
    }
    note(&thresholds_changed(&path));
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
