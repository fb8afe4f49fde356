//! What every example does alike: the device flag, the JSON flag, and one line on stderr when something fails.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::Device;
use clap::{Args, ValueEnum};
use serde::Serialize;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceName {
    Cpu,
    Cuda,
    Metal,
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub(crate) device: DeviceName,
    /// Seed of everything random; what is not random ignores it [default: 0]
    #[arg(long)]
    #[allow(dead_code)]
    pub(crate) seed: Option<u64>,
    /// Also write the machine-readable result to FILE; `-` prints it instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl CommonArgs {
    pub(crate) fn device(&self) -> Result<Device> {
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

    /// Whether standard output belongs to the JSON.
    pub(crate) fn json_to_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    #[allow(dead_code)]
    pub(crate) fn write_json(&self, result: &impl Serialize) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(result)?;
        text.push('\n');
        if self.json_to_stdout() {
            return print(&text);
        }
        write_whole(path, &text)
    }

    /// What is known to go wrong with `--json` before anything is computed: no folder, or a file that is needed.
    #[allow(dead_code)]
    pub(crate) fn check_json<'a>(&self, needed: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        match &self.json {
            Some(path) if !self.json_to_stdout() => check_output("--json", path, needed),
            _ => Ok(()),
        }
    }
}

/// Writes a file under a temporary name, which does not stay if that goes wrong.
#[allow(dead_code)]
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let temporary = temporary(path)?;
    let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        format!("cannot write {}: {error}", path.display()).into()
    })
}

/// A file to write is not one that is read, and its folder is there.
#[allow(dead_code)]
pub(crate) fn check_output<'a>(flag: &str, path: &Path, needed: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    temporary(path)?;
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

/// A temporary name beside a file that is to be written. A device or a pipe is not replaced by a file.
#[allow(dead_code)]
pub(crate) fn temporary(path: &Path) -> Result<PathBuf> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let name = path.display();
        return Err(format!("cannot write {name}: there is something else than a file; `-` is standard output").into());
    }
    Ok(path.with_added_extension(format!("{}.tmp", std::process::id())))
}

/// To standard output, at once.
#[allow(dead_code)]
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    printed.map_err(|error| format!("cannot write to standard output: {error}").into())
}

/// A line for people, on standard error. That nobody listens any more is no reason to end.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// 0, or 1 with one line on stderr.
pub(crate) fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = error.to_string();
            let line: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            note(&format!("error: {}", line.join(" ")));
            ExitCode::from(1)
        }
    }
}
