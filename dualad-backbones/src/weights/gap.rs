//! Parts of a weight that were never written: zeros where a download ended or a page of a file is missing.
//!
//! Sound weights have zeros, too, so the rule leaves out what pruning and rounding make:
//!
//! - Scattered zeros, kernels or blocks: zeros in a row count from 1024 on, and from 32 times the usual number in a row on.
//! - Outputs or inputs that are 0 as a whole: a gap begins or ends within a row of the weight (the values of one output), at columns
//!   that other rows have values in.
//! - Outputs that rounding to 16 bits leaves almost nothing of: a row whose values are all tiny is as good as 0.

use std::ops::Range;

/// The least number of zeros in a row of a gap: 4 KiB of f32.
const MIN: usize = 1024;
/// The number of zeros in a row up to which they may be scattered ones of a very sparse weight.
const MAX_SCATTERED: usize = 16 * MIN;
/// The number of times that a gap is longer than the usual number of zeros in a row.
const RATIO: usize = 32;
/// The least length of a row that may be 0 as a whole. The rows of depthwise convolutions are shorter than any gap.
const MIN_ROW: usize = 64;
/// The part of the largest value below which all values of a row are as good as 0.
const TINY: f32 = 1e-4;

/// Returns the first gap of a weight of this shape, row-major; none of a bias or scale, which may be 0 in part.
pub(super) fn find(values: &[f32], shape: &[usize]) -> Option<Range<usize>> {
    if !may_have(values) {
        return None;
    }
    let first = shape.iter().position(|&size| size != 1)?;
    let row = shape.get(first + 1..)?.iter().product::<usize>();
    if row < 2 {
        return None;
    }
    let natural = natural(values);
    let least = MIN.max(RATIO * natural);
    let mut gaps = runs(values).filter(|run| run.len() >= least).peekable();
    gaps.peek()?;
    let rows = Rows::of(values, row, natural);
    gaps.find(|run| !rows.explain(run))
}

/// Returns false if a weight surely has no [`MIN`] zeros in a row.
fn may_have(values: &[f32]) -> bool {
    values.iter().skip(MIN - 1).step_by(MIN).any(|value| *value == 0.0)
}

/// Returns the places of zeros in a row.
fn runs(values: &[f32]) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + values.get(from..)?.iter().position(|value| *value == 0.0)?;
        let rest = values.get(start..)?;
        let length = rest.iter().position(|value| *value != 0.0).unwrap_or(rest.len());
        from = start + length;
        Some(start..from)
    })
}

/// Returns the usual number of zeros in a row: 1, or the mean of a weight with many.
fn natural(values: &[f32]) -> usize {
    /// The number of places that make a mean.
    const FEW: usize = 32;
    let mean = |most: usize| {
        let lengths = runs(values).map(|run| run.len()).filter(|length| *length < most);
        let (count, total) = lengths.fold((0, 0), |(count, total), length| (count + 1, total + length));
        if count < FEW { 1 } else { total / count }
    };
    let short = mean(MIN);
    // Of a very sparse weight, many scattered zeros in a row are longer.
    if RATIO * short < MIN { short } else { mean(MAX_SCATTERED) }
}

/// The rows and columns of a weight.
struct Rows {
    /// The length of a row.
    row: usize,
    /// The number of zeros beside a row of zeros that may be scattered ones.
    slack: usize,
    /// For each row, true if it has values.
    has_values: Vec<bool>,
    /// The number of rows with values.
    count: usize,
    /// For each column, the number of columns with values before it.
    before: Vec<usize>,
}

impl Rows {
    fn of(values: &[f32], row: usize, natural: usize) -> Self {
        let largest = |values: &[f32]| values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let tiny = TINY * largest(values);
        let has_values: Vec<bool> = values.chunks(row).map(|row| largest(row) > tiny).collect();
        let mut columns = vec![false; row];
        for (values, _) in values.chunks(row).zip(&has_values).filter(|(_, has)| **has) {
            values.iter().zip(&mut columns).for_each(|(value, column)| *column |= *value != 0.0);
        }
        let mut before = vec![0];
        before.extend(columns.iter().scan(0, |count, has| {
            *count += usize::from(*has);
            Some(*count)
        }));
        let count = has_values.iter().filter(|has| **has).count();
        Self { row, slack: 8 * natural, has_values, count, before }
    }

    /// Returns true for zeros that are whole rows, or parts of rows whose columns are 0 in all others.
    fn explain(&self, run: &Range<usize>) -> bool {
        let Some(last) = run.end.checked_sub(1) else { return true };
        let (first, last) = (run.start / self.row, last / self.row);
        let (from, to) = (run.start - first * self.row, run.end - last * self.row);
        if first == last {
            return self.explain_part(first, from..to, [first, first]);
        }
        self.row >= MIN_ROW
            && self.explain_part(first, from..self.row, [first, last])
            && self.explain_part(last, 0..to, [first, last])
    }

    /// Returns true for columns of a row that are 0 for a reason. `touched` are the rows at the ends of the gap.
    fn explain_part(&self, row: usize, columns: Range<usize>, touched: [usize; 2]) -> bool {
        let has_values = |row: usize| self.has_values.get(row).copied().unwrap_or(false);
        if columns.len() <= self.slack || !has_values(row) {
            return true;
        }
        let [first, last] = touched;
        let others = self.count - usize::from(has_values(first)) - usize::from(first != last && has_values(last));
        others > 0 && self.before.get(columns.start) == self.before.get(columns.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::synthetic;

    const SHAPE: [usize; 4] = [256, 128, 3, 3];
    const ROW: usize = 128 * 9;

    fn weight() -> Vec<f32> {
        synthetic::tensor("layer.weight", &SHAPE, 3)
    }

    /// Returns true for about this share of indices, at random.
    fn chosen(index: usize, share: f64) -> bool {
        let [value] = synthetic::tensor("input", &[1], index as u64)[..] else { return false };
        f64::from(value + 2.0) / 4.0 < share
    }

    /// Sets values to zero in units of `unit` values, a share of them.
    fn pruned(unit: usize, share: f64) -> Vec<f32> {
        let mut values = weight();
        for (index, values) in values.chunks_mut(unit).enumerate().filter(|(index, _)| chosen(*index, share)) {
            assert!(index < SHAPE.iter().product());
            values.fill(0.0);
        }
        values
    }

    #[test]
    fn an_end_or_a_page_that_was_not_written_is_found() {
        let count = weight().len();
        for gap in [
            count - count / 100..count,
            count - count / 10..count,
            500..count,
            20_000..20_000 + 16_384,
            ROW..3 * ROW + 20,
        ] {
            let mut values = weight();
            values[gap.clone()].fill(0.0);
            assert_eq!(find(&values, &SHAPE), Some(gap));
        }
        // Several pages.
        let mut values = weight();
        (0..40).for_each(|page| values[page * 6000 + 100..page * 6000 + 1124].fill(0.0));
        assert_eq!(find(&values, &SHAPE), Some(100..1124));
    }

    #[test]
    fn the_end_of_a_pruned_weight_is_found() {
        for (unit, share) in [(1, 0.9), (9, 0.5), (ROW, 0.4)] {
            let mut values = pruned(unit, share);
            let (row, end) = (200, values.len());
            values[row * ROW..][..ROW].fill(0.5);
            values[row * ROW + 300..].fill(0.0);
            assert_eq!(find(&values, &SHAPE), Some(row * ROW + 300..end), "{unit}, {share}");
        }
    }

    #[test]
    fn pruned_weights_have_no_gap() {
        for (unit, share) in [(1, 0.5), (1, 0.9), (1, 0.99), (9, 0.9), (4, 0.9), (32, 0.9), (ROW, 0.3), (ROW, 0.9)] {
            assert_eq!(find(&pruned(unit, share), &SHAPE), None, "{unit}, {share}");
        }
        // The last outputs, and the last inputs.
        let mut values = weight();
        values[200 * ROW..].fill(0.0);
        assert_eq!(find(&values, &SHAPE), None);
        values.chunks_mut(ROW).for_each(|row| row[0..ROW - 9].fill(0.0));
        assert_eq!(find(&values, &SHAPE), None);
    }

    /// In 16 bits, weights that training has almost removed are 0, apart from a few.
    #[test]
    fn rows_of_tiny_values_have_no_gap() {
        let mut values = weight();
        values[60 * ROW..64 * ROW].fill(0.0);
        values[61 * ROW + 77] = 6e-8;
        values[63 * ROW + 500] = -6e-8;
        assert_eq!(find(&values, &SHAPE), None);
    }

    #[test]
    fn embeddings_and_depthwise_convolutions_have_gaps_too() {
        for shape in [&[1, 1370, 384][..], &[1152, 1, 5, 5]] {
            let mut values = synthetic::tensor("weight", shape, 3);
            assert_eq!(find(&values, shape), None);
            let (start, end) = (values.len() - 2000, values.len());
            values[start..].fill(0.0);
            assert_eq!(find(&values, shape), Some(start..end));
        }
    }

    #[test]
    fn odd_shapes_are_no_fault() {
        for shape in [&[][..], &[0], &[1], &[1, 1], &[3000], &[0, 5], &[1, 3000], &[3000, 1]] {
            let count = shape.iter().product();
            assert!(find(&vec![0.0; count], shape).is_none_or(|gap| gap.end <= count));
        }
    }
}
