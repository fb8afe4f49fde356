//! The selection of a bank's tokens.

use dualad_data::Cancel;
use dualad_kernels::{Isa, k_center_while};

/// The components of a token by which tokens are selected: the first ones hold most of the variance.
const SELECTION_DIMS: usize = 48;

/// Returns the indices of at most `count` tokens that cover all tokens `[tokens, dims]`: each is the one farthest from those before
/// it. Only the first components count. Fewer if `cancel` is set meanwhile.
pub(super) fn select(tokens: &[f32], dims: usize, count: usize, cancel: &Cancel) -> Vec<usize> {
    if dims == 0 || tokens.is_empty() {
        return Vec::new();
    }
    let width = dims.min(SELECTION_DIMS);
    let first: Vec<f32> = tokens.chunks_exact(dims).flat_map(|token| &token[..width]).copied().collect();
    let (selected, _) = k_center_while(Isa::best(), &first, width, count, 0, || !cancel.is_cancelled());
    selected.into_iter().map(|index| index as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn selected_tokens_cover_all_tokens() {
        let tokens = Random::new(1).stream().normal(600 * 5);
        let distance = |a: usize, b: usize| -> f32 {
            tokens[a * 5..][..5].iter().zip(&tokens[b * 5..][..5]).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
        };
        let selected = select(&tokens, 5, 100, &Cancel::default());
        assert_eq!(selected.len(), 100);
        let farthest = |from: &[usize]| {
            (0..600).map(|a| from.iter().map(|&b| distance(a, b)).fold(f32::MAX, f32::min)).fold(0.0, f32::max)
        };
        assert!(farthest(&selected) < 0.8 * farthest(&(0..100).collect::<Vec<_>>()));
        assert!(select(&[], 5, 100, &Cancel::default()).is_empty());
        assert_eq!(select(&tokens[..15], 5, 100, &Cancel::default()).len(), 3);
    }
}
