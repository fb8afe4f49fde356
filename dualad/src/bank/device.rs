//! The search of a bank on a device, in products of matrices: the stage maps stay there, and only distances are read.
//!
//! [`Bank::distances`] is the definition.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use dualad_kernels::are_finite;

use crate::bank::group::{COARSE_TOKENS, Group, Queries, positions};
use crate::bank::level::{Level, coarsely_near, nearest_category};
use crate::bank::local::averaged_and_resized;
use crate::bank::maps::{Maps, shape};
use crate::bank::projection::finest;
use crate::bank::table::Table;
use crate::bank::{Bank, Distances};
use crate::error::{Error, Result};

/// The tokens of a bank on a device, for stage maps of known grids.
#[derive(Debug)]
pub(crate) struct DeviceBank {
    device: Device,
    /// The rows and columns of each stage's map.
    grids: Vec<[usize; 2]>,
    levels: Vec<DeviceLevel>,
    /// `None` if at most one category has tokens.
    choice: Option<Choice>,
}

/// One scale of a bank.
#[derive(Debug)]
struct DeviceLevel {
    stages: Vec<DeviceStage>,
    /// `[dims]`.
    offset: Tensor,
    /// `[cells, 2]`.
    positions: Tensor,
    /// The tokens of each category with their positions. `None` if it has none.
    categories: Vec<Option<Table>>,
}

/// The way from a stage's map to its part of the tokens.
#[derive(Debug)]
struct DeviceStage {
    /// `[dims, channels]`.
    components: Tensor,
    /// The means over neighborhoods and the interpolation: `[rows of the tokens, rows]` and `[columns, columns of the tokens]`.
    resampling: [Tensor; 2],
}

/// The choice of an image's category by some of its tokens of the first scale, the local one.
#[derive(Debug)]
struct Choice {
    /// The cells whose tokens stand for an image.
    cells: Tensor,
    /// The first tokens of each category that has some.
    coarse: Table,
    /// These categories.
    filled: Vec<usize>,
}

/// Tokens `[images, cells, dims]`, and the positions of the cells, `[cells, 2]`.
#[derive(Debug)]
struct DeviceQueries {
    tokens: Tensor,
    positions: Tensor,
}

impl DeviceBank {
    /// Copies a bank's tokens to a device. `grids` are the rows and columns of the maps of its stages.
    pub(super) fn new(bank: &Bank, grids: &[[usize; 2]], device: &Device) -> candle_core::Result<Self> {
        let of_level = |level: &Level| DeviceLevel::new(level, &bank.stage_channels, grids, device);
        let levels = bank.levels.iter().map(of_level).collect::<candle_core::Result<_>>()?;
        let choice = bank.levels.first().map(|level| Choice::new(level, grids, device)).transpose()?.flatten();
        Ok(Self { device: device.clone(), grids: grids.into(), levels, choice })
    }

    /// Returns the distances of each image's tokens to those of a bank, which has the tokens that this one was made of.
    ///
    /// # Errors
    /// Those of [`Bank::distances`], and [`Error::InvalidArgument`] for maps of other grids.
    pub(super) fn distances(&self, bank: &Bank, maps: &[Tensor]) -> Result<Vec<Distances>> {
        let (images, grids) = shape(maps, &bank.stage_channels)?;
        if grids != self.grids {
            let reason = format!("must have {:?} rows and columns", self.grids);
            return Err(Error::invalid_argument("the list of stage maps", format_args!("of {grids:?}"), reason));
        }
        if images == 0 {
            return Ok(Vec::new());
        }
        let on_device = |map: &Tensor| map.to_device(&self.device)?.to_dtype(DType::F32)?.contiguous();
        let of_stages = maps.iter().map(on_device).collect::<candle_core::Result<Vec<_>>>()?;
        let levels = bank.levels.iter().zip(&self.levels);
        let queries = levels.clone().map(|(level, own)| own.queries(level.scale.stages_of(&of_stages)));
        let queries = queries.collect::<candle_core::Result<Vec<_>>>()?;
        let categories = self.categories(bank, images, &queries)?;

        // All distances are read at once: each read waits for the device.
        let of_category = by_category(categories.iter().map(|&category| [category]));
        let (mut parts, mut places) = (Vec::new(), Vec::new());
        for (index, ((level, own), queries)) in levels.zip(&queries).enumerate() {
            for (&category, members) in &of_category {
                let Some(group) = level.groups.get(category) else { continue };
                let few = if members.len() == images { None } else { Some(queries.of_images(members)?) };
                let Some(part) = own.distances(group, category, few.as_ref().unwrap_or(queries), bank.without)? else {
                    continue;
                };
                parts.push(part.flatten_all()?);
                places.extend(members.iter().map(|&image| (image, index)));
            }
        }
        let values = read(&parts)?;
        if !are_finite(&values) {
            // The backbone's maps may be the cause: this reads and checks them.
            Maps::new(maps, &bank.stage_channels)?;
        }
        let cells: Vec<usize> =
            queries.iter().map(|queries| queries.tokens.dim(1)).collect::<candle_core::Result<_>>()?;
        let none = || cells.iter().map(|&cells| vec![0.0; cells]).collect();
        let mut found: Vec<Distances> =
            categories.into_iter().map(|category| Distances { levels: none(), category }).collect();
        let mut rest = values.into_iter().map(infinite_if_none);
        for (image, level) in places {
            found[image].levels[level].iter_mut().zip(rest.by_ref()).for_each(|(place, value)| *place = value);
        }
        Ok(found)
    }

    /// Returns the category of each image, as [`Level::category`] does. The choice itself is made on the CPU: it compares a few numbers
    /// of each image.
    fn categories(&self, bank: &Bank, images: usize, queries: &[DeviceQueries]) -> Result<Vec<usize>> {
        let first = bank.levels.first().zip(self.levels.first()).zip(queries.first());
        let Some(((level, own), queries)) = first else { return Ok(vec![0; images]) };
        let Some(Choice { cells, coarse, filled }) = &self.choice else {
            return Ok(vec![level.filled().first().copied().unwrap_or(0); images]);
        };
        let sampled = queries.of_cells(cells)?;
        let (_, count, dims) = sampled.tokens.dims3()?;
        let rows = sampled.tokens.reshape((images * count, dims))?;
        let distances = coarse.distances(&rows, &coarse.squares())?.reshape((images, count, filled.len()))?;
        let distances = read(&[distances.mean(1)?.flatten_all()?])?;
        let near = |distances: &[f32]| {
            let distances = distances.iter().copied().map(infinite_if_none).zip(filled.iter().copied());
            coarsely_near(distances)
        };
        let near: Vec<Vec<usize>> = distances.chunks_exact(filled.len()).map(near).collect();

        // Most images are near one category only: they need no second step.
        let undecided = |categories: &Vec<usize>| if categories.len() > 1 { categories.clone() } else { Vec::new() };
        let (mut parts, mut places) = (Vec::new(), Vec::new());
        for (category, members) in by_category(near.iter().map(undecided)) {
            let Some(group) = level.groups.get(category) else { continue };
            let Some(part) = own.distances(group, category, &sampled.of_images(&members)?, 0)? else { continue };
            parts.push(part.mean(1)?);
            places.extend(members.into_iter().map(|image| (image, category)));
        }
        let means = read(&parts)?.into_iter().map(infinite_if_none);
        let weighted: BTreeMap<(usize, usize), f32> = places.into_iter().zip(means).collect();
        let decided = |(image, near): (usize, &Vec<usize>)| {
            let mean = |category: usize| weighted.get(&(image, category)).copied().unwrap_or(f32::INFINITY);
            nearest_category(near.iter().map(|&category| (mean(category), category)))
        };
        Ok(near.iter().enumerate().map(decided).collect())
    }
}

impl DeviceLevel {
    fn new(
        level: &Level,
        stage_channels: &[usize],
        grids: &[[usize; 2]],
        device: &Device,
    ) -> candle_core::Result<Self> {
        let Level { scale, neighborhood, projection, groups } = level;
        let (grids, dims) = (scale.stages_of(grids), projection.dims());
        let grid = finest(grids.iter().copied());
        let matrix = |values: Vec<f32>, rows: usize, columns: usize| Tensor::from_vec(values, (rows, columns), device);
        let all: usize = scale.stages_of(stage_channels).iter().sum();
        let components = matrix(projection.components().to_vec(), dims, all)?;
        let mut start = 0;
        let stage = |(&channels, from): (&usize, &[usize; 2])| {
            let own = components.narrow(1, start, channels)?.contiguous()?;
            start += channels;
            let axis = |axis: usize| {
                matrix(averaged_and_resized(from[axis], grid[axis], *neighborhood), grid[axis], from[axis])
            };
            Ok(DeviceStage { components: own, resampling: [axis(0)?, axis(1)?.t()?.contiguous()?] })
        };
        let stages = scale.stages_of(stage_channels).iter().zip(grids).map(stage);
        let category = |group: &Group| {
            let tokens = &group.tokens;
            let segment = || [(tokens.located(dims), tokens.weights.clone())];
            (tokens.count() > 0).then(|| Table::new(&segment(), dims + 2, device)).transpose()
        };
        Ok(Self {
            stages: stages.collect::<candle_core::Result<_>>()?,
            offset: Tensor::from_slice(projection.offset(), dims, device)?,
            positions: matrix(positions(grid), grid[0] * grid[1], 2)?,
            categories: groups.iter().map(category).collect::<candle_core::Result<_>>()?,
        })
    }

    /// Returns the tokens of images, from the maps of the stages of this scale. All steps are linear, so the maps are projected first,
    /// while they are small.
    fn queries(&self, maps: &[Tensor]) -> candle_core::Result<DeviceQueries> {
        let (cells, dims) = (self.positions.dim(0)?, self.offset.dim(0)?);
        let mut sum: Option<Tensor> = None;
        for (map, DeviceStage { components, resampling: [down, across] }) in maps.iter().zip(&self.stages) {
            let (images, channels, rows, columns) = map.dims4()?;
            // A matrix that is broadcast has a stride of 0: it is not copied for each image.
            let projected = components
                .broadcast_as((images, dims, channels))?
                .matmul(&map.reshape((images, channels, rows * columns))?)?
                .reshape((images * dims * rows, columns))?
                .matmul(across)?
                .reshape((images * dims, rows, across.dim(1)?))?;
            let resampled = down.broadcast_as((images * dims, down.dim(0)?, rows))?.matmul(&projected)?;
            let resampled = resampled.reshape((images, dims, cells))?;
            sum = Some(match sum {
                Some(sum) => (sum + resampled)?,
                None => resampled,
            });
        }
        let Some(sum) = sum else { candle_core::bail!("a scale of a bank has no stage") };
        let tokens = sum.transpose(1, 2)?.contiguous()?.broadcast_add(&self.offset)?;
        Ok(DeviceQueries { tokens, positions: self.positions.clone() })
    }

    /// Returns the weighted distances of tokens to the nearest of a category, `[images, cells]`. `None` if it has none. `without` is as
    /// in [`Group::nearest`].
    fn distances(
        &self,
        group: &Group,
        category: usize,
        queries: &DeviceQueries,
        without: u32,
    ) -> candle_core::Result<Option<Tensor>> {
        let Some(table) = self.categories.get(category).and_then(Option::as_ref) else { return Ok(None) };
        let (images, cells, dims) = queries.tokens.dims3()?;
        let places = (&queries.positions * f64::from(group.tokens.position_scale))?;
        let places = places.broadcast_as((images, cells, 2))?.contiguous()?;
        let located = Tensor::cat(&[&queries.tokens, &places], 2)?.reshape((images * cells, dims + 2))?;
        let is_own = |token: usize| group.tokens.images.get(token) == Some(&without);
        let own = if without == 0 { 0 } else { (0..group.tokens.count()).filter(|&token| is_own(token)).count() };
        // A category of that image only has no other tokens.
        let has_both = own > 0 && own < group.tokens.count();
        let squares = if has_both { table.without(is_own)? } else { table.squares() };
        Ok(Some(table.distances(&located, &squares)?.reshape((images, cells))?))
    }
}

impl Choice {
    /// Returns `None` if there is no choice: at most one category has tokens.
    fn new(level: &Level, grids: &[[usize; 2]], device: &Device) -> candle_core::Result<Option<Self>> {
        let filled = level.filled();
        if filled.len() < 2 {
            return Ok(None);
        }
        let dims = level.projection.dims();
        let segment = |&category: &usize| {
            let values = &level.groups[category].tokens.values;
            let first = &values[..values.len().min(COARSE_TOKENS * dims)];
            (first.to_vec(), vec![1.0; first.len() / dims.max(1)])
        };
        let segments: Vec<(Vec<f32>, Vec<f32>)> = filled.iter().map(segment).collect();
        let cells = Queries::sampled_cells(finest(level.scale.stages_of(grids).iter().copied()));
        Ok(Some(Self { cells: indices(&cells, device)?, coarse: Table::new(&segments, dims, device)?, filled }))
    }
}

impl DeviceQueries {
    fn of_images(&self, images: &[usize]) -> candle_core::Result<Self> {
        let tokens = self.tokens.index_select(&indices(images, self.tokens.device())?, 0)?;
        Ok(Self { tokens, positions: self.positions.clone() })
    }

    fn of_cells(&self, cells: &Tensor) -> candle_core::Result<Self> {
        Ok(Self { tokens: self.tokens.index_select(cells, 1)?, positions: self.positions.index_select(cells, 0)? })
    }
}

/// Returns the images of each category. `categories` are those of each image.
fn by_category<T: IntoIterator<Item = usize>>(categories: impl Iterator<Item = T>) -> BTreeMap<usize, Vec<usize>> {
    let mut images: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (image, categories) in categories.enumerate() {
        categories.into_iter().for_each(|category| images.entry(category).or_default().push(image));
    }
    images
}

fn indices(values: &[usize], device: &Device) -> candle_core::Result<Tensor> {
    Tensor::from_vec(values.iter().map(|&value| value as u32).collect(), values.len(), device)
}

/// Reads vectors from the device, one after the other.
fn read(parts: &[Tensor]) -> candle_core::Result<Vec<f32>> {
    if parts.is_empty() { Ok(Vec::new()) } else { Tensor::cat(parts, 0)?.to_vec1() }
}

/// Returns a distance. One that is beyond f32 is infinite, as on the CPU.
fn infinite_if_none(distance: f32) -> f32 {
    if distance.is_finite() { distance } else { f32::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::bank::group::Tokens;
    use crate::bank::level::Scale;
    use crate::bank::projection::Projection;
    use crate::bank::{BankConfig, Normal};
    use crate::ops::testing::devices;

    /// A bank and maps that it is asked for.
    struct Case {
        bank: Bank,
        grids: Vec<[usize; 2]>,
        maps: Vec<Tensor>,
    }

    impl Case {
        /// Returns random maps of images, and a bank whose categories have some of the images' tokens with noise, `counts` each.
        fn new(channels: &[usize], grids: &[[usize; 2]], dims: usize, counts: &[usize], images: usize) -> Self {
            let mut random = Random::new((dims + images) as u64);
            let mut normal = |count: usize| random.stream().normal(count);
            let map = |(&channels, &[rows, columns]): (&usize, &[usize; 2])| {
                let shape = (images, channels, rows, columns);
                Tensor::from_vec(normal(images * channels * rows * columns), shape, &Device::Cpu).unwrap()
            };
            let maps: Vec<Tensor> = channels.iter().zip(grids).map(map).collect();
            let read = Maps::new(&maps, channels).unwrap();
            let config = BankConfig::default().with_context(0.3).with_context_neighborhood(5);
            let level = |&scale: &Scale| {
                let own = scale.stages_of(channels);
                let (all, dims) = (own.iter().sum::<usize>(), dims.min(own.iter().sum()));
                let projection = Projection::new(normal(all), normal(dims * all), own);
                let neighborhood = scale.neighborhood(&config);
                let level = Level { scale, neighborhood, projection, groups: Vec::new() };
                let group = |(category, &count): (usize, &usize)| {
                    let queries = level.queries(&read.image(category % images));
                    let noise = normal(count * dims);
                    let value = |(index, noise): (usize, &f32)| {
                        queries.tokens.get(index % queries.tokens.len().max(1)).unwrap_or(&0.0) + 0.3 * noise
                    };
                    Group::new(Tokens {
                        values: noise.iter().enumerate().map(value).collect(),
                        positions: normal(2 * count).iter().map(|x| x.abs().min(1.0)).collect(),
                        weights: normal(count).iter().map(|x| x.abs() + 0.5).collect(),
                        images: (0..count as u32).map(|token| token % 3).collect(),
                        position_scale: category as f32,
                    })
                };
                let groups = counts.iter().enumerate().map(group).collect();
                Level { groups, ..level }
            };
            let levels = Scale::of(&config).iter().map(level).collect();
            let normal = Normal { reconstruction: 1.0, levels: vec![1.0; 2], sum: 1.0 };
            let bank = Bank {
                normal: vec![normal; counts.len()],
                levels,
                stage_channels: channels.into(),
                alone: true,
                without: 0,
                config,
            };
            Self { bank, grids: grids.into(), maps }
        }

        fn on(&self, device: &Device) -> DeviceBank {
            DeviceBank::new(&self.bank, &self.grids, device).unwrap()
        }
    }

    fn assert_near(found: &[Distances], expected: &[Distances], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.category, expected.category, "{what}");
            assert_eq!(found.levels.len(), expected.levels.len(), "{what}");
            for (found, expected) in found.levels.iter().zip(&expected.levels) {
                assert_eq!(found.len(), expected.len(), "{what}");
                for (a, b) in found.iter().zip(expected) {
                    assert!(a == b || (a - b).abs() < 1e-4 * b + 1e-5, "{what}: {a} {b}");
                }
            }
        }
    }

    /// The tolerance is 1e-4 of each distance: products and sums have another order on each device.
    #[test]
    fn devices_agree() {
        let cases = [
            (&[1][..], &[[1, 1]][..], 1, &[1][..], 1),
            (&[3], &[[2, 5]], 2, &[4], 2),
            // The finest map may be any. A category may have no tokens.
            (&[3, 5], &[[7, 6], [4, 3]], 6, &[50, 0, 31], 3),
            (&[4, 2, 3], &[[3, 3], [9, 10], [1, 2]], 5, &[20, 700, 1, 64, 513, 9], 7),
            // No tokens.
            (&[2, 2], &[[2, 2], [1, 1]], 3, &[0, 0], 2),
        ];
        for device in devices() {
            for (index, (channels, grids, dims, counts, images)) in cases.into_iter().enumerate() {
                let case = Case::new(channels, grids, dims, counts, images);
                let own = case.on(&device);
                for dtype in [DType::F32, DType::F16] {
                    let of = |map: &Tensor| map.to_dtype(dtype).unwrap().to_device(&device).unwrap();
                    let maps: Vec<Tensor> = case.maps.iter().map(of).collect();
                    for without in [0, 1, 2, 9] {
                        let bank = Bank { without, ..case.bank.clone() };
                        let (found, expected) = (own.distances(&bank, &maps), bank.distances(&maps).unwrap());
                        assert_near(&found.unwrap(), &expected, &format!("{device:?} {index} {dtype:?} {without}"));
                    }
                }
            }
            // No images.
            let case = Case::new(&[2, 2], &[[2, 2], [1, 1]], 3, &[5, 5], 1);
            let none: Vec<Tensor> = case.maps.iter().map(|map| map.narrow(0, 0, 0).unwrap()).collect();
            assert_eq!(case.on(&device).distances(&case.bank, &none).unwrap(), []);
            // The images are of many categories.
            let case = Case::new(&[4, 2, 3], &[[3, 3], [9, 10], [1, 2]], 5, &[20, 700, 1, 64, 513, 9], 7);
            let found = case.on(&device).distances(&case.bank, &case.maps).unwrap();
            assert!(found.iter().map(|found| found.category).collect::<std::collections::BTreeSet<_>>().len() > 2);
        }
    }

    #[test]
    fn a_category_of_one_image_is_compared_to_it() {
        let mut case = Case::new(&[2], &[[2, 2]], 2, &[1], 1);
        let of_image = |level: &Level| {
            let tokens = Tokens { images: vec![4], ..level.groups[0].tokens.clone() };
            let projection = level.projection.clone();
            Level { scale: level.scale, neighborhood: level.neighborhood, projection, groups: vec![Group::new(tokens)] }
        };
        case.bank.levels = case.bank.levels.iter().map(of_image).collect();
        for device in devices() {
            let with = case.on(&device).distances(&case.bank, &case.maps).unwrap();
            let without = Bank { without: 4, ..case.bank.clone() };
            assert_eq!(case.on(&device).distances(&without, &case.maps).unwrap(), with);
        }
    }

    #[test]
    fn maps_without_a_value_are_an_error_and_too_large_ones_infinitely_far() {
        for device in devices() {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let case = Case::new(&[2, 3], &[[3, 2], [2, 1]], 3, &[9, 5], 2);
                let mut values: Vec<f32> = case.maps[1].flatten_all().unwrap().to_vec1().unwrap();
                values[7] = value;
                let changed = Tensor::from_vec(values, case.maps[1].dims(), &Device::Cpu).unwrap();
                let maps = [case.maps[0].clone(), changed];
                let error = case.on(&device).distances(&case.bank, &maps).unwrap_err();
                assert_eq!(error.to_string(), case.bank.distances(&maps).unwrap_err().to_string());
            }
            let case = Case::new(&[2], &[[2, 2]], 2, &[9], 1);
            let maps = [(&case.maps[0] * 1e30).unwrap()];
            let found = case.on(&device).distances(&case.bank, &maps).unwrap();
            assert!(found[0].levels.iter().flatten().all(|&distance| distance == f32::INFINITY), "{found:?}");
            assert_near(&found, &case.bank.distances(&maps).unwrap(), "too large");
        }
    }

    #[test]
    fn maps_of_other_shapes_are_refused() {
        let case = Case::new(&[2, 3], &[[3, 2], [2, 1]], 3, &[9], 2);
        let own = case.on(&Device::Cpu);
        let other = |shape: [usize; 4]| Tensor::zeros(&shape, DType::F32, &Device::Cpu).unwrap();
        for maps in [
            vec![],
            vec![case.maps[0].clone()],
            vec![case.maps[0].clone(), other([2, 4, 2, 1])],
            vec![case.maps[0].clone(), other([1, 3, 2, 1])],
            vec![case.maps[0].clone(), other([2, 3, 2, 2])],
        ] {
            assert!(matches!(own.distances(&case.bank, &maps), Err(Error::InvalidArgument { .. })));
        }
    }
}
