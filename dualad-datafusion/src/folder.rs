//! The table function `images`: the image files of a folder.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMillisecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use dualad::data::image::Limits;
use dualad::data::{is_image_name, is_other_image_name};
use dualad::store::open_file;

/// The bytes of images from which on a batch is complete.
const BATCH_BYTES: usize = 16 << 20;

/// The largest number of folders within folders.
const DEPTH: usize = 32;

/// The table function `images('FOLDER')`.
#[derive(Debug)]
pub(crate) struct ImagesFunction;

/// The image files of a folder and its folders, in the order of their paths.
#[derive(Debug)]
struct ImageTable {
    schema: SchemaRef,
    files: Arc<Vec<PathBuf>>,
}

impl TableFunctionImpl for ImagesFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let [Expr::Literal(ScalarValue::Utf8(Some(folder)) | ScalarValue::Utf8View(Some(folder)), _)] = args.exprs()
        else {
            return plan_err!("images takes the path of a folder as text, such as images('parts')");
        };
        let mut files = Vec::new();
        walk(Path::new(folder), 0, &mut files)?;
        files.sort();
        let schema = Schema::new(vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("size", DataType::Int64, true),
            Field::new("modified", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new("image", DataType::Binary, true),
            Field::new("error", DataType::Utf8, true),
        ]);
        Ok(Arc::new(ImageTable { schema: Arc::new(schema), files: Arc::new(files) }))
    }
}

/// Adds the image files of a folder. Hidden files and folders are left out.
fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let wrong = |error: std::io::Error| exec_datafusion_err!("cannot read the folder {}: {error}", folder.display());
    if depth > DEPTH {
        return Err(exec_datafusion_err!(
            "{} lies more than {DEPTH} folders down; name a folder further down",
            folder.display()
        ));
    }
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with('.')) {
            continue;
        }
        // A link to a folder is not followed: it may lead back.
        let is_link = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
        if path.is_dir() {
            if !is_link {
                walk(&path, depth + 1, files)?;
            }
        } else if is_image_name(&path) || is_other_image_name(&path) {
            files.push(path);
        }
    }
    Ok(())
}

#[async_trait::async_trait]
impl TableProvider for ImageTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let rows = limit.unwrap_or(usize::MAX).min(self.files.len());
        let partitions = state.config().target_partitions().clamp(1, rows.max(1));
        let part = rows.div_ceil(partitions).max(1);
        let streams = (0..partitions).map(|index| {
            let range = (index * part).min(rows)..((index + 1) * part).min(rows);
            Arc::new(Part { schema: schema.clone(), files: self.files.clone(), range }) as Arc<dyn PartitionStream>
        });
        Ok(Arc::new(StreamingTableExec::try_new(schema.clone(), streams.collect(), None, [], false, limit)?))
    }
}

/// A part of the files, read when the query asks for it.
#[derive(Debug)]
struct Part {
    schema: SchemaRef,
    files: Arc<Vec<PathBuf>>,
    range: std::ops::Range<usize>,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, files, mut range) = (self.schema.clone(), self.files.clone(), self.range.clone());
        let most = context.session_config().batch_size().max(1);
        let batches = std::iter::from_fn(move || (!range.is_empty()).then(|| batch(&schema, &files, &mut range, most)));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

/// Reads files into a batch until it has enough rows or bytes. Only columns of the schema are read.
fn batch(
    schema: &SchemaRef,
    files: &[PathBuf],
    range: &mut std::ops::Range<usize>,
    most: usize,
) -> Result<RecordBatch> {
    let has = |name: &str| schema.column_with_name(name).is_some();
    let (reads, asks) = (has("image") || has("error"), has("size") || has("modified"));
    let mut path = StringBuilder::new();
    let mut size = Int64Builder::new();
    let mut modified = TimestampMillisecondBuilder::new();
    let mut image = BinaryBuilder::new();
    let mut error = StringBuilder::new();
    let (mut rows, mut bytes) = (0, 0);
    while rows < most && bytes < BATCH_BYTES {
        let Some(file) = range.next().and_then(|index| files.get(index)) else { break };
        rows += 1;
        path.append_value(file.to_string_lossy());
        let metadata = asks.then(|| std::fs::metadata(file).ok()).flatten();
        size.append_option(metadata.as_ref().and_then(|metadata| i64::try_from(metadata.len()).ok()));
        let since = metadata.and_then(|metadata| metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        modified.append_option(since.and_then(|since| i64::try_from(since.as_millis()).ok()));
        match reads.then(|| read(file)) {
            Some(Ok(content)) => {
                bytes += content.len();
                image.append_value(content);
                error.append_null();
            }
            Some(Err(reason)) => {
                image.append_null();
                error.append_value(format!("cannot read {}: {reason}", file.display()));
            }
            None => {
                image.append_null();
                error.append_null();
            }
        }
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("path", Arc::new(path.finish())),
        ("size", Arc::new(size.finish())),
        ("modified", Arc::new(modified.finish())),
        ("image", Arc::new(image.finish())),
        ("error", Arc::new(error.finish())),
    ];
    let columns = schema
        .fields()
        .iter()
        .filter_map(|field| columns.iter().find(|(name, _)| name == field.name()).map(|(_, column)| column.clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &options).map_err(DataFusionError::from)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let most = Limits::default().file_bytes;
    let mut content = Vec::new();
    open_file(path)?.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        let reason = format!("it has more than {most} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
    }
    Ok(content)
}
