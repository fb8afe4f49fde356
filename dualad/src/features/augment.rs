//! Mirrored and rotated training images.

use crate::error::{Error, Result};
use crate::random::Stream;
use crate::recipe::Augmentation;

/// Checks that inputs of this size can be augmented.
///
/// # Errors
/// [`Error::Config`] for quarter turns of an input that is not square.
pub(crate) fn check_augmentation(augmentation: Augmentation, [rows, columns]: [usize; 2]) -> Result<()> {
    if augmentation.quarter_turns && rows != columns {
        let reason = format!("an input of {columns} x {rows} pixels is not square");
        return Err(Error::Config { field: "augmentation.quarter_turns", value: "true".into(), reason });
    }
    Ok(())
}

/// Returns the augmented pixels `[3, rows, columns]` of an image. The stream draws the augmentation by the index of the image.
pub(crate) fn augment(
    augmentation: Augmentation,
    pixels: &[f32],
    [rows, columns]: [usize; 2],
    stream: Stream,
    index: usize,
) -> Vec<f32> {
    let [horizontal, vertical, turns, _] = stream.bits(index as u64);
    let (horizontal, vertical) =
        (augmentation.flip_horizontal && horizontal >> 31 == 1, augmentation.flip_vertical && vertical >> 31 == 1);
    let turns = if augmentation.quarter_turns { turns >> 30 } else { 0 };
    // The source of a pixel: undo the rotation, then the mirroring. Only square images are rotated.
    let source = |mut row: usize, mut column: usize| {
        for _ in 0..turns {
            (row, column) = (column, rows - 1 - row);
        }
        row = if vertical { rows - 1 - row } else { row };
        column = if horizontal { columns - 1 - column } else { column };
        row * columns + column
    };
    let plane = rows * columns;
    (0..pixels.len()).map(|at| pixels[at / plane * plane + source(at % plane / columns, at % columns)]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Random;

    fn variants(augmentation: Augmentation, size: [usize; 2]) -> BTreeSet<Vec<u32>> {
        let pixels: Vec<f32> = (0..3 * size[0] * size[1]).map(|x| x as f32).collect();
        let stream = Random::new(1).named("augmentation");
        let made = (0..400).map(|index| augment(augmentation, &pixels, size, stream, index));
        made.map(|pixels| pixels.into_iter().map(|x| x as u32).collect()).collect()
    }

    #[test]
    fn all_requested_symmetries_occur_and_no_other() {
        let all = |horizontal, vertical, turns| Augmentation {
            flip_horizontal: horizontal,
            flip_vertical: vertical,
            quarter_turns: turns,
        };
        assert_eq!(variants(all(false, false, false), [2, 3]).len(), 1);
        assert_eq!(variants(all(true, false, false), [2, 3]).len(), 2);
        assert_eq!(variants(all(true, true, false), [2, 3]).len(), 4);
        assert_eq!(variants(all(false, false, true), [3, 3]).len(), 4);
        // A square has eight symmetries.
        assert_eq!(variants(all(true, true, true), [3, 3]).len(), 8);
    }

    #[test]
    fn flips_and_quarter_turns_move_the_pixels() {
        let first = |augmentation: Augmentation, size| {
            let mut made = variants(augmentation, size);
            made.retain(|pixels| pixels[0] != 0);
            made.into_iter().next().unwrap()
        };
        let flip = Augmentation { flip_horizontal: true, ..Augmentation::default() };
        assert_eq!(first(flip, [2, 3])[..6], [2, 1, 0, 5, 4, 3]);
        let flip = Augmentation { flip_vertical: true, ..Augmentation::default() };
        assert_eq!(first(flip, [2, 3])[..6], [3, 4, 5, 0, 1, 2]);
        let turn = Augmentation { quarter_turns: true, ..Augmentation::default() };
        let turned = variants(turn, [2, 2]);
        let corners: BTreeSet<&[u32]> = turned.iter().map(|pixels| &pixels[..4]).collect();
        assert_eq!(corners, BTreeSet::from([&[0, 1, 2, 3][..], &[1, 3, 0, 2], &[3, 2, 1, 0], &[2, 0, 3, 1]]));
        assert!(check_augmentation(turn, [2, 3]).is_err() && check_augmentation(turn, [3, 3]).is_ok());
    }
}
