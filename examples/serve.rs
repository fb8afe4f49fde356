//! Answers questions about images over HTTP: `docs/serving.md`.
//!
//! ```sh
//! cargo run --release --example serve -- --model out/mvtec
//! curl --data-binary @part.png 'http://127.0.0.1:8080/inspect?category=gear'
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[allow(dead_code)]
#[path = "common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "common/model.rs"]
mod model;

#[path = "serve/args.rs"]
mod args;
#[path = "serve/connections.rs"]
mod connections;
#[path = "serve/failure.rs"]
mod failure;
#[path = "serve/handlers.rs"]
mod handlers;
#[path = "serve/metrics.rs"]
mod metrics;
#[path = "serve/patience.rs"]
mod patience;
#[path = "serve/query.rs"]
mod query;
#[path = "serve/stop.rs"]
mod stop;
#[path = "serve/upload.rs"]
mod upload;
#[path = "serve/worker.rs"]
mod worker;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};

use args::Args;
use clap::Parser;
use common::Result;
use handlers::App;
use metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use upload::Most;
use worker::Worker;

fn main() -> ExitCode {
    common::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let detector = args.model.detector_within(&args.common, args.limits())?;
    let metrics = Arc::new(Metrics::default());
    let queue = args.queue as usize;
    let (jobs, waiting) = mpsc::sync_channel(queue);
    let worker = Worker {
        detector: detector.clone(),
        jobs: waiting,
        metrics: metrics.clone(),
        batch: args.batch as usize,
        linger: args.linger(),
    };
    let app = Arc::new(App {
        detector,
        jobs,
        slots: Arc::new(Semaphore::new(queue)),
        queue,
        most: Most { bytes: args.max_body(), pixels: args.max_pixels },
        read_timeout: args.read_timeout(),
        metrics: metrics.clone(),
        stopping: AtomicBool::new(false),
    });
    // Nobody waits for the thread: it ends with the process, and everything is answered by then.
    let worker = std::thread::Builder::new().name("inspect".into()).spawn(move || worker.run());
    worker.map_err(|error| format!("cannot start a thread: {error}"))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start threads: {error}"))?;
    let served = runtime.block_on(serve(args, app));
    runtime.shutdown_background();
    served?;
    let counts = metrics.counts();
    let requests: u64 = counts.requests.values().sum();
    let rejected: u64 = counts.uploads_rejected.values().sum();
    let images = counts.images_inspected;
    eprintln!("stopped: answered {requests} requests, inspected {images} images, rejected {rejected} uploads");
    args.common.write_json(&counts)
}

async fn serve(args: &Args, app: Arc<App>) -> Result<()> {
    let signals = stop::Signals::new()?;
    let address = std::net::SocketAddr::new(args.address, args.port);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another --address or --port, or end what listens there")
    })?;
    let bound = listener.local_addr().map_err(|error| format!("cannot listen on {address}: {error}"))?;
    if !args.address.is_loopback() {
        eprintln!("warning: {bound} can be reached from other machines, and there is no authentication");
    }
    let mut stdout = std::io::stdout();
    let written = writeln!(stdout, "listening on http://{bound}").and_then(|()| stdout.flush());
    written.map_err(|error| format!("cannot write to standard output: {error}"))?;
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(signals.watch(stopping));
    let mut seen = stopped.clone();
    let stop = async move {
        // Without a sender no signal can come any more.
        if seen.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let serving = connections::serve(listener, handlers::router(app.clone()), app, stop);
    let late = async {
        let _ = stopped.wait_for(|stop| *stop).await;
        tokio::time::sleep(args.stop_timeout()).await;
    };
    tokio::select! {
        () = serving => Ok(()),
        () = late => {
            let seconds = args.stop_timeout_s;
            Err(format!("not everything was answered within {seconds} s of stopping; raise --stop-timeout-s").into())
        }
    }
}
