//! A run over all rows of the input, in parts that survive an interruption.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::exec_datafusion_err;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::prelude::{DataFrame, SessionContext, ident};
use dualad::store::{FolderLock, is_unfinished};
use futures::TryStreamExt;

use crate::args::ScoreArgs;
use crate::channels::Channels;
use crate::cluster;
use crate::columns::{is_image, is_text};
use crate::error::{Error, Result};
use crate::input::Input;
use crate::manifest::Manifest;
use crate::output::{Output, finished, join, part};
use crate::progress::{Progress, note};
use crate::queue::{Job, Place, Queue};
use crate::session;
use crate::unit::{Unit, UnitTable, units};

/// The columns that the program adds.
const NEW: [&str; 5] = ["score", "decision", "threshold", "regions", "error"];

/// A run, shared by its parts.
pub(crate) struct Run {
    columns: Columns,
    input: Input,
    folder: PathBuf,
    progress: Progress,
}

/// The columns that are read, passed through and added.
struct Columns {
    image: String,
    category: Option<String>,
    keep_images: bool,
    prefix: String,
}

/// Scores all rows of the input.
pub(crate) async fn run(args: &ScoreArgs) -> Result<()> {
    let output = args.output()?;
    let input = Input::open(&args.input)?;
    input.check_column(
        "--image",
        &args.image,
        "the content of image files: Binary, LargeBinary, BinaryView or FixedSizeBinary",
        is_image,
    )?;
    if let Some(category) = &args.category {
        input.check_column("--category", category, "text", is_text)?;
    }
    check_names(args, &input)?;
    input.check_output(&output)?;
    let inspector = args.model.inspector()?;
    let (threads, batch) = (args.model.threads(), args.batch);
    let local = session::local(&inspector, 1, batch);
    let (groups_per_part, places) = if args.workers.is_empty() {
        (1, vec![Place { context: local.clone(), worker: None }; threads])
    } else {
        let workers = cluster::find(&args.workers, inspector.digest()).await?;
        let channels = Channels::new(args.patience());
        let mut places = Vec::new();
        for url in workers.0 {
            let context = session::on_worker(&inspector, &url, channels.clone(), threads, batch)?;
            // Two at a time, so that its threads have work when one of them ends.
            places.extend(vec![Place { context, worker: Some(url) }; 2]);
        }
        (threads, places)
    };
    let manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").into(),
        model: inspector.digest().into(),
        image: args.image.clone(),
        category: args.category.clone(),
        keep_images: args.keep_images,
        prefix: args.prefix.clone(),
        groups_per_part,
        files: input.files.clone(),
    };
    let (folder, lock) = begin(args, &output, &manifest)?;
    let units = units(&input.files, groups_per_part);
    let errors = format!("{}error", args.prefix);
    let mut left = Vec::new();
    let (mut before, mut failed) = (0, 0);
    for (number, unit) in units.iter().enumerate() {
        match finished(&part(&folder, number), &errors) {
            Some((rows, with_errors)) if rows == unit.rows => {
                before += rows;
                failed += with_errors;
            }
            _ => left.push(Job::new(number, unit.clone())),
        }
    }
    if before > 0 {
        note(&format!("{before} images are done; {} are left", input.rows() - before));
    }
    let progress = Progress::new(input.rows(), before);
    progress.add(0, failed);
    let columns = Columns {
        image: args.image.clone(),
        category: args.category.clone(),
        keep_images: args.keep_images,
        prefix: args.prefix.clone(),
    };
    let run = Arc::new(Run { columns, input, folder: folder.clone(), progress });
    let schema = run.schema(&local).await?;
    Queue::new(left, places, inspector.digest()).run(&run).await?;
    run.progress.finish();
    join(&output, schema, &folder, units.len())?;
    remove_parts(&folder)?;
    // Before the folder is removed: Windows removes no locked file.
    drop(lock);
    match std::fs::remove_dir_all(&folder) {
        // The lock removes the folder that it has made.
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(folder, error)),
        _ => Ok(()),
    }
}

impl Run {
    /// Returns the query of a unit.
    fn query(&self, context: &SessionContext, unit: &Unit) -> Result<DataFrame> {
        let file = self.input.files.get(unit.file).ok_or_else(|| Error::message("a part of no file"))?;
        let table = UnitTable::new(self.input.schema.clone(), file, unit)?;
        let frame = context.read_table(Arc::new(table))?;
        let inspect = context.state().scalar_functions().get("inspect").cloned();
        let inspect = inspect.ok_or_else(|| Error::message("the function inspect is missing"))?;
        let mut given = vec![ident(&self.columns.image)];
        given.extend(self.columns.category.as_ref().map(ident));
        let found = inspect.call(given);
        let passed = self.input.schema.fields().iter().map(|field| field.name());
        let passed = passed.filter(|name| self.columns.keep_images || **name != self.columns.image).map(ident);
        let new = NEW.map(|name| found.clone().field(name).alias(format!("{}{name}", self.columns.prefix)));
        Ok(frame.select(passed.chain(new).collect::<Vec<_>>())?)
    }

    async fn schema(&self, context: &SessionContext) -> Result<SchemaRef> {
        let first = Unit { file: 0, groups: 0..1, rows: 0 };
        Ok(self.query(context, &first)?.create_physical_plan().await?.schema())
    }

    /// Scores a unit and writes its part.
    pub(crate) async fn unit(&self, place: &Place, number: usize, unit: &Unit) -> Result<()> {
        let file = self.input.files.get(unit.file).ok_or_else(|| Error::message("a part of no file"))?;
        file.check_unchanged()?;
        let failed_at = |error| {
            let last = unit.groups.end.saturating_sub(1);
            let (path, first) = (file.path.display(), unit.groups.start);
            let mut place_name = match unit.groups.len() {
                1 => format!("{path}, row group {first}"),
                _ => format!("{path}, row groups {first} to {last}"),
            };
            if let Some(worker) = &place.worker {
                place_name += &format!(", on the worker {}", worker.authority());
            }
            Error::Part { place: place_name, error }
        };
        let mut rows = self.query(&place.context, unit)?.execute_stream().await.map_err(failed_at)?;
        let mut output = Output::create(&part(&self.folder, number), rows.schema())?;
        let (mut written, mut shown, mut failed) = (0, 0, 0);
        while let Some(batch) = rows.try_next().await.map_err(failed_at)? {
            output.write(&batch)?;
            let images = batch.num_rows() as u64;
            let errors = batch.columns().last().map_or(0, |errors| images - errors.null_count() as u64);
            written += images;
            failed += errors;
            // Those of a worker that ends are scored again: they count when the part is complete.
            if place.worker.is_none() {
                self.progress.add(images, errors);
                (shown, failed) = (written, 0);
            }
        }
        if written != unit.rows {
            let expected = unit.rows;
            return Err(failed_at(exec_datafusion_err!(
                "it gave {written} rows where {expected} were expected; has the file changed?"
            )));
        }
        file.check_unchanged()?;
        output.finish()?;
        self.progress.add(written - shown, failed);
        Ok(())
    }
}

/// Prepares the folder of parts, and locks it for this run.
fn begin(args: &ScoreArgs, output: &Path, manifest: &Manifest) -> Result<(PathBuf, FolderLock)> {
    let folder = Manifest::folder(output);
    if output.exists() && !args.overwrite {
        return Err(Error::file(output, "it is there; --overwrite replaces it"));
    }
    let earlier = if folder.is_dir() { Manifest::read(&folder) } else { Ok(None) };
    if matches!(earlier, Ok(None)) && folder.exists() && (!folder.is_dir() || has_files(&folder)?) {
        return Err(Error::file(folder, "it is no folder of parts; name another --output"));
    }
    let lock = FolderLock::take(&folder).map_err(|error| match error {
        dualad::store::Error::Busy { folder } => Error::file(folder, "another run is writing there; wait for its end"),
        error => Error::file(&folder, error),
    })?;
    match earlier.map(|earlier| earlier.map(|earlier| manifest.difference(&earlier))) {
        Ok(Some(None)) if args.resume => return Ok((folder, lock)),
        _ if args.overwrite => {}
        Err(error) => return Err(error),
        Ok(None) if args.resume => note("there is no unfinished run to go on with: all images will be scored"),
        Ok(None) => {}
        Ok(Some(None)) => {
            return Err(Error::file(folder, "an unfinished run is there; --resume goes on, --overwrite begins anew"));
        }
        Ok(Some(Some(what))) => {
            return Err(Error::file(
                folder,
                format!("an unfinished run is there, with {what}; --overwrite begins anew, without its finished parts"),
            ));
        }
    }
    remove_parts(&folder)?;
    manifest.write(&folder)?;
    Ok((folder, lock))
}

/// Removes the parts of a run, and its record at last: a folder with parts and without a record is not ours.
fn remove_parts(folder: &Path) -> Result<()> {
    let mut files = files(folder)?;
    files.sort_by_key(|file| Manifest::is_record(file));
    for file in files {
        std::fs::remove_file(&file).map_err(|error| Error::file(file, error))?;
    }
    Ok(())
}

/// Returns the files of a folder of parts, but for that of the lock and unfinished ones, which the lock removes.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
    let entries = entries.map_err(|error| Error::file(folder, error))?;
    let is_part = |name: &OsStr| name != ".lock" && !is_unfinished(name);
    Ok(entries.into_iter().filter(|entry| is_part(&entry.file_name())).map(|entry| entry.path()).collect())
}

fn has_files(folder: &Path) -> Result<bool> {
    Ok(!files(folder)?.is_empty())
}

/// Refuses an input that has a column of a new column's name.
fn check_names(args: &ScoreArgs, input: &Input) -> Result<()> {
    for name in NEW.map(|name| format!("{}{name}", args.prefix)) {
        if input.schema.field_with_name(&name).is_ok() {
            let text =
                format!("the input has a column {name}; give the new columns other names, such as --prefix dualad_");
            return Err(Error::message(text));
        }
    }
    Ok(())
}
