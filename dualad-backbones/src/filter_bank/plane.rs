//! One channel of an image, and the filter bank's operations on it except the wavelets.

/// `[rows, columns]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plane {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Plane {
    pub(super) fn new(rows: usize, columns: usize, values: Vec<f32>) -> Self {
        debug_assert_eq!(values.len(), rows * columns);
        Self { rows, columns, values }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the row at an index. Outside the plane the border is replicated.
    pub(super) fn row(&self, index: isize) -> &[f32] {
        let index = index.clamp(0, self.rows as isize - 1) as usize;
        &self.values[index * self.columns..][..self.columns]
    }

    /// Returns the mean of planes of one size.
    pub(super) fn mean(planes: &[Self]) -> Self {
        let Self { rows, columns, .. } = planes[0];
        let share = 1.0 / planes.len() as f32;
        let at = |index: usize| planes.iter().map(|plane| plane.values[index]).sum::<f32>() * share;
        Self::new(rows, columns, (0..rows * columns).map(at).collect())
    }

    /// Halves the rows and columns (both even) by the taps \[1 3 3 1\] / 8 in both directions. Each cell is centered between two.
    pub(super) fn halve(&self) -> Self {
        let (rows, columns) = (self.rows / 2, self.columns / 2);
        let mut values = Vec::with_capacity(rows * columns);
        let mut mixed = vec![0.0; self.columns];
        for row in 0..rows {
            let first = 2 * row as isize;
            let taps = [self.row(first - 1), self.row(first), self.row(first + 1), self.row(first + 2)];
            for (column, mixed) in mixed.iter_mut().enumerate() {
                *mixed = (taps[0][column] + 3.0 * (taps[1][column] + taps[2][column]) + taps[3][column]) / 8.0;
            }
            let at = |column: isize| mixed[column.clamp(0, self.columns as isize - 1) as usize];
            values.extend((0..columns).map(|column| {
                let first = 2 * column as isize;
                (at(first - 1) + 3.0 * (at(first) + at(first + 1)) + at(first + 2)) / 8.0
            }));
        }
        Self::new(rows, columns, values)
    }

    /// Returns the mean of each `n` x `n` block. `n` divides rows and columns.
    pub(super) fn pool(&self, n: usize) -> Self {
        self.blocks(n, |block| block.sum::<f32>() / (n * n) as f32)
    }

    /// Returns the population standard deviation of each `n` x `n` block. `n` divides rows and columns.
    pub(super) fn std(&self, n: usize) -> Self {
        let count = (n * n) as f32;
        self.blocks(n, |block| {
            // The block's mean is subtracted first: E(x^2) - E(x)^2 would not be exactly zero for a constant block.
            let mean = block.clone().sum::<f32>() / count;
            (block.map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt()
        })
    }

    fn blocks<'a>(&'a self, n: usize, reduce: impl Fn(Block<'a>) -> f32) -> Self {
        let (rows, columns) = (self.rows / n, self.columns / n);
        let block =
            |cell: usize| Block { plane: self, n, row: cell / columns * n, column: cell % columns * n, next: 0 };
        Self::new(rows, columns, (0..rows * columns).map(|cell| reduce(block(cell))).collect())
    }
}

/// The values of one block, row by row.
#[derive(Clone)]
struct Block<'a> {
    plane: &'a Plane,
    n: usize,
    row: usize,
    column: usize,
    next: usize,
}

impl Iterator for Block<'_> {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        let (row, column) = (self.next / self.n, self.next % self.n);
        (row < self.n).then(|| {
            self.next += 1;
            self.plane.values[(self.row + row) * self.plane.columns + self.column + column]
        })
    }
}
