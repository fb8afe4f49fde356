//! A unit of work: row groups of one file.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::object_store::path::Path;
use datafusion::physical_plan::ExecutionPlan;

use crate::input::InputFile;

/// Row groups of one file, which are scored together and written to one part.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) file: usize,
    /// The numbers of the row groups.
    pub(crate) groups: std::ops::Range<usize>,
    pub(crate) rows: u64,
}

/// Cuts files into units of at most this many row groups.
pub(crate) fn units(files: &[InputFile], most: usize) -> Vec<Unit> {
    let mut units = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let mut start = 0;
        for groups in file.groups.chunks(most.max(1)) {
            let rows = groups.iter().map(|group| group.rows).sum();
            units.push(Unit { file: number, groups: start..start + groups.len(), rows });
            start += groups.len();
        }
    }
    units
}

/// A unit as a table: a partition for each row group.
#[derive(Debug)]
pub(crate) struct UnitTable {
    schema: SchemaRef,
    groups: Vec<FileGroup>,
}

impl UnitTable {
    pub(crate) fn new(schema: SchemaRef, input: &InputFile, unit: &Unit) -> Result<Self> {
        let path = Path::from_absolute_path(&input.path).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let groups = input.groups.get(unit.groups.clone()).unwrap_or_default().iter().map(|group| {
            // The engine reads the row groups whose first page begins in the range: this one.
            let mut file = PartitionedFile::new("", input.size).with_range(group.offset, group.offset + 1);
            // As it is: `new` would encode the special characters of a name once more.
            file.object_meta.location = path.clone();
            FileGroup::new(vec![file])
        });
        Ok(Self { schema, groups: groups.collect() })
    }
}

/// Returns the options to read files with the columns of [`crate::columns::of`].
pub(crate) fn options() -> TableParquetOptions {
    let mut options = TableParquetOptions::default();
    options.global.coerce_int96 = Some("us".into());
    options.global.schema_force_view_types = false;
    options
}

#[async_trait::async_trait]
impl TableProvider for UnitTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = Arc::new(ParquetSource::new(self.schema.clone()).with_table_parquet_options(options()));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(self.groups.clone())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit);
        Ok(DataSourceExec::from_data_source(config.build()))
    }
}
