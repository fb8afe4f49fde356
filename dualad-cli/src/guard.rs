//! Keeps output from replacing what a command reads, what a model or a run owns, and files of the user.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use dualad::ModelFiles;
use dualad::data::render;
use dualad::fit::RunFolder;

/// The files that a command reads, and the run folder that it writes into.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Resolved paths.
    read: HashSet<PathBuf>,
    run: Option<PathBuf>,
}

impl Guard {
    /// Adds files that the command reads. Those that do not exist are left out.
    pub(crate) fn reads<P: AsRef<Path>>(mut self, files: impl IntoIterator<Item = P>) -> Self {
        self.read.extend(files.into_iter().filter_map(|file| file.as_ref().canonicalize().ok()));
        self
    }

    /// Sets the folder that the command creates, if it does not exist, and writes the files of a run into.
    pub(crate) fn run(mut self, folder: &Path) -> Self {
        self.run = Some(folder.into());
        self
    }

    /// Returns true if the command reads this file.
    pub(crate) fn is_read(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| self.read.contains(&path))
    }

    /// Refuses a file for a result as JSON: it may replace an earlier result only. `flag` is named in errors.
    pub(crate) fn check_json(&self, flag: &str, path: &Path) -> Result<(), String> {
        self.check(flag, path, |path| !is_reserved(path) && is_json(path))
    }

    /// Refuses a file for thresholds: it may replace earlier thresholds, also damaged ones, and JSON.
    pub(crate) fn check_thresholds(&self, path: &Path) -> Result<(), String> {
        self.check("--out", path, |path| {
            let named_json = path.extension().is_some_and(|ending| ending == "json");
            *path == ModelFiles::of(folder_of(path)).calibration || !is_reserved(path) && (named_json || is_json(path))
        })
    }

    /// Refuses a file for an exported model: it may replace an earlier one only.
    #[cfg(feature = "onnx")]
    pub(crate) fn check_export(&self, path: &Path) -> Result<(), String> {
        self.check("--out", path, |path| !is_reserved(path) && is_export(path))
    }

    /// Refuses a file that cannot be written, that the command reads or writes itself, or that exists and is not `replaceable`.
    fn check(&self, flag: &str, path: &Path, replaceable: fn(&Path) -> bool) -> Result<(), String> {
        let name = path.display();
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let other = if flag == "--json" { "; `-` is standard output" } else { "; name another file" };
            return Err(format!("cannot write {name}: it exists and is not a regular file{other}"));
        }
        let folder = folder_of(path);
        let in_run = self.run.as_deref().is_some_and(|run| is_same(run, folder));
        if !folder.is_dir() && !in_run {
            return Err(format!("cannot write {name}: there is no folder {}", folder.display()));
        }
        if self.is_read(path) {
            return Err(format!("{flag} {name} would replace a file that is read; name another file"));
        }
        if in_run && is_reserved(path) {
            return Err(format!("{flag} {name}: the run keeps a file of its own there; choose another name"));
        }
        // A link has another name than the file that it leads to.
        if path.canonicalize().is_ok_and(|path| !replaceable(&path)) {
            return Err(format!("{flag} {name} exists and is no result of this program; name another file"));
        }
        Ok(())
    }
}

/// Refuses a folder for results in the folder of the data: the next run would read the pictures of its report as images.
pub(crate) fn check_apart(out: &Path, data: &Path) -> Result<(), String> {
    // The images of a table lie where it says.
    let Some(root) = data.canonicalize().ok().filter(|root| root.is_dir()) else { return Ok(()) };
    if resolved(out).is_none_or(|out| !out.starts_with(root)) {
        return Ok(());
    }
    let (out, data) = (out.display(), data.display());
    Err(format!(
        "--out {out} lies in the data, {data}, where its pictures would be read as images; name a folder outside of it"
    ))
}

/// Returns the real path of a folder that may not exist yet.
fn resolved(folder: &Path) -> Option<PathBuf> {
    let folder = std::path::absolute(folder).ok()?;
    let found = folder.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let (above, real) = found?;
    Some(real.join(folder.strip_prefix(above).ok()?))
}

/// Refuses a file for a heat map: it may replace an earlier heat map of this program only.
pub(crate) fn check_heat_map(path: &Path) -> Result<(), String> {
    if path.is_file() && !render::is_heat_map(path) {
        return Err(format!(
            "{} exists and is no heat map of this program; name another folder, or move it away",
            path.display()
        ));
    }
    Ok(())
}

/// Returns true if a file has the name of one that a model or a run keeps in its folder.
fn is_reserved(path: &Path) -> bool {
    RunFolder::reserved_files(folder_of(path)).iter().any(|reserved| reserved.file_name() == path.file_name())
}

/// Returns true if a file is empty or begins as an exported model does.
#[cfg(feature = "onnx")]
fn is_export(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.is_ok_and(|count| count == 0 || dualad_onnx::is_export(&start))
}

/// Returns true if a file is empty or begins as JSON does.
fn is_json(path: &Path) -> bool {
    let mut first = [0; 1];
    let read = File::open(path).and_then(|mut file| file.read(&mut first));
    read.is_ok_and(|count| count == 0 || matches!(first[0], b'{' | b'['))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns true if two paths lead to the same folder, or are equal.
fn is_same(a: &Path, b: &Path) -> bool {
    a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}
