//! The inference engine: the steps of the plan on a whole batch, each distributed over the threads.

use dualad_kernels::{self as kernels, Buffer, Isa, Packed, Precision, Workspace, WorkspacePool};
use rayon::prelude::*;

use crate::DualAd;
use crate::config::{Combination, DualAdConfig};
use crate::engine::derived::Derived;
use crate::engine::layout::ParameterLayout;
use crate::engine::packed_step::{PackedStep, Pass, ROWS};
use crate::engine::plan::Plan;
use crate::error::Result;
use crate::score::MAX_ERROR;

/// A network with its weights laid out for an instruction set.
#[derive(Debug)]
pub(crate) struct InferenceEngine {
    config: DualAdConfig,
    steps: Vec<PackedStep>,
    /// The columns of each value of the plan.
    columns: Vec<usize>,
    /// The value that holds the input.
    input: usize,
    /// The value that holds the reconstruction.
    output: usize,
    /// For each value, the last step that reads it, or `usize::MAX`.
    last_use: Vec<usize>,
    standard: Option<Standard>,
    /// The usual error (RMS) of each channel; errors are divided by it.
    error_std: Option<Vec<f32>>,
    /// The share of the readout in a memory's output: query + share * (readout - query).
    memory_share: f32,
    workspaces: WorkspacePool,
}

/// The standardization of tokens.
#[derive(Debug)]
struct Standard {
    /// The mean of each channel.
    mean: Vec<f32>,
    /// The std of each channel.
    std: Vec<f32>,
    /// 1 / std of each channel.
    scale: Vec<f32>,
}

impl InferenceEngine {
    /// Lays out the weights of a network.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] if a parameter is missing, [`crate::Error::Candle`] if one cannot be read.
    pub(crate) fn new(network: &DualAd, isa: Isa, precision: Precision) -> Result<Self> {
        let config = network.config().clone();
        let layout = ParameterLayout::new(&config)?;
        let plan = Plan::new(&config, &layout)?;
        let parameters = layout.flatten(network.parameters())?;
        let mut derived = Derived::new(&config, &plan);
        derived.update(&config, &plan, &parameters);
        let step = |step| PackedStep::new(step, (isa, precision), &config, &parameters, &derived);
        let mut steps: Vec<PackedStep> = plan.steps.iter().map(step).collect();
        Packed::gather(steps.iter_mut().flat_map(PackedStep::packed));
        let standard = network.feature_statistics()?.map(|[mean, std]| Standard {
            scale: std.iter().map(|std| 1.0 / std).collect(),
            mean,
            std,
        });
        Ok(Self {
            last_use: last_use(&steps, plan.columns.len()),
            steps,
            columns: plan.columns,
            input: plan.input,
            output: plan.output,
            standard,
            error_std: network.error_std()?,
            memory_share: network.memory_share() as f32,
            workspaces: WorkspacePool::default(),
            config,
        })
    }

    /// Returns the reconstruction of raw tokens `[batch, tokens, channels]`.
    pub(crate) fn reconstruct(&self, tokens: &[f32]) -> Vec<f32> {
        self.run(tokens, |_, reconstruction| {
            let mut restored = reconstruction.to_vec();
            if let Some(Standard { mean, std, .. }) = &self.standard {
                restored.par_chunks_mut(mean.len()).for_each(|row| {
                    for ((x, mean), std) in row.iter_mut().zip(mean).zip(std) {
                        *x = *x * std + mean;
                    }
                });
            }
            restored
        })
    }

    /// Returns the combined errors of all stages, `[batch, tokens]`, for raw tokens `[batch, tokens, channels]` (docs/method.md,
    /// section 6).
    pub(crate) fn errors(&self, tokens: &[f32]) -> Vec<f32> {
        let channels = self.config.channels();
        self.run(tokens, |clean, reconstruction| {
            let mut errors = vec![0.0; clean.len() / channels];
            let rows = clean.par_chunks(channels).zip(reconstruction.par_chunks(channels));
            errors.par_iter_mut().with_min_len(ROWS).zip(rows).for_each(|(combined, (clean, reconstruction))| {
                *combined = self.combined_error(clean, reconstruction);
            });
            errors
        })
    }

    /// Returns the combined error of all stages of one token.
    fn combined_error(&self, clean: &[f32], reconstruction: &[f32]) -> f32 {
        let (mut start, mut combined) = (0, 0.0);
        for (index, &stage) in self.config.stage_channels.iter().enumerate() {
            let columns = start..start + stage;
            let std = self.error_std.as_ref().map(|std| &std[columns.clone()]);
            let squares = kernels::squared_distance(&clean[columns.clone()], &reconstruction[columns], std);
            let error = (squares / stage as f32).sqrt().min(MAX_ERROR as f32);
            combined = match (index, self.config.combination) {
                (0, _) => error,
                (_, Combination::Product) => (combined * error).min(MAX_ERROR as f32),
                (_, Combination::Sum) => (combined + error).min(MAX_ERROR as f32),
            };
            start += stage;
        }
        combined
    }

    /// Runs the network and calls `read` with the input and the reconstruction, both standardized.
    fn run<R>(&self, tokens: &[f32], read: impl FnOnce(&[f32], &[f32]) -> R) -> R {
        self.workspaces.with(|workspace| {
            let values = self.run_steps(tokens, workspace);
            let result = read(&values[self.input], &values[self.output]);
            values.into_iter().filter(|value| value.capacity() > 0).for_each(|value| workspace.release(value));
            result
        })
    }

    /// Runs all steps and returns the values that are still in use.
    fn run_steps(&self, tokens: &[f32], workspace: &mut Workspace) -> Vec<Buffer> {
        let mut values: Vec<Buffer> = self.columns.iter().map(|_| Buffer::default()).collect();
        values[self.input] = self.standardized(tokens, workspace);
        let mut pass = Pass {
            workspace,
            values,
            columns: &self.columns,
            rows: tokens.len() / self.config.channels(),
            tokens: self.config.tokens(),
            heads: self.config.heads,
            mask: self.config.attention_mask(),
            memory_share: self.memory_share,
        };
        for (index, step) in self.steps.iter().enumerate() {
            pass.run(step);
            for (value, &last) in self.last_use.iter().enumerate() {
                if last == index && value != self.input && value != self.output {
                    pass.workspace.release(std::mem::take(&mut pass.values[value]));
                }
            }
        }
        pass.values
    }

    /// Copies the tokens and standardizes them, if the network does.
    fn standardized(&self, tokens: &[f32], workspace: &mut Workspace) -> Buffer {
        let mut x = workspace.take(tokens.len());
        match &self.standard {
            None => x.copy_from_slice(tokens),
            Some(Standard { mean, scale, .. }) => {
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

/// Returns, for each value, the last step that reads it.
fn last_use(steps: &[PackedStep], values: usize) -> Vec<usize> {
    let mut last = vec![usize::MAX; values];
    for (index, step) in steps.iter().enumerate() {
        step.inputs().iter().for_each(|view| last[view.value] = index);
    }
    last
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::config::{Branches, Variant};
    use crate::engine::testing::{cases, random_network, random_tokens};
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
    fn results_equal_the_plain_form() {
        for (case, config) in variants().into_iter().enumerate() {
            let mut network = random_network(&config);
            if config.standardize_errors {
                let std: Vec<f32> = (0..config.channels()).map(|channel| 0.3 + channel as f32).collect();
                network = network.with_error_std(&std).unwrap();
            }
            for share in [1.0, 0.3, 0.0] {
                let network = network.clone().with_memory_share(share);
                for isa in Isa::available() {
                    let fast = Reconstructor::new(&network, Some(isa), Precision::F32).unwrap();
                    assert!(fast.uses_engine());
                    // Batches of several sizes share the buffers.
                    for batch in [3, 1, 5] {
                        let what = format!("case {case}, share {share}, {isa}, batch {batch}");
                        let tokens = random_tokens(&config, batch);
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
    fn bits_do_not_depend_on_threads_or_other_images() {
        let config = cases().remove(0);
        let (network, tokens) = (random_network(&config), random_tokens(&config, 3));
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
    fn concurrent_calls_do_not_interfere() {
        let config = cases().remove(0);
        let (network, tokens) = (random_network(&config), random_tokens(&config, 4));
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
    fn bad_tokens_are_refused_like_the_plain_form() {
        let config = cases().remove(0);
        let fast = random_network(&config).reconstructor().unwrap();
        let nan = (Tensor::ones((1, config.tokens(), config.channels()), candle_core::DType::F32, &Device::Cpu)
            .unwrap()
            * f64::NAN)
            .unwrap();
        assert!(matches!(fast.score(&nan), Err(crate::Error::NotFinite { .. })));
        let short = nan.narrow(1, 0, 1).unwrap();
        assert!(matches!(fast.reconstruct(&short), Err(crate::Error::InvalidArgument { .. })));
        // A tensor whose rows are not contiguous gives the same result.
        let wide = Random::new(3).stream().normal(config.channels() * config.tokens());
        let transposed = Tensor::from_vec(wide, (1, config.channels(), config.tokens()), &Device::Cpu).unwrap();
        let transposed = transposed.transpose(1, 2).unwrap();
        assert_near(
            &fast.reconstruct(&transposed).unwrap(),
            &fast.reconstruct(&transposed.contiguous().unwrap()).unwrap(),
            "transposed",
        );
    }
}
