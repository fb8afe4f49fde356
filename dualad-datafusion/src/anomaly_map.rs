//! The function `anomaly_map`: the maps of images in half precision.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Float16Array, Int32Array, ListArray, StringBuilder, StructArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::Result;
use dualad::detector::Inspection;
use half::f16;

use crate::function::Rows;
use crate::inspect::Present;

/// The rows of `anomaly_map`.
#[derive(Default)]
pub(crate) struct Maps {
    present: Present,
    heights: Vec<Option<i32>>,
    widths: Vec<Option<i32>>,
    lengths: Vec<usize>,
    values: Vec<f16>,
    errors: StringBuilder,
}

fn value() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float16, false))
}

impl Rows for Maps {
    const NAME: &'static str = "anomaly_map";

    fn with_capacity(rows: usize) -> Self {
        Self { heights: Vec::with_capacity(rows), widths: Vec::with_capacity(rows), ..Self::default() }
    }

    fn fields() -> Fields {
        Fields::from(vec![
            Field::new("height", DataType::Int32, true),
            Field::new("width", DataType::Int32, true),
            Field::new("values", DataType::List(value()), true),
            Field::new("error", DataType::Utf8, true),
        ])
    }

    fn push(&mut self, found: Option<std::result::Result<Inspection, String>>) {
        self.present.push(found.is_some());
        let (map, error) = match found {
            Some(Ok(inspection)) => (Some(inspection.anomaly_map), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let side = |side: usize| i32::try_from(side).ok();
        self.heights.push(map.as_ref().and_then(|map| side(map.height)));
        self.widths.push(map.as_ref().and_then(|map| side(map.width)));
        self.errors.append_option(error);
        let values = map.map(|map| map.values).unwrap_or_default();
        self.lengths.push(values.len());
        self.values.extend(values.into_iter().map(f16::from_f32));
    }

    fn finish(mut self) -> Result<StructArray> {
        let heights = Int32Array::from(self.heights);
        let values = Float16Array::from(self.values);
        // Offsets of a list are of 31 bits.
        if i32::try_from(values.len()).is_err() {
            return datafusion::common::exec_err!(
                "the maps of one batch have {} values, more than a list holds; set datafusion.execution.batch_size to fewer rows",
                values.len()
            );
        }
        let present = heights.nulls().cloned();
        let maps = ListArray::try_new(value(), OffsetBuffer::from_lengths(self.lengths), Arc::new(values), present)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(heights),
            Arc::new(Int32Array::from(self.widths)),
            Arc::new(maps),
            Arc::new(self.errors.finish()),
        ];
        self.present.finish(Self::fields(), columns)
    }
}
