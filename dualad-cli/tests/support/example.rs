//! The examples as processes.

use std::process::{Command, Stdio};

/// Returns a command that runs an example. `cargo test` builds the examples beside the tests.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} does not exist; run `cargo build --workspace --examples`", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).env_remove("DUALAD_CACHE");
    command
}
