//! Parts of the output, and the output that they are joined to.

use std::path::{Path, PathBuf};

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use dualad::store::{AtomicFile, open_file};

use crate::error::{Error, Result};

/// A Parquet file that appears when it is complete.
pub(crate) struct Output {
    path: PathBuf,
    writer: ArrowWriter<AtomicFile>,
}

impl Output {
    pub(crate) fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        Self::new(path, AtomicFile::create(path), schema)
    }

    fn new(path: &Path, file: std::io::Result<AtomicFile>, schema: SchemaRef) -> Result<Self> {
        let wrong = |error: &dyn std::fmt::Display| Error::file(path, format!("cannot be written: {error}"));
        let file = file.map_err(|error| wrong(&error))?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|error| wrong(&error))?;
        Ok(Self { path: path.into(), writer })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self.writer.write(batch);
        written.map_err(|error| Error::file(&self.path, format!("cannot be written: {error}")))
    }

    /// Ends a row group.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let flushed = self.writer.flush();
        flushed.map_err(|error| Error::file(&self.path, format!("cannot be written: {error}")))
    }

    pub(crate) fn finish(self) -> Result<()> {
        let Self { path, writer } = self;
        let wrong = |error: &dyn std::fmt::Display| Error::file(&path, format!("cannot be written: {error}"));
        let file = writer.into_inner().map_err(|error| wrong(&error))?;
        file.commit().map_err(|error| wrong(&error))
    }
}

/// Returns the file of a part.
pub(crate) fn part(folder: &Path, unit: usize) -> PathBuf {
    folder.join(format!("{unit:08}.parquet"))
}

/// Returns the number of rows of a part and of those with an error, or `None` if it is not there or cannot be read.
pub(crate) fn finished(path: &Path, errors: &str) -> Option<(u64, u64)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(open_file(path).ok()?).ok()?;
    let rows = u64::try_from(reader.metadata().file_metadata().num_rows()).ok()?;
    let column = reader.schema().index_of(errors).ok()?;
    let mask = datafusion::parquet::arrow::ProjectionMask::roots(reader.parquet_schema(), [column]);
    let mut failed = 0;
    for batch in reader.with_projection(mask).build().ok()? {
        let batch = batch.ok()?;
        failed += (batch.num_rows() - batch.column(0).null_count()) as u64;
    }
    Some((rows, failed))
}

/// Joins the parts of a folder to the output, a row group for each.
pub(crate) fn join(output: &Path, schema: SchemaRef, folder: &Path, parts: usize) -> Result<()> {
    // Unfinished, it lies among the parts: the next run removes it there.
    let mut joined = Output::new(output, AtomicFile::create_in(folder, output), schema)?;
    for part in (0..parts).map(|number| part(folder, number)) {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::file(&part, format!("cannot be read: {error}; remove it, and go on with --resume"))
        };
        let file = open_file(&part).map_err(|error| wrong(&error))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(&error))?;
        for batch in reader.with_batch_size(1024).build().map_err(|error| wrong(&error))? {
            joined.write(&batch.map_err(|error| wrong(&error))?)?;
        }
        joined.flush()?;
    }
    joined.finish()
}
