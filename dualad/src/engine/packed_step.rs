//! The steps of the inference engine: each carries its weights, laid out for an instruction set, and runs on a whole batch.

use dualad_kernels::{
    self as kernels, Activation, AttentionShape, AttentionStrides, Buffer, Epilogue, Isa, MIN_NORM, Matrix, MultiHead,
    NeighborMask, Packed, Precision, Residual, Rows, Workspace, product,
};
use rayon::prelude::*;

use crate::config::DualAdConfig;
use crate::engine::derived::Derived;
use crate::engine::plan::{Attention, Bias, LinearActivation, Step, View};

/// The rows of a task, where rows are independent of one another.
pub(crate) const ROWS: usize = 28;

/// A step of the plan with its weights.
#[derive(Debug)]
pub(crate) enum PackedStep {
    /// y = activation(x W^T + bias). The bias is one row inside `weights`, or `table` with one row for each token.
    Linear { x: View, y: View, weights: Matrix, table: Option<Vec<f32>>, activation: Activation },
    /// y = the softmax attention of q over k and v.
    Attention(Attention),
    /// y = LN(x + r). The buffer of r then holds the sum.
    AddNorm { x: View, r: View, y: View, weight: Vec<f32>, bias: Vec<f32> },
    /// y = the memory's readout for the query x. `address` holds the unit slots divided by the temperature, `mix` the transposed
    /// slots.
    Memory { x: View, y: View, address: Packed, mix: Packed },
    /// y = the sum of the views.
    Sum { inputs: Vec<View>, y: View },
    /// y = `values`, `[tokens, columns]`, for each image.
    Constant { values: Vec<f32>, y: View },
}

impl PackedStep {
    /// Lays out the weights of a step.
    pub(crate) fn new(
        step: &Step,
        (isa, precision): (Isa, Precision),
        config: &DualAdConfig,
        parameters: &[f32],
        derived: &Derived,
    ) -> Self {
        match step {
            Step::Linear(linear) => {
                let (x, y) = (linear.x.view, linear.y);
                let weight = &parameters[linear.weight..][..y.columns * x.columns];
                let (bias, table) = match linear.bias {
                    Bias::Row(offset) => (Some(&parameters[offset..][..y.columns]), None),
                    Bias::Table(table) => (None, Some(derived.tables[table].clone())),
                };
                let activation = match linear.activation {
                    LinearActivation::Identity => Activation::Identity,
                    // Inference has no dropout.
                    LinearActivation::Relu | LinearActivation::ReluDropout(_) => Activation::Relu,
                };
                let weights = Matrix::new(isa, precision, weight, x.columns, bias);
                Self::Linear { x, y, weights, table, activation }
            }
            Step::Attention(attention) => Self::Attention(*attention),
            Step::AddNorm(norm) => Self::AddNorm {
                x: norm.x.view,
                r: norm.r,
                y: norm.y,
                weight: parameters[norm.weight..][..norm.r.columns].to_vec(),
                bias: parameters[norm.bias..][..norm.r.columns].to_vec(),
            },
            Step::Memory(memory) => {
                let (x, slots) = (memory.x.view, config.memory_slots);
                let (d, inverse_temperature) = (x.columns, (1.0 / config.memory_temperature) as f32);
                let sharp: Vec<f32> =
                    derived.unit_slots[memory.index].iter().map(|unit| unit * inverse_temperature).collect();
                let values = &parameters[memory.slots..][..slots * d];
                let transposed: Vec<f32> = (0..d * slots).map(|at| values[at % slots * d + at / slots]).collect();
                Self::Memory {
                    x,
                    y: memory.y,
                    address: Packed::new(isa, &sharp, d, None),
                    mix: Packed::new(isa, &transposed, slots, None),
                }
            }
            Step::Sum(inputs, y) => Self::Sum { inputs: inputs.iter().map(|input| input.view).collect(), y: *y },
            Step::Constant(offset, y) => {
                Self::Constant { values: parameters[*offset..][..config.tokens() * y.columns].to_vec(), y: *y }
            }
        }
    }

    /// Returns the matrices of the step, for [`Packed::gather`].
    pub(crate) fn packed(&mut self) -> Vec<&mut Packed> {
        match self {
            Self::Linear { weights, .. } => weights.packed().into_iter().collect(),
            Self::Memory { address, mix, .. } => vec![address, mix],
            Self::Attention(_) | Self::AddNorm { .. } | Self::Sum { .. } | Self::Constant { .. } => Vec::new(),
        }
    }

    /// Returns the views that the step reads.
    pub(crate) fn inputs(&self) -> Vec<View> {
        match self {
            Self::Linear { x, .. } | Self::Memory { x, .. } => vec![*x],
            Self::Attention(Attention { q, k, v, .. }) => vec![*q, *k, *v],
            Self::AddNorm { x, r, .. } => vec![*x, *r],
            Self::Sum { inputs, .. } => inputs.clone(),
            Self::Constant { .. } => Vec::new(),
        }
    }
}

/// The values of one batch, and the sizes that all steps share.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    pub(crate) workspace: &'a mut Workspace,
    /// The values of the plan, `[rows, columns]` each; empty before they are written and after their last use.
    pub(crate) values: Vec<Buffer>,
    /// The columns of each value.
    pub(crate) columns: &'a [usize],
    /// The tokens of all images.
    pub(crate) rows: usize,
    /// The tokens of an image.
    pub(crate) tokens: usize,
    pub(crate) heads: usize,
    pub(crate) mask: Option<NeighborMask>,
    /// The share of the readout in a memory's output: query + share * (readout - query).
    pub(crate) memory_share: f32,
}

impl Pass<'_> {
    /// Runs a step.
    pub(crate) fn run(&mut self, step: &PackedStep) {
        match step {
            PackedStep::Linear { x, y, weights, table, activation } => {
                self.linear(x, y, weights, table.as_deref(), *activation);
            }
            PackedStep::Attention(attention) => self.attention(attention),
            PackedStep::AddNorm { x, r, y, weight, bias } => self.add_norm([x, r, y], weight, bias),
            PackedStep::Memory { x, y, address, mix } => self.memory_read(x, y, address, mix),
            PackedStep::Sum { inputs, y } => self.sum(inputs, y),
            PackedStep::Constant { values, y } => {
                let mut out = self.take(y);
                out.chunks_exact_mut(values.len()).for_each(|image| image.copy_from_slice(values));
                self.values[y.value] = out;
            }
        }
    }

    /// Returns the distance between two rows of a view.
    fn stride(&self, view: &View) -> usize {
        self.columns[view.value]
    }

    /// Returns the elements of a value from the first column of a view on.
    fn part(&self, view: &View) -> &[f32] {
        &self.values[view.value][view.start..]
    }

    /// Takes the buffer of a view's value out of the pass, to write to it. Allocates it if no earlier step has.
    fn take(&mut self, view: &View) -> Buffer {
        let value = std::mem::take(&mut self.values[view.value]);
        if value.is_empty() { self.workspace.take(self.rows * self.columns[view.value]) } else { value }
    }

    fn linear(&mut self, x: &View, y: &View, weights: &Matrix, table: Option<&[f32]>, activation: Activation) {
        let mut out = self.take(y);
        let residual = table.map(|values| Residual { values, stride: y.columns, period: self.tokens, last: false });
        let rows = Rows::Dense { stride: self.stride(x) };
        let epilogue = Epilogue { residual, activation };
        weights.product(self.part(x), rows, self.rows, &mut out, y.columns, epilogue);
        self.values[y.value] = out;
    }

    fn attention(&mut self, step: &Attention) {
        let mut out = self.take(&step.y);
        let [query, key, value, output] = [step.q, step.k, step.v, step.y].map(|view| self.stride(&view));
        let strides = AttentionStrides { query, key, value, output };
        let width = step.q.columns / self.heads;
        let head = AttentionShape { queries: self.tokens, keys: self.tokens, width, strides, mask: self.mask };
        let [q, k, v] = [step.q, step.k, step.v].map(|view| &self.values[view.value][view.start..]);
        MultiHead { heads: self.heads, head }.run(q, k, v, &mut out, self.workspace);
        self.values[step.y.value] = out;
    }

    fn add_norm(&mut self, [x, r, y]: [&View; 3], weight: &[f32], bias: &[f32]) {
        let mut sum = std::mem::take(&mut self.values[r.value]);
        let mut out = self.take(y);
        let columns = r.columns;
        let strides = [self.stride(x), self.stride(y)];
        let parts = out[y.start..].par_chunks_mut(ROWS * strides[1]);
        let parts = parts.zip(sum.par_chunks_mut(ROWS * columns)).zip(self.part(x).par_chunks(ROWS * strides[0]));
        parts.for_each(|((y, r), x)| {
            let mut stats = [[0.0; 2]; ROWS];
            kernels::add_norm(x, r, y, strides, weight, bias, &mut stats);
        });
        self.values[r.value] = sum;
        self.values[y.value] = out;
    }

    /// Reads the memory: the weights are the softmax of cosine / temperature, with hard shrinkage; they mix the slots.
    fn memory_read(&mut self, x: &View, y: &View, address: &Packed, mix: &Packed) {
        let mut out = self.take(y);
        let slots = address.outputs();
        let mut weights = self.workspace.take(self.rows * slots);
        let (query, stride, columns) = (self.part(x), self.stride(x), x.columns);
        product(query, Rows::Dense { stride }, self.rows, address, &mut weights, slots, Epilogue::NONE);
        weights.par_chunks_mut(slots).with_min_len(ROWS).zip(query.par_chunks(stride)).for_each(|(weights, query)| {
            let norm = kernels::squared_distance(&query[..columns], &[], None).sqrt().max(MIN_NORM);
            weights.iter_mut().for_each(|weight| *weight /= norm);
            kernels::softmax(weights);
            kernels::hard_shrink(weights);
        });
        let y_stride = self.stride(y);
        let rows = Rows::Dense { stride: slots };
        product(&weights, rows, self.rows, mix, &mut out[y.start..], y_stride, Epilogue::NONE);
        let share = self.memory_share;
        if share < 1.0 {
            for (read, query) in out[y.start..].chunks_mut(y_stride).zip(query.chunks(stride)) {
                read[..columns].iter_mut().zip(query).for_each(|(read, x)| *read = x + share * (*read - x));
            }
        }
        self.workspace.release(weights);
        self.values[y.value] = out;
    }

    fn sum(&mut self, inputs: &[View], y: &View) {
        let mut out = self.take(y);
        for (index, view) in inputs.iter().enumerate() {
            for (out, row) in out.chunks_exact_mut(y.columns).zip(self.part(view).chunks(self.stride(view))) {
                let row = &row[..view.columns];
                if index == 0 {
                    out.copy_from_slice(row);
                } else {
                    out.iter_mut().zip(row).for_each(|(out, x)| *out += x);
                }
            }
        }
        self.values[y.value] = out;
    }
}
