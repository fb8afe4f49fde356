//! The reconstruction network: tokens to their errors (docs/method.md, sections 4 and 6).

use std::collections::BTreeMap;

use dualad::candle_core::Tensor;
use dualad::{Branches, Combination, DualAd, DualAdConfig, Variant};

use crate::error::{Error, Result};
use crate::graph::{Graph, Value};

/// The smallest divisor of a vector and of weights (`MIN_NORM` of dualad-kernels).
const MIN_NORM: f32 = 1e-12;
/// The limit of an error and of a product of them (docs/method.md, section 6).
const MAX_ERROR: f32 = 1e18;
/// The score of a token that must not be attended to. Its weight is exactly 0.
const MASKED: f32 = -1e9;
/// The constant added to the variance of a layer norm.
const EPS: f64 = 1e-5;

/// The network while it is written.
struct Writer<'a> {
    graph: &'a mut Graph,
    config: &'a DualAdConfig,
    parameters: &'a BTreeMap<String, Tensor>,
    /// `[tokens, tokens]`.
    mask: Option<Value>,
}

/// The inputs of a branch's layers.
struct Branch {
    channels: usize,
    /// `[1, tokens, channels]`.
    position: Value,
}

/// Writes the network. Returns the combined errors of tokens `[batch, tokens, channels]`, `[batch, rows, columns]`.
pub(crate) fn errors(graph: &mut Graph, network: &DualAd, tokens: &Value) -> Result<Value> {
    let config = network.config();
    graph.begin("network");
    let mask = mask(config).map(|mask| graph.floats(&[config.tokens(), config.tokens()], &mask));
    let mut writer = Writer { graph, config, parameters: network.parameters(), mask };
    let standard = writer.standardized(tokens)?;
    let reconstruction = writer.reconstruction(&standard)?;
    writer.combined(&standard, &reconstruction)
}

/// Returns the mask that is added to the scores of attention.
fn mask(config: &DualAdConfig) -> Option<Vec<f32>> {
    let [rows, columns] = config.grid;
    let [above, beside] = config.neighbor_mask?.map(|side| side / 2);
    let cells = || (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)));
    let is_near = move |(row, column): (usize, usize), (other, beyond): (usize, usize)| {
        row.abs_diff(other) <= above && column.abs_diff(beyond) <= beside
    };
    let score = |near: bool| if near { MASKED } else { 0.0 };
    Some(cells().flat_map(|cell| cells().map(move |other| score(is_near(cell, other)))).collect())
}

impl Writer<'_> {
    /// Returns a parameter and its shape.
    fn parameter(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let tensor = self.parameters.get(name).ok_or_else(|| Error::Parameter { name: name.into() })?;
        Ok((tensor.flatten_all()?.to_vec1()?, tensor.dims().to_vec()))
    }

    /// Adds a parameter as a constant.
    fn constant(&mut self, name: &str) -> Result<Value> {
        let (values, shape) = self.parameter(name)?;
        Ok(self.graph.floats(&shape, &values))
    }

    fn linear(&mut self, name: &str, x: &Value) -> Result<Value> {
        let (weight, _) = self.parameter(&format!("{name}.weight"))?;
        let (bias, _) = self.parameter(&format!("{name}.bias"))?;
        Ok(self.graph.linear(x, &weight, &bias))
    }

    /// Adds a layer norm of the sum of two values.
    fn add_and_norm(&mut self, name: &str, a: &Value, b: &Value) -> Result<Value> {
        let (weight, _) = self.parameter(&format!("{name}.weight"))?;
        let (bias, _) = self.parameter(&format!("{name}.bias"))?;
        let sum = self.graph.add(a, b);
        Ok(self.graph.layer_norm(&sum, &weight, &bias, EPS))
    }

    fn standardized(&mut self, tokens: &Value) -> Result<Value> {
        if !self.config.standardize {
            return Ok(tokens.clone());
        }
        let (mean, std) = (self.constant("standardisation.mean")?, self.constant("standardisation.deviation")?);
        let centered = self.graph.sub(tokens, &mean);
        Ok(self.graph.div(&centered, &std))
    }

    /// Returns the reconstruction, in the units of the input.
    fn reconstruction(&mut self, tokens: &Value) -> Result<Value> {
        let config = self.config;
        let coupled = config.branches != Branches::WideShallow;
        let has_position = coupled || config.variant == Variant::Homogeneous;
        let scope = if coupled { "encoder.layers.0.abs_pos_embed" } else { "proj_encoder.layers.0.abs_pos_embed.0" };
        let position = if has_position { Some(self.position(scope)?) } else { None };
        let wide = match (config.branches, config.variant, &position) {
            (Branches::Coupled | Branches::WideShallow, Variant::Homogeneous, Some(position)) => {
                Some(self.wide_branch(position)?)
            }
            _ => None,
        };
        let mut x = match &wide {
            Some(wide) => {
                let mut x = self.linear("in_proj", tokens)?;
                for layer in 0..config.wide_layers {
                    x = self.encoder_layer(&format!("proj_encoder.layers.{layer}"), wide, &x)?;
                }
                x
            }
            None => self.mlp("in_proj", tokens)?,
        };
        let has_projections = config.chunk_width != config.narrow_width;
        if has_projections {
            x = self.linear("head_proj1", &x)?;
        }
        let width = config.narrow_width;
        let mut levels: Vec<Value> =
            (0..config.levels).map(|level| self.graph.slice(&x, 2, level * width, (level + 1) * width)).collect();
        if config.memory_slots > 0 {
            for (index, level) in levels.iter_mut().enumerate() {
                *level = self.memory(&format!("memory_modules.{index}.weight"), level)?;
            }
        }
        if let (true, Some(position)) = (coupled, position) {
            let position = self.graph.floats(&[1, config.tokens(), width], &position);
            levels = self.narrow(&Branch { channels: width, position }, &levels)?;
        }
        let mut x = self.graph.concat(&levels.iter().collect::<Vec<_>>(), 2);
        if has_projections {
            x = self.linear("head_proj2", &x)?;
        }
        let Some(wide) = wide else { return self.mlp("out_proj", &x) };
        let mut previous = x.clone();
        for layer in 0..config.wide_layers {
            let (query, shape) = self.parameter(&format!("proj_decoder.learned_queries.{layer}.weight"))?;
            let query = self.graph.floats(&[&[1], shape.as_slice()].concat(), &query);
            previous = self.decoder_layer(&format!("proj_decoder.layers.{layer}"), &wide, [&query, &previous, &x])?;
        }
        self.linear("out_proj", &previous)
    }

    /// Returns the position embedding of every token, `[tokens, d]`: the column's channels, then the row's.
    fn position(&self, scope: &str) -> Result<Vec<f32>> {
        let (row, _) = self.parameter(&format!("{scope}.row_embed"))?;
        let (column, _) = self.parameter(&format!("{scope}.col_embed"))?;
        let half = self.config.narrow_width / 2;
        let mut position = Vec::new();
        for row in row.chunks_exact(half.max(1)) {
            for column in column.chunks_exact(half.max(1)) {
                position.extend_from_slice(column);
                position.extend_from_slice(row);
            }
        }
        Ok(position)
    }

    /// Returns the wide branch, whose position embedding is a projection of the narrow one's.
    fn wide_branch(&mut self, position: &[f32]) -> Result<Branch> {
        const PROJECTION: &str = "proj_encoder.layers.0.abs_pos_embed.1";
        let (weight, _) = self.parameter(&format!("{PROJECTION}.weight"))?;
        let (bias, _) = self.parameter(&format!("{PROJECTION}.bias"))?;
        let width = self.config.narrow_width.max(1);
        let mut projected = Vec::new();
        for token in position.chunks_exact(width) {
            let rows = weight.chunks_exact(width).zip(&bias);
            projected.extend(rows.map(|(row, bias)| {
                let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                (row.iter().zip(token).map(product).sum::<f64>() + f64::from(*bias)) as f32
            }));
        }
        let channels = self.config.wide_width();
        Ok(Branch { channels, position: self.graph.floats(&[1, self.config.tokens(), channels], &projected) })
    }

    /// Adds the wide branch of linear layers with ReLU between them, or one linear layer.
    fn mlp(&mut self, name: &str, x: &Value) -> Result<Value> {
        if self.config.branches == Branches::NarrowDeep {
            return self.linear(name, x);
        }
        // The names count the ReLUs too.
        let mut y = self.linear(&format!("{name}.0"), x)?;
        for layer in 1..=self.config.wide_layers {
            let hidden = self.graph.unary("Relu", &y);
            y = self.linear(&format!("{name}.{}", 2 * layer), &hidden)?;
        }
        Ok(y)
    }

    /// Adds the read of a memory module (docs/method.md, section 4.2).
    fn memory(&mut self, name: &str, x: &Value) -> Result<Value> {
        let (slots, shape) = self.parameter(name)?;
        let [count, width] = shape.as_slice() else { return Err(Error::Parameter { name: name.into() }) };
        let mut unit = slots.clone();
        for slot in unit.chunks_exact_mut((*width).max(1)) {
            let norm = slot.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(f64::from(MIN_NORM));
            slot.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
        }
        let graph = &mut *self.graph;
        let unit = graph.floats(&[*width, *count], &crate::graph::turned(&unit, *count, *width));
        let slots = graph.floats(&[*count, *width], &slots);
        let norm = graph.reduce("ReduceL2", x, &[-1], true);
        let norm = graph.at_least(&norm, MIN_NORM);
        let direction = graph.div(x, &norm);
        let cosine = graph.matmul(&direction, &unit);
        let cosine = graph.scale(&cosine, (1.0 / self.config.memory_temperature) as f32);
        let weights = graph.softmax(&cosine);
        let least = graph.number((1.0 / *count as f64) as f32);
        let kept = graph.node("Greater", &[&weights, &least], Vec::new());
        let zero = graph.number(0.0);
        let weights = graph.node("Where", &[&kept, &weights, &zero], Vec::new());
        let sum = graph.sum_last(&weights, true);
        let sum = graph.at_least(&sum, MIN_NORM);
        let weights = graph.div(&weights, &sum);
        Ok(graph.matmul(&weights, &slots))
    }

    /// Adds the narrow-deep network (docs/method.md, section 4.3).
    fn narrow(&mut self, branch: &Branch, levels: &[Value]) -> Result<Vec<Value>> {
        let Some((first, others)) = levels.split_first() else { return Ok(Vec::new()) };
        let mut encoded = others.iter().fold(first.clone(), |sum, level| self.graph.add(&sum, level));
        for layer in 0..self.config.encoder_layers {
            encoded = self.encoder_layer(&format!("encoder.layers.{layer}"), branch, &encoded)?;
        }
        let mut outputs: Vec<Value> = Vec::new();
        for (index, level) in levels.iter().enumerate() {
            let previous = outputs.last().unwrap_or(&encoded).clone();
            let name = format!("decoder.layers.{index}");
            outputs.push(self.decoder_layer(&name, branch, [level, &previous, &encoded])?);
        }
        Ok(outputs)
    }

    fn encoder_layer(&mut self, name: &str, branch: &Branch, x: &Value) -> Result<Value> {
        let located = self.graph.add(x, &branch.position);
        let attended = self.attention(&format!("{name}.attn"), branch, [&located, &located, x])?;
        let x = self.add_and_norm(&format!("{name}.norm1"), x, &attended)?;
        self.feed_forward(name, "norm2", &x)
    }

    fn decoder_layer(&mut self, name: &str, branch: &Branch, [x, previous, encoded]: [&Value; 3]) -> Result<Value> {
        let mut x = x.clone();
        for (index, source) in [(1, encoded), (2, previous)] {
            let [query, key] = [&x, source].map(|x| self.graph.add(x, &branch.position));
            let attended = self.attention(&format!("{name}.attn{index}"), branch, [&query, &key, source])?;
            x = self.add_and_norm(&format!("{name}.norm{index}"), &x, &attended)?;
        }
        self.feed_forward(name, "norm3", &x)
    }

    fn feed_forward(&mut self, name: &str, norm: &str, x: &Value) -> Result<Value> {
        let hidden = self.linear(&format!("{name}.ffn.fc1"), x)?;
        let hidden = self.graph.unary("Relu", &hidden);
        let y = self.linear(&format!("{name}.ffn.fc2"), &hidden)?;
        self.add_and_norm(&format!("{name}.{norm}"), x, &y)
    }

    fn attention(&mut self, name: &str, branch: &Branch, [query, key, value]: [&Value; 3]) -> Result<Value> {
        let query = self.linear(&format!("{name}.q_proj"), query)?;
        let key = self.linear(&format!("{name}.k_proj"), key)?;
        let value = self.linear(&format!("{name}.v_proj"), value)?;
        let (heads, mask) = (self.config.heads, self.mask.clone());
        let attended = self.graph.attention([&query, &key, &value], heads, branch.channels, mask.as_ref());
        self.linear(&format!("{name}.out_proj"), &attended)
    }

    /// Returns the combined errors of all stages, `[batch, rows, columns]`.
    fn combined(&mut self, tokens: &Value, reconstruction: &Value) -> Result<Value> {
        let mut difference = self.graph.sub(reconstruction, tokens);
        if self.config.standardize_errors {
            let std = self.constant("standardisation.error")?;
            difference = self.graph.div(&difference, &std);
        }
        let squares = self.graph.mul(&difference, &difference);
        let (mut start, mut combined) = (0, None);
        for &channels in &self.config.stage_channels {
            let stage = self.graph.slice(&squares, 2, start, start + channels);
            start += channels;
            let mean = self.graph.reduce("ReduceMean", &stage, &[2], false);
            let root = self.graph.unary("Sqrt", &mean);
            let stage = self.graph.at_most(&root, MAX_ERROR);
            combined = Some(match combined {
                None => stage,
                Some(before) => {
                    let both = match self.config.combination {
                        Combination::Sum => self.graph.add(&before, &stage),
                        _ => self.graph.mul(&before, &stage),
                    };
                    self.graph.at_most(&both, MAX_ERROR)
                }
            });
        }
        let combined = combined.ok_or_else(|| Error::Parameter { name: "stage_channels".into() })?;
        let [rows, columns] = self.config.grid;
        Ok(self.graph.reshape(&combined, &[0, rows, columns]))
    }
}

#[cfg(test)]
mod tests {
    use dualad::backbones::Backbone;

    use super::*;

    #[test]
    fn a_mask_hides_the_neighbors_of_each_token() {
        let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18).with_grid([2, 3]);
        // An even side counts as the next odd one.
        let mask = mask(&config.clone().with_neighbor_mask(Some([1, 2]))).unwrap();
        let hidden: Vec<bool> = mask.iter().map(|score| *score == MASKED).collect();
        let (row, none) = ([[true, true, false], [true, true, true], [false, true, true]], [false; 3]);
        let expected: Vec<bool> = row
            .iter()
            .flat_map(|row| [*row, none].concat())
            .chain(row.iter().flat_map(|row| [none, *row].concat()))
            .collect();
        assert_eq!(hidden, expected);
        assert!(super::mask(&config.with_neighbor_mask(None)).is_none());
    }
}
