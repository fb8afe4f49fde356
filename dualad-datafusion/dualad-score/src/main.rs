//! `dualad-score`: scores of the images of Parquet files, on one machine or on many.

use std::process::ExitCode;

use clap::Parser;

mod address;
mod args;
mod channels;
mod cluster;
mod columns;
mod error;
mod input;
mod manifest;
mod output;
mod progress;
mod queue;
mod score;
mod session;
mod sql;
mod unit;
mod worker;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let left = match (&args.command, &args.score.sql) {
        (Some(args::Command::Worker(_)), _) => "the parts that it was at are given to other workers",
        (None, Some(_)) => "nothing was written",
        (None, None) => "the same command with --resume goes on",
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(args.runtime_threads()).enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(async {
                tokio::select! {
                    done = run(args) => done,
                    () = ended() => Err(error::Error::Interrupted { left }),
                }
            });
            // A thread that is inspecting images is not waited for: what is finished is on disk.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(args: args::Args) -> error::Result<()> {
    match args.command {
        Some(args::Command::Worker(worker)) => worker::serve(&worker).await,
        None => match &args.score.sql {
            Some(query) => sql::run(&args.score, query).await,
            None => score::run(&args.score).await,
        },
    }
}

/// Waits for Ctrl-C, or for the signal that ends a program.
#[cfg(unix)]
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
async fn ended() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
