//! The values of a pass and their gradients, as tensors of views.
//!
//! A value of the plan may be written as a whole and read in parts, or the other way round. A view that was not written as such is
//! copied from the views that were.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use crate::engine::plan::View;
use crate::ops::product_into;

/// The values of a pass.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Matrices `[rows, columns of the view]` in contiguous memory.
    views: BTreeMap<View, Tensor>,
}

impl Values {
    /// Stores a view, or replaces it.
    pub(super) fn set(&mut self, view: View, tensor: Tensor) {
        self.views.insert(view, tensor);
    }

    /// Returns a view. Keeps the copy of a view that was not written as such.
    ///
    /// # Errors
    /// candle's error if the view was not written, or the device fails.
    pub(super) fn get(&mut self, view: View) -> Result<Tensor> {
        if let Some(tensor) = self.views.get(&view) {
            return Ok(tensor.clone());
        }
        let around = of_value(&self.views, view.value).find(|(other, _)| contains(**other, view));
        let tensor = match around {
            Some((other, tensor)) => part(*other, tensor, view)?,
            None => {
                let inside: Vec<&Tensor> = of_value(&self.views, view.value)
                    .filter(|(other, _)| contains(view, **other))
                    .map(|(_, t)| t)
                    .collect();
                joined(&inside, view)?
            }
        };
        self.views.insert(view, tensor.clone());
        Ok(tensor)
    }
}

/// The gradients of values, from the last step of the plan to the first.
#[derive(Debug, Default)]
pub(super) struct Gradients {
    views: BTreeMap<View, Gradient>,
}

/// The gradient of a view.
#[derive(Debug)]
struct Gradient {
    tensor: Tensor,
    /// True if no other gradient has the tensor's memory, so that a product may add to it.
    owned: bool,
}

impl Gradients {
    /// Adds a gradient. Other views may have the same tensor.
    pub(super) fn add(&mut self, view: View, tensor: Tensor) -> Result<()> {
        let gradient = match self.views.remove(&view) {
            Some(before) => Gradient { tensor: (before.tensor + tensor)?, owned: true },
            None => Gradient { tensor, owned: false },
        };
        self.views.insert(view, gradient);
        Ok(())
    }

    /// Adds the product of two matrices.
    pub(super) fn add_product(&mut self, view: View, left: &Tensor, right: &Tensor) -> Result<()> {
        if let Some(Gradient { tensor, owned: true }) = self.views.get(&view) {
            return product_into(tensor, left, right, true);
        }
        self.add(view, left.matmul(right)?)?;
        // The product, or the sum with it, is a new tensor.
        if let Some(gradient) = self.views.get_mut(&view) {
            gradient.owned = true;
        }
        Ok(())
    }

    /// Removes and returns the gradient of a view that a step wrote. All steps that read it must have added theirs.
    ///
    /// # Errors
    /// candle's error if no step read the view, or the device fails.
    pub(super) fn take(&mut self, view: View) -> Result<Tensor> {
        Ok(self.gradient(view)?.tensor)
    }

    /// As [`Self::take`]. The tensor shares its memory with no other gradient, so that it may be changed in place.
    pub(super) fn take_owned(&mut self, view: View) -> Result<Tensor> {
        let Gradient { tensor, owned } = self.gradient(view)?;
        if owned { Ok(tensor) } else { tensor.force_contiguous() }
    }

    fn gradient(&mut self, view: View) -> Result<Gradient> {
        let mut sum = self.views.remove(&view);
        let mut add = |tensor: Tensor| {
            let tensor = match &sum {
                Some(before) => (&before.tensor + tensor)?,
                None => tensor,
            };
            sum = Some(Gradient { tensor, owned: true });
            Ok::<(), candle_core::Error>(())
        };
        // Readers of a wider view: the other parts of it are still needed.
        for other in self.overlapping(view, |other| contains(other, view)) {
            if let Some(gradient) = self.views.get(&other) {
                add(part(other, &gradient.tensor, view)?)?;
            }
        }
        let inside = self.overlapping(view, |other| contains(view, other));
        if !inside.is_empty() {
            let parts = inside.iter().filter_map(|other| self.views.remove(other));
            let parts: Vec<Tensor> = parts.map(|gradient| gradient.tensor).collect();
            add(joined(&parts.iter().collect::<Vec<_>>(), view)?)?;
        }
        match sum {
            Some(sum) => Ok(sum),
            None => candle_core::bail!("no step reads {view:?}"),
        }
    }

    fn overlapping(&self, view: View, matches: impl Fn(View) -> bool) -> Vec<View> {
        of_value(&self.views, view.value).map(|(other, _)| *other).filter(|other| matches(*other)).collect()
    }
}

/// Returns the views of a value, by their first column.
fn of_value<T>(views: &BTreeMap<View, T>, value: usize) -> impl Iterator<Item = (&View, &T)> {
    let first = |value| View { value, start: 0, columns: 0 };
    views.range(first(value)..first(value + 1))
}

/// Returns `true` if the columns of `view` are among those of `other`.
fn contains(other: View, view: View) -> bool {
    other.start <= view.start && view.start + view.columns <= other.start + other.columns
}

/// Copies a view from the tensor of a wider one.
fn part(other: View, tensor: &Tensor, view: View) -> Result<Tensor> {
    tensor.narrow(1, view.start - other.start, view.columns)?.force_contiguous()
}

/// Joins the parts of a view, which must cover it without gaps.
fn joined(parts: &[&Tensor], view: View) -> Result<Tensor> {
    let columns = parts.iter().map(|part| part.dim(1)).sum::<Result<usize>>()?;
    if columns != view.columns {
        candle_core::bail!("{columns} of the columns of {view:?} were written");
    }
    Tensor::cat(parts, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn view(start: usize, columns: usize) -> View {
        View { value: 3, start, columns }
    }

    fn row(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, (1, values.len()), &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn values_are_read_in_parts_and_as_a_whole() {
        let mut found = Values::default();
        found.set(view(0, 2), row(&[1.0, 2.0]));
        found.set(view(2, 1), row(&[3.0]));
        found.set(View { value: 4, start: 0, columns: 3 }, row(&[9.0; 3]));
        assert_eq!(values(&found.get(view(0, 3)).unwrap()), [1.0, 2.0, 3.0]);
        assert_eq!(values(&found.get(view(1, 2)).unwrap()), [2.0, 3.0]);
        assert!(found.get(view(0, 5)).is_err());
        assert!(found.get(View { value: 2, ..view(0, 1) }).is_err());
    }

    #[test]
    fn gradients_of_parts_and_of_the_whole_are_added() {
        let mut found = Gradients::default();
        found.add(view(0, 3), row(&[1.0, 2.0, 3.0])).unwrap();
        found.add(view(2, 1), row(&[10.0])).unwrap();
        assert_eq!(values(&found.take(view(2, 1)).unwrap()), [13.0]);
        assert_eq!(values(&found.take(view(0, 2)).unwrap()), [1.0, 2.0]);
        let mut found = Gradients::default();
        found.add(view(0, 2), row(&[1.0, 2.0])).unwrap();
        found.add(view(2, 1), row(&[3.0])).unwrap();
        found.add(view(0, 3), row(&[10.0; 3])).unwrap();
        assert_eq!(values(&found.take(view(0, 3)).unwrap()), [11.0, 12.0, 13.0]);
        assert!(found.take(view(0, 3)).is_err());
    }

    /// A residual sum has one gradient for both of its terms.
    #[test]
    fn a_product_does_not_change_a_tensor_that_two_views_share() {
        let mut found = Gradients::default();
        let (shared, other) = (row(&[1.0, 2.0]), View { value: 5, start: 0, columns: 2 });
        found.add(view(0, 2), shared.clone()).unwrap();
        found.add(other, shared.clone()).unwrap();
        let (left, right) = (row(&[2.0]), row(&[1.0, 10.0]));
        for _ in 0..2 {
            found.add_product(view(0, 2), &left, &right).unwrap();
        }
        assert_eq!(values(&shared), [1.0, 2.0]);
        assert_eq!(values(&found.take(view(0, 2)).unwrap()), [5.0, 42.0]);
        assert_eq!(values(&found.take(other).unwrap()), [1.0, 2.0]);
        // A part of a single row is contiguous without a copy.
        let mut found = Gradients::default();
        found.add(view(0, 2), shared.clone()).unwrap();
        let part = found.take_owned(view(0, 1)).unwrap();
        product_into(&part, &left, &row(&[1.0]), true).unwrap();
        assert_eq!((values(&part), values(&shared)), (vec![3.0], vec![1.0, 2.0]));
        let mut found = Gradients::default();
        for _ in 0..2 {
            found.add_product(view(0, 2), &left, &right).unwrap();
        }
        assert_eq!(values(&found.take(view(0, 2)).unwrap()), [4.0, 40.0]);
    }
}
