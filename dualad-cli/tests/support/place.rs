//! A dataset and the configuration of a run with a small network.

use std::path::PathBuf;
use std::process::Command;

use super::config::CONFIG;
use super::parts::write_parts;
use super::program::program;

/// A folder with the dataset `data` and the configuration `config.json`.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Generates two products with `train` training images each.
    pub(crate) fn new(train: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_parts(&folder.path().join("data"), train);
        std::fs::write(folder.path().join("config.json"), CONFIG).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a training run that writes to the folder `out`.
    pub(crate) fn training(&self, out: &str) -> Command {
        let mut command = program("train");
        command.arg("--data").arg(self.path("data")).arg("--config").arg(self.path("config.json"));
        command.args(["--backbone", "filter-bank"]).arg("--out").arg(self.path(out));
        command
    }
}
