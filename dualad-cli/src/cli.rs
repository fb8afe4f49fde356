//! The subcommands.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::common::{Result, exit, start};
#[cfg(feature = "onnx")]
use crate::export;
use crate::{bench, calibrate, check, evaluate, import, info, inspect, serve, shell, submit, train, watch};

/// Find anomalies in images with one model for all products, trained on normal images only
#[derive(Debug, Parser)]
#[command(name = "dualad", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Evaluate(evaluate::Args),
    #[command(visible_alias = "detect")]
    Inspect(inspect::Args),
    Calibrate(calibrate::Args),
    Watch(watch::Args),
    Serve(serve::Args),
    Check(check::Args),
    #[cfg(feature = "onnx")]
    Export(export::Args),
    Submit(submit::Args),
    Import(import::Args),
    Info(info::Args),
    Bench(bench::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

/// Runs the program: parses the command line and runs its subcommand.
pub fn main() -> ExitCode {
    exit(run(&start::<Cli>(command()).command))
}

/// Returns the program's command line, for completions, manual pages and tests.
pub fn command() -> clap::Command {
    Cli::command()
}

fn run(subcommand: &Command) -> Result<()> {
    match subcommand {
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        #[cfg(feature = "onnx")]
        Command::Export(args) => export::run(args),
        Command::Submit(args) => submit::run(args),
        Command::Import(args) => import::run(args),
        Command::Info(args) => info::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => shell::completions(args, command()),
        Command::Man(args) => shell::man(args, command()),
    }
}
