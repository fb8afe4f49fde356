//! Messages on standard error.
#![allow(clippy::print_stderr, reason = "the program's messages")]

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The number of images per second and the time left, on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    /// `None` for the rows of a query, whose number is not known.
    total: Option<u64>,
    /// The images that an earlier run had done.
    before: u64,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    done: u64,
    errors: u64,
    shown: Instant,
}

impl Progress {
    pub(crate) fn new(total: u64, before: u64) -> Self {
        let start = Instant::now();
        Self { total: Some(total), before, start, state: Mutex::new(State { done: before, errors: 0, shown: start }) }
    }

    /// Counts the rows of a query.
    pub(crate) fn rows() -> Self {
        Self { total: None, ..Self::new(0, 0) }
    }

    /// Counts images, and those among them that could not be inspected.
    pub(crate) fn add(&self, images: u64, errors: u64) {
        let is_terminal = std::io::stderr().is_terminal();
        let pause = if is_terminal { Duration::from_millis(500) } else { Duration::from_secs(10) };
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.done += images;
        state.errors += errors;
        if state.shown.elapsed() >= pause {
            state.shown = Instant::now();
            let line = self.line(&state);
            if is_terminal { eprint!("\r\x1b[K{line}") } else { eprintln!("{line}") }
        }
    }

    /// Prints the last line.
    pub(crate) fn finish(&self) {
        let state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{}", self.line(&state));
    }

    fn line(&self, state: &State) -> String {
        let seconds = self.start.elapsed().as_secs_f64().max(1e-3);
        let rate = (state.done - self.before) as f64 / seconds;
        let Some(total) = self.total else { return format!("{} rows", state.done) };
        let mut line = format!("{} of {total} images, {rate:.1} images/s", state.done);
        if state.done < total && rate > 0.0 {
            line += &format!(", {} left", time((total - state.done) as f64 / rate));
        }
        if state.errors > 0 {
            line += &format!(", {} with errors", state.errors);
        }
        line
    }
}

/// Returns a duration such as `2 h 5 min`, `5 min 3 s` or `8 s`.
fn time(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

pub(crate) fn error(error: &dyn std::fmt::Display) {
    eprintln!("error: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_largest_two_units() {
        assert_eq!([7.2, 60.0, 303.0, 7500.0].map(time), ["8 s", "1 min 0 s", "5 min 3 s", "2 h 5 min"]);
    }
}
