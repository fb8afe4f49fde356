//! The forward and the backward pass of a batch, in the plan's order.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use crate::cdbn::NORM_EPS;
use crate::config::DualAdConfig;
use crate::engine::device::values::{Gradients, Values};
use crate::engine::plan::{AddNorm, Attention, Bias, Linear, LinearActivation, Memory, Plan, Step, View};
use crate::ops::{self, activate, activation_gradient, add_activated, product_into};
use crate::random::Stream;

/// The randomness of a training step.
#[derive(Debug)]
pub(super) struct Randomness {
    /// The probability of zero of every dropout.
    pub(super) probability: f32,
    /// The stream of each of the plan's dropouts.
    pub(super) streams: Vec<Stream>,
}

/// A batch on its way through the network.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    config: &'a DualAdConfig,
    plan: &'a Plan,
    /// All parameters, `[length]`.
    parameters: Tensor,
    /// The position embedding, `[1, tokens, narrow_width]`, if the network has one.
    position: Option<Tensor>,
    batch: usize,
    memory_share: f64,
    randomness: Option<Randomness>,
    values: Values,
    /// Values plus the position embedding.
    placed: BTreeMap<View, Tensor>,
}

/// A part of a linear layer with an input and an output of its own: the whole layer, or the projection to q, k or v.
#[derive(Debug, Clone, Copy)]
struct Projection {
    x: View,
    y: View,
    /// The offset of the weight, `[columns of y, columns of x]`, in the parameters.
    weight: usize,
    /// The offset of the bias in the parameters.
    bias: usize,
    /// True if the input gets the position embedding.
    placed: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        config: &'a DualAdConfig,
        plan: &'a Plan,
        parameters: Tensor,
        position: Option<Tensor>,
        (batch, memory_share): (usize, f64),
        randomness: Option<Randomness>,
    ) -> Self {
        let (values, placed) = (Values::default(), BTreeMap::new());
        Self { config, plan, parameters, position, batch, memory_share, randomness, values, placed }
    }

    /// Returns a value of the pass.
    pub(super) fn value(&mut self, view: View) -> Result<Tensor> {
        self.values.get(view)
    }

    /// Maps tokens `[batch, tokens, channels]` to their reconstruction, `[batch * tokens, channels]`.
    pub(super) fn forward(&mut self, tokens: &Tensor) -> Result<Tensor> {
        let rows = (self.batch * self.config.tokens(), self.config.channels());
        self.values.set(self.whole(self.plan.input), tokens.contiguous()?.reshape(rows)?);
        let plan = self.plan;
        for (index, step) in plan.steps.iter().enumerate() {
            match step {
                Step::Linear(linear) => self.linear(linear, is_summed(plan.steps.get(index + 1), linear.y))?,
                Step::Attention(attention) => self.attention(attention)?,
                Step::AddNorm(norm) => {
                    let bias = linear_bias(plan, index)?;
                    self.add_norm(norm, bias)?;
                }
                Step::Memory(memory) => self.memory(memory)?,
                Step::Sum(inputs, y) => {
                    let terms = inputs.iter().map(|input| self.values.get(input.view)).collect::<Result<Vec<_>>>()?;
                    let sum = terms.into_iter().map(Ok).reduce(|sum, term| sum? + term?);
                    self.values.set(*y, sum.unwrap_or_else(|| candle_core::bail!("a sum of nothing"))?);
                }
                Step::Constant(..) => candle_core::bail!("learned queries are not trained by this engine"),
            }
        }
        self.values.get(self.whole(plan.output))
    }

    /// Computes the gradient of every parameter from `derivative`, the derivative of the loss by the reconstruction. `ones` is
    /// `[1, rows]`, and `gradient` has the places of the parameters.
    pub(super) fn backward(&mut self, derivative: Tensor, ones: &Tensor, gradient: &Tensor) -> Result<()> {
        let mut back = Backward { ones, gradient, gradients: Gradients::default(), position: None };
        back.gradients.add(self.whole(self.plan.output), derivative)?;
        let plan = self.plan;
        for step in plan.steps.iter().rev() {
            match step {
                Step::Linear(linear) => self.linear_backward(linear, &mut back)?,
                Step::Attention(attention) => self.attention_backward(attention, &mut back)?,
                Step::AddNorm(norm) => self.add_norm_backward(norm, &mut back)?,
                Step::Memory(memory) => self.memory_backward(memory, &mut back)?,
                Step::Sum(inputs, y) => {
                    let dy = back.gradients.take(*y)?;
                    inputs.iter().try_for_each(|input| back.gradients.add(input.view, dy.clone()))?;
                }
                Step::Constant(..) => {}
            }
        }
        self.position_backward(back)
    }

    fn linear(&mut self, linear: &Linear, summed: bool) -> Result<()> {
        for projection in self.projections(linear) {
            let Projection { x, y, bias, placed, .. } = projection;
            let x = if placed { self.placed(x)? } else { self.values.get(x)? };
            let product = x.matmul(&self.weight(projection)?.t()?)?;
            // The next step adds the bias, together with its dropout and residual.
            let result = if summed {
                product
            } else {
                let (relu, dropout) = match linear.activation {
                    LinearActivation::Identity => (false, None),
                    LinearActivation::Relu => (true, None),
                    LinearActivation::ReluDropout(index) => (true, self.dropout(index)),
                };
                activate(product, &self.vector(bias, y.columns)?, relu, dropout)?
            };
            self.values.set(y, result);
        }
        Ok(())
    }

    fn linear_backward(&mut self, linear: &Linear, back: &mut Backward<'_>) -> Result<()> {
        for projection in self.projections(linear) {
            let Projection { x, y, weight, bias, placed } = projection;
            let dy = match linear.activation {
                LinearActivation::Identity => back.gradients.take(y)?,
                LinearActivation::Relu => {
                    activation_gradient(&self.values.get(y)?, back.gradients.take_owned(y)?, 0.0)?
                }
                LinearActivation::ReluDropout(index) => {
                    let probability = self.dropout(index).map_or(0.0, |(probability, _)| probability);
                    activation_gradient(&self.values.get(y)?, back.gradients.take_owned(y)?, probability)?
                }
            };
            let input = if placed { self.placed(x)? } else { self.values.get(x)? };
            back.set_product(weight, &dy.t()?, &input)?;
            back.set_sums(bias, &dy)?;
            if linear.x.needs_gradient {
                back.gradients.add_product(x, &dy, &self.weight(projection)?)?;
            }
            if placed {
                back.add_position(&dy, &self.weight(projection)?)?;
            }
        }
        Ok(())
    }

    fn attention(&mut self, attention: &Attention) -> Result<()> {
        let Attention { q, k, v, y } = *attention;
        let [q, k, v] = [self.images(q)?, self.images(k)?, self.images(v)?];
        let read = ops::attention(&q, &k, &v, self.config.heads, self.config.attention_mask())?;
        self.values.set(y, read.flatten(0, 1)?);
        Ok(())
    }

    fn attention_backward(&mut self, attention: &Attention, back: &mut Backward<'_>) -> Result<()> {
        let Attention { q, k, v, y } = *attention;
        let dy = back.gradients.take(y)?;
        let tensors = [self.images(q)?, self.images(k)?, self.images(v)?, self.images(y)?];
        let dy = dy.reshape(tensors[3].shape())?;
        let (heads, mask) = (self.config.heads, self.config.attention_mask());
        let gradients = ops::attention::gradients(tensors.each_ref(), heads, mask, &dy)?;
        for (view, gradient) in [q, k, v].into_iter().zip(gradients) {
            back.gradients.add(view, gradient.flatten(0, 1)?)?;
        }
        Ok(())
    }

    /// Leaves the sum before the norm in the view of r. `bias` is that of the linear layer before.
    fn add_norm(&mut self, norm: &AddNorm, bias: usize) -> Result<()> {
        let (x, r) = (self.values.get(norm.x.view)?, self.values.get(norm.r)?);
        let sum = add_activated(&x, r, &self.vector(bias, norm.r.columns)?, self.dropout(norm.dropout))?;
        let [weight, bias] = self.norm_parameters(norm)?;
        self.values.set(norm.y, ops::layer_norm(&sum, &weight, &bias, NORM_EPS)?);
        self.values.set(norm.r, sum);
        Ok(())
    }

    fn add_norm_backward(&mut self, norm: &AddNorm, back: &mut Backward<'_>) -> Result<()> {
        let (sum, dy) = (self.values.get(norm.r)?, back.gradients.take(norm.y)?);
        let [weight, bias] = self.norm_parameters(norm)?;
        let [d_sum, parts] = ops::layer_norm::gradients(&sum, &weight, &bias, NORM_EPS, &dy)?;
        back.set_sums(norm.weight, &parts.narrow(1, 0, 1)?.squeeze(1)?)?;
        back.set_sums(norm.bias, &parts.narrow(1, 1, 1)?.squeeze(1)?)?;
        let dr = match self.dropout(norm.dropout) {
            Some((probability, stream)) => ops::dropout(&d_sum, probability, stream)?,
            None => d_sum.clone(),
        };
        back.gradients.add(norm.r, dr)?;
        back.gradients.add(norm.x.view, d_sum)
    }

    fn memory(&mut self, memory: &Memory) -> Result<()> {
        let (x, share) = (self.values.get(memory.x.view)?, self.memory_share);
        let y = if share <= 0.0 {
            x
        } else {
            let read = ops::memory_read(&x, &self.slots(memory)?, self.config.memory_temperature)?;
            if share >= 1.0 { read } else { ((read * share)? + (x * (1.0 - share))?)? }
        };
        self.values.set(memory.y, y);
        Ok(())
    }

    fn memory_backward(&mut self, memory: &Memory, back: &mut Backward<'_>) -> Result<()> {
        let (x, slots, share) = (self.values.get(memory.x.view)?, self.slots(memory)?, self.memory_share);
        let dy = back.gradients.take(memory.y)?;
        if share <= 0.0 {
            back.set(memory.slots, &slots.zeros_like()?)?;
            return back.gradients.add(memory.x.view, dy);
        }
        let scaled = if share < 1.0 { (&dy * share)? } else { dy.clone() };
        let [dx, d_slots] = ops::memory_read::gradients(&x, &slots, self.config.memory_temperature, &scaled)?;
        back.set(memory.slots, &d_slots)?;
        back.gradients.add(memory.x.view, dx)?;
        if share < 1.0 { back.gradients.add(memory.x.view, (dy * (1.0 - share))?) } else { Ok(()) }
    }

    /// Computes the gradients of the position embeddings from that of the positions.
    fn position_backward(&self, back: Backward<'_>) -> Result<()> {
        let Some([row, column]) = self.plan.position else { return Ok(()) };
        let ([rows, columns], d) = (self.config.grid, self.config.narrow_width);
        let Some(position) = &back.position else { return Ok(()) };
        let position = position.reshape((self.batch, rows, columns, d))?.sum(0)?;
        back.set(column, &position.narrow(2, 0, d / 2)?.sum(0)?)?;
        back.set(row, &position.narrow(2, d / 2, d / 2)?.sum(1)?)
    }

    /// Returns the parts of a linear layer. Those of an attention are as wide as its input.
    fn projections(&self, linear: &Linear) -> Vec<Projection> {
        let (x, inputs) = (linear.x.view, linear.x.view.columns);
        match linear.bias {
            Bias::Row(bias) => vec![Projection { x, y: linear.y, weight: linear.weight, bias, placed: false }],
            Bias::Table(index) => {
                let (table, first) = (self.plan.tables[index], linear.y.start);
                let part = |start: usize| Projection {
                    x,
                    y: View { start: first + start, columns: inputs, ..linear.y },
                    weight: linear.weight + start * inputs,
                    bias: table.bias + start,
                    placed: start < table.placed,
                };
                (0..linear.y.columns).step_by(inputs).map(part).collect()
            }
        }
    }

    /// The view of all columns of a value.
    fn whole(&self, value: usize) -> View {
        View { value, start: 0, columns: self.plan.columns[value] }
    }

    /// A view plus the position embedding.
    fn placed(&mut self, view: View) -> Result<Tensor> {
        if let Some(placed) = self.placed.get(&view) {
            return Ok(placed.clone());
        }
        let x = self.images(view)?;
        let Some(position) = &self.position else { candle_core::bail!("the network has no position embedding") };
        let placed = x.broadcast_add(position)?.flatten(0, 1)?;
        self.placed.insert(view, placed.clone());
        Ok(placed)
    }

    /// A view as `[batch, tokens, columns]`.
    fn images(&mut self, view: View) -> Result<Tensor> {
        self.values.get(view)?.reshape((self.batch, self.config.tokens(), view.columns))
    }

    fn weight(&self, projection: Projection) -> Result<Tensor> {
        self.matrix(projection.weight, [projection.y.columns, projection.x.columns])
    }

    fn slots(&self, memory: &Memory) -> Result<Tensor> {
        self.matrix(memory.slots, [self.config.memory_slots, memory.x.view.columns])
    }

    fn norm_parameters(&self, norm: &AddNorm) -> Result<[Tensor; 2]> {
        Ok([self.vector(norm.weight, norm.r.columns)?, self.vector(norm.bias, norm.r.columns)?])
    }

    fn matrix(&self, offset: usize, [rows, columns]: [usize; 2]) -> Result<Tensor> {
        self.parameters.narrow(0, offset, rows * columns)?.reshape((rows, columns))
    }

    fn vector(&self, offset: usize, length: usize) -> Result<Tensor> {
        self.parameters.narrow(0, offset, length)
    }

    /// The dropout with an index, if the step has dropout.
    fn dropout(&self, index: usize) -> Option<(f32, Stream)> {
        let Randomness { probability, streams } = self.randomness.as_ref()?;
        let stream = *streams.get(index)?;
        (*probability > 0.0).then_some((*probability, stream))
    }
}

/// The gradients on their way back.
#[derive(Debug)]
struct Backward<'a> {
    /// `[1, rows]`.
    ones: &'a Tensor,
    /// The gradients of the parameters, `[length]`.
    gradient: &'a Tensor,
    /// The gradients of the values.
    gradients: Gradients,
    /// The gradient of the positions of all tokens, `[rows, narrow_width]`.
    position: Option<Tensor>,
}

impl Backward<'_> {
    /// Stores the gradient of the parameters at an offset.
    fn set(&self, offset: usize, gradient: &Tensor) -> Result<()> {
        self.gradient.slice_set(&gradient.flatten_all()?, 0, offset)
    }

    /// Stores a product as the gradient of the matrix at an offset.
    fn set_product(&self, offset: usize, left: &Tensor, right: &Tensor) -> Result<()> {
        let (rows, columns) = (left.dim(0)?, right.dim(1)?);
        let target = self.gradient.narrow(0, offset, rows * columns)?.reshape((rows, columns))?;
        product_into(&target, left, right, false)
    }

    /// Stores the sums of the columns of a matrix as the gradient of the vector at an offset.
    fn set_sums(&self, offset: usize, matrix: &Tensor) -> Result<()> {
        self.set_product(offset, &self.ones.narrow(1, 0, matrix.dim(0)?)?, matrix)
    }

    /// Adds a product to the gradient of the positions.
    fn add_position(&mut self, left: &Tensor, right: &Tensor) -> Result<()> {
        match &self.position {
            Some(position) => product_into(position, left, right, true),
            None => {
                self.position = Some(left.matmul(right)?);
                Ok(())
            }
        }
    }
}

/// Returns `true` if a step is the sum of a residual with the view.
fn is_summed(step: Option<&Step>, y: View) -> bool {
    matches!(step, Some(Step::AddNorm(norm)) if norm.r == y)
}

/// Returns the offset of the bias of the linear layer before a norm.
fn linear_bias(plan: &Plan, norm: usize) -> Result<usize> {
    match plan.steps.get(norm.wrapping_sub(1)) {
        Some(Step::Linear(Linear { bias: Bias::Row(bias), activation: LinearActivation::Identity, .. })) => Ok(*bias),
        other => candle_core::bail!("a norm after {other:?}, not after a linear layer"),
    }
}
