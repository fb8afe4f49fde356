//! The results of the batches that a query is still working on.
//!
//! `inspect(image)['score'], inspect(image)['error']` calls the function twice for each batch: DataFusion moves the access to a field
//! into the scan, and copies the call. The images are inspected once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::arrow::array::{Array, StructArray};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

/// The results of batches that are still in memory. It keeps no images.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    function: &'static str,
    /// The images and the categories.
    arguments: Vec<Argument>,
    result: Arc<StructArray>,
}

/// An argument of a call.
#[derive(Debug)]
enum Argument {
    Array(Weak<dyn Array>),
    Constant(ScalarValue),
}

impl Argument {
    fn new(value: &ColumnarValue) -> Self {
        match value {
            ColumnarValue::Array(array) => Self::Array(Arc::downgrade(array)),
            ColumnarValue::Scalar(value) => Self::Constant(value.clone()),
        }
    }

    fn is(&self, other: &ColumnarValue) -> bool {
        match (self, other) {
            (Self::Array(one), ColumnarValue::Array(other)) => {
                one.upgrade().is_some_and(|one| Arc::ptr_eq(&one, other))
            }
            (Self::Constant(one), ColumnarValue::Scalar(other)) => one == other,
            _ => false,
        }
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::Array(array) => array.strong_count() > 0,
            Self::Constant(_) => true,
        }
    }
}

impl Entry {
    /// Returns whether all arrays are still in memory: only then is no other array at their addresses.
    fn is_alive(&self) -> bool {
        self.arguments.iter().all(Argument::is_alive)
    }

    fn is_of(&self, function: &str, arguments: &[ColumnarValue]) -> bool {
        self.function == function
            && self.arguments.len() == arguments.len()
            && self.arguments.iter().zip(arguments).all(|(one, other)| one.is(other))
    }
}

impl Recent {
    /// Returns the result of a function for these arguments, if it is known.
    pub(crate) fn get(&self, function: &str, arguments: &[ColumnarValue]) -> Option<Arc<StructArray>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(Entry::is_alive);
        entries.iter().find(|entry| entry.is_of(function, arguments)).map(|entry| entry.result.clone())
    }

    /// Keeps the result of a function for these arguments as long as their arrays are in memory. One is an array at least.
    pub(crate) fn keep(&self, function: &'static str, arguments: &[ColumnarValue], result: &Arc<StructArray>) {
        let arguments = arguments.iter().map(Argument::new).collect();
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(Entry::is_alive);
        entries.push(Entry { function, arguments, result: result.clone() });
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, BinaryArray, Float32Array};
    use datafusion::arrow::datatypes::{DataType, Field, Fields};

    use super::*;

    #[test]
    fn results_are_known_for_the_same_arrays_while_they_are_in_memory() {
        let images = || ColumnarValue::Array(Arc::new(BinaryArray::from(vec![b"x".as_slice()])));
        let constant = |text: &str| ColumnarValue::Scalar(ScalarValue::from(text));
        let fields = Fields::from(vec![Field::new("score", DataType::Float32, true)]);
        let score = Arc::new(Float32Array::from(vec![1.0])) as ArrayRef;
        let result = Arc::new(StructArray::try_new(fields, vec![score], None).unwrap());
        let (recent, one, other) = (Recent::default(), images(), images());
        recent.keep("inspect", std::slice::from_ref(&one), &result);
        assert!(recent.get("inspect", std::slice::from_ref(&one)).is_some());
        for (function, arguments) in [
            ("inspect", vec![other.clone()]),
            ("anomaly_map", vec![one.clone()]),
            ("inspect", vec![one.clone(), other]),
        ] {
            assert!(recent.get(function, &arguments).is_none());
        }
        recent.keep("inspect", &[one.clone(), constant("gear")], &result);
        assert!(recent.get("inspect", &[one.clone(), constant("gear")]).is_some());
        assert!(recent.get("inspect", &[one.clone(), constant("plate")]).is_none());
        drop(one);
        assert!(recent.get("inspect", &[images()]).is_none());
        assert!(recent.0.lock().unwrap().is_empty());
    }
}
