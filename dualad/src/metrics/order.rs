//! Ranks of scores: integers in descending order of the scores.

/// Returns the rank of a score: smaller for a higher score, and the same for `0.0` and `-0.0`.
#[inline]
pub(super) fn rank(score: f32) -> u32 {
    // Adding zero turns -0.0 into 0.0: both compare equal, so their ranks must be equal.
    let bits = (score + 0.0).to_bits();
    // The bits of a float ascend with its magnitude. They are kept for negative scores and reversed, below the sign, for the
    // others.
    if bits >> 31 == 1 { bits } else { bits ^ 0x7fff_ffff }
}

/// Returns the score of a rank.
pub(super) fn score(rank: u32) -> f32 {
    f32::from_bits(if rank >> 31 == 1 { rank } else { rank ^ 0x7fff_ffff })
}

/// Returns the rank `r` with `rank(score) < r` exactly for the scores above `threshold`.
pub(super) fn rank_of_threshold(threshold: f64) -> u32 {
    let nearest = threshold as f32;
    rank(if f64::from(nearest) > threshold { nearest.next_down() } else { nearest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_descend_with_scores_and_lead_back() {
        let scores = [f32::MAX, 3.5, 1.0, f32::MIN_POSITIVE, 1e-45, 0.0, -1e-45, -1.0, -7.25, f32::MIN];
        for pair in scores.windows(2) {
            assert!(rank(pair[0]) < rank(pair[1]), "{pair:?}");
        }
        for value in scores {
            assert_eq!(score(rank(value)), value);
        }
        assert_eq!(rank(-0.0), rank(0.0));
    }

    #[test]
    fn a_threshold_between_scores_parts_them() {
        let above = 0.1_f32.next_up();
        let between = (f64::from(0.1_f32) + f64::from(above)) / 2.0;
        for threshold in [f64::from(0.1_f32), between, between + 1e-12, between - 1e-12] {
            let part = rank_of_threshold(threshold);
            assert!(rank(above) < part && rank(0.1) >= part, "{threshold}");
        }
        assert_eq!(rank_of_threshold(-1.5), rank(-1.5));
    }
}
