//! Signals to processes.

use std::process::{Child, Command};

/// Sends a signal to a process, such as `TERM`.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(status.success(), "{name}");
}
