//! The results of the batches that a query is still working on.
//!
//! `inspect(image)['score'], inspect(image)['error']` calls the function twice for each batch: DataFusion moves the access to a field
//! into the scan, and copies the call. The images are inspected once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::arrow::array::{Array, ArrayRef, StructArray};

/// The results of batches that are still in memory. It keeps no images.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    function: &'static str,
    /// The arrays of the images and of the categories.
    arguments: Vec<Weak<dyn Array>>,
    result: Arc<StructArray>,
}

impl Entry {
    /// Returns whether all arrays are still in memory: only then is no other array at their addresses.
    fn is_alive(&self) -> bool {
        self.arguments.iter().all(|argument| argument.strong_count() > 0)
    }

    fn is_of(&self, function: &str, arguments: &[ArrayRef]) -> bool {
        let is_same =
            |(one, other): (&Weak<dyn Array>, &ArrayRef)| one.upgrade().is_some_and(|one| Arc::ptr_eq(&one, other));
        self.function == function
            && self.arguments.len() == arguments.len()
            && self.arguments.iter().zip(arguments).all(is_same)
    }
}

impl Recent {
    /// Returns the result of a function for these arrays, if it is known.
    pub(crate) fn get(&self, function: &str, arguments: &[ArrayRef]) -> Option<Arc<StructArray>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(Entry::is_alive);
        entries.iter().find(|entry| entry.is_of(function, arguments)).map(|entry| entry.result.clone())
    }

    /// Keeps the result of a function for these arrays as long as they are in memory.
    pub(crate) fn keep(&self, function: &'static str, arguments: &[ArrayRef], result: &Arc<StructArray>) {
        let arguments = arguments.iter().map(Arc::downgrade).collect();
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(Entry::is_alive);
        entries.push(Entry { function, arguments, result: result.clone() });
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{BinaryArray, Float32Array};
    use datafusion::arrow::datatypes::{DataType, Field, Fields};

    use super::*;

    #[test]
    fn results_are_known_for_the_same_arrays_while_they_are_in_memory() {
        let images = || Arc::new(BinaryArray::from(vec![b"x".as_slice()])) as ArrayRef;
        let fields = Fields::from(vec![Field::new("score", DataType::Float32, true)]);
        let score = Arc::new(Float32Array::from(vec![1.0])) as ArrayRef;
        let result = Arc::new(StructArray::try_new(fields, vec![score], None).unwrap());
        let (recent, one, other) = (Recent::default(), images(), images());
        recent.keep("inspect", &[one.clone()], &result);
        assert!(recent.get("inspect", &[one.clone()]).is_some());
        for (function, arguments) in [
            ("inspect", vec![other.clone()]),
            ("anomaly_map", vec![one.clone()]),
            ("inspect", vec![one.clone(), other]),
        ] {
            assert!(recent.get(function, &arguments).is_none());
        }
        drop(one);
        assert!(recent.get("inspect", &[images()]).is_none());
        assert!(recent.0.lock().unwrap().is_empty());
    }
}
