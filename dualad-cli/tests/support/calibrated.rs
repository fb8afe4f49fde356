//! A model that is trained and calibrated by the program.

use std::process::{Command, Output};

use serde_json::Value;

use super::place::Place;
use super::program::program;

impl Place {
    /// Returns a training run of the model in the folder `model`.
    pub(crate) fn train(&self, options: &[&str]) -> Command {
        let mut command = self.training("model");
        command.args(["--no-cache", "--heatmaps", "0"]).args(options);
        command
    }

    pub(crate) fn calibrate(&self, data: &str, options: &[&str]) -> Output {
        let mut command = program("calibrate");
        command.arg("--model").arg(self.path("model")).arg("--data").arg(self.path(data)).args(options);
        command.output().unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }
}
