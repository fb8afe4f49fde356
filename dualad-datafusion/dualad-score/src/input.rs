//! The Parquet files of the input and their row groups.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use serde::{Deserialize, Serialize};

use crate::columns;
use crate::error::{Error, Result};
use crate::progress::note;

/// A Parquet file and what tells that it has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InputFile {
    /// The absolute path.
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// Milliseconds since 1970.
    pub(crate) modified: u64,
    pub(crate) groups: Vec<RowGroup>,
}

/// A row group of a file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowGroup {
    pub(crate) rows: u64,
    /// The offset of the first page of the first column, by which the engine finds the group.
    pub(crate) offset: i64,
}

/// All files of the input. They have one schema.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) files: Vec<InputFile>,
    pub(crate) schema: SchemaRef,
}

impl Input {
    /// Reads the metadata of files, and of the Parquet files in folders.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut files = Vec::new();
        let mut first: Option<(PathBuf, SchemaRef)> = None;
        let mut known = HashSet::new();
        for path in listed(paths)? {
            let (file, schema) = open(&path)?;
            if !known.insert(canonical(&path)) {
                return Err(Error::file(path, "the input names it twice; its images would be scored twice"));
            }
            first = Some(match first {
                Some((other, known)) => match columns::joined(&known, &schema) {
                    Some(schema) => (other, schema),
                    None => {
                        let other = other.display();
                        let reason =
                            format!("its columns differ from those of {other}; score them one after the other");
                        return Err(Error::file(path, reason));
                    }
                },
                None => (path, schema),
            });
            files.push(file);
        }
        match first {
            Some((_, schema)) => Ok(Self { files, schema }),
            None => Err(Error::message("the input has no Parquet file; their names end in .parquet")),
        }
    }

    /// Refuses an output that would replace a file of the input.
    pub(crate) fn check_output(&self, output: &Path) -> Result<()> {
        let output_file = canonical(output);
        if self.files.iter().any(|file| canonical(&file.path) == output_file) {
            return Err(Error::file(
                output,
                "it belongs to the input, and its images would be lost; name another --output",
            ));
        }
        Ok(())
    }

    pub(crate) fn rows(&self) -> u64 {
        self.files.iter().flat_map(|file| &file.groups).map(|group| group.rows).sum()
    }

    /// Checks that a column is there and of a type that fits.
    pub(crate) fn check_column(
        &self,
        flag: &str,
        name: &str,
        needed: &str,
        fits: impl Fn(&DataType) -> bool,
    ) -> Result<()> {
        match self.schema.field_with_name(name) {
            Ok(field) if fits(field.data_type()) => Ok(()),
            Ok(field) => {
                let (found, more) = (field.data_type(), columns::advice(name, field.data_type()));
                let text = format!("{flag} {name}: the column is of type {found}, and must have {needed}{more}");
                Err(Error::message(text))
            }
            Err(_) => {
                let names: Vec<&str> =
                    self.schema.fields().iter().take(20).map(|field| field.name().as_str()).collect();
                Err(Error::message(format!("{flag} {name}: there is no such column; there are {}", names.join(", "))))
            }
        }
    }
}

impl InputFile {
    /// Refuses a file that has changed since it was opened.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let found = std::fs::metadata(&self.path).map_err(|error| Error::file(&self.path, error))?;
        if (found.len(), modified(&found)) == (self.size, self.modified) {
            return Ok(());
        }
        Err(Error::file(&self.path, "it has changed since the run began; --overwrite begins anew"))
    }
}

/// Returns the milliseconds since 1970 of the last change.
fn modified(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns a path without links; the path itself if there is no such file.
fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Returns the files, and the Parquet files of the folders, in order.
fn listed(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|error| Error::file(path, error))?;
        let entries = entries.collect::<std::io::Result<Vec<_>>>().map_err(|error| Error::file(path, error))?;
        let found = entries.iter().filter(|entry| !is_hidden(&entry.file_name())).map(std::fs::DirEntry::path);
        let (mut found, others): (Vec<PathBuf>, Vec<PathBuf>) = found.partition(|path| is_parquet(path));
        if let Some(other) = others.iter().min() {
            let (path, count, other) = (path.display(), others.len(), other.display());
            note(&format!("{path}: only its Parquet files are read; {count} others are left out, such as {other}"));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Returns whether a name is that of a file that other programs keep beside the data, such as `._a.parquet` and `_SUCCESS`.
fn is_hidden(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(['.', '_'])
}

fn is_parquet(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

fn open(path: &Path) -> Result<(InputFile, SchemaRef)> {
    let wrong = |error: &dyn std::fmt::Display| Error::file(path, format!("cannot be read as Parquet: {error}"));
    let file = dualad::store::open_file(path).map_err(|error| wrong(&error))?;
    let metadata = file.metadata().map_err(|error| wrong(&error))?;
    let reader = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| wrong(&error))?;
    // An empty group has the offset of the next one.
    let groups = reader.metadata().row_groups().iter().filter(|group| group.num_rows() != 0).map(|group| {
        let first = group.columns().first().ok_or_else(|| wrong(&"it has no columns"))?;
        let offset = first.dictionary_page_offset().unwrap_or_else(|| first.data_page_offset());
        let rows = u64::try_from(group.num_rows()).map_err(|error| wrong(&error))?;
        Ok(RowGroup { rows, offset })
    });
    // The engine takes no "..", and a folder above one that is a link is not found without the disk.
    let is_back = path.components().any(|part| part == Component::ParentDir);
    let place = if is_back { std::fs::canonicalize(path) } else { std::path::absolute(path) };
    let file = InputFile {
        path: place.map_err(|error| wrong(&error))?,
        size: metadata.len(),
        modified: modified(&metadata),
        groups: groups.collect::<Result<_>>()?,
    };
    let schema = columns::of(&reader);
    if let Some(name) = columns::twice(&schema) {
        return Err(Error::file(path, format!("it has two columns {name:?}; give one of them another name")));
    }
    Ok((file, schema))
}
