//! The projection of tokens onto their principal components.

use dualad_kernels::{Epilogue, Isa, Packed, Rows, from_planes, product};

use crate::bank::local::{Cells, add_resized, averaged};

/// A linear projection of tokens, and the layout of its components for each stage.
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    /// The mean token, `[channels]`.
    mean: Vec<f32>,
    /// `[dims, channels]`, row by row.
    components: Vec<f32>,
    stage_channels: Vec<usize>,
    /// The components of each stage's channels, `[dims, channels of the stage]`.
    packed: Vec<Packed>,
    /// The components of the mean with its sign changed, `[dims]`.
    offset: Vec<f32>,
}

/// The map of one stage for one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StageMap<'a> {
    /// `[channels, rows, columns]`.
    pub(crate) values: &'a [f32],
    /// The rows and columns.
    pub(crate) grid: [usize; 2],
}

impl Projection {
    /// Lays out a projection. `components` are `[dims, channels]`; the channels are those of all stages, one stage after the other.
    pub(crate) fn new(mean: Vec<f32>, components: Vec<f32>, stage_channels: &[usize]) -> Self {
        let channels = mean.len();
        let isa = Isa::best();
        let offset = components.chunks_exact(channels.max(1)).map(|component| {
            -component.iter().zip(&mean).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
        });
        let offset = offset.collect();
        let mut start = 0;
        let packed = stage_channels.iter().map(|&stage| {
            let columns = start..start + stage;
            start += stage;
            let rows = components.chunks_exact(channels.max(1));
            let weights: Vec<f32> = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
            Packed::new(isa, &weights, stage, None)
        });
        let packed = packed.collect();
        Self { mean, components, stage_channels: stage_channels.into(), packed, offset }
    }

    /// The number of elements of a projected token.
    pub(crate) fn dims(&self) -> usize {
        self.offset.len()
    }

    pub(crate) fn mean(&self) -> &[f32] {
        &self.mean
    }

    pub(crate) fn components(&self) -> &[f32] {
        &self.components
    }

    /// The components of the mean with its sign changed, `[dims]`.
    pub(crate) fn offset(&self) -> &[f32] {
        &self.offset
    }

    /// Returns the projected tokens of an image at one scale, `[rows * columns, dims]` on the grid of the finest map. `maps` are one for
    /// each stage.
    ///
    /// All steps are linear, so the maps are projected first, while they are small.
    pub(crate) fn tokens(&self, maps: &[StageMap<'_>], neighborhood: usize) -> Vec<f32> {
        let (grid, dims) = (finest_of(maps), self.dims());
        let mut tokens = self.offset.repeat(grid[0] * grid[1]);
        for (map, (packed, &channels)) in maps.iter().zip(self.packed.iter().zip(&self.stage_channels)) {
            let cells = map.grid[0] * map.grid[1];
            let mut rows = vec![0.0; cells * channels];
            from_planes(map.values, 1, channels, &mut rows);
            let mut projected = vec![0.0; cells * dims];
            product(&rows, Rows::Dense { stride: channels }, cells, packed, &mut projected, dims, Epilogue::NONE);
            let cells = Cells { values: &projected, grid: map.grid, width: dims };
            let averaged = averaged(cells, neighborhood);
            add_resized(Cells { values: &averaged, ..cells }, grid, &mut tokens, dims, 0);
        }
        tokens
    }
}

/// Returns the tokens of an image at one scale, before their projection, `[rows * columns, channels]` on the grid of the finest map.
#[cfg(any(feature = "train", test))]
pub(crate) fn raw_tokens(maps: &[StageMap<'_>], stage_channels: &[usize], neighborhood: usize) -> Vec<f32> {
    let (grid, channels) = (finest_of(maps), stage_channels.iter().sum::<usize>());
    let mut tokens = vec![0.0; grid[0] * grid[1] * channels];
    let mut offset = 0;
    for (map, &width) in maps.iter().zip(stage_channels) {
        let mut rows = vec![0.0; map.grid[0] * map.grid[1] * width];
        from_planes(map.values, 1, width, &mut rows);
        let cells = Cells { values: &rows, grid: map.grid, width };
        let averaged = averaged(cells, neighborhood);
        add_resized(Cells { values: &averaged, ..cells }, grid, &mut tokens, channels, offset);
        offset += width;
    }
    tokens
}

/// Returns the rows and columns of the map with the most cells.
pub(crate) fn finest_of(maps: &[StageMap<'_>]) -> [usize; 2] {
    finest(maps.iter().map(|map| map.grid))
}

/// Returns the rows and columns with the most cells.
pub(crate) fn finest(grids: impl Iterator<Item = [usize; 2]>) -> [usize; 2] {
    grids.max_by_key(|grid| grid[0] * grid[1]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn projected_tokens_are_the_projection_of_raw_tokens() {
        let stage_channels = [3, 5];
        let (channels, dims) = (8, 4);
        let mut random = Random::new(3);
        let mut normal = |count: usize| random.stream().normal(count);
        let (mean, components) = (normal(channels), normal(dims * channels));
        for grids in [[[6, 4], [3, 2]], [[2, 2], [2, 2]], [[1, 3], [4, 9]]] {
            let values: Vec<Vec<f32>> =
                grids.iter().zip(stage_channels).map(|([r, c], width)| normal(r * c * width)).collect();
            let maps: Vec<StageMap<'_>> =
                values.iter().zip(grids).map(|(values, grid)| StageMap { values, grid }).collect();
            let projection = Projection::new(mean.clone(), components.clone(), &stage_channels);
            let found = projection.tokens(&maps, 3);
            let raw = raw_tokens(&maps, &stage_channels, 3);
            assert_eq!(found.len() / dims, raw.len() / channels);
            for (found, raw) in found.chunks(dims).zip(raw.chunks(channels)) {
                for (found, component) in found.iter().zip(components.chunks(channels)) {
                    let expected: f32 = component.iter().zip(raw).zip(&mean).map(|((w, x), m)| w * (x - m)).sum();
                    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
                }
            }
        }
    }
}
