//! A network to infer with: the plan's steps over a whole batch, weights laid out once, every step shared out to the threads.

use dualad_kernels::{
    self as kernels, Activation, AttentionShape, AttentionStrides, Buffer, Epilogue, Isa, MIN_NORM, MultiHead, Packed,
    Residual, Rows, Workspace, WorkspacePool, product,
};
use rayon::prelude::*;

use crate::DualAd;
use crate::config::{Combination, DualAdConfig};
use crate::engine::plan::{AddNorm, After, Attention, Bias, Input, Linear, Memory, Plan, Step, View};
use crate::engine::train::TrainingEngine;
use crate::error::Result;
use crate::score::LARGEST;

/// Rows that a task works on where rows are independent of one another.
const ROWS: usize = 28;

/// A network's numbers, laid out for the processor at hand.
#[derive(Debug)]
pub(crate) struct InferenceEngine {
    config: DualAdConfig,
    plan: Plan,
    /// One for each step.
    prepared: Vec<Prepared>,
    /// Biases with positions, `[tokens, columns]` each.
    tables: Vec<Vec<f32>>,
    /// For each value, the last step that reads it.
    last_use: Vec<usize>,
    /// Mean and 1 / deviation of each channel, and the deviation.
    standard: Option<[Vec<f32>; 3]>,
    /// What a channel's error is divided by before it is squared.
    error_deviation: Option<Vec<f32>>,
    /// What a memory passes on: 0 what it was asked, 1 what it read.
    memory_share: f32,
    workspaces: WorkspacePool,
}

#[derive(Debug)]
enum Prepared {
    Nothing,
    Linear(Packed),
    Norm {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    /// Slots over their norms and the temperature, and slots to be mixed.
    Memory {
        address: Packed,
        mix: Packed,
    },
    Constant(Vec<f32>),
}

impl InferenceEngine {
    pub(crate) fn new(network: &DualAd, isa: Isa) -> Result<Self> {
        let mut flat = TrainingEngine::new(network)?;
        flat.prepare();
        let config = flat.config().clone();
        let (plan, parameters) = (flat.plan.clone(), &flat.parameters);
        let slots = config.memory_slots;
        let prepare = |step: &Step| match step {
            Step::Linear(Linear { x, y, weight, bias, .. }) => {
                let weight = &parameters[*weight..][..y.columns * x.view.columns];
                let bias = match bias {
                    Bias::Row(offset) => Some(&parameters[*offset..][..y.columns]),
                    Bias::Table(_) => None,
                };
                Prepared::Linear(Packed::new(isa, weight, x.view.columns, bias))
            }
            Step::AddNorm(AddNorm { r, weight, bias, .. }) => Prepared::Norm {
                weight: parameters[*weight..][..r.columns].to_vec(),
                bias: parameters[*bias..][..r.columns].to_vec(),
            },
            Step::Memory(Memory { x, slots: offset, index, .. }) => {
                let (d, sharpness) = (x.view.columns, (1.0 / config.memory_temperature) as f32);
                let sharp: Vec<f32> = flat.unit_slots[*index].iter().map(|unit| unit * sharpness).collect();
                let memory = &parameters[*offset..][..slots * d];
                let turned: Vec<f32> = (0..d * slots).map(|at| memory[at % slots * d + at / slots]).collect();
                Prepared::Memory {
                    address: Packed::new(isa, &sharp, d, None),
                    mix: Packed::new(isa, &turned, slots, None),
                }
            }
            Step::Constant(offset, y) => {
                Prepared::Constant(parameters[*offset..][..config.tokens() * y.columns].to_vec())
            }
            Step::Attention(_) | Step::Sum(..) => Prepared::Nothing,
        };
        let mut prepared: Vec<Prepared> = plan.steps.iter().map(prepare).collect();
        Packed::gather(prepared.iter_mut().flat_map(|prepared| match prepared {
            Prepared::Linear(packed) => vec![packed],
            Prepared::Memory { address, mix } => vec![address, mix],
            Prepared::Nothing | Prepared::Norm { .. } | Prepared::Constant(_) => Vec::new(),
        }));
        let inverse = |deviation: &[f32]| deviation.iter().map(|deviation| 1.0 / deviation).collect();
        let standard = network.feature_statistics()?.map(|[mean, deviation]| [mean, inverse(&deviation), deviation]);
        Ok(Self {
            prepared,
            tables: std::mem::take(&mut flat.tables),
            last_use: last_use(&plan),
            standard,
            error_deviation: network.error_std()?,
            memory_share: network.memory_share() as f32,
            workspaces: WorkspacePool::default(),
            plan,
            config,
        })
    }

    /// Raw tokens `[batch, tokens, channels]` to their reconstruction.
    pub(crate) fn reconstruct(&self, tokens: &[f32]) -> Vec<f32> {
        self.run(tokens, |_, reconstruction| {
            let mut restored = reconstruction.to_vec();
            if let Some([mean, _, deviation]) = &self.standard {
                restored.par_chunks_mut(mean.len()).for_each(|row| {
                    for ((x, mean), deviation) in row.iter_mut().zip(mean).zip(deviation) {
                        *x = *x * deviation + mean;
                    }
                });
            }
            restored
        })
    }

    /// Raw tokens `[batch, tokens, channels]` to the stages' combined errors, `[batch, tokens]` (method, section 6).
    pub(crate) fn errors(&self, tokens: &[f32]) -> Vec<f32> {
        let channels = self.config.channels();
        self.run(tokens, |clean, reconstruction| {
            let mut errors = vec![0.0; clean.len() / channels];
            let rows = clean.par_chunks(channels).zip(reconstruction.par_chunks(channels));
            errors.par_iter_mut().with_min_len(ROWS).zip(rows).for_each(|(combined, (clean, reconstruction))| {
                let mut start = 0;
                for (index, &stage) in self.config.stage_channels.iter().enumerate() {
                    let columns = start..start + stage;
                    let deviation = self.error_deviation.as_ref().map(|deviation| &deviation[columns.clone()]);
                    let squares =
                        kernels::squared_distance(&clean[columns.clone()], &reconstruction[columns], deviation);
                    let error = (squares / stage as f32).sqrt().min(LARGEST as f32);
                    *combined = match (index, self.config.combination) {
                        (0, _) => error,
                        (_, Combination::Product) => (*combined * error).min(LARGEST as f32),
                        (_, Combination::Sum) => (*combined + error).min(LARGEST as f32),
                    };
                    start += stage;
                }
            });
            errors
        })
    }

    /// Runs the network and hands what it was given and what it made of it, both standardised, to `read`.
    fn run<R>(&self, tokens: &[f32], read: impl FnOnce(&[f32], &[f32]) -> R) -> R {
        self.workspaces.with(|workspace| self.run_steps(tokens, workspace, read))
    }

    fn run_steps<R>(&self, tokens: &[f32], workspace: &mut Workspace, read: impl FnOnce(&[f32], &[f32]) -> R) -> R {
        let count = self.config.tokens();
        let rows = tokens.len() / self.config.channels();
        let mut values: Vec<Buffer> = self.plan.values.iter().map(|_| Buffer::default()).collect();
        values[self.plan.input] = self.standardised(tokens, workspace);
        let mut pass = Pass { network: self, workspace: &mut *workspace, values, rows, tokens: count };
        for (index, step) in self.plan.steps.iter().enumerate() {
            pass.step(step, &self.prepared[index]);
            for (value, &last) in self.last_use.iter().enumerate() {
                if last == index && value != self.plan.input && value != self.plan.output {
                    pass.workspace.release(std::mem::take(&mut pass.values[value]));
                }
            }
        }
        let values = pass.values;
        let result = read(&values[self.plan.input], &values[self.plan.output]);
        values.into_iter().filter(|value| value.capacity() > 0).for_each(|value| workspace.release(value));
        result
    }

    fn standardised(&self, tokens: &[f32], workspace: &mut Workspace) -> Buffer {
        let mut x = workspace.take(tokens.len());
        match &self.standard {
            None => x.copy_from_slice(tokens),
            Some([mean, scale, _]) => {
                let rows = x.par_chunks_mut(ROWS * mean.len()).zip(tokens.par_chunks(ROWS * mean.len()));
                rows.for_each(|(x, tokens)| {
                    for (x, tokens) in x.chunks_exact_mut(mean.len()).zip(tokens.chunks_exact(mean.len())) {
                        for (((x, token), mean), scale) in x.iter_mut().zip(tokens).zip(mean).zip(scale) {
                            *x = (token - mean) * scale;
                        }
                    }
                });
            }
        }
        x
    }
}

/// The step after which nobody reads a value any more.
fn last_use(plan: &Plan) -> Vec<usize> {
    let mut last = vec![usize::MAX; plan.values.len()];
    for (index, step) in plan.steps.iter().enumerate() {
        let mut read = |view: &View| last[view.value] = index;
        match step {
            Step::Linear(step) => read(&step.x.view),
            Step::Attention(step) => [&step.q, &step.k, &step.v].into_iter().for_each(read),
            Step::AddNorm(step) => [&step.x.view, &step.r].into_iter().for_each(read),
            Step::Memory(step) => read(&step.x.view),
            Step::Sum(inputs, _) => inputs.iter().for_each(|input| read(&input.view)),
            Step::Constant(..) => {}
        }
    }
    last
}

/// One batch going through the steps.
struct Pass<'a> {
    network: &'a InferenceEngine,
    workspace: &'a mut Workspace,
    values: Vec<Buffer>,
    rows: usize,
    tokens: usize,
}

impl Pass<'_> {
    fn step(&mut self, step: &Step, prepared: &Prepared) {
        match (step, prepared) {
            (Step::Linear(step), Prepared::Linear(weights)) => self.linear(step, weights),
            (Step::Attention(step), _) => self.attention(step),
            (Step::AddNorm(step), Prepared::Norm { weight, bias }) => self.add_norm(step, weight, bias),
            (Step::Memory(step), Prepared::Memory { address, mix }) => self.memory_read(step, address, mix),
            (Step::Sum(inputs, y), _) => self.sum(inputs, y),
            (Step::Constant(_, y), Prepared::Constant(values)) => {
                let mut out = self.take(y);
                out.chunks_exact_mut(values.len()).for_each(|image| image.copy_from_slice(values));
                self.values[y.value] = out;
            }
            (step, _) => debug_assert!(false, "{step:?} was prepared as another"),
        }
    }

    /// Columns of a value.
    fn stride(&self, view: &View) -> usize {
        self.network.plan.values[view.value]
    }

    /// The numbers of a view, from its first column on.
    fn part(&self, view: &View) -> &[f32] {
        &self.values[view.value][view.start..]
    }

    /// The value that a view is of, to be written: made where it is not there yet.
    fn take(&mut self, view: &View) -> Buffer {
        let value = std::mem::take(&mut self.values[view.value]);
        if value.is_empty() { self.workspace.take(self.rows * self.network.plan.values[view.value]) } else { value }
    }

    fn linear(&mut self, step: &Linear, weights: &Packed) {
        let mut out = self.take(&step.y);
        let residual = match step.bias {
            Bias::Row(_) => None,
            Bias::Table(table) => {
                let values = self.network.tables[table].as_slice();
                Some(Residual { values, stride: step.y.columns, period: self.tokens, last: false })
            }
        };
        let activation = if step.after == After::Nothing { Activation::Identity } else { Activation::Relu };
        let rows = Rows::Dense { stride: self.stride(&step.x.view) };
        let epilogue = Epilogue { residual, activation };
        product(self.part(&step.x.view), rows, self.rows, weights, &mut out, step.y.columns, epilogue);
        self.values[step.y.value] = out;
    }

    fn attention(&mut self, step: &Attention) {
        let mut out = self.take(&step.y);
        let (heads, tokens) = (self.network.config.heads, self.tokens);
        let [query, key, value, output] = [step.q, step.k, step.v, step.y].map(|view| self.stride(&view));
        let strides = AttentionStrides { query, key, value, output };
        let (width, mask) = (step.q.columns / heads, self.network.config.attention_mask());
        let head = AttentionShape { queries: tokens, keys: tokens, width, strides, mask };
        let [q, k, v] = [step.q, step.k, step.v].map(|view| &self.values[view.value][view.start..]);
        MultiHead { heads, head }.run(q, k, v, &mut out, self.workspace);
        self.values[step.y.value] = out;
    }

    fn add_norm(&mut self, step: &AddNorm, weight: &[f32], bias: &[f32]) {
        let mut sum = std::mem::take(&mut self.values[step.r.value]);
        let mut out = self.take(&step.y);
        let (x, columns) = (step.x.view, step.r.columns);
        let strides = [self.stride(&x), self.stride(&step.y)];
        let parts = out[step.y.start..].par_chunks_mut(ROWS * strides[1]);
        let parts = parts.zip(sum.par_chunks_mut(ROWS * columns)).zip(self.part(&x).par_chunks(ROWS * strides[0]));
        parts.for_each(|((y, r), x)| {
            let mut stats = [[0.0; 2]; ROWS];
            kernels::add_norm(x, r, y, strides, weight, bias, &mut stats);
        });
        self.values[step.r.value] = sum;
        self.values[step.y.value] = out;
    }

    /// w = softmax of the cosines over the temperature; entries up to 1 / slots become 0; w over its sum mixes the slots.
    fn memory_read(&mut self, step: &Memory, address: &Packed, mix: &Packed) {
        let mut out = self.take(&step.y);
        let slots = address.outputs();
        let mut weights = self.workspace.take(self.rows * slots);
        let (x, stride, columns) = (self.part(&step.x.view), self.stride(&step.x.view), step.x.view.columns);
        product(x, Rows::Dense { stride }, self.rows, address, &mut weights, slots, Epilogue::NONE);
        weights.par_chunks_mut(slots).with_min_len(ROWS).zip(x.par_chunks(stride)).for_each(|(weights, x)| {
            let norm = kernels::squared_distance(&x[..columns], &[], None).sqrt().max(MIN_NORM);
            weights.iter_mut().for_each(|weight| *weight /= norm);
            kernels::softmax(weights);
            kernels::hard_shrink(weights);
        });
        let y_stride = self.stride(&step.y);
        let rows = Rows::Dense { stride: slots };
        product(&weights, rows, self.rows, mix, &mut out[step.y.start..], y_stride, Epilogue::NONE);
        let share = self.network.memory_share;
        if share < 1.0 {
            for (read, x) in out[step.y.start..].chunks_mut(y_stride).zip(x.chunks(stride)) {
                read[..columns].iter_mut().zip(x).for_each(|(read, x)| *read = x + share * (*read - x));
            }
        }
        self.workspace.release(weights);
        self.values[step.y.value] = out;
    }

    fn sum(&mut self, inputs: &[Input], y: &View) {
        let mut out = self.take(y);
        for (index, input) in inputs.iter().enumerate() {
            let (view, stride) = (input.view, self.stride(&input.view));
            for (out, row) in out.chunks_exact_mut(y.columns).zip(self.part(&view).chunks(stride)) {
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

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::config::{Branches, Variant};
    use crate::engine::train::tests::{cases, made, tokens};
    use crate::{Random, Reconstructor};

    fn variants() -> Vec<DualAdConfig> {
        let mut variants = cases();
        let base = variants[0].clone();
        let homogeneous = DualAdConfig { variant: Variant::Homogeneous, memory_slots: 0, ..base.clone() };
        variants.extend([
            DualAdConfig { branches: Branches::NarrowDeep, ..base.clone() },
            DualAdConfig { branches: Branches::NarrowDeep, ..homogeneous.clone() },
            DualAdConfig { branches: Branches::WideShallow, ..homogeneous.clone() },
            DualAdConfig { chunk_width: 10, wide_layers: 1, ..homogeneous.clone() },
            DualAdConfig { standardize: true, standardize_errors: true, combination: Combination::Sum, ..base },
            homogeneous,
        ]);
        variants
    }

    fn assert_near(found: &Tensor, expected: &Tensor, what: &str) {
        let [found, expected]: [Vec<f32>; 2] =
            [found, expected].map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap());
        let largest = expected.iter().fold(1e-6f32, |largest, x| largest.max(x.abs()));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() <= 1e-4 * largest, "{what} {index}: {found} {expected}");
        }
    }

    #[test]
    fn results_are_those_of_the_plain_form() {
        for (case, config) in variants().into_iter().enumerate() {
            let mut network = made(&config);
            if config.standardize_errors {
                let deviation: Vec<f32> = (0..config.channels()).map(|channel| 0.3 + channel as f32).collect();
                network = network.with_error_std(&deviation).unwrap();
            }
            for share in [1.0, 0.3, 0.0] {
                let network = network.clone().with_memory_share(share);
                for isa in Isa::available() {
                    let fast = Reconstructor::new(&network, Some(isa)).unwrap();
                    assert!(fast.is_packed());
                    // Batches of several sizes on the same buffers.
                    for batch in [3, 1, 5] {
                        let what = format!("case {case}, share {share}, {isa}, batch {batch}");
                        let tokens = tokens(&config, batch);
                        let expected = network.reconstruct(&tokens).unwrap();
                        assert_near(&fast.reconstruct(&tokens).unwrap(), &expected, &what);
                        let (found, expected) =
                            (fast.score(&tokens).unwrap(), network.score(&tokens, &expected).unwrap());
                        assert_near(&found.image_score, &expected.image_score, &what);
                        assert_near(&found.anomaly_map, &expected.anomaly_map, &what);
                    }
                }
            }
        }
    }

    #[test]
    fn bits_depend_on_neither_threads_nor_company() {
        let config = cases().remove(0);
        let (network, tokens) = (made(&config), tokens(&config, 3));
        let fast = network.reconstructor().unwrap();
        let run = |tokens: &Tensor, threads: usize| -> Vec<u32> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let result = pool.install(|| fast.reconstruct(tokens)).unwrap();
            result.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
        };
        let all = run(&tokens, 1);
        assert!(all == run(&tokens, 2) && all == run(&tokens, 3));
        let alone = run(&tokens.narrow(0, 1, 1).unwrap(), 2);
        assert!(all[alone.len()..2 * alone.len()] == alone);
    }

    #[test]
    fn calls_at_the_same_time_do_not_meet() {
        let config = cases().remove(0);
        let (network, tokens) = (made(&config), tokens(&config, 4));
        let fast = network.reconstructor().unwrap();
        let expected: Vec<f32> = fast.score(&tokens).unwrap().image_score.to_vec1().unwrap();
        std::thread::scope(|scope| {
            for image in [0, 1, 2, 3] {
                let (fast, tokens, expected) = (&fast, tokens.narrow(0, image, 1).unwrap(), expected[image]);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let found: Vec<f32> = fast.score(&tokens).unwrap().image_score.to_vec1().unwrap();
                        assert_eq!(found, [expected]);
                    }
                });
            }
        });
    }

    #[test]
    fn bad_tokens_are_refused_as_the_plain_form_does() {
        let config = cases().remove(0);
        let fast = made(&config).reconstructor().unwrap();
        let nan = (Tensor::ones((1, config.tokens(), config.channels()), candle_core::DType::F32, &Device::Cpu)
            .unwrap()
            * f64::NAN)
            .unwrap();
        assert!(matches!(fast.score(&nan), Err(crate::Error::NotFinite { .. })));
        let short = nan.narrow(1, 0, 1).unwrap();
        assert!(matches!(fast.reconstruct(&short), Err(crate::Error::InvalidArgument { .. })));
        // A view whose rows do not stand side by side is read as what it is.
        let wide = Random::new(3).stream().normal(config.channels() * config.tokens());
        let turned = Tensor::from_vec(wide, (1, config.channels(), config.tokens()), &Device::Cpu).unwrap();
        let turned = turned.transpose(1, 2).unwrap();
        assert_near(
            &fast.reconstruct(&turned).unwrap(),
            &fast.reconstruct(&turned.contiguous().unwrap()).unwrap(),
            "turned",
        );
    }
}
