//! Rows of coordinates.

/// The tokens that the queries of a block are compared with at a time: heads and bounds stay in the second-level cache.
pub(crate) const CHUNK: usize = 1024;
/// The free parameter of (x + y)^2 <= (1 + SPLIT) x^2 + (1 + 1 / SPLIT) y^2, with a distance x and an error y that is about a
/// thousandth of it.
pub(crate) const SPLIT: f64 = 1e-3;
/// Rows of coordinates are padded to vectors.
const PADDING: usize = 16;

/// The coordinates of a vector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coordinates {
    /// The squared distance to the basis' point.
    pub(crate) squared: f64,
    /// The length of the rest.
    pub(crate) tail: f64,
    /// A bound on the distance between the coordinates and tail as computed and the exact ones. NaN or infinite for a vector that
    /// is too long.
    pub(crate) error: f64,
}

/// The sizes of coordinates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The coordinates, the tail apart.
    pub(crate) coordinates: usize,
    /// The coordinates of a head, the tail apart.
    pub(crate) head: usize,
    /// The elements from one row of coordinates to the next.
    pub(crate) row: usize,
}

impl Sizes {
    /// Sizes for some coordinates and for heads of at most `values` values.
    pub(crate) fn new(coordinates: usize, values: usize) -> Self {
        let head = coordinates.min(values - 1);
        Self { coordinates, head, row: (coordinates + 1).next_multiple_of(PADDING) }
    }

    /// Completes a row of coordinates with the tail. The row of a vector that is not usable becomes zeros.
    pub(crate) fn complete(self, row: &mut [f32], described: Coordinates) {
        if described.error.is_finite() {
            row[self.coordinates] = described.tail as f32;
            row[self.coordinates + 1..].fill(0.0);
        } else {
            row.fill(0.0);
        }
    }

    /// Writes the head of a row: the first coordinates and the length of the rest. Returns its squared length.
    pub(crate) fn write_head(self, row: &[f32], head: &mut [f32]) -> f64 {
        let (first, rest) = row[..self.coordinates + 1].split_at(self.head);
        head[..self.head].copy_from_slice(first);
        head[self.head] = squared_length(rest).sqrt() as f32;
        squared_length(head)
    }
}

/// The squared length in f64.
fn squared_length(x: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (whole, rest) = x.as_chunks::<8>();
    for values in whole {
        for (sum, &x) in sums.iter_mut().zip(values) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
}

impl Coordinates {
    /// The amount by which the squared distance of rows is too large at most, because of this token's error.
    pub(crate) fn margin(&self) -> f64 {
        (1.0 + 1.0 / SPLIT) * self.error.powi(2)
    }
}
