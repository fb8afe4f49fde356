//! Progress on standard error: bars on a terminal, rare lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use dualad::train::TrainingProgress;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::common::note;

/// The time between two lines of one piece of work, where lines are asked for.
const INTERVAL: Duration = Duration::from_secs(30);
/// The time between two lines where there is no terminal. Shorter work prints none.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);

/// The form of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
enum Form {
    /// Bars if standard error is a terminal, else a line every 10 seconds
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
            Form::Auto => Shown::Lines(Mutex::new(Lines::quiet(message, QUIET_INTERVAL))),
            Form::Plain => Shown::Lines(Mutex::new(Lines::new(message, INTERVAL))),
            Form::None => Shown::Nothing,
        };
        if let Shown::Lines(lines) = &shown {
            work::begin(lock(lines).interval);
        }
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
            Shown::Lines(lines) => lock(lines).show(done as u64, total as u64, ""),
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
                lock(lines).show(*step, *steps, &format!(" steps, epoch {epoch} of {epochs}, loss {loss:.4}"));
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
            Shown::Lines(lines) => {
                say(lock(lines).end());
                work::end();
            }
            Shown::Nothing => {}
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> std::sync::MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(line: Option<String>) {
    if let Some(line) = line {
        work::said();
        note(&line);
    }
}

/// The work that the program has in hand. Where its progress is lines and none is printed for long, as after the last
/// image, a line says that it goes on.
mod work {
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::{Duration, Instant};

    use crate::common::note;

    struct Work {
        /// The number of pieces of work that have not ended.
        pieces: usize,
        interval: Duration,
        /// The time of the last line.
        last: Instant,
        /// The latest progress; empty before any.
        latest: String,
    }

    static WORK: Mutex<Option<Work>> = Mutex::new(None);

    fn work() -> MutexGuard<'static, Option<Work>> {
        WORK.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(interval: Duration) {
        let mut work = work();
        let new = || Work { pieces: 0, interval, last: Instant::now(), latest: String::new() };
        if work.is_none() {
            // Without the thread there are fewer lines.
            let _ = std::thread::Builder::new().name("progress".into()).spawn(|| {
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                    if let Some(line) = self::work().as_mut().and_then(due) {
                        note(&line);
                    }
                }
            });
        }
        let work = work.get_or_insert_with(new);
        if work.pieces == 0 {
            *work = new();
        }
        work.pieces += 1;
    }

    pub(super) fn end() {
        if let Some(work) = work().as_mut() {
            work.pieces = work.pieces.saturating_sub(1);
        }
    }

    pub(super) fn said() {
        if let Some(work) = work().as_mut() {
            work.last = Instant::now();
        }
    }

    pub(super) fn is_at(latest: String) {
        if let Some(work) = work().as_mut() {
            work.latest = latest;
        }
    }

    /// Returns a line if it is time for one.
    fn due(work: &mut Work) -> Option<String> {
        if work.pieces == 0 || work.latest.is_empty() || work.last.elapsed() < work.interval {
            return None;
        }
        work.last = Instant::now();
        Some(format!("still working; last: {}", work.latest))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_line_is_due_while_work_goes_on_without_one() {
            let latest = String::from("reading: 3 of 9");
            let mut work = Work { pieces: 1, interval: Duration::ZERO, last: Instant::now(), latest };
            assert_eq!(due(&mut work).as_deref(), Some("still working; last: reading: 3 of 9"));
            work.interval = Duration::from_secs(3600);
            assert_eq!(due(&mut work), None);
            (work.interval, work.pieces) = (Duration::ZERO, 0);
            assert_eq!(due(&mut work), None);
        }
    }
}

/// The lines of a piece of work.
struct Lines {
    what: &'static str,
    interval: Duration,
    /// True if the last line is printed only after another one.
    quiet: bool,
    has_said: bool,
    begun: Instant,
    last: Instant,
    done: u64,
    total: u64,
}

impl Lines {
    fn new(what: &'static str, interval: Duration) -> Self {
        let now = Instant::now();
        Self { what, interval, quiet: false, has_said: false, begun: now, last: now, done: 0, total: 0 }
    }

    fn quiet(what: &'static str, interval: Duration) -> Self {
        Self { quiet: true, ..Self::new(what, interval) }
    }

    /// Prints a line if it is time for one.
    fn show(&mut self, done: u64, total: u64, details: &str) {
        let line = self.set(done, total, details);
        work::is_at(format!("{}: {done} of {total}{details}", self.what));
        say(line);
    }

    /// Returns a line if it is time for one.
    fn set(&mut self, done: u64, total: u64, details: &str) -> Option<String> {
        if self.total == 0 {
            // The work begins when its amount is known.
            (self.begun, self.last, self.has_said) = (Instant::now(), Instant::now(), false);
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
        (self.last, self.has_said) = (Instant::now(), true);
        let left = self.begun.elapsed().mul_f64(total.saturating_sub(done) as f64 / done.max(1) as f64);
        let left = HumanDuration(Duration::from_secs(left.as_secs()));
        Some(format!("{}: {done} of {total}{details}, {left} left", self.what))
    }

    /// Returns the last line, unless there was no work, it has ended before, or it was too short.
    fn end(&self) -> Option<String> {
        let Self { what, done, total, begun, .. } = self;
        let is_said = self.has_said || !self.quiet;
        (*total > 0 && is_said).then(|| format!("{what}: {done} of {total} in {:.1} s", begun.elapsed().as_secs_f64()))
    }
}

/// The progress of work without a known amount: what is being done.
pub(crate) struct Status {
    last: Mutex<Option<Instant>>,
}

impl Status {
    pub(crate) fn new() -> Self {
        // Without being asked, a line for short work is too much.
        Self { last: Mutex::new((chosen() == Form::Auto).then(Instant::now)) }
    }

    /// Shows what is being done; an empty text clears it.
    pub(crate) fn show(&self, what: &str) {
        let mut stderr = std::io::stderr();
        match chosen() {
            Form::Auto if stderr.is_terminal() => {
                let _ = write!(stderr, "\r\x1b[K{what}");
                let _ = stderr.flush();
            }
            form if form != Form::None && !what.is_empty() => {
                let interval = if form == Form::Plain { INTERVAL } else { QUIET_INTERVAL };
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.is_none_or(|last| last.elapsed() >= interval) {
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
    fn without_a_terminal_long_work_prints_lines_and_short_work_none() {
        let mut lines = Lines::quiet("reading", QUIET_INTERVAL);
        assert_eq!((lines.set(1, 2, ""), lines.set(2, 2, ""), lines.end()), (None, None, None));
        let mut lines = Lines::quiet("reading", Duration::ZERO);
        assert!(lines.set(1, 2, "").is_some() && lines.set(2, 2, "").unwrap().starts_with("reading: 2 of 2 in "));
        // Tests have no terminal: the default is lines.
        if !std::io::stderr().is_terminal() {
            assert!(matches!(Bar::styled("{pos}", "reading", Form::Auto).shown, Shown::Lines(_)));
        }
        assert!(matches!(Bar::styled("{pos}", "reading", Form::None).shown, Shown::Nothing));
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
