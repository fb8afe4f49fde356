//! The training engine: the loss of a batch and its gradient with respect to every parameter.

use std::collections::BTreeMap;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::cdbn::{MEAN, STD};
use crate::config::DualAdConfig;
use crate::engine::derived::Derived;
use crate::engine::gradient::{self, GradientSource};
use crate::engine::group::{Group, Randomness, Shared};
use crate::engine::layout::{ParameterLayout, values};
use crate::engine::plan::{Plan, Step};
use crate::error::{Error, Result};
use crate::{DualAd, Random};

/// The fewest token rows of a group, if the batch has as many. Products of fewer rows spend their time packing the weights.
const MIN_GROUP_ROWS: usize = 392;

/// The parameters of a network in one vector, and the state of a training step on the CPU.
#[derive(Debug)]
pub(crate) struct TrainingEngine {
    config: DualAdConfig,
    layout: ParameterLayout,
    plan: Plan,
    /// All trained parameters.
    pub(crate) parameters: Vec<f32>,
    /// The gradient of the loss with respect to the parameters.
    pub(crate) gradient: Vec<f32>,
    /// The mean and 1 / std of each channel, if the network standardizes.
    standard: Option<[Vec<f32>; 2]>,
    /// The parameters that are not trained.
    constants: BTreeMap<String, Tensor>,
    derived: Derived,
    /// For each of the plan's tables, the gradient of its values.
    table_gradients: Vec<Vec<f32>>,
    /// The groups of the last batch, with their buffers.
    groups: Vec<Group>,
    /// The images of the last batch.
    batch: usize,
    /// The share of the readout in a memory's output: query + share * (readout - query).
    memory_share: f32,
}

impl TrainingEngine {
    /// Returns `true` if this engine can train such a network.
    pub(crate) fn can_train(config: &DualAdConfig) -> bool {
        Plan::can_train(config)
    }

    /// Copies the parameters of a network.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration describes no network, [`Error::Parameter`] if a parameter is missing,
    /// [`Error::Candle`] if one cannot be read.
    pub(crate) fn new(network: &DualAd) -> Result<Self> {
        let config = network.config().clone();
        let layout = ParameterLayout::new(&config)?;
        let plan = Plan::new(&config, &layout)?;
        let parameters = layout.flatten(network.parameters())?;
        let is_constant = |name: &str| layout.offset(name).is_none();
        let constants: BTreeMap<String, Tensor> = network
            .parameters()
            .iter()
            .filter(|(name, _)| is_constant(name))
            .map(|(n, t)| (n.clone(), t.clone()))
            .collect();
        let standard = match (constants.get(MEAN), constants.get(STD)) {
            (Some(mean), Some(std)) => Some([values(mean)?, values(std)?.iter().map(|std| 1.0 / std).collect()]),
            _ => None,
        };
        let derived = Derived::new(&config, &plan);
        Ok(Self {
            gradient: vec![0.0; parameters.len()],
            table_gradients: derived.tables.clone(),
            groups: Vec::new(),
            batch: 0,
            memory_share: 1.0,
            derived,
            parameters,
            standard,
            constants,
            layout,
            plan,
            config,
        })
    }

    /// The configuration of the network.
    pub(crate) fn config(&self) -> &DualAdConfig {
        &self.config
    }

    /// Sets the temperature of the memory's softmax.
    ///
    /// # Errors
    /// [`Error::Config`] if it is out of range.
    pub(crate) fn set_memory_temperature(&mut self, temperature: f64) -> Result<()> {
        let config = DualAdConfig { memory_temperature: temperature, ..self.config.clone() };
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// Sets the share of the readout in a memory's output: query + share * (readout - query).
    pub(crate) fn set_memory_share(&mut self, share: f64) {
        self.memory_share = share.clamp(0.0, 1.0) as f32;
    }

    /// Returns a flat vector of the parameters' layout as named tensors.
    ///
    /// # Errors
    /// [`Error::Candle`] if a tensor cannot be made.
    pub(crate) fn named(&self, flat: &[f32]) -> Result<BTreeMap<String, Tensor>> {
        self.layout.named(flat)
    }

    /// Returns named tensors as a flat vector of the parameters' layout.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first tensor that is missing or has another shape.
    pub(crate) fn flatten(&self, named: &BTreeMap<String, Tensor>) -> Result<Vec<f32>> {
        self.layout.flatten(named)
    }

    /// Checks that every name is that of a trained parameter.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first one that is not.
    pub(crate) fn check_names(&self, named: &BTreeMap<String, Tensor>) -> Result<()> {
        self.layout.check_names(named)
    }

    /// Returns every parameter by name, including those that are not trained.
    ///
    /// # Errors
    /// [`Error::Candle`] if a tensor cannot be made.
    pub(crate) fn all_parameters(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut parameters = self.named(&self.parameters)?;
        parameters.extend(self.constants.iter().map(|(name, tensor)| (name.clone(), tensor.clone())));
        Ok(parameters)
    }

    /// Returns a network with the current parameters.
    ///
    /// # Errors
    /// Those of [`DualAd::from_parameters`].
    pub(crate) fn network(&self) -> Result<DualAd> {
        DualAd::from_parameters(self.config.clone(), self.all_parameters()?)
    }

    /// Computes the loss of a batch of raw tokens `[batch, tokens, channels]` (docs/method.md, section 5) and leaves its gradient
    /// in [`Self::gradient`]. With `random`, jitter and dropout are those of [`DualAd::reconstruct_jittered`]; without it, there is
    /// neither.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the tokens are not those of whole images.
    pub(crate) fn loss_and_gradient(&mut self, tokens: &[f32], random: Option<&mut Random>) -> Result<f64> {
        let (count, channels) = (self.config.tokens(), self.config.channels());
        let image = count * channels;
        if tokens.is_empty() || !tokens.len().is_multiple_of(image) {
            return Err(Error::tokens(count, channels, format_args!("{} values", tokens.len())));
        }
        let batch = tokens.len() / image;
        self.resize(batch);
        self.derived.update(&self.config, &self.plan, &self.parameters);
        let (mut streams, mut jitter, is_random) = (Vec::new(), None, random.is_some());
        if let Some(random) = random {
            // The order of the plain form.
            jitter = self.config.jitter.map(|jitter| (jitter, random.stream()));
            streams.extend(self.plan.dropouts.iter().map(|_| random.stream()));
        }
        let randomness =
            is_random.then_some(Randomness { jitter, dropout: self.config.dropout as f32, streams: &streams });
        let mut groups = std::mem::take(&mut self.groups);
        let shared = self.shared(batch, randomness);
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
        let source = GradientSource {
            config: &self.config,
            plan: &self.plan,
            parameters: &self.parameters,
            derived: &self.derived,
            groups: &self.groups,
        };
        gradient::collect(&source, &mut self.gradient, &mut self.table_gradients);
        Ok(loss)
    }

    /// Returns the queries of each memory, `[batch * tokens, narrow_width]`, for raw tokens `[batch, tokens, channels]` without
    /// jitter and dropout. The result is empty if the network has no memory.
    pub(crate) fn memory_queries(&mut self, tokens: &[f32]) -> Vec<Vec<f32>> {
        let image = self.config.tokens() * self.config.channels();
        let batch = tokens.len() / image;
        if batch == 0 {
            return Vec::new();
        }
        self.resize(batch);
        self.derived.update(&self.config, &self.plan, &self.parameters);
        let mut groups = std::mem::take(&mut self.groups);
        let shared = self.shared(batch, None);
        let standard = self.standard.as_ref().map(|[mean, scale]| (mean.as_slice(), scale.as_slice()));
        groups.par_iter_mut().for_each(|group| group.forward(&shared, &tokens[..batch * image], standard));
        let mut queries = vec![Vec::new(); self.plan.memories.len()];
        for step in &self.plan.steps {
            let Step::Memory(memory) = step else { continue };
            let view = memory.x.view;
            for group in &groups {
                for row in group.value(view.value).chunks_exact(self.plan.columns[view.value]) {
                    queries[memory.index].extend_from_slice(&row[view.start..view.start + view.columns]);
                }
            }
        }
        self.groups = groups;
        queries
    }

    /// Returns the inputs that all groups share.
    fn shared<'a>(&'a self, batch: usize, randomness: Option<Randomness<'a>>) -> Shared<'a> {
        Shared {
            plan: &self.plan,
            parameters: &self.parameters,
            derived: &self.derived,
            tokens: self.config.tokens(),
            heads: self.config.heads,
            slots: self.config.memory_slots,
            memory_share: self.memory_share,
            inverse_temperature: (1.0 / self.config.memory_temperature) as f32,
            mask: self.config.attention_mask(),
            stage_channels: &self.config.stage_channels,
            batch_rows: batch * self.config.tokens(),
            randomness,
        }
    }

    /// Divides a batch into groups. Their sizes depend only on the batch, so that sums have the same order on any number of
    /// threads.
    fn resize(&mut self, batch: usize) {
        if self.batch == batch && !self.groups.is_empty() {
            return;
        }
        let tokens = self.config.tokens();
        let size = MIN_GROUP_ROWS.div_ceil(tokens).min(batch).max(1);
        self.groups.clear();
        for first in (0..batch).step_by(size) {
            self.groups.push(Group::new(&self.plan, first, size.min(batch - first), tokens));
        }
        self.batch = batch;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::engine::testing::{base, cases, random_network, random_tokens};

    #[test]
    fn loss_and_gradient_equal_the_plain_form() {
        for (case, config) in cases().into_iter().enumerate() {
            let network = random_network(&config);
            let mut fast = TrainingEngine::new(&network).unwrap();
            // 17 images of 30 tokens: a group of 14 and one of 3.
            for (batch, share) in [(17, 1.0), (2, 0.0), (3, 0.4)] {
                let network = network.clone().with_memory_share(share);
                let tokens = random_tokens(&config, batch);
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
                    // The gradient of a key's bias is zero up to rounding: softmax ignores a constant that is common to all keys.
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
        let values: Vec<f32> = random_tokens(&config, 40).flatten_all().unwrap().to_vec1().unwrap();
        let gradient = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut fast = TrainingEngine::new(&random_network(&config)).unwrap();
                let loss = fast.loss_and_gradient(&values, Some(&mut Random::new(4))).unwrap();
                (loss.to_bits(), fast.gradient.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
            })
        };
        let one = gradient(1);
        assert!(one == gradient(2) && one == gradient(3));
    }

    #[test]
    fn parameters_round_trip_and_bad_tokens_are_refused() {
        let network = random_network(&DualAdConfig { standardize: true, ..base() });
        let mut fast = TrainingEngine::new(&network).unwrap();
        let back = fast.network().unwrap();
        assert_eq!(back.config(), network.config());
        for (name, tensor) in network.parameters() {
            let [found, expected] = [&back.parameters()[name], tensor].map(|tensor| values(tensor).unwrap());
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
    fn memory_queries_are_the_inputs_of_the_memory() {
        let config = DualAdConfig { memory_temperature: 1.0, ..base() };
        let mut fast = TrainingEngine::new(&random_network(&config)).unwrap();
        let values: Vec<f32> = random_tokens(&config, 20).flatten_all().unwrap().to_vec1().unwrap();
        let queries = fast.memory_queries(&values);
        assert_eq!(queries.len(), 3);
        assert!(queries.iter().all(|level| level.len() == 20 * 30 * 12 && level.iter().any(|&x| x != 0.0)));
        // A single image gives the same queries.
        let alone = fast.memory_queries(&values[..30 * 14]);
        assert!(alone[2].iter().zip(&queries[2]).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
