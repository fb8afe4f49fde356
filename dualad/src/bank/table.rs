//! Tokens on a device, and their search by a product of matrices.

use candle_core::{D, Device, Result, Tensor};

/// The largest number of elements of a tensor of a search: 128 MiB in f32.
const MOST_ELEMENTS: usize = 1 << 25;

/// A squared length that no real token has: one with it is never the nearest. It is finite, so that no product with it is NaN.
const NEVER: f32 = 1e30;

/// The tokens of some segments, such as categories, on a device. All segments have room for as many tokens as the largest one.
#[derive(Debug)]
pub(super) struct Table {
    /// `[segments * size, dims]`.
    tokens: Tensor,
    /// The squared length of each token, `[segments * size]`.
    squares: Tensor,
    /// The factor of the distance to each token, `[segments * size]`.
    weights: Tensor,
    /// The first token of each segment, `[segments]`.
    first: Tensor,
    segments: usize,
    /// The number of tokens of a segment.
    size: usize,
    most_elements: usize,
}

impl Table {
    /// Copies tokens to a device. Each segment has tokens `[tokens, dims]` and their weights `[tokens]`.
    pub(super) fn new(segments: &[(Vec<f32>, Vec<f32>)], dims: usize, device: &Device) -> Result<Self> {
        let size = segments.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let places = segments.len() * size;
        let mut values = vec![0.0; places * dims];
        // A place without a token: if all of a segment are, the distance is infinite.
        let (mut squares, mut all_weights) = (vec![NEVER; places], vec![f32::INFINITY; places]);
        for (segment, (tokens, weights)) in segments.iter().enumerate() {
            for (place, (token, &weight)) in (segment * size..).zip(tokens.chunks_exact(dims.max(1)).zip(weights)) {
                let square = token.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() as f32;
                if square < NEVER {
                    values[place * dims..][..dims].copy_from_slice(token);
                    (squares[place], all_weights[place]) = (square, weight);
                }
            }
        }
        let first = (0..segments.len()).map(|segment| (segment * size) as u32).collect();
        Ok(Self {
            tokens: Tensor::from_vec(values, (places, dims), device)?,
            squares: Tensor::from_vec(squares, places, device)?,
            weights: Tensor::from_vec(all_weights, places, device)?,
            first: Tensor::from_vec::<_, u32>(first, segments.len(), device)?,
            segments: segments.len(),
            size,
            most_elements: MOST_ELEMENTS,
        })
    }

    /// Returns the table with another limit of the elements of a tensor.
    #[cfg(test)]
    fn most_elements(self, most_elements: usize) -> Self {
        Self { most_elements, ..self }
    }

    /// Returns the squared lengths of the tokens. Those of the tokens that are left out are too large for a nearest token.
    pub(super) fn without(&self, is_left_out: impl Fn(usize) -> bool) -> Result<Tensor> {
        let added = (0..self.segments * self.size).map(|token| if is_left_out(token) { NEVER } else { 0.0 });
        let added = Tensor::from_vec(added.collect(), self.segments * self.size, self.squares.device())?;
        &self.squares + added
    }

    /// Returns the squared lengths of the tokens, for [`Self::distances`].
    pub(super) fn squares(&self) -> Tensor {
        self.squares.clone()
    }

    /// Returns the weighted distance of each query to the nearest token of each segment, `[queries, segments]`. `queries` is
    /// `[queries, dims]`, with at least one. `squares` are [`Self::squares`] or [`Self::without`] of some tokens.
    ///
    /// Of tokens whose distances differ by less than the rounding of the products, any may be taken.
    pub(super) fn distances(&self, queries: &Tensor, squares: &Tensor) -> Result<Tensor> {
        let (count, dims) = queries.dims2()?;
        let rows = (self.most_elements / (self.segments * self.size.max(dims)).max(1)).max(1);
        let block = |start: usize| self.of_block(&queries.narrow(0, start, rows.min(count - start))?, squares);
        Tensor::cat(&(0..count).step_by(rows).map(block).collect::<Result<Vec<_>>>()?, 0)
    }

    fn of_block(&self, queries: &Tensor, squares: &Tensor) -> Result<Tensor> {
        let (count, dims) = queries.dims2()?;
        let shape = (count, self.segments, self.size);
        // |q - t|^2 without |q|^2, which is the same for all tokens.
        let squares = (queries * -2.0)?.matmul(&self.tokens.t()?)?.broadcast_add(squares)?;
        let nearest = squares.reshape(shape)?.argmin(D::Minus1)?.broadcast_add(&self.first)?.flatten_all()?;
        // Lengths and products lose digits where a token is near; differences do not.
        let tokens = self.tokens.index_select(&nearest, 0)?.reshape((count, self.segments, dims))?;
        let distances = tokens.broadcast_sub(&queries.unsqueeze(1)?)?.sqr()?.sum(D::Minus1)?.sqrt()?;
        distances * self.weights.index_select(&nearest, 0)?.reshape((count, self.segments))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::ops::testing::devices;

    fn tensor(values: &[f32], dims: usize, device: &Device) -> Tensor {
        Tensor::from_slice(values, (values.len() / dims, dims), device).unwrap()
    }

    /// Compares with the definition: each distance is that of a token that is the nearest within the rounding of the products.
    #[test]
    fn devices_agree() {
        for device in devices() {
            for (dims, counts, queries) in
                [(1, &[1][..], 1), (2, &[3], 5), (3, &[40, 1, 0, 7], 33), (7, &[2000], 129), (130, &[513, 64], 65)]
            {
                let mut random = Random::new(dims as u64);
                let mut normal = |count: usize| random.stream().normal(count);
                let segments: Vec<(Vec<f32>, Vec<f32>)> = counts
                    .iter()
                    .map(|&count| (normal(count * dims), normal(count).iter().map(|x| x.abs() + 0.5).collect()))
                    .collect();
                let asked = normal(queries * dims);
                let table = Table::new(&segments, dims, &device).unwrap();
                // All at once, in blocks with a rest, and one at a time.
                let places = counts.len() * counts.iter().max().unwrap().max(&dims);
                for most_elements in [MOST_ELEMENTS, 4 * places + 1, 1] {
                    let table = Table::new(&segments, dims, &device).unwrap().most_elements(most_elements);
                    let found = table.distances(&tensor(&asked, dims, &device), &table.squares()).unwrap();
                    let found: Vec<Vec<f32>> = found.to_vec2().unwrap();
                    assert_eq!(found.len(), queries);
                    for (found, query) in found.iter().zip(asked.chunks(dims)) {
                        for (&found, (tokens, weights)) in found.iter().zip(&segments) {
                            check(found, query, tokens, weights);
                        }
                    }
                }
                // Without the nearest ones.
                let without = |token: usize| token.is_multiple_of(2);
                let squares = table.without(without).unwrap();
                let found: Vec<Vec<f32>> =
                    table.distances(&tensor(&asked, dims, &device), &squares).unwrap().to_vec2().unwrap();
                for (found, query) in found.iter().zip(asked.chunks(dims)) {
                    for (segment, (found, (tokens, weights))) in found.iter().zip(&segments).enumerate() {
                        let start = segment * table.size;
                        let kept = |index: &usize| !without(start + index);
                        let kept: Vec<usize> = (0..weights.len()).filter(kept).collect();
                        let tokens: Vec<f32> =
                            kept.iter().flat_map(|&k| &tokens[k * dims..][..dims]).copied().collect();
                        let weights: Vec<f32> = kept.iter().map(|&k| weights[k]).collect();
                        if !kept.is_empty() {
                            check(*found, query, &tokens, &weights);
                        }
                    }
                }
            }
        }
    }

    fn check(found: f32, query: &[f32], tokens: &[f32], weights: &[f32]) {
        let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let length = |a: &[f32]| a.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let squares: Vec<f64> = tokens.chunks(query.len()).map(|token| square(token, query)).collect();
        let least = squares.iter().copied().fold(f64::INFINITY, f64::min);
        if weights.is_empty() {
            assert_eq!(found, f32::INFINITY);
            return;
        }
        let is_it = |((square, token), weight): ((&f64, &[f32]), &f32)| {
            let distance = square.sqrt() * f64::from(*weight);
            let rounding = 1e-6 * (length(query) + length(token));
            square - least <= rounding && (f64::from(found) - distance).abs() <= 1e-5 * distance + 1e-6
        };
        let mut candidates = squares.iter().zip(tokens.chunks(query.len())).zip(weights);
        assert!(candidates.any(is_it), "{found} {least}");
    }

    #[test]
    fn the_first_of_equal_tokens_counts_on_the_cpu() {
        let tokens = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 1.0, 2.0];
        let segments = [(tokens.to_vec(), vec![7.0, 5.0, 2.0, 3.0]), (tokens[2..].to_vec(), vec![4.0, 2.0, 3.0])];
        let table = Table::new(&segments, 2, &Device::Cpu).unwrap();
        let found = table.distances(&tensor(&[1.0, 3.0, 1.0, 2.0], 2, &Device::Cpu), &table.squares()).unwrap();
        assert_eq!(found.to_vec2::<f32>().unwrap(), [[7.0, 2.0], [0.0, 0.0]]);
    }

    /// A distance that has no value is infinite or NaN, and no other query's: the search stays within the tokens.
    #[test]
    fn values_beyond_f32_stay_in_their_rows() {
        for device in devices() {
            let segments = [(vec![1.0, 2.0, 3e20, 0.0], vec![1.0, 1.0]), (vec![2e25, 2.0], vec![1.0])];
            let table = Table::new(&segments, 2, &device).unwrap();
            let asked = [f32::NAN, 0.0, f32::INFINITY, 1.0, 3e38, -3e38, 1.0, 1.0];
            let found = table.distances(&tensor(&asked, 2, &device), &table.squares()).unwrap();
            let found: Vec<Vec<f32>> = found.to_vec2().unwrap();
            assert!(found[..3].iter().flatten().all(|distance| !distance.is_finite()), "{found:?}");
            assert_eq!(found[3], [1.0, f32::INFINITY]);
        }
    }
}
