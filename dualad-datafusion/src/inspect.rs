//! The function `inspect`: the score, the decision and the regions of images.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, Float32Array, Float64Array, ListArray, NullBufferBuilder, StringBuilder, StructArray, UInt32Array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::Result;
use dualad::detector::{Inspection, OriginalRegion};

use crate::function::Rows;

/// The rows of `inspect`.
#[derive(Default)]
pub(crate) struct Inspections {
    present: Present,
    scores: Vec<Option<f32>>,
    decisions: StringBuilder,
    thresholds: Vec<Option<f32>>,
    /// The number of regions of each row.
    lengths: Vec<usize>,
    regions: Vec<OriginalRegion>,
    errors: StringBuilder,
}

/// The rows that are not NULL.
pub(crate) struct Present(NullBufferBuilder);

impl Default for Present {
    fn default() -> Self {
        Self(NullBufferBuilder::new(0))
    }
}

impl Present {
    pub(crate) fn push(&mut self, present: bool) {
        self.0.append(present);
    }

    /// Returns the columns as one array of these fields.
    pub(crate) fn finish(mut self, fields: Fields, columns: Vec<ArrayRef>) -> Result<StructArray> {
        Ok(StructArray::try_new(fields, columns, self.0.finish())?)
    }
}

fn region_fields() -> Fields {
    let field = |name: &str, data_type| Field::new(name, data_type, false);
    Fields::from(vec![
        field("x", DataType::UInt32),
        field("y", DataType::UInt32),
        field("width", DataType::UInt32),
        field("height", DataType::UInt32),
        field("area", DataType::Float64),
        field("peak", DataType::Float32),
    ])
}

fn region_item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(region_fields()), false))
}

impl Rows for Inspections {
    const NAME: &'static str = "inspect";

    fn with_capacity(rows: usize) -> Self {
        Self { scores: Vec::with_capacity(rows), thresholds: Vec::with_capacity(rows), ..Self::default() }
    }

    fn fields() -> Fields {
        Fields::from(vec![
            Field::new("score", DataType::Float32, true),
            Field::new("decision", DataType::Utf8, true),
            Field::new("threshold", DataType::Float32, true),
            Field::new("regions", DataType::List(region_item()), true),
            Field::new("error", DataType::Utf8, true),
        ])
    }

    fn push(&mut self, found: Option<std::result::Result<Inspection, String>>) {
        self.present.push(found.is_some());
        let (inspection, error) = match found {
            Some(Ok(inspection)) => (Some(inspection), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let verdict = inspection.as_ref().and_then(|inspection| inspection.verdict.as_ref());
        self.scores.push(inspection.as_ref().map(|inspection| inspection.image_score));
        self.decisions.append_option(verdict.map(|verdict| verdict.decision.to_string()));
        self.thresholds.push(verdict.map(|verdict| verdict.reject));
        self.errors.append_option(error);
        let regions = inspection.map(|inspection| inspection.regions).unwrap_or_default();
        self.lengths.push(regions.len());
        self.regions.extend(regions);
    }

    fn finish(mut self) -> Result<StructArray> {
        let side = |of: fn(&OriginalRegion) -> u32| -> ArrayRef {
            Arc::new(self.regions.iter().map(of).collect::<UInt32Array>())
        };
        let columns = vec![
            side(|region| region.bounds.x),
            side(|region| region.bounds.y),
            side(|region| region.bounds.width),
            side(|region| region.bounds.height),
            Arc::new(self.regions.iter().map(|region| region.area).collect::<Float64Array>()) as ArrayRef,
            Arc::new(self.regions.iter().map(|region| region.peak).collect::<Float32Array>()),
        ];
        let regions = StructArray::try_new(region_fields(), columns, None)?;
        let scores = Float32Array::from(self.scores);
        // A row without a score has no list, a row with one an empty list at least.
        let present = scores.nulls().cloned();
        let regions =
            ListArray::try_new(region_item(), OffsetBuffer::from_lengths(self.lengths), Arc::new(regions), present)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(scores),
            Arc::new(self.decisions.finish()),
            Arc::new(Float32Array::from(self.thresholds)),
            Arc::new(regions),
            Arc::new(self.errors.finish()),
        ];
        self.present.finish(Self::fields(), columns)
    }
}
