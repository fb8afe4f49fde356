//! Progress bars, on standard error if it is a terminal.

use std::time::Duration;

use dualad::train::TrainingProgress;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// A progress bar, cleared when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(what: &'static str) -> Self {
        Self::styled("{msg:<24} {bar:30} {pos}/{len}  {eta} left", what)
    }

    /// Returns the bar of a training run, for [`Bar::train`].
    pub(crate) fn training() -> Self {
        Self::styled("training {wide_bar} {msg}", "")
    }

    fn styled(template: &str, message: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        // The templates are constants. A wrong one would cost the style only.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(message);
        Self(bar)
    }

    pub(crate) fn set(&self, done: usize, total: usize) {
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
    }

    pub(crate) fn train(&self, progress: &TrainingProgress) {
        if self.0.is_hidden() {
            return;
        }
        self.0.set_length(progress.steps);
        self.0.set_position(progress.step);
        self.0.set_message(format!(
            "epoch {}/{}  loss {:.4}  {:.1} images/s  {} left",
            progress.epoch,
            progress.epochs,
            progress.loss,
            progress.images_per_second,
            HumanDuration(Duration::from_secs(progress.remaining.as_secs())),
        ));
    }

    /// Calls a function that prints, and shows the bar below its output.
    pub(crate) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.0.suspend(print)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
