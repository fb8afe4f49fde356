//! The folder of a training run.

use std::path::{Path, PathBuf};

use dualad_store::{FolderLock, is_unfinished, rename};

use crate::error::{Error, Result};
use crate::model::{ModelFiles, check_occupied};

const CHECKPOINT: &str = "checkpoint.safetensors";
const LOG: &str = "train.jsonl";
const LOCK: &str = ".lock";
const REPORT_JSON: &str = "report.json";
const REPORT_HTML: &str = "report.html";
const HEAT_MAPS: &str = "heatmaps";

/// The folder of a training run: a model's folder that also holds the run's checkpoint, log and report. One process at a time
/// has it.
///
/// ```
/// use dualad::fit::RunFolder;
///
/// let path = std::env::temp_dir().join(format!("dualad-doc-run-{}", std::process::id()));
/// let folder = RunFolder::take(&path)?;
/// assert_eq!(folder.checkpoint(), path.join("checkpoint.safetensors"));
/// assert!(RunFolder::take(&path).is_err());
/// // Where nothing was written, nothing is left.
/// drop(folder);
/// assert!(!path.exists());
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: FolderLock,
}

impl RunFolder {
    /// Takes the folder for this process, creates it if it does not exist, and completes or removes what a killed process left.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it, [`Error::Occupied`] if a file of something else would be replaced, [`Error::Io`] if
    /// it cannot be created or written to.
    pub fn take(folder: impl Into<PathBuf>) -> Result<Self> {
        let path = folder.into();
        // Before hours of training, and before the folder is touched.
        check_occupied(&path)?;
        let lock = FolderLock::take(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint file of the run.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    /// The checkpoint file of an earlier run.
    pub fn previous_checkpoint(&self) -> PathBuf {
        previous(&self.checkpoint())
    }

    /// The log file of the run.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The folder of heat maps: a folder for each category.
    pub fn heat_maps(&self) -> PathBuf {
        self.path.join(HEAT_MAPS)
    }

    /// The files that a run writes into a folder, which other output must not replace. `report.json` is not among them.
    pub fn reserved_files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
        let folder = folder.as_ref();
        let mut files = ModelFiles::of(folder).all();
        files.extend([CHECKPOINT, LOG].map(|name| previous(&folder.join(name))));
        files.extend([CHECKPOINT, LOG, REPORT_HTML, LOCK].map(|name| folder.join(name)));
        files
    }

    /// Removes the report and the heat maps of an earlier model. Other files stay.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be removed.
    pub fn remove_results(&self) -> Result<()> {
        for name in [REPORT_JSON, REPORT_HTML] {
            remove(&self.path.join(name))?;
        }
        let Ok(categories) = std::fs::read_dir(self.heat_maps()) else { return Ok(()) };
        for category in categories.flatten() {
            for file in std::fs::read_dir(category.path()).into_iter().flatten().flatten() {
                let name = file.file_name();
                if name.to_string_lossy().ends_with(".png") || is_unfinished(&name) {
                    remove(&file.path())?;
                }
            }
            // A folder with other files stays.
            let _ = std::fs::remove_dir(category.path());
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { action: "remove", path: path.into(), error })
        }
        _ => Ok(()),
    }
}

/// Renames the files of an earlier run to `NAME.previous.EXTENSION`, if its checkpoint exists.
pub(super) fn set_aside(checkpoint: &Path, log: Option<&Path>) -> Result<()> {
    if !checkpoint.exists() {
        return Ok(());
    }
    for path in [Some(checkpoint), log].into_iter().flatten().filter(|path| path.exists()) {
        rename(path, &previous(path)).map_err(|error| Error::Io { action: "rename", path: path.into(), error })?;
    }
    Ok(())
}

/// Returns the name under which an earlier run's file is kept.
pub(super) fn previous(path: &Path) -> PathBuf {
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}.previous{extension}"))
}
