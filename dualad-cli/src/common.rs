//! Parts that the subcommands share: the flags for device, seed and JSON, output, and the one line for an error.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};

use clap::{Args, FromArgMatches, ValueEnum};
use dualad::candle_core::Device;
use dualad::store::write_atomically;
use serde::Serialize;

/// The result of a program: any error, which becomes one line.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The kinds of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// The processor
    Cpu,
    /// An NVIDIA GPU
    Cuda,
    /// An Apple GPU
    Metal,
}

/// The flags of the subcommands that compute on a device.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Device to compute on
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Seed of random numbers; subcommands without any ignore it [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Write the result as JSON to FILE; `-` prints it instead of text, and `watch` takes only `-`
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl CommonArgs {
    /// Returns the device that the flags name.
    ///
    /// # Errors
    /// A line that says what to do where there is no such device.
    pub fn device(&self) -> Result<Device> {
        let (device, feature) = match self.device {
            DeviceName::Cpu => return Ok(Device::Cpu),
            DeviceName::Cuda => (Device::new_cuda_with_stream(0), "cuda"),
            DeviceName::Metal => (Device::new_metal(0), "metal"),
        };
        device.map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().next().unwrap_or_default();
            format!("no {feature} device ({reason}); build with --features {feature} on a machine that has one, or use --device cpu").into()
        })
    }

    /// Returns true if standard output belongs to the JSON.
    pub fn json_to_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Writes a result to the file or the standard output that `--json` names, if it is given.
    ///
    /// # Errors
    /// A line that names the file.
    pub fn write_json(&self, result: &impl Serialize) -> Result<()> {
        self.json.as_deref().map_or(Ok(()), |path| write_json(path, result))
    }

    /// Refuses a `--json` file that cannot be written, or that would replace one of the files in `needed`.
    pub(crate) fn check_json<'a>(&self, needed: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        match &self.json {
            Some(path) if !self.json_to_stdout() => {
                check_output("--json", path, needed)?;
                check_json_target(path)
            }
            _ => Ok(()),
        }
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
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Writes a result where the flag says, if it is given.
    pub(crate) fn write(&self, result: &impl Serialize) -> Result<()> {
        self.json.as_deref().map_or(Ok(()), |path| write_json(path, result))
    }
}

/// Writes a result as JSON to a file, or to standard output for `-`.
fn write_json(path: &Path, result: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(result)?;
    text.push('\n');
    if path == Path::new("-") {
        return print(&text);
    }
    check_json_target(path)?;
    write_whole(path, &text)
}

/// The files of a model and of a run that results do not replace.
const KEPT: [&str; 4] = ["config.json", "calibration.json", "calibration.previous.json", "train.jsonl"];

/// Refuses to replace a file that is not JSON, such as an image, and the files of a model and of a run.
pub(crate) fn check_json_target(path: &Path) -> Result<()> {
    let kept = path.file_name().is_some_and(|name| KEPT.iter().any(|kept| name == *kept));
    if path.is_file() && (kept || !is_json(path)) {
        return Err(format!("{} exists and is no result of this program; name another file", path.display()).into());
    }
    Ok(())
}

/// Returns true if a file is empty or begins as JSON does.
pub(crate) fn is_json(path: &Path) -> bool {
    let mut first = [0; 1];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut first));
    read.is_ok_and(|count| count == 0 || matches!(first[0], b'{' | b'['))
}

/// Writes a file as a whole: readers find the old content or the new one.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    check_replaceable(path)?;
    write_atomically(path, text.as_bytes()).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// Refuses an output file that cannot be written, or that would replace one of the files in `needed`.
pub(crate) fn check_output<'a>(flag: &str, path: &Path, needed: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    check_replaceable(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(format!("cannot write {}: there is no folder {}", path.display(), folder.display()).into());
    }
    let Ok(output) = path.canonicalize() else { return Ok(()) };
    if needed.into_iter().any(|needed| needed.canonicalize().is_ok_and(|needed| needed == output)) {
        return Err(format!("{flag} {} would replace a file that is read; name another", path.display()).into());
    }
    Ok(())
}

/// Refuses an output path that is a folder, a device or a pipe.
pub(crate) fn check_replaceable(path: &Path) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let name = path.display();
        return Err(format!("cannot write {name}: it exists and is not a regular file; `-` is standard output").into());
    }
    Ok(())
}

/// Prints text on standard output, at once.
///
/// # Errors
/// The error of the operating system.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    printed.map_err(|error| format!("cannot write to standard output: {error}").into())
}

/// Prints a line on standard error. An error is ignored: the program works on when nobody reads its messages.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Returns an error's message as one line.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let text = error.to_string();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
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
            note(&format!("error: {}", one_line(&*error)));
            ExitCode::from(1)
        }
    }
}
