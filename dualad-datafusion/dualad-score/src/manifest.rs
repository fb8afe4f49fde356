//! The record of an unfinished run: its model, columns and files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::input::InputFile;

/// The model, the columns and the files of a run. Parts of another run are not mixed with its parts.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The version of the program.
    pub(crate) version: String,
    /// The digest of the model.
    pub(crate) model: String,
    pub(crate) image: String,
    pub(crate) category: Option<String>,
    pub(crate) keep_images: bool,
    pub(crate) prefix: String,
    /// The number of row groups in a part.
    pub(crate) groups_per_part: usize,
    pub(crate) files: Vec<InputFile>,
}

const NAME: &str = "run.json";

/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

impl Manifest {
    /// Returns the folder of an output's parts.
    pub(crate) fn folder(output: &Path) -> PathBuf {
        let mut name = output.file_name().unwrap_or_default().to_os_string();
        name.push(".parts");
        output.with_file_name(name)
    }

    /// Returns whether a file has the name of the record.
    pub(crate) fn is_record(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == NAME)
    }

    /// Reads the record of an unfinished run, if there is one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(metadata) if metadata.len() <= MAX_BYTES => {}
            Ok(_) => return Err(Error::file(path, "it is not the record of a run; remove the folder")),
            Err(error) => return Err(Error::file(path, error)),
        }
        let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
        let read = serde_json::from_slice(&bytes);
        read.map(Some)
            .map_err(|error| Error::file(path, format!("it is not the record of a run ({error}); use --overwrite")))
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(NAME);
        let json = serde_json::to_vec(self).map_err(|error| Error::file(&path, error))?;
        dualad::store::write_atomically(&path, &json).map_err(|error| Error::file(path, error))
    }

    /// Returns what differs from an earlier run, for a message.
    pub(crate) fn difference(&self, earlier: &Self) -> Option<&'static str> {
        let differs = [
            (self.version != earlier.version, "another version of the program"),
            (self.model != earlier.model, "another model"),
            (self.files != earlier.files, "other or changed input files"),
            (
                self.groups_per_part != earlier.groups_per_part,
                "parts of another size (--workers and --threads make it)",
            ),
            (self != earlier, "other columns"),
        ];
        differs.into_iter().find_map(|(differs, what)| differs.then_some(what))
    }
}
