//! The neighbor mask (docs/method.md, section 4).

/// The neighbor mask of a grid of tokens: a token must not attend to the tokens near it, including itself.
///
/// Tokens are numbered row by row. The masked neighborhood is a window of `size` rows and columns around the token, cut off at the
/// borders of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborMask {
    /// The rows and columns of the grid.
    pub grid: [usize; 2],
    /// The rows and columns of the masked window. An even number counts as the next odd one.
    pub size: [usize; 2],
}

impl NeighborMask {
    /// Returns the tokens that `token` must not attend to, one range for each row of the window.
    pub fn masked(self, token: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let [rows, columns] = self.grid;
        let [above, beside] = self.size.map(|side| side / 2);
        let (row, column) = (token / columns, token % columns);
        let from = column.saturating_sub(beside);
        let to = (column + beside + 1).min(columns);
        let window_rows = row.saturating_sub(above)..(row + above + 1).min(rows);
        window_rows.map(move |row| row * columns + from..row * columns + to)
    }

    /// Returns `true` if every token has at least one token to attend to.
    pub fn leaves_keys(self) -> bool {
        let covers = |axis: usize| self.grid[axis] <= 2 * (self.size[axis] / 2) + 1;
        !(covers(0) && covers(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_tokens_are_the_neighbors() {
        let mask = NeighborMask { grid: [14, 14], size: [7, 7] };
        for token in 0..196usize {
            let masked: Vec<usize> = mask.masked(token).flatten().collect();
            let near = |other: &usize| (token / 14).abs_diff(other / 14) <= 3 && (token % 14).abs_diff(other % 14) <= 3;
            assert_eq!(masked, (0..196).filter(near).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_mask_that_hides_every_token_is_recognized() {
        for rows in 1..9 {
            for columns in 1..9 {
                for size in [[1, 1], [3, 3], [7, 7], [3, 7], [2, 4], [1, 7]] {
                    let mask = NeighborMask { grid: [rows, columns], size };
                    let leaves =
                        (0..rows * columns).all(|t| mask.masked(t).map(|r| r.len()).sum::<usize>() < rows * columns);
                    assert_eq!(mask.leaves_keys(), leaves, "{mask:?}");
                }
            }
        }
    }
}
