//! Progress on standard error: bars on a terminal, rare lines elsewhere if they are asked for.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use dualad::train::TrainingProgress;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::common::note;

/// The time between two lines of one piece of work.
const INTERVAL: Duration = Duration::from_secs(30);

/// The form of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
enum Form {
    /// Bars if standard error is a terminal, else nothing
    Auto,
    /// A line every 30 seconds, and one at the end of each piece of work
    Plain,
    /// Nothing
    None,
}

/// The flag for progress.
#[derive(Debug, clap::Args)]
pub(crate) struct ProgressArgs {
    /// Progress on standard error
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Form::Auto)]
    progress: Form,
}

/// The form that the program has, which runs one command.
static CHOSEN: AtomicU8 = AtomicU8::new(Form::Auto as u8);

impl ProgressArgs {
    /// Uses the form that the flag names from here on.
    pub(crate) fn apply(&self) {
        CHOSEN.store(self.progress as u8, Ordering::Relaxed);
    }
}

fn chosen() -> Form {
    match CHOSEN.load(Ordering::Relaxed) {
        form if form == Form::Plain as u8 => Form::Plain,
        form if form == Form::None as u8 => Form::None,
        _ => Form::Auto,
    }
}

/// The progress of a piece of work. It ends when it is dropped.
pub(crate) struct Bar {
    template: &'static str,
    message: &'static str,
    shown: Shown,
}

enum Shown {
    /// Made when the amount of work is known: a bar of 0 of 0 says nothing.
    Bar(OnceLock<ProgressBar>),
    Lines(Mutex<Lines>),
    Nothing,
}

impl Bar {
    pub(crate) fn new(what: &'static str) -> Self {
        Self::styled("{msg:<24} {bar:30} {pos}/{len}  {eta} left", what, chosen())
    }

    /// Returns the bar of a training run, for [`Bar::train`].
    pub(crate) fn training() -> Self {
        Self::styled("training {wide_bar} {msg}", "training", chosen())
    }

    fn styled(template: &'static str, message: &'static str, form: Form) -> Self {
        let shown = match form {
            Form::Auto if std::io::stderr().is_terminal() => Shown::Bar(OnceLock::new()),
            Form::Plain => Shown::Lines(Mutex::new(Lines::new(message, INTERVAL))),
            _ => Shown::Nothing,
        };
        Self { template, message, shown }
    }

    pub(crate) fn set(&self, done: usize, total: usize) {
        match &self.shown {
            Shown::Bar(bar) if total > 0 => {
                let bar = bar.get_or_init(|| self.begin(total as u64));
                // Some work has several parts.
                if bar.is_finished() {
                    bar.reset();
                }
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                if done >= total {
                    bar.finish_and_clear();
                }
            }
            Shown::Lines(lines) => {
                say(lock(lines).set(done as u64, total as u64, ""));
            }
            _ => {}
        }
    }

    pub(crate) fn train(&self, progress: &TrainingProgress) {
        let TrainingProgress { step, steps, epoch, epochs, loss, images_per_second, remaining, .. } = progress;
        match &self.shown {
            Shown::Bar(bar) if *steps > 0 => {
                let bar = bar.get_or_init(|| self.begin(*steps));
                bar.set_position(*step);
                let left = HumanDuration(Duration::from_secs(remaining.as_secs()));
                bar.set_message(format!(
                    "epoch {epoch}/{epochs}  loss {loss:.4}  {images_per_second:.1} images/s  {left} left"
                ));
            }
            Shown::Lines(lines) => {
                say(lock(lines).set(*step, *steps, &format!(" steps, epoch {epoch} of {epochs}, loss {loss:.4}")));
            }
            _ => {}
        }
    }

    fn begin(&self, total: u64) -> ProgressBar {
        let bar = ProgressBar::new(total);
        // The templates are constants. A wrong one would cost the style only.
        if let Ok(style) = ProgressStyle::with_template(self.template) {
            bar.set_style(style);
        }
        bar.set_message(self.message);
        bar
    }

    /// Calls a function that prints, and shows the bar below its output.
    pub(crate) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.shown {
            Shown::Bar(bar) => match bar.get() {
                Some(bar) => bar.suspend(print),
                None => print(),
            },
            _ => print(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        match &self.shown {
            Shown::Bar(bar) => {
                if let Some(bar) = bar.get() {
                    bar.finish_and_clear();
                }
            }
            Shown::Lines(lines) => say(lock(lines).end()),
            Shown::Nothing => {}
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> std::sync::MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(line: Option<String>) {
    if let Some(line) = line {
        note(&line);
    }
}

/// The lines of a piece of work.
struct Lines {
    what: &'static str,
    interval: Duration,
    begun: Instant,
    last: Instant,
    done: u64,
    total: u64,
}

impl Lines {
    fn new(what: &'static str, interval: Duration) -> Self {
        let now = Instant::now();
        Self { what, interval, begun: now, last: now, done: 0, total: 0 }
    }

    /// Returns a line if it is time for one.
    fn set(&mut self, done: u64, total: u64, details: &str) -> Option<String> {
        if self.total == 0 {
            // The work begins when its amount is known.
            (self.begun, self.last) = (Instant::now(), Instant::now());
        }
        (self.done, self.total) = (done, total);
        if done >= total {
            let last = self.end();
            self.total = 0;
            return last;
        }
        if self.last.elapsed() < self.interval {
            return None;
        }
        self.last = Instant::now();
        let left = self.begun.elapsed().mul_f64(total.saturating_sub(done) as f64 / done.max(1) as f64);
        let left = HumanDuration(Duration::from_secs(left.as_secs()));
        Some(format!("{}: {done} of {total}{details}, {left} left", self.what))
    }

    /// Returns the last line, unless there was no work, or it has ended before.
    fn end(&self) -> Option<String> {
        let Self { what, done, total, begun, .. } = self;
        (*total > 0).then(|| format!("{what}: {done} of {total} in {:.1} s", begun.elapsed().as_secs_f64()))
    }
}

/// The progress of work without a known amount: what is being done.
pub(crate) struct Status {
    last: Mutex<Option<Instant>>,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self { last: Mutex::new(None) }
    }

    /// Shows what is being done; an empty text clears it.
    pub(crate) fn show(&self, what: &str) {
        let mut stderr = std::io::stderr();
        match chosen() {
            Form::Auto if stderr.is_terminal() => {
                let _ = write!(stderr, "\r\x1b[K{what}");
                let _ = stderr.flush();
            }
            Form::Plain if !what.is_empty() => {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.is_none_or(|last| last.elapsed() >= INTERVAL) {
                    *last = Some(Instant::now());
                    note(what);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rare_and_none_is_of_nothing() {
        let mut lines = Lines::new("reading", Duration::ZERO);
        assert_eq!((lines.set(0, 0, ""), lines.end()), (None, None));
        let line = lines.set(1, 4, " steps").unwrap();
        assert!(line.starts_with("reading: 1 of 4 steps, ") && line.ends_with(" left"), "{line}");
        assert!(lines.set(4, 4, "").unwrap().starts_with("reading: 4 of 4 in "));
        assert_eq!(lines.end(), None);
        lines.set(1, 2, "");
        assert!(lines.end().unwrap().starts_with("reading: 1 of 2 in "));
        let mut lines = Lines::new("reading", INTERVAL);
        assert!((0..100).all(|done| lines.set(done, 100, "").is_none()));
    }

    #[test]
    fn a_bar_is_not_drawn_before_the_amount_of_work_is_known() {
        let mut bar = Bar::styled("{pos}/{len}", "reading", Form::Auto);
        bar.shown = Shown::Bar(OnceLock::new());
        let is_drawn = |bar: &Bar| matches!(&bar.shown, Shown::Bar(bar) if bar.get().is_some());
        bar.set(0, 0);
        assert!(!is_drawn(&bar));
        bar.set(0, 3);
        assert!(is_drawn(&bar));
    }
}
