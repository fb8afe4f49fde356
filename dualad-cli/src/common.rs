//! Parts that the subcommands share: the flags for device, seed and JSON, output, and the one line for an error.

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};

use clap::{Args, FromArgMatches};
use dualad::candle_core::Device;
pub(crate) use dualad::report::printable;
use dualad::store::write_atomically;
use serde::Serialize;

use crate::device::{Devices, DevicesParser};
use crate::guard::Guard;
use crate::hint::{faults, hint};
pub use crate::usage::Result;
pub(crate) use crate::usage::UsageError;

/// The flags of the subcommands that compute on a device.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Device to compute on: cpu, cuda, metal, or cuda:N for the NVIDIA GPU of that number. `inspect`, `watch`, `serve`, `submit`
    /// and `train` also take several, such as cuda:0,1
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = DevicesParser, hide_possible_values = true)]
    pub device: Devices,
    /// Accepted by every subcommand with a device; without an effect here, where nothing is random
    #[arg(long)]
    pub seed: Option<u64>,
    /// Write the result as JSON to FILE; `-` prints it instead of text
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl CommonArgs {
    /// Returns the one device that the flags name.
    ///
    /// # Errors
    /// A line that says what to do where they name several, or there is no such device.
    pub fn device(&self) -> Result<Device> {
        self.device.one()
    }

    /// Returns true if standard output belongs to the JSON.
    pub fn json_to_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new(STDOUT))
    }

    /// Writes a result to the file or the standard output that `--json` names, if it is given.
    ///
    /// # Errors
    /// A line that names the file.
    pub fn write_json(&self, result: &impl Serialize) -> Result<()> {
        self.json.as_deref().map_or(Ok(()), |path| write_json(path, result))
    }

    /// Refuses a `--json` file that cannot be written or that a result must not replace.
    pub(crate) fn check_json(&self, guard: &Guard) -> Result<()> {
        check_json(self.json.as_deref(), guard)
    }
}

/// The flag for JSON of a subcommand without a device or a seed.
#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Write JSON to FILE; without FILE or with `-`, print it instead of text
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

impl JsonArgs {
    /// Returns true if standard output belongs to the JSON.
    pub(crate) fn to_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new(STDOUT))
    }

    /// Refuses a file that cannot be written or that a result must not replace.
    pub(crate) fn check(&self, guard: &Guard) -> Result<()> {
        check_json(self.json.as_deref(), guard)
    }

    /// Writes a result where the flag says, if it is given.
    pub(crate) fn write(&self, result: &impl Serialize) -> Result<()> {
        self.json.as_deref().map_or(Ok(()), |path| write_json(path, result))
    }
}

/// The path that is standard output.
const STDOUT: &str = "-";

fn check_json(json: Option<&Path>, guard: &Guard) -> Result<()> {
    match json.filter(|path| *path != Path::new(STDOUT)) {
        Some(path) => Ok(guard.check_json("--json", path)?),
        None => Ok(()),
    }
}

/// Writes a result as JSON to a file, or to standard output for `-`.
fn write_json(path: &Path, result: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(result)?;
    text.push('\n');
    if path == Path::new(STDOUT) {
        return print(&text);
    }
    write_result("--json", path, &text)
}

/// Writes a result that `flag` asks for as a whole: readers find the old content or the new one.
pub(crate) fn write_result(flag: &str, path: &Path, text: &str) -> Result<()> {
    // Again: the file may be new.
    Guard::default().check_json(flag, path)?;
    write_atomically(path, text.as_bytes()).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// Prints text on standard output, at once. It is no error if its reader has gone: one such as `head` has read enough.
///
/// # Errors
/// The error of the operating system.
pub fn print(text: &str) -> Result<()> {
    print_to_reader(text).map(drop)
}

/// Prints text as [`print`] does. Returns false if the reader has gone, and more output is of no use.
pub(crate) fn print_to_reader(text: &str) -> Result<bool> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("cannot write to standard output: {error}").into()),
        Ok(()) => Ok(true),
    }
}

/// Prints a line on standard error, with control characters escaped. An error is ignored: the program works on when nobody reads
/// its messages.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(line));
}

/// Returns an error's message as one line.
fn one_line(error: &dyn Error) -> String {
    let text = error.to_string();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns an error's message as one line, with the flags that avoid it.
pub(crate) fn message(error: &(dyn Error + 'static)) -> String {
    let line = one_line(error);
    match hint(error) {
        Some(hint) => format!("{line}; {hint}"),
        None => line,
    }
}

/// Prints the faults of an error that has several, a line for each. Returns the message for the error's own line.
pub(crate) fn listed(error: &(dyn Error + 'static)) -> String {
    let Some((faults, summary)) = faults(error) else { return message(error) };
    faults.iter().for_each(|line| note(line));
    match hint(error) {
        Some(hint) => format!("{summary}; {hint}"),
        None => summary,
    }
}

/// Parses a number from 1 to `most`.
pub(crate) fn parse_count(text: &str, most: usize) -> std::result::Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| format!("must be from 1 to {most}"))
}

/// Parses the command line of a program that has one subcommand's flags, with other defaults for some of them. Ends the
/// process as [`start`] does.
pub(crate) fn parse<A: Args>(name: &'static str, defaults: &[(&str, &'static str)]) -> A {
    let mut command = A::augment_args(clap::Command::new(name).version(env!("CARGO_PKG_VERSION")));
    for &(flag, value) in defaults {
        command = command.mut_arg(flag, |arg| arg.default_value(value));
    }
    start(command)
}

/// Begins a program: parses its command line. Ends the process with status 2 on bad usage, and with status 0 after the help, or 1
/// if the help cannot be printed.
pub(crate) fn start<A: FromArgMatches>(mut command: clap::Command) -> A {
    report_full_files();
    let parsed = command.try_get_matches_from_mut(std::env::args_os()).and_then(|found| A::from_arg_matches(&found));
    let error = match parsed {
        Ok(parsed) => return parsed,
        Err(error) => error,
    };
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    let code = match printed {
        // A reader of the help such as `head` may have read enough.
        Err(unprinted) if !error.use_stderr() && unprinted.kind() != ErrorKind::BrokenPipe => {
            note(&format!("error: cannot write to standard output: {unprinted}"));
            1
        }
        _ => error.exit_code(),
    };
    std::process::exit(code)
}

/// Makes writing beyond the size that the system allows for a file (`ulimit -f`) an error. By default the system ends the process.
fn report_full_files() {
    #[cfg(unix)]
    {
        let ignored = Arc::new(AtomicBool::new(false));
        // Without it the process ends as it would by default.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, ignored);
    }
}

/// Returns exit status 0, or 1 after one line on standard error.
pub fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {}", listed(&*error)));
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}
