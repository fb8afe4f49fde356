//! The columns of Parquet files.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::datasource::physical_plan::parquet::Int96Coercer;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;

/// Returns the columns of a file. Spark's times of 96 bits have the range of years that microseconds have, and not that of nanoseconds.
pub(crate) fn of(reader: &ArrowReaderMetadata) -> SchemaRef {
    let coerced = Int96Coercer::new(reader.parquet_schema(), reader.schema(), &TimeUnit::Microsecond).coerce();
    coerced.map_or_else(|| reader.schema().clone(), Arc::new)
}

/// Returns the schema of the rows of two files, or `None` if their columns differ. A column may have NULL in one of them only, and what
/// programs note beside the columns may differ, such as the number of rows.
pub(crate) fn joined(one: &SchemaRef, other: &SchemaRef) -> Option<SchemaRef> {
    let are_alike =
        |(one, other): (&FieldRef, &FieldRef)| (one.name(), one.data_type()) == (other.name(), other.data_type());
    if one.fields().len() != other.fields().len() || !one.fields().iter().zip(other.fields()).all(are_alike) {
        return None;
    }
    let fields = one.fields().iter().zip(other.fields()).map(|(one, other)| {
        let field = Field::clone(one).with_nullable(one.is_nullable() || other.is_nullable());
        Arc::new(field)
    });
    Some(Arc::new(Schema::new_with_metadata(fields.collect::<Fields>(), one.metadata().clone())))
}

/// Returns the first name that two columns have.
pub(crate) fn twice(schema: &Schema) -> Option<&str> {
    let mut known = HashSet::new();
    schema.fields().iter().map(|field| field.name().as_str()).find(|name| !known.insert(*name))
}

/// Returns whether a column can have the content of image files.
pub(crate) fn is_image(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, value) => is_image(value),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => true,
        _ => false,
    }
}

pub(crate) fn is_text(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, value) => is_text(value),
        found => matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    }
}

/// Returns a way out for a column of text, and for one that has images in a field, as the data sets of Hugging Face have.
pub(crate) fn advice(name: &str, found: &DataType) -> String {
    match found {
        DataType::Struct(fields) => match fields.iter().find(|field| is_image(field.data_type())) {
            Some(field) => {
                format!(
                    "; its field {field} has that: --sql \"SELECT *, inspect({name}['{field}']) FROM images\"",
                    field = field.name()
                )
            }
            None => String::new(),
        },
        found if is_text(found) => {
            "; if these are paths, query their folder: --sql \"SELECT path, inspect(image) FROM images('FOLDER')\""
                .into()
        }
        _ => String::new(),
    }
}
