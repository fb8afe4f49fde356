//! All groups together: the loss of a batch and its gradient by every parameter.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Device, Tensor};
use dualad_kernels::add_to_columns;
use rayon::prelude::*;

use crate::cdbn::{MEAN, STD};
use crate::config::DualAdConfig;
use crate::engine::group::{Group, Noise, Shared};
use crate::engine::layout::Layout;
use crate::engine::plan::{Bias, Linear, Plan, Step};
use crate::error::{Error, Result};
use crate::ops::matrix::{Shape, multiply_into};
use crate::ops::memory_read::{slot_gradient, unit_rows};
use crate::{DualAd, Random};

/// Rows of tokens that a group has at least, where the batch allows: products of fewer rows spend their time on packing
/// the weights.
const ROWS: usize = 392;
/// Outputs of a product whose weights' gradient a task makes at most: the products of few spend their time on packing the
/// inputs, which each task does again.
const OUTPUTS: usize = 256;

/// A network's parameters in one vector, with everything that a training step on the CPU needs.
#[derive(Debug)]
pub(crate) struct TrainingEngine {
    config: DualAdConfig,
    layout: Layout,
    pub(super) plan: Plan,
    /// All trained parameters.
    pub(crate) parameters: Vec<f32>,
    /// The loss's gradient by them.
    pub(crate) gradient: Vec<f32>,
    /// Mean and 1 / deviation of each channel, and the two as they are kept.
    standard: Option<[Vec<f32>; 2]>,
    constants: BTreeMap<String, Tensor>,
    /// `[tokens, d]`.
    position: Vec<f32>,
    /// `[tokens, D]`, for a wide-shallow branch that takes positions.
    wide_position: Vec<f32>,
    pub(super) tables: Vec<Vec<f32>>,
    table_gradients: Vec<Vec<f32>>,
    pub(super) unit_slots: Vec<Vec<f32>>,
    slot_norms: Vec<Vec<f32>>,
    groups: Vec<Group>,
    batch: usize,
    memory_share: f32,
}

/// What a task writes: a part of the gradient.
#[derive(Debug, Clone)]
enum Part {
    /// These outputs of a product's weight.
    Weight(Linear, Range<usize>),
    Bias(Linear),
    NormWeight(usize),
    NormBias(usize),
    Memory(usize),
}

impl TrainingEngine {
    /// Whether a network can be trained in this form.
    pub(crate) fn can_train(config: &DualAdConfig) -> bool {
        Plan::can_train(config)
    }

    /// # Errors
    /// [`Error::Config`], or [`Error::Candle`] if the parameters cannot be read.
    pub(crate) fn new(network: &DualAd) -> Result<Self> {
        let config = network.config().clone();
        let layout = Layout::new(&config)?;
        let plan = Plan::new(&config, &layout)?;
        let mut constants = network.parameters().clone();
        let mut parameters = vec![0.0; layout.length];
        for (name, shape, offset) in &layout.parameters {
            let missing = || Error::Parameter { name: name.clone(), reason: "is missing".into() };
            let tensor = constants.remove(name).ok_or_else(missing)?;
            let values = numbers(&tensor)?;
            debug_assert_eq!(tensor.dims(), shape.as_slice());
            parameters[*offset..offset + values.len()].copy_from_slice(&values);
        }
        let standard = match (constants.get(MEAN), constants.get(STD)) {
            (Some(mean), Some(deviation)) => {
                Some([numbers(mean)?, numbers(deviation)?.iter().map(|deviation| 1.0 / deviation).collect()])
            }
            _ => None,
        };
        let tokens = config.tokens();
        let table = |table: &crate::engine::plan::Table| vec![0.0; tokens * table.columns];
        let slots = |_: &usize| vec![0.0; config.memory_slots * config.narrow_width];
        Ok(Self {
            gradient: vec![0.0; parameters.len()],
            position: vec![0.0; plan.position.map_or(0, |_| tokens * config.narrow_width)],
            wide_position: vec![0.0; plan.wide_position.map_or(0, |_| tokens * config.wide_width())],
            tables: plan.tables.iter().map(table).collect(),
            table_gradients: plan.tables.iter().map(table).collect(),
            unit_slots: plan.memories.iter().map(slots).collect(),
            slot_norms: vec![Vec::new(); plan.memories.len()],
            groups: Vec::new(),
            batch: 0,
            memory_share: 1.0,
            parameters,
            standard,
            constants,
            layout,
            plan,
            config,
        })
    }

    pub(crate) fn config(&self) -> &DualAdConfig {
        &self.config
    }

    pub(crate) fn set_memory_temperature(&mut self, temperature: f64) -> Result<()> {
        let config = DualAdConfig { memory_temperature: temperature, ..self.config.clone() };
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// What a memory passes on: 0 what it was asked, 1 what it read.
    pub(crate) fn set_memory_share(&mut self, share: f64) {
        self.memory_share = share.clamp(0.0, 1.0) as f32;
    }

    /// Anything of the parameters' layout, by name.
    pub(crate) fn named(&self, flat: &[f32]) -> Result<BTreeMap<String, Tensor>> {
        let tensor = |(name, shape, offset): &(String, Vec<usize>, usize)| {
            let count: usize = shape.iter().product();
            Ok((name.clone(), Tensor::from_slice(&flat[*offset..offset + count], shape.as_slice(), &Device::Cpu)?))
        };
        self.layout.parameters.iter().map(tensor).collect()
    }

    /// [`Self::named`]'s way back.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first that is missing or of another shape.
    pub(crate) fn flatten(&self, named: &BTreeMap<String, Tensor>) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; self.layout.length];
        for (name, shape, offset) in &self.layout.parameters {
            let wrong = |reason: String| Error::Parameter { name: name.clone(), reason };
            let tensor = named.get(name).ok_or_else(|| wrong("is missing".into()))?;
            if tensor.dims() != shape.as_slice() {
                return Err(wrong(format!("has shape {:?}, not {shape:?}", tensor.dims())));
            }
            let values = numbers(tensor)?;
            flat[*offset..offset + values.len()].copy_from_slice(&values);
        }
        Ok(flat)
    }

    /// Whether a trained parameter has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.layout.offset(name).is_some()
    }

    /// Every parameter by name, a standardisation's among them.
    pub(crate) fn all_parameters(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut parameters = self.named(&self.parameters)?;
        parameters.extend(self.constants.iter().map(|(name, tensor)| (name.clone(), tensor.clone())));
        Ok(parameters)
    }

    /// The network as it stands.
    pub(crate) fn network(&self) -> Result<DualAd> {
        DualAd::from_parameters(self.config.clone(), self.all_parameters()?)
    }

    /// The loss of a batch of raw tokens `[batch, tokens, channels]` (method, section 5), with its gradient left in
    /// [`Self::gradient`]. `random` disturbs and drops as [`DualAd::reconstruct_jittered`] does; without it neither happens.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if they are not whole images.
    pub(crate) fn loss_and_gradient(&mut self, tokens: &[f32], random: Option<&mut Random>) -> Result<f64> {
        let (count, channels) = (self.config.tokens(), self.config.channels());
        let image = count * channels;
        if tokens.is_empty() || !tokens.len().is_multiple_of(image) {
            return Err(Error::tokens(count, channels, format_args!("{} values", tokens.len())));
        }
        let batch = tokens.len() / image;
        self.fit(batch);
        self.prepare();
        let (mut streams, mut jitter, disturbs) = (Vec::new(), None, random.is_some());
        if let Some(random) = random {
            // In the order of the plain form.
            jitter = self.config.jitter.map(|jitter| (jitter, random.stream()));
            streams.extend(self.plan.drops.iter().map(|_| random.stream()));
        }
        let noise = disturbs.then_some(Noise { jitter, dropout: self.config.dropout as f32, streams: &streams });
        let mut groups = std::mem::take(&mut self.groups);
        let shared = self.shared(batch, noise);
        let standard = self.standard.as_ref().map(|[mean, scale]| (mean.as_slice(), scale.as_slice()));
        groups.par_iter_mut().for_each(|group| {
            group.forward(&shared, tokens, standard);
            group.backward(&shared);
        });
        let mut loss = 0.0;
        for (stage, &stage_channels) in self.config.stage_channels.iter().enumerate() {
            let sum: f64 = groups.iter().map(|group| group.errors[stage]).sum();
            loss += sum / (batch * count * stage_channels) as f64;
        }
        self.groups = groups;
        self.collect_gradient();
        Ok(loss)
    }

    /// What the memory modules would be asked for: each level's `[batch * tokens, d]` of raw tokens `[batch, tokens,
    /// channels]`, undisturbed. Empty without memory.
    pub(crate) fn memory_queries(&mut self, tokens: &[f32]) -> Vec<Vec<f32>> {
        let image = self.config.tokens() * self.config.channels();
        let batch = tokens.len() / image;
        if batch == 0 {
            return Vec::new();
        }
        self.fit(batch);
        self.prepare();
        let mut groups = std::mem::take(&mut self.groups);
        let shared = self.shared(batch, None);
        let standard = self.standard.as_ref().map(|[mean, scale]| (mean.as_slice(), scale.as_slice()));
        groups.par_iter_mut().for_each(|group| group.forward(&shared, &tokens[..batch * image], standard));
        let mut queries = vec![Vec::new(); self.plan.memories.len()];
        for step in &self.plan.steps {
            let Step::Memory(memory) = step else { continue };
            let view = memory.x.view;
            for group in &groups {
                for row in group.value(view.value).chunks_exact(self.plan.values[view.value]) {
                    queries[memory.index].extend_from_slice(&row[view.start..view.start + view.columns]);
                }
            }
        }
        self.groups = groups;
        queries
    }

    fn shared<'a>(&'a self, batch: usize, noise: Option<Noise<'a>>) -> Shared<'a> {
        Shared {
            plan: &self.plan,
            parameters: &self.parameters,
            tables: &self.tables,
            unit_slots: &self.unit_slots,
            tokens: self.config.tokens(),
            heads: self.config.heads,
            slots: self.config.memory_slots,
            memory_share: self.memory_share,
            sharpness: (1.0 / self.config.memory_temperature) as f32,
            mask: self.config.attention_mask(),
            stage_channels: &self.config.stage_channels,
            batch_rows: batch * self.config.tokens(),
            noise,
        }
    }

    /// Groups for a batch. Their sizes depend on the batch alone: sums have the same order on any number of threads.
    fn fit(&mut self, batch: usize) {
        if self.batch == batch && !self.groups.is_empty() {
            return;
        }
        let tokens = self.config.tokens();
        let size = ROWS.div_ceil(tokens).min(batch).max(1);
        self.groups.clear();
        for first in (0..batch).step_by(size) {
            self.groups.push(Group::new(&self.plan, first, size.min(batch - first), tokens));
        }
        self.batch = batch;
    }

    /// What depends on parameters alone: positions, tables, unit slots.
    pub(super) fn prepare(&mut self) {
        let (d, [rows, columns]) = (self.config.narrow_width, self.config.grid);
        if let Some([row, column]) = self.plan.position {
            let half = d / 2;
            for (token, position) in self.position.chunks_exact_mut(d).enumerate() {
                let (r, c) = (token / columns, token % columns);
                position[..half].copy_from_slice(&self.parameters[column + c * half..][..half]);
                position[half..].copy_from_slice(&self.parameters[row + r * half..][..half]);
            }
        }
        let tokens = rows * columns;
        let parameters = &self.parameters;
        // y = bias in every row + x W^T in the first `placed` columns.
        let project = |x: &[f32], width: usize, [weight, bias]: [usize; 2], placed: usize, y: &mut [f32]| {
            let columns = y.len() / tokens;
            y.chunks_exact_mut(columns).for_each(|row| row.copy_from_slice(&parameters[bias..bias + columns]));
            multiply_into(
                y,
                Shape::strided(tokens, placed, columns),
                true,
                1.0,
                (x, Shape::dense(tokens, width)),
                (&parameters[weight..weight + placed * width], Shape::dense(placed, width).transposed()),
            );
        };
        let wide = self.config.wide_width();
        if let Some(projection) = self.plan.wide_position {
            project(&self.position, d, projection, wide, &mut self.wide_position);
        }
        for (table, values) in self.plan.tables.iter().zip(&mut self.tables) {
            let (position, width) = if table.wide { (&self.wide_position, wide) } else { (&self.position, d) };
            project(position, width, [table.weight, table.bias], table.placed, values);
        }
        let slots = self.config.memory_slots;
        for (index, &offset) in self.plan.memories.iter().enumerate() {
            let memory = &self.parameters[offset..offset + slots * d];
            self.slot_norms[index] = unit_rows(memory, d, &mut self.unit_slots[index]);
        }
    }

    /// The parameters' gradients from what the groups' backward left. Each number is made by one task, in one order.
    fn collect_gradient(&mut self) {
        let mut parts = self.parts();
        parts.sort_by_key(|(offset, ..)| *offset);
        let mut tasks = Vec::with_capacity(parts.len());
        let (mut rest, mut at) = (self.gradient.as_mut_slice(), 0);
        for (offset, length, part) in parts {
            let (_, after) = std::mem::take(&mut rest).split_at_mut(offset - at);
            let (slice, after) = after.split_at_mut(length);
            tasks.push((part, slice));
            (rest, at) = (after, offset + length);
        }
        let (plan, groups) = (&self.plan, &self.groups);
        let d = self.config.narrow_width;
        let (unit_slots, slot_norms) = (&self.unit_slots, &self.slot_norms);
        tasks.into_par_iter().for_each(|(part, out)| match part {
            Part::Weight(linear, outputs) => {
                for (index, group) in groups.iter().enumerate() {
                    group.add_weight_gradient(plan, &linear, outputs.clone(), index > 0, out);
                }
            }
            Part::Bias(linear) => {
                out.fill(0.0);
                groups.iter().for_each(|group| group.add_bias_gradient(&linear, out));
            }
            Part::NormWeight(index) => {
                out.fill(0.0);
                groups.iter().for_each(|group| add(out, &group.norm_gradient(index)[0]));
            }
            Part::NormBias(index) => {
                out.fill(0.0);
                groups.iter().for_each(|group| add(out, &group.norm_gradient(index)[1]));
            }
            Part::Memory(index) => {
                out.fill(0.0);
                let mut units = vec![0.0; out.len()];
                for group in groups {
                    let [mix, unit] = group.memory_gradient(index);
                    add(out, mix);
                    add(&mut units, unit);
                }
                slot_gradient(out, &units, &unit_slots[index], &slot_norms[index], d);
            }
        });
        self.table_gradients();
    }

    /// Through the tables: to the projections, their biases and the position embeddings.
    fn table_gradients(&mut self) {
        let (d, [_, columns], tokens) = (self.config.narrow_width, self.config.grid, self.config.tokens());
        let linears: Vec<(usize, Linear)> = self.plan.steps.iter().filter_map(table_linear).collect();
        let (groups, gradients) = (&self.groups, &mut self.table_gradients);
        let by_table: BTreeMap<usize, Linear> = linears.into_iter().collect();
        gradients.par_iter_mut().enumerate().for_each(|(table, sums)| {
            sums.fill(0.0);
            if let Some(linear) = by_table.get(&table) {
                groups.iter().for_each(|group| group.add_bias_gradient(linear, sums));
            }
        });
        let mut d_position = vec![0.0; self.position.len()];
        for (table, d_table) in self.plan.tables.iter().zip(&self.table_gradients) {
            let bias = &mut self.gradient[table.bias..table.bias + table.columns];
            bias.fill(0.0);
            add_to_columns(d_table, bias);
            let placed = Shape::strided(tokens, table.placed, table.columns);
            let weight = table.weight..table.weight + table.placed * d;
            multiply_into(
                &mut self.gradient[weight.clone()],
                Shape::dense(table.placed, d),
                true,
                1.0,
                (d_table, placed.transposed()),
                (&self.position, Shape::dense(tokens, d)),
            );
            multiply_into(
                &mut d_position,
                Shape::dense(tokens, d),
                true,
                1.0,
                (d_table, placed),
                (&self.parameters[weight], Shape::dense(table.placed, d)),
            );
        }
        if let Some([row, column]) = self.plan.position {
            let half = d / 2;
            self.gradient[row..row + self.config.grid[0] * half].fill(0.0);
            self.gradient[column..column + columns * half].fill(0.0);
            for (token, d_position) in d_position.chunks_exact(d).enumerate() {
                let (r, c) = (token / columns, token % columns);
                add(&mut self.gradient[column + c * half..][..half], &d_position[..half]);
                add(&mut self.gradient[row + r * half..][..half], &d_position[half..]);
            }
        }
    }

    /// Offset, length and kind of every part of the gradient but the tables'.
    fn parts(&self) -> Vec<(usize, usize, Part)> {
        let mut parts = Vec::new();
        for step in &self.plan.steps {
            match step {
                Step::Linear(linear) => {
                    let (inputs, outputs) = (linear.x.view.columns, linear.y.columns);
                    let tile = outputs.div_ceil(outputs.div_ceil(OUTPUTS).max(1)).max(1);
                    for first in (0..outputs).step_by(tile) {
                        let range = first..(first + tile).min(outputs);
                        parts.push((
                            linear.weight + first * inputs,
                            range.len() * inputs,
                            Part::Weight(*linear, range),
                        ));
                    }
                    if let Bias::Row(offset) = linear.bias {
                        parts.push((offset, outputs, Part::Bias(*linear)));
                    }
                }
                Step::AddNorm(norm) => {
                    parts.push((norm.weight, norm.r.columns, Part::NormWeight(norm.index)));
                    parts.push((norm.bias, norm.r.columns, Part::NormBias(norm.index)));
                }
                Step::Memory(memory) => {
                    let length = self.config.memory_slots * memory.x.view.columns;
                    parts.push((memory.slots, length, Part::Memory(memory.index)));
                }
                Step::Attention(_) | Step::Sum(..) | Step::Constant(..) => {}
            }
        }
        parts
    }
}

fn table_linear(step: &Step) -> Option<(usize, Linear)> {
    match step {
        Step::Linear(linear) => match linear.bias {
            Bias::Table(table) => Some((table, *linear)),
            Bias::Row(_) => None,
        },
        _ => None,
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.detach().to_dtype(candle_core::DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Branches, Jitter, JitterKind};
    use crate::{Variant, backbones::Backbone};
    use candle_core::DType;

    fn base() -> DualAdConfig {
        DualAdConfig {
            stage_channels: vec![5, 3, 6],
            grid: [5, 6],
            levels: 3,
            narrow_width: 12,
            chunk_width: 12,
            heads: 2,
            ffn_width: 20,
            encoder_layers: 2,
            wide_ffn_ratio: 2,
            memory_slots: 7,
            memory_temperature: 0.3,
            neighbor_mask: Some([3, 3]),
            ..DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18)
        }
    }

    pub(crate) fn cases() -> Vec<DualAdConfig> {
        let channel = Some(Jitter { kind: JitterKind::Channel, scale: 2.0 });
        vec![
            base(),
            DualAdConfig { chunk_width: 7, wide_layers: 2, ..base() },
            DualAdConfig { memory_slots: 0, neighbor_mask: None, dropout: 0.0, ..base() },
            DualAdConfig { branches: Branches::WideShallow, ..base() },
            DualAdConfig { standardize: true, jitter: channel, ..base() },
            DualAdConfig { levels: 1, encoder_layers: 1, jitter: None, grid: [7, 7], heads: 3, ..base() },
            // Wider heads than a block of channels, more tokens than a block of keys, odd numbers of both.
            DualAdConfig { narrow_width: 18, chunk_width: 18, heads: 2, grid: [5, 9], ..base() },
        ]
    }

    pub(crate) fn made(config: &DualAdConfig) -> DualAd {
        let network = DualAd::new(config.clone(), &Random::new(3), &Device::Cpu).unwrap();
        if !config.standardize {
            return network;
        }
        let channels = config.channels();
        let mean: Vec<f32> = (0..channels).map(|channel| channel as f32 - 3.0).collect();
        let deviation: Vec<f32> = (0..channels).map(|channel| 0.5 + channel as f32).collect();
        network.with_standardization(&mean, &deviation).unwrap()
    }

    pub(crate) fn tokens(config: &DualAdConfig, batch: usize) -> Tensor {
        let shape = (batch, config.tokens(), config.channels());
        let values = Random::new(9).stream().normal(batch * config.tokens() * config.channels());
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn loss_and_gradient_are_those_of_the_plain_form() {
        for (case, config) in cases().into_iter().enumerate() {
            let network = made(&config);
            let mut fast = TrainingEngine::new(&network).unwrap();
            // 17 images of 30 tokens: a group of 14 and one of 3.
            for (batch, share) in [(17, 1.0), (2, 0.0), (3, 0.4)] {
                let network = network.clone().with_memory_share(share);
                let tokens = tokens(&config, batch);
                let (mut random, mut again) = (Random::new(4), Random::new(4));
                let reconstruction = network.reconstruct_jittered(&tokens, &mut random).unwrap();
                let loss = network.loss(&tokens, &reconstruction).unwrap();
                let gradients = loss.backward().unwrap();
                let values: Vec<f32> = tokens.flatten_all().unwrap().to_vec1().unwrap();
                fast.set_memory_share(share);
                let found = fast.loss_and_gradient(&values, Some(&mut again)).unwrap();
                assert_eq!(random, again, "case {case}: the same streams are drawn");
                let loss = f64::from(loss.to_scalar::<f32>().unwrap());
                assert!((found - loss).abs() <= 1e-5 * loss, "case {case}: {found} {loss}");
                for (name, found) in fast.named(&fast.gradient).unwrap() {
                    let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
                    let variable = &network.variables()[&name];
                    let Some(expected) = gradients.get(variable) else {
                        assert!(found.iter().all(|&value| value == 0.0), "case {case}: {name}");
                        continue;
                    };
                    let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
                    // A key's bias has no gradient but for rounding: softmax ignores what is common to all keys.
                    let largest = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
                    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        let error = (found - expected).abs();
                        assert!(error <= 1e-4 * largest, "case {case} {name} {index}: {found} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let config = base();
        let values: Vec<f32> = tokens(&config, 40).flatten_all().unwrap().to_vec1().unwrap();
        let gradient = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut fast = TrainingEngine::new(&made(&config)).unwrap();
                let loss = fast.loss_and_gradient(&values, Some(&mut Random::new(4))).unwrap();
                (loss.to_bits(), fast.gradient.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
            })
        };
        let one = gradient(1);
        assert!(one == gradient(2) && one == gradient(3));
    }

    #[test]
    fn parameters_go_in_and_out_and_bad_tokens_are_refused() {
        let network = made(&DualAdConfig { standardize: true, ..base() });
        let mut fast = TrainingEngine::new(&network).unwrap();
        let back = fast.network().unwrap();
        assert_eq!(back.config(), network.config());
        for (name, tensor) in network.parameters() {
            let [found, expected] = [&back.parameters()[name], tensor].map(|tensor| numbers(tensor).unwrap());
            assert_eq!(found, expected, "{name}");
        }
        let named = fast.named(&fast.parameters).unwrap();
        assert_eq!(fast.flatten(&named).unwrap(), fast.parameters);
        let mut wrong = named.clone();
        wrong.insert("in_proj.0.bias".into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
        assert!(fast.flatten(&wrong).unwrap_err().to_string().contains("in_proj.0.bias"));
        wrong.remove("in_proj.0.bias");
        assert!(fast.flatten(&wrong).is_err());
        for count in [0, 1, 30 * 14 - 1] {
            assert!(fast.loss_and_gradient(&vec![0.0; count], None).is_err());
        }
    }

    #[test]
    fn memory_queries_are_what_the_memory_is_asked() {
        let config = DualAdConfig { memory_temperature: 1.0, ..base() };
        let mut fast = TrainingEngine::new(&made(&config)).unwrap();
        let values: Vec<f32> = tokens(&config, 20).flatten_all().unwrap().to_vec1().unwrap();
        let queries = fast.memory_queries(&values);
        assert_eq!(queries.len(), 3);
        assert!(queries.iter().all(|level| level.len() == 20 * 30 * 12 && level.iter().any(|&x| x != 0.0)));
        // One image alone asks the same.
        let alone = fast.memory_queries(&values[..30 * 14]);
        assert!(alone[2].iter().zip(&queries[2]).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
