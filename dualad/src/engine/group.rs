//! The forward and the backward pass of a group of images.

use dualad_kernels::{
    self as kernels, AttentionScratch, AttentionShape, AttentionStrides, MultiHead, NeighborMask, add_norm,
    add_norm_backward, add_scaled_noise, add_to_columns, copy_head, dropout, relu, relu_backward,
};

use crate::config::{Jitter, JitterKind};
use crate::engine::derived::Derived;
use crate::engine::plan::{AddNorm, Attention, Bias, Input, Linear, LinearActivation, Memory, Plan, Step, View};
use crate::ops::StreamBlocks;
use crate::ops::matrix::{MatrixShape, multiply_into};
use crate::ops::memory_read::{MemoryRead, Scratch as MemoryScratch};
use crate::random::Stream;

/// The inputs that all groups of a batch share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) parameters: &'a [f32],
    pub(crate) derived: &'a Derived,
    /// The tokens of an image.
    pub(crate) tokens: usize,
    /// The heads of an attention.
    pub(crate) heads: usize,
    /// The slots of a memory.
    pub(crate) slots: usize,
    /// 1 / temperature of the memory's softmax.
    pub(crate) inverse_temperature: f32,
    /// The share of the readout in a memory's output: query + share * (readout - query).
    pub(crate) memory_share: f32,
    pub(crate) mask: Option<NeighborMask>,
    /// The channels of each stage.
    pub(crate) stage_channels: &'a [usize],
    /// The number of token rows in the batch, a divisor of the loss.
    pub(crate) batch_rows: usize,
    /// None without jitter and dropout.
    pub(crate) randomness: Option<Randomness<'a>>,
}

/// The jitter and the dropout of a training step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Randomness<'a> {
    pub(crate) jitter: Option<(Jitter, Stream)>,
    pub(crate) dropout: f32,
    /// One stream for each dropout.
    pub(crate) streams: &'a [Stream],
}

/// A group of images with its buffers.
#[derive(Debug)]
pub(crate) struct Group {
    /// The index of the first image in the batch.
    first: usize,
    /// The number of images.
    images: usize,
    /// The token rows of all images.
    rows: usize,
    /// The values of the plan, `[rows, columns]` each, and their gradients.
    values: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
    /// The clean tokens, standardized if the network does so: the target of the reconstruction.
    clean: Vec<f32>,
    /// The mean and 1 / std of each row, for each norm.
    stats: Vec<Vec<[f32; 2]>>,
    /// The elements that each dropout kept; empty without dropout.
    kept: Vec<Vec<u8>>,
    /// The gradients of the norms' weights and biases.
    norms: Vec<[Vec<f32>; 2]>,
    /// The gradients of the memories' slots, through the weighted sum and through the cosines.
    memories: Vec<[Vec<f32>; 2]>,
    attention: AttentionScratch,
    memory: MemoryScratch,
    chunk: [Vec<f32>; 3],
    /// The sum of the squared errors of each stage.
    pub(crate) errors: Vec<f64>,
}

/// Returns the elements of a value from the first column of a view on.
fn part<'a>(values: &'a [f32], view: &View) -> &'a [f32] {
    &values[view.start..]
}

impl Group {
    pub(crate) fn new(plan: &Plan, first: usize, images: usize, tokens: usize) -> Self {
        let rows = images * tokens;
        let buffers = || plan.columns.iter().map(|columns| vec![0.0; rows * columns]).collect::<Vec<_>>();
        let mut gradients = buffers();
        gradients[plan.input] = Vec::new();
        Self {
            first,
            images,
            rows,
            values: buffers(),
            gradients,
            clean: vec![0.0; rows * plan.columns[plan.input]],
            stats: plan.norms.iter().map(|_| vec![[0.0; 2]; rows]).collect(),
            kept: vec![Vec::new(); plan.dropouts.len()],
            norms: plan.norms.iter().map(|&columns| [vec![0.0; columns], vec![0.0; columns]]).collect(),
            memories: vec![[Vec::new(), Vec::new()]; plan.memories.len()],
            attention: AttentionScratch::default(),
            memory: MemoryScratch::default(),
            chunk: Default::default(),
            errors: Vec::new(),
        }
    }

    /// Copies the group's images from the batch's tokens, standardizes them by `(mean, 1 / std)` of each channel, applies the
    /// jitter and runs the network.
    pub(crate) fn forward(&mut self, shared: &Shared<'_>, tokens: &[f32], standard: Option<(&[f32], &[f32])>) {
        let channels = shared.plan.columns[shared.plan.input];
        let from = self.first * shared.tokens * channels;
        self.clean.copy_from_slice(&tokens[from..from + self.rows * channels]);
        if let Some((mean, scale)) = standard {
            for row in self.clean.chunks_exact_mut(channels) {
                for ((x, mean), scale) in row.iter_mut().zip(mean).zip(scale) {
                    *x = (*x - mean) * scale;
                }
            }
        }
        self.add_jitter(shared, channels);
        for index in 0..shared.plan.steps.len() {
            match &shared.plan.steps[index] {
                Step::Linear(step) => self.linear(shared, step),
                Step::Attention(step) => self.attention(shared, step),
                Step::AddNorm(step) => self.add_norm(shared, step),
                Step::Memory(step) => self.memory_read(shared, step),
                Step::Sum(inputs, y) => self.sum(inputs, y),
                // No network that is trained this way has one (`Plan::can_train`).
                Step::Constant(..) => {}
            }
        }
    }

    /// Returns a value of the plan, `[rows, columns]`.
    pub(crate) fn value(&self, value: usize) -> &[f32] {
        &self.values[value]
    }

    /// Adds the noise of pseudo anomalies (docs/method.md, section 3), like [`crate::pseudo_anomaly`].
    fn add_jitter(&mut self, shared: &Shared<'_>, channels: usize) {
        let input = &mut self.values[shared.plan.input];
        let Some((jitter, stream)) = shared.randomness.and_then(|randomness| randomness.jitter) else {
            input.copy_from_slice(&self.clean);
            return;
        };
        stream.normal_into(self.first * shared.tokens * channels, input);
        let size = shared.tokens * channels;
        let scale = jitter.scale as f32;
        for (clean, noise) in self.clean.chunks_exact(size).zip(input.chunks_exact_mut(size)) {
            match jitter.kind {
                JitterKind::Spatial => {
                    let [sigma, mean, _] = &mut self.chunk;
                    channel_stds(clean, channels, sigma, mean);
                    sigma.iter_mut().for_each(|sigma| *sigma *= scale);
                    add_scaled_noise(clean, sigma, noise);
                }
                JitterKind::Channel => {
                    for (clean, noise) in clean.chunks_exact(channels).zip(noise.chunks_exact_mut(channels)) {
                        let norm = clean.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                        let sigma = scale * (norm / channels as f64) as f32;
                        noise.iter_mut().zip(clean).for_each(|(noise, clean)| *noise = clean + sigma * *noise);
                    }
                }
            }
        }
    }

    fn linear(&mut self, shared: &Shared<'_>, step: &Linear) {
        let Linear { x: Input { view: x, .. }, y, weight, bias, activation } = *step;
        let mut out = std::mem::take(&mut self.values[y.value]);
        match bias {
            Bias::Row(offset) => {
                let bias = &shared.parameters[offset..offset + y.columns];
                out.chunks_exact_mut(y.columns).for_each(|row| row.copy_from_slice(bias));
            }
            Bias::Table(table) => {
                let table = &shared.derived.tables[table];
                out.chunks_exact_mut(table.len()).for_each(|image| image.copy_from_slice(table));
            }
        }
        let weights = &shared.parameters[weight..weight + y.columns * x.columns];
        multiply_into(
            &mut out,
            MatrixShape::dense(self.rows, y.columns),
            true,
            1.0,
            (part(&self.values[x.value], &x), self.shape(shared.plan, &x)),
            (weights, MatrixShape::dense(y.columns, x.columns).transposed()),
        );
        if activation != LinearActivation::Identity {
            relu(&mut out);
        }
        if let (LinearActivation::ReluDropout(dropout_index), Some(randomness)) = (activation, shared.randomness)
            && randomness.dropout > 0.0
        {
            let first = self.first * shared.tokens * y.columns;
            dropout(&mut out, randomness.dropout, StreamBlocks(randomness.streams[dropout_index]), first, None);
        }
        self.values[y.value] = out;
    }

    /// Returns the layout of a view's rows in its value.
    fn shape(&self, plan: &Plan, view: &View) -> MatrixShape {
        MatrixShape::strided(self.rows, view.columns, plan.columns[view.value])
    }

    /// Returns the sizes of the attention over an image's tokens.
    fn heads(&self, shared: &Shared<'_>, step: &Attention) -> MultiHead {
        let [query, key, value, output] = [step.q, step.k, step.v, step.y].map(|view| shared.plan.columns[view.value]);
        let strides = AttentionStrides { query, key, value, output };
        let (tokens, width) = (shared.tokens, step.q.columns / shared.heads);
        let head = AttentionShape { queries: tokens, keys: tokens, width, strides, mask: shared.mask };
        MultiHead { heads: shared.heads, head }
    }

    /// Returns an image's rows of a value, from column `channel` of a view on.
    fn image_rows<'a>(&self, values: &'a [Vec<f32>], view: &View, image: usize, channel: usize) -> &'a [f32] {
        let size = values[view.value].len() / self.images;
        &values[view.value][image * size + view.start + channel..(image + 1) * size]
    }

    fn attention(&mut self, shared: &Shared<'_>, step: &Attention) {
        let mut out = std::mem::take(&mut self.values[step.y.value]);
        let (heads, mut scratch) = (self.heads(shared, step), std::mem::take(&mut self.attention));
        let size = out.len() / self.images;
        for (image, out) in out.chunks_exact_mut(size).enumerate() {
            let [q, k, v] = [step.q, step.k, step.v].map(|view| self.image_rows(&self.values, &view, image, 0));
            heads.run_image(q, k, v, &mut out[step.y.start..], &mut scratch);
        }
        (self.values[step.y.value], self.attention) = (out, scratch);
    }

    fn add_norm(&mut self, shared: &Shared<'_>, step: &AddNorm) {
        let mut sum = std::mem::take(&mut self.values[step.r.value]);
        let mut out = std::mem::take(&mut self.values[step.y.value]);
        if let Some(randomness) = shared.randomness
            && randomness.dropout > 0.0
        {
            let first = self.first * shared.tokens * step.r.columns;
            let kept = &mut self.kept[step.dropout];
            kept.resize(sum.len(), 0);
            dropout(&mut sum, randomness.dropout, StreamBlocks(randomness.streams[step.dropout]), first, Some(kept));
        }
        let columns = step.r.columns;
        let (x, y) = (step.x.view, step.y);
        add_norm(
            part(&self.values[x.value], &x),
            &mut sum,
            &mut out[y.start..],
            [shared.plan.columns[x.value], shared.plan.columns[y.value]],
            &shared.parameters[step.weight..step.weight + columns],
            &shared.parameters[step.bias..step.bias + columns],
            &mut self.stats[step.index],
        );
        self.values[step.r.value] = sum;
        self.values[step.y.value] = out;
    }

    fn memory_read(&mut self, shared: &Shared<'_>, step: &Memory) {
        let (x, y, share) = (step.x.view, step.y, shared.memory_share);
        let [tokens, read, _] = &mut self.chunk;
        gather(&self.values[x.value], shared.plan.columns[x.value], &x, tokens);
        if share == 0.0 {
            scatter(tokens, &mut self.values[y.value], shared.plan.columns[y.value], &y, false);
            return;
        }
        read.clear();
        read.resize(tokens.len(), 0.0);
        let op =
            MemoryRead { slots: shared.slots, channels: x.columns, inverse_temperature: shared.inverse_temperature };
        let slots = &shared.parameters[step.slots..step.slots + shared.slots * x.columns];
        op.read(tokens, slots, &shared.derived.unit_slots[step.index], read, &mut self.memory);
        if share < 1.0 {
            read.iter_mut().zip(tokens.iter()).for_each(|(read, x)| *read = x + share * (*read - x));
        }
        scatter(read, &mut self.values[y.value], shared.plan.columns[y.value], &y, false);
    }

    fn sum(&mut self, inputs: &[Input], y: &View) {
        let mut out = std::mem::take(&mut self.values[y.value]);
        for (index, input) in inputs.iter().enumerate() {
            let (view, stride) = (input.view, self.values[input.view.value].len() / self.rows);
            let rows = part(&self.values[view.value], &view).chunks(stride);
            for (out, row) in out.chunks_exact_mut(y.columns).zip(rows) {
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

    /// Runs the backward pass from the squared errors to the first step. Keeps dY and X of each linear layer:
    /// [`Self::add_weight_gradient`] and [`Self::add_bias_gradient`] compute the parameters' gradients from them.
    pub(crate) fn backward(&mut self, shared: &Shared<'_>) {
        let plan = shared.plan;
        let channels = plan.columns[plan.output];
        let (mut start, mut errors) = (0, std::mem::take(&mut self.errors));
        errors.clear();
        for &stage in shared.stage_channels {
            let scale = (2.0 / (shared.batch_rows as f64 * stage as f64)) as f32;
            let (y, dy) = (&self.values[plan.output], &mut self.gradients[plan.output]);
            errors.push(kernels::squared_errors(&self.clean, y, dy, start..start + stage, channels, scale));
            start += stage;
        }
        self.errors = errors;
        for step in plan.steps.iter().rev() {
            match step {
                Step::Linear(step) => self.linear_backward(shared, step),
                Step::Attention(step) => self.attention_backward(shared, step),
                Step::AddNorm(step) => self.add_norm_backward(shared, step),
                Step::Memory(step) => self.memory_backward(shared, step),
                Step::Sum(inputs, y) => self.sum_backward(plan, inputs, y),
                Step::Constant(..) => {}
            }
        }
    }

    fn linear_backward(&mut self, shared: &Shared<'_>, step: &Linear) {
        let Linear { x, y, weight, activation, .. } = *step;
        let mut dy = std::mem::take(&mut self.gradients[y.value]);
        if activation != LinearActivation::Identity {
            let scale = match (activation, shared.randomness) {
                (LinearActivation::ReluDropout(_), Some(randomness)) => 1.0 / (1.0 - randomness.dropout),
                _ => 1.0,
            };
            relu_backward(&mut dy, &self.values[y.value], scale);
        }
        if x.needs_gradient {
            let weights = &shared.parameters[weight..weight + y.columns * x.view.columns];
            let shape = self.shape(shared.plan, &x.view);
            multiply_into(
                &mut self.gradients[x.view.value][x.view.start..],
                shape,
                x.accumulate,
                1.0,
                (&dy, MatrixShape::dense(self.rows, y.columns)),
                (weights, MatrixShape::dense(y.columns, x.view.columns)),
            );
        }
        self.gradients[y.value] = dy;
    }

    fn attention_backward(&mut self, shared: &Shared<'_>, step: &Attention) {
        let (MultiHead { heads, head }, mut scratch) = (self.heads(shared, step), std::mem::take(&mut self.attention));
        let AttentionStrides { query, key, value, .. } = head.strides;
        // q, k and v may be views of one value, and so may their gradients: each head's are made in buffers of their own first.
        let mut gradients = std::mem::take(&mut self.chunk);
        for buffer in &mut gradients {
            buffer.clear();
            buffer.resize(shared.tokens * head.width, 0.0);
        }
        for (image, channel) in
            (0..self.images).flat_map(|image| (0..heads).map(move |index| (image, index * head.width)))
        {
            let [q, k, v] = [step.q, step.k, step.v].map(|view| self.image_rows(&self.values, &view, image, channel));
            let dy = self.image_rows(&self.gradients, &step.y, image, channel);
            let [dq, dk, dv] = &mut gradients;
            kernels::attention_backward(&head, [q, k, v, dy], [&mut *dq, &mut *dk, &mut *dv], &mut scratch);
            for (from, view, stride) in [(dq, &step.q, query), (dk, &step.k, key), (dv, &step.v, value)] {
                let start = image * shared.tokens * stride + view.start + channel;
                copy_head(from, head.width, &mut self.gradients[view.value][start..], stride);
            }
        }
        (self.chunk, self.attention) = (gradients, scratch);
    }

    fn add_norm_backward(&mut self, shared: &Shared<'_>, step: &AddNorm) {
        let plan = shared.plan;
        let dy = std::mem::take(&mut self.gradients[step.y.value]);
        let columns = step.r.columns;
        let [dw, db] = &mut self.norms[step.index];
        dw.fill(0.0);
        db.fill(0.0);
        // `sum` is overwritten by its gradient, which is also the gradient of x and of dropout(r).
        let sum = &mut self.values[step.r.value];
        add_norm_backward(
            part(&dy, &step.y),
            plan.columns[step.y.value],
            sum,
            &shared.parameters[step.weight..step.weight + columns],
            &self.stats[step.index],
            dw,
            db,
        );
        self.gradients[step.y.value] = dy;
        if step.x.needs_gradient {
            let x = step.x.view;
            scatter(sum, &mut self.gradients[x.value], plan.columns[x.value], &x, step.x.accumulate);
        }
        let residual = &mut self.gradients[step.r.value];
        residual.copy_from_slice(sum);
        if let Some(randomness) = shared.randomness
            && randomness.dropout > 0.0
        {
            let scale = 1.0 / (1.0 - randomness.dropout);
            for (d, kept) in residual.iter_mut().zip(&self.kept[step.dropout]) {
                *d = if *kept == 1 { *d * scale } else { 0.0 };
            }
        }
    }

    fn memory_backward(&mut self, shared: &Shared<'_>, step: &Memory) {
        let (x, y) = (step.x.view, step.y);
        let [tokens, gradient, d_tokens] = &mut self.chunk;
        gather(&self.values[x.value], shared.plan.columns[x.value], &x, tokens);
        gather(&self.gradients[y.value], shared.plan.columns[y.value], &y, gradient);
        let share = shared.memory_share;
        if share == 0.0 {
            let zeros = || vec![0.0; shared.slots * x.columns];
            self.memories[step.index] = [zeros(), zeros()];
            scatter(gradient, &mut self.gradients[x.value], shared.plan.columns[x.value], &x, step.x.accumulate);
            return;
        }
        if share < 1.0 {
            gradient.iter_mut().for_each(|gradient| *gradient *= share);
        }
        d_tokens.clear();
        d_tokens.resize(tokens.len(), 0.0);
        let op =
            MemoryRead { slots: shared.slots, channels: x.columns, inverse_temperature: shared.inverse_temperature };
        let slots = &shared.parameters[step.slots..step.slots + shared.slots * x.columns];
        let units = &shared.derived.unit_slots[step.index];
        self.memories[step.index] = op.read_backward(tokens, slots, units, gradient, d_tokens, &mut self.memory);
        if share < 1.0 {
            let past = (1.0 - share) / share;
            d_tokens.iter_mut().zip(gradient.iter()).for_each(|(d, gradient)| *d += past * gradient);
        }
        scatter(d_tokens, &mut self.gradients[x.value], shared.plan.columns[x.value], &x, step.x.accumulate);
    }

    fn sum_backward(&mut self, plan: &Plan, inputs: &[Input], y: &View) {
        let dy = std::mem::take(&mut self.gradients[y.value]);
        for input in inputs {
            let view = input.view;
            scatter(&dy, &mut self.gradients[view.value], plan.columns[view.value], &view, input.accumulate);
        }
        self.gradients[y.value] = dy;
    }

    /// Computes the rows `outputs` of the weight gradient dY^T X of a linear layer. It is added to `gradient` if `add` is true, and
    /// stored otherwise.
    pub(crate) fn add_weight_gradient(
        &self,
        plan: &Plan,
        step: &Linear,
        outputs: std::ops::Range<usize>,
        add: bool,
        gradient: &mut [f32],
    ) {
        let (x, y) = (step.x.view, step.y);
        let dy = MatrixShape::strided(self.rows, outputs.len(), y.columns).transposed();
        multiply_into(
            gradient,
            MatrixShape::dense(outputs.len(), x.columns),
            add,
            1.0,
            (&self.gradients[y.value][outputs.start..], dy),
            (part(&self.values[x.value], &x), self.shape(plan, &x)),
        );
    }

    /// Adds the bias gradient of a linear layer to `sums`: the sum over rows, or over images for a table.
    pub(crate) fn add_bias_gradient(&self, step: &Linear, sums: &mut [f32]) {
        add_to_columns(&self.gradients[step.y.value], sums);
    }

    /// Returns the gradients of a norm's weight and bias.
    pub(crate) fn norm_gradient(&self, index: usize) -> &[Vec<f32>; 2] {
        &self.norms[index]
    }

    /// Returns the gradients of a memory's slots, through the weighted sum and through the cosines.
    pub(crate) fn memory_gradient(&self, index: usize) -> &[Vec<f32>; 2] {
        &self.memories[index]
    }
}

/// Computes the unbiased std of each channel over an image's tokens.
fn channel_stds(image: &[f32], channels: usize, sigma: &mut Vec<f32>, mean: &mut Vec<f32>) {
    let count = image.len() / channels;
    mean.clear();
    mean.resize(channels, 0.0);
    add_to_columns(image, mean);
    mean.iter_mut().for_each(|mean| *mean /= count as f32);
    sigma.clear();
    sigma.resize(channels, 0.0);
    for row in image.chunks_exact(channels) {
        for ((sigma, x), mean) in sigma.iter_mut().zip(row).zip(mean.iter()) {
            *sigma += (x - mean) * (x - mean);
        }
    }
    // A single token has no variance.
    let scale = if count > 1 { 1.0 / (count - 1) as f32 } else { 0.0 };
    sigma.iter_mut().for_each(|sigma| *sigma = (*sigma * scale).sqrt());
}

/// Copies the rows of a view to contiguous rows.
fn gather(values: &[f32], stride: usize, view: &View, rows: &mut Vec<f32>) {
    rows.clear();
    for row in values.chunks_exact(stride) {
        rows.extend_from_slice(&row[view.start..view.start + view.columns]);
    }
}

/// Copies contiguous rows to a view, or adds them to it.
fn scatter(rows: &[f32], values: &mut [f32], stride: usize, view: &View, add: bool) {
    for (row, out) in rows.chunks_exact(view.columns).zip(values.chunks_exact_mut(stride)) {
        let out = &mut out[view.start..view.start + view.columns];
        if add {
            out.iter_mut().zip(row).for_each(|(out, x)| *out += x);
        } else {
            out.copy_from_slice(row);
        }
    }
}
