//! The program as a process.

use std::process::{Command, Stdio};

/// Returns a command that runs `dualad` with this subcommand.
pub(crate) fn program(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dualad"));
    command.arg(subcommand).stdin(Stdio::null()).env_remove("DUALAD_CACHE");
    command
}
