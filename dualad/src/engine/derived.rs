//! Values that follow from the parameters alone: positions, biases with positions, and unit memory slots.

use crate::config::DualAdConfig;
use crate::engine::plan::{Plan, Table};
use crate::ops::matrix::{MatrixShape, multiply_into};
use crate::ops::memory_read::unit_rows;

/// The values derived from a network's parameters. [`Self::update`] computes them again after the parameters have changed.
#[derive(Debug)]
pub(crate) struct Derived {
    /// The position embeddings, `[tokens, narrow_width]`; empty if the network has none.
    pub(crate) position: Vec<f32>,
    /// The position embeddings projected to the width of the wide-shallow branch, `[tokens, wide_width]`; empty if that branch has
    /// none.
    wide_position: Vec<f32>,
    /// For each of the plan's tables, the biases with positions, `[tokens, columns]`.
    pub(crate) tables: Vec<Vec<f32>>,
    /// For each memory, its slots divided by their norms, `[slots, narrow_width]`.
    pub(crate) unit_slots: Vec<Vec<f32>>,
    /// For each memory, the norms of its slots.
    pub(crate) slot_norms: Vec<Vec<f32>>,
}

impl Derived {
    /// Allocates the values, as zeros, for a network.
    pub(crate) fn new(config: &DualAdConfig, plan: &Plan) -> Self {
        let tokens = config.tokens();
        let table = |table: &Table| vec![0.0; tokens * table.columns];
        let slots = |_: &usize| vec![0.0; config.memory_slots * config.narrow_width];
        Self {
            position: vec![0.0; plan.position.map_or(0, |_| tokens * config.narrow_width)],
            wide_position: vec![0.0; plan.wide_position.map_or(0, |_| tokens * config.wide_width())],
            tables: plan.tables.iter().map(table).collect(),
            unit_slots: plan.memories.iter().map(slots).collect(),
            slot_norms: vec![Vec::new(); plan.memories.len()],
        }
    }

    /// Computes the values from the parameters.
    pub(crate) fn update(&mut self, config: &DualAdConfig, plan: &Plan, parameters: &[f32]) {
        let (d, [rows, columns]) = (config.narrow_width, config.grid);
        if let Some([row, column]) = plan.position {
            let half = d / 2;
            for (token, position) in self.position.chunks_exact_mut(d).enumerate() {
                let (r, c) = (token / columns, token % columns);
                position[..half].copy_from_slice(&parameters[column + c * half..][..half]);
                position[half..].copy_from_slice(&parameters[row + r * half..][..half]);
            }
        }
        let tokens = rows * columns;
        // y = bias in every row + x W^T in the first `placed` columns.
        let project = |x: &[f32], width: usize, [weight, bias]: [usize; 2], placed: usize, y: &mut [f32]| {
            let columns = y.len() / tokens;
            y.chunks_exact_mut(columns).for_each(|row| row.copy_from_slice(&parameters[bias..bias + columns]));
            multiply_into(
                y,
                MatrixShape::strided(tokens, placed, columns),
                true,
                1.0,
                (x, MatrixShape::dense(tokens, width)),
                (&parameters[weight..weight + placed * width], MatrixShape::dense(placed, width).transposed()),
            );
        };
        let wide = config.wide_width();
        if let Some(projection) = plan.wide_position {
            project(&self.position, d, projection, wide, &mut self.wide_position);
        }
        for (table, values) in plan.tables.iter().zip(&mut self.tables) {
            let (position, width) = if table.wide { (&self.wide_position, wide) } else { (&self.position, d) };
            project(position, width, [table.weight, table.bias], table.placed, values);
        }
        for (index, &offset) in plan.memories.iter().enumerate() {
            let memory = &parameters[offset..offset + config.memory_slots * d];
            self.slot_norms[index] = unit_rows(memory, d, &mut self.unit_slots[index]);
        }
    }
}
