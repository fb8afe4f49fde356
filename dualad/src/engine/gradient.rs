//! The gradient of every parameter, summed over the groups of a batch.

use std::collections::BTreeMap;
use std::ops::Range;

use dualad_kernels::add_to_columns;
use rayon::prelude::*;

use crate::config::DualAdConfig;
use crate::engine::derived::Derived;
use crate::engine::group::Group;
use crate::engine::plan::{Bias, Linear, Plan, Step};
use crate::ops::matrix::{MatrixShape, multiply_into};
use crate::ops::memory_read::slot_gradient;

/// The most rows of a linear layer's dW that a task computes. Smaller tasks spend their time re-packing the inputs.
const MAX_OUTPUTS: usize = 256;

/// The inputs of [`collect`]: a network, and its groups after their backward passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GradientSource<'a> {
    pub(crate) config: &'a DualAdConfig,
    pub(crate) plan: &'a Plan,
    pub(crate) parameters: &'a [f32],
    pub(crate) derived: &'a Derived,
    pub(crate) groups: &'a [Group],
}

/// The part of the gradient that a task computes.
#[derive(Debug, Clone)]
enum Part {
    /// Some output rows of a linear layer's weight.
    Weight(Linear, Range<usize>),
    /// The bias of a linear layer.
    Bias(Linear),
    /// The weight of the norm with this index.
    NormWeight(usize),
    /// The bias of the norm with this index.
    NormBias(usize),
    /// The slots of the memory with this index.
    Memory(usize),
}

/// Computes the gradient of every parameter from the groups' backward passes. One task computes each element, in a fixed order, so
/// the result does not depend on the number of threads. `table_gradients` are buffers for the gradients of the plan's tables.
pub(crate) fn collect(source: &GradientSource<'_>, gradient: &mut [f32], table_gradients: &mut [Vec<f32>]) {
    let mut parts = source.parts();
    parts.sort_by_key(|(offset, ..)| *offset);
    let mut tasks = Vec::with_capacity(parts.len());
    let (mut rest, mut at) = (&mut *gradient, 0);
    for (offset, length, part) in parts {
        let (_, after) = std::mem::take(&mut rest).split_at_mut(offset - at);
        let (slice, after) = after.split_at_mut(length);
        tasks.push((part, slice));
        (rest, at) = (after, offset + length);
    }
    let GradientSource { config, plan, groups, derived, .. } = *source;
    let d = config.narrow_width;
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
            slot_gradient(out, &units, &derived.unit_slots[index], &derived.slot_norms[index], d);
        }
    });
    through_tables(source, gradient, table_gradients);
}

/// Adds the positions' part to the weight gradients of layers whose bias is a table. Computes the gradients of their biases and of
/// the position embeddings.
fn through_tables(source: &GradientSource<'_>, gradient: &mut [f32], table_gradients: &mut [Vec<f32>]) {
    let GradientSource { config, plan, groups, derived, parameters } = *source;
    let (d, [_, columns], tokens) = (config.narrow_width, config.grid, config.tokens());
    let by_table: BTreeMap<usize, Linear> = plan.steps.iter().filter_map(table_linear).collect();
    table_gradients.par_iter_mut().enumerate().for_each(|(table, sums)| {
        sums.fill(0.0);
        if let Some(linear) = by_table.get(&table) {
            groups.iter().for_each(|group| group.add_bias_gradient(linear, sums));
        }
    });
    // Only for tables of the narrow-deep network, whose inputs have width d and `derived.position`. Networks with other tables are
    // not trained here (`Plan::can_train`).
    let mut d_position = vec![0.0; derived.position.len()];
    for (table, d_table) in plan.tables.iter().zip(&*table_gradients) {
        let bias = &mut gradient[table.bias..table.bias + table.columns];
        bias.fill(0.0);
        add_to_columns(d_table, bias);
        let placed = MatrixShape::strided(tokens, table.placed, table.columns);
        let weight = table.weight..table.weight + table.placed * d;
        multiply_into(
            &mut gradient[weight.clone()],
            MatrixShape::dense(table.placed, d),
            true,
            1.0,
            (d_table, placed.transposed()),
            (&derived.position, MatrixShape::dense(tokens, d)),
        );
        multiply_into(
            &mut d_position,
            MatrixShape::dense(tokens, d),
            true,
            1.0,
            (d_table, placed),
            (&parameters[weight], MatrixShape::dense(table.placed, d)),
        );
    }
    if let Some([row, column]) = plan.position {
        let half = d / 2;
        gradient[row..row + config.grid[0] * half].fill(0.0);
        gradient[column..column + columns * half].fill(0.0);
        for (token, d_position) in d_position.chunks_exact(d).enumerate() {
            let (r, c) = (token / columns, token % columns);
            add(&mut gradient[column + c * half..][..half], &d_position[..half]);
            add(&mut gradient[row + r * half..][..half], &d_position[half..]);
        }
    }
}

impl GradientSource<'_> {
    /// Returns the offset, the length and the kind of every part of the gradient, except the biases of layers whose bias is a
    /// table and the position embeddings.
    fn parts(&self) -> Vec<(usize, usize, Part)> {
        let mut parts = Vec::new();
        for step in &self.plan.steps {
            match step {
                Step::Linear(linear) => {
                    let (inputs, outputs) = (linear.x.view.columns, linear.y.columns);
                    let tile = outputs.div_ceil(outputs.div_ceil(MAX_OUTPUTS).max(1)).max(1);
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

/// Returns the table of a linear layer with positions, and the layer.
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
