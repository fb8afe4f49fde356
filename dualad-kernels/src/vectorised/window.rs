//! The neighbour mask (method, section 4).

/// The neighbours that a token must not attend to: those within half of `rows` and `columns` of it, itself included,
/// on a grid read row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of tokens.
    pub grid: [usize; 2],
    /// Rows and columns of the window; an even number counts as the odd one above it.
    pub size: [usize; 2],
}

impl Window {
    /// Ranges of tokens, one for each row of the window, that the token must not attend to.
    pub fn masked(self, token: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let [rows, columns] = self.grid;
        let [above, beside] = self.size.map(|side| side / 2);
        let (row, column) = (token / columns, token % columns);
        let from = column.saturating_sub(beside);
        let to = (column + beside + 1).min(columns);
        let window_rows = row.saturating_sub(above)..(row + above + 1).min(rows);
        window_rows.map(move |row| row * columns + from..row * columns + to)
    }

    /// Whether every token is left something to attend to.
    pub fn leaves_something(self) -> bool {
        let covers = |axis: usize| self.grid[axis] <= 2 * (self.size[axis] / 2) + 1;
        !(covers(0) && covers(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_the_methods() {
        let window = Window { grid: [14, 14], size: [7, 7] };
        for token in 0..196usize {
            let masked: Vec<usize> = window.masked(token).flatten().collect();
            let near = |other: &usize| (token / 14).abs_diff(other / 14) <= 3 && (token % 14).abs_diff(other % 14) <= 3;
            assert_eq!(masked, (0..196).filter(near).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_window_that_leaves_nothing_is_recognised() {
        for rows in 1..9 {
            for columns in 1..9 {
                for size in [[1, 1], [3, 3], [7, 7], [3, 7], [2, 4], [1, 7]] {
                    let window = Window { grid: [rows, columns], size };
                    let leaves =
                        (0..rows * columns).all(|t| window.masked(t).map(|r| r.len()).sum::<usize>() < rows * columns);
                    assert_eq!(window.leaves_something(), leaves, "{window:?}");
                }
            }
        }
    }
}
