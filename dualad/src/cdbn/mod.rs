//! The coupled dual-branch network (CDBN; paper, section 3.3; method, section 4): the wide-shallow network wraps the
//! narrow-deep one.
//!
//! delta_E -> split into L levels -> memory modules -> psi_E, psi_D -> concatenation -> delta_D

mod attention;
mod build;
mod layers;
mod memory;
mod narrow_deep;
mod parameters;
mod position;
mod standardisation;
mod wide_shallow;

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result as CandleResult, Tensor, Var};

use crate::Random;
use crate::config::{Branches, DualAdConfig, Variant};
use crate::error::{Error, Result};
use crate::pseudo_anomaly::pseudo_anomaly;
use build::{Existing, Initialise, Scope};
use layers::{Linear, Pass};
use memory::MemoryModule;
use narrow_deep::NarrowDeep;
use position::PositionEmbedding;
use standardisation::{ErrorDeviation, Standardisation};
use wide_shallow::WideShallow;

pub use parameters::ParameterShape;
pub(crate) use standardisation::{DEVIATION, MEAN};

/// The reconstruction network: tokens in, the same tokens as a normal image would have them out.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use dualad::backbones::Backbone;
/// use dualad::{DualAd, DualAdConfig, Random, Variant};
///
/// let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18)
///     .with_narrow_width(16)
///     .with_chunk_width(16)
///     .with_ffn_width(32); // small, for an example
/// let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
///
/// let tokens = Tensor::zeros((2, 14 * 14, 448), DType::F32, &Device::Cpu)?;
/// let reconstruction = network.reconstruct(&tokens)?;
/// assert_eq!(reconstruction.dims(), tokens.dims());
/// let scores = network.score(&tokens, &reconstruction)?;
/// assert_eq!(scores.anomaly_map.dims(), [2, 1, 224, 224]);
/// assert_eq!(scores.image_score.dims(), [2]);
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DualAd {
    config: DualAdConfig,
    parameters: BTreeMap<String, Tensor>,
    variables: BTreeMap<String, Var>,
    wide: WideShallow,
    /// Joins the branches where a wide chunk is not of the narrow width.
    head_projections: Option<[Linear; 2]>,
    memory: Vec<MemoryModule>,
    narrow: Option<NarrowDeep>,
    position: Option<PositionEmbedding>,
    standardisation: Option<Standardisation>,
    error_deviation: Option<ErrorDeviation>,
}

impl DualAd {
    /// A network to train, its parameters drawn from the method's distributions. Each depends on the seed and its own name
    /// only.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration makes no network.
    pub fn new(config: DualAdConfig, random: &Random, device: &Device) -> Result<Self> {
        config.validate()?;
        let source = RefCell::new(Initialise {
            random: random.clone(),
            device,
            variables: BTreeMap::new(),
            constants: BTreeMap::new(),
        });
        let mut network = Self::build(config, &Scope::root(&source))?;
        let Initialise { variables, constants, .. } = source.into_inner();
        network.parameters = variables.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        network.parameters.extend(constants);
        network.variables = variables;
        Ok(network)
    }

    /// A network for inference of the parameters given, which must be those that [`DualAdConfig::parameters`] names, of
    /// one floating-point dtype. [`Self::trainable`] makes one to train of it.
    ///
    /// # Errors
    /// [`Error::Config`], or [`Error::Parameter`] for the first that is missing, too many, or of another shape or dtype.
    pub fn from_parameters(config: DualAdConfig, parameters: BTreeMap<String, Tensor>) -> Result<Self> {
        let wanted: BTreeMap<String, Vec<usize>> =
            config.parameters()?.into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
        let dtype = parameters.values().next().map_or(DType::F32, Tensor::dtype);
        check_dtype(dtype)?;
        let wrong = |name: &String, reason: String| Err(Error::Parameter { name: name.clone(), reason });
        if let Some(name) = wanted.keys().find(|name| !parameters.contains_key(*name)) {
            return wrong(name, "is missing".into());
        }
        for (name, tensor) in &parameters {
            match wanted.get(name) {
                None => return wrong(name, "is not one of the network's".into()),
                Some(shape) if shape != tensor.dims() => {
                    return wrong(name, format!("has shape {:?}, not {shape:?}", tensor.dims()));
                }
                // What is measured is kept in f32.
                Some(_) if tensor.dtype() != dtype && !Standardisation::is_part(name) => {
                    return wrong(name, format!("has dtype {:?}, others {dtype:?}", tensor.dtype()));
                }
                Some(_) => {}
            }
        }
        parameters.iter().try_for_each(|(name, tensor)| standardisation::check(name, tensor))?;
        let mut network = Self::build(config, &Scope::root(&RefCell::new(Existing(&parameters))))?;
        network.parameters = parameters;
        Ok(network)
    }

    fn build(config: DualAdConfig, root: &Scope<'_>) -> Result<Self> {
        let coupled = config.branches != Branches::WideShallow;
        let needs_position = coupled || config.variant == Variant::Homogeneous;
        // A published checkpoint repeats the embedding under every layer; here it stands under the first.
        let position_scope = if coupled {
            root.pp("encoder.layers.0.abs_pos_embed")
        } else {
            root.pp("proj_encoder.layers.0.abs_pos_embed.0")
        };
        let (wide, narrow) = (config.wide_width(), config.levels * config.narrow_width);
        let join = |from, to, name| Linear::new(from, to, &root.pp(name));
        let memory = |level| {
            MemoryModule::new(
                config.memory_slots,
                config.narrow_width,
                config.memory_temperature,
                &root.pp("memory_modules").pp(level),
            )
        };
        let levels = if config.memory_slots > 0 { config.levels } else { 0 };
        Ok(Self {
            wide: WideShallow::new(&config, root)?,
            head_projections: (config.chunk_width != config.narrow_width)
                .then(|| Ok::<_, Error>([join(wide, narrow, "head_proj1")?, join(narrow, wide, "head_proj2")?]))
                .transpose()?,
            memory: (0..levels).map(memory).collect::<Result<_>>()?,
            narrow: coupled.then(|| NarrowDeep::new(&config, root)).transpose()?,
            error_deviation: config
                .standardize_errors
                .then(|| ErrorDeviation::new(config.channels(), root))
                .transpose()?,
            standardisation: config.standardize.then(|| Standardisation::new(config.channels(), root)).transpose()?,
            position: needs_position.then(|| PositionEmbedding::new(&config, &position_scope)).transpose()?,
            config,
            parameters: BTreeMap::new(),
            variables: BTreeMap::new(),
        })
    }

    /// What the network is made of.
    pub fn config(&self) -> &DualAdConfig {
        &self.config
    }

    /// Every parameter by the published checkpoint's name.
    pub fn parameters(&self) -> &BTreeMap<String, Tensor> {
        &self.parameters
    }

    /// The variables to train, by name; empty for a network that was loaded for inference.
    pub fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// The same network with variables of its own, to train on.
    ///
    /// # Errors
    /// [`Error::Candle`] if the device has no memory for them.
    pub fn trainable(&self) -> Result<Self> {
        // A copy: a variable made of a variable is the same one.
        let copy = |tensor: &Tensor| tensor.detach().to_dtype(DType::F32)?.copy();
        let (mut variables, mut tensors) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in &self.parameters {
            let mut tensor = copy(tensor)?;
            if !Standardisation::is_part(name) {
                let variable = Var::from_tensor(&tensor)?;
                tensor = variable.as_tensor().clone();
                variables.insert(name.clone(), variable);
            }
            tensors.insert(name.clone(), tensor);
        }
        let mut network = Self::from_parameters(self.config.clone(), tensors)?;
        network.variables = variables;
        Ok(network)
    }

    /// The same network computing in another dtype, its parameters rounded to it: gradients reach the variables that they are of.
    pub(crate) fn computing_in(&self, dtype: DType) -> Result<Self> {
        let rounded = |name: &str, tensor: &Tensor| {
            if Standardisation::is_part(name) { Ok(tensor.clone()) } else { tensor.to_dtype(dtype) }
        };
        let tensors = self.parameters.iter().map(|(name, tensor)| Ok((name.clone(), rounded(name, tensor)?)));
        let parameters = tensors.collect::<CandleResult<_>>()?;
        // Without `from_parameters`' checks, which would wait for the device at every step: the shapes are those that there were.
        let mut network = Self::build(self.config.clone(), &Scope::root(&RefCell::new(Existing(&parameters))))?;
        network.parameters = parameters;
        Ok(network.with_memory_share(self.memory_share()))
    }

    /// The network as it stands, to infer with: it keeps no graph, and later training steps do not change it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the dtype is no floating-point one, [`Error::Candle`] if the device cannot hold the parameters.
    pub fn frozen(&self, dtype: DType, device: &Device) -> Result<Self> {
        check_dtype(dtype)?;
        let freeze = |name: &str, tensor: &Tensor| {
            let dtype = if Standardisation::is_part(name) { tensor.dtype() } else { dtype };
            // (On Metal, a `copy` shares its numbers with the original.)
            tensor.detach().to_dtype(dtype)?.to_device(device)?.force_contiguous()
        };
        let tensors = self.parameters.iter().map(|(name, tensor)| Ok((name.clone(), freeze(name, tensor)?)));
        Self::from_parameters(self.config.clone(), tensors.collect::<CandleResult<_>>()?)
    }

    /// Clean tokens `[batch, tokens, channels]` to their reconstruction, of the same shape and the network's dtype; in f32
    /// at least where the network standardises.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the shape or dtype does not fit, [`Error::NotFinite`] if they hold NaN or infinity (looked
    /// for on the CPU only), [`Error::Candle`] if the device fails.
    pub fn reconstruct(&self, tokens: &Tensor) -> Result<Tensor> {
        self.check_finite(tokens)?;
        let standard = self.standardised(tokens)?.to_dtype(self.dtype())?;
        let reconstruction = self.forward(&standard, &mut Pass::evaluation())?;
        Ok(self.restored(reconstruction)?)
    }

    /// Clean tokens `[batch, tokens, channels]` to the reconstruction of pseudo anomalies made of them, with dropout: a
    /// training step's forward pass. The clean tokens stay the target ([`Self::loss`]), and get no gradient.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn reconstruct_disturbed(&self, tokens: &Tensor, random: &mut Random) -> Result<Tensor> {
        self.check_finite(tokens)?;
        let tokens = self.standardised(tokens)?.to_dtype(self.dtype())?;
        let disturbed = match self.config.jitter {
            None => tokens,
            Some(jitter) => pseudo_anomaly(&tokens, jitter, random.stream())?,
        };
        let reconstruction = self.forward(&disturbed, &mut Pass::training(self.config.dropout, random))?;
        Ok(self.restored(reconstruction)?)
    }

    /// The sum over stages of the mean squared error (method, section 5): a scalar.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn loss(&self, tokens: &Tensor, reconstruction: &Tensor) -> Result<Tensor> {
        self.check(tokens)?;
        self.check(reconstruction)?;
        let (tokens, reconstruction) = (self.standardised(tokens)?, self.standardised(reconstruction)?);
        Ok(crate::score::reconstruction_loss(&tokens, &reconstruction, &self.config.stage_channels)?)
    }

    /// Anomaly map and image score of clean tokens and their reconstruction (method, section 6), in f32.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn score(&self, tokens: &Tensor, reconstruction: &Tensor) -> Result<crate::Scores> {
        self.check(tokens)?;
        self.check(reconstruction)?;
        let standard = |x: &Tensor| {
            let x = self.standardised(x)?;
            self.error_deviation.as_ref().map_or(Ok(x.clone()), |deviation| deviation.apply(&x))
        };
        let (tokens, reconstruction) = (standard(tokens)?, standard(reconstruction)?);
        let DualAdConfig { stage_channels, combination, grid, .. } = &self.config;
        Ok(crate::score::score(&tokens, &reconstruction, stage_channels, *combination, *grid)?)
    }

    /// The same network with its channels' means and deviations, as measured on the training set's tokens: `[channels]`
    /// each.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration does not standardise, [`Error::Parameter`] if the numbers are not one for
    /// each channel, not finite, or a deviation is not above zero.
    pub fn with_standardisation(&self, mean: &[f32], deviation: &[f32]) -> Result<Self> {
        if !self.config.standardize {
            let (value, reason) = ("false".into(), "must be true for a network that standardises its features".into());
            return Err(Error::Config { field: "standardize", value, reason });
        }
        let mut tensors = self.parameters.clone();
        let device = tensors.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        tensors.extend(Standardisation::tensors(self.config.channels(), mean, deviation, &device)?);
        let mut network = Self::from_parameters(self.config.clone(), tensors)?;
        network.variables.clone_from(&self.variables);
        Ok(network)
    }

    /// The same network with what each channel's error usually is on normal images: `[channels]`, in the features' own
    /// deviations where the network standardises. [`Self::score`] measures errors in it.
    ///
    /// # Errors
    /// As [`Self::with_standardisation`].
    pub fn with_error_deviation(&self, deviation: &[f32]) -> Result<Self> {
        if !self.config.standardize_errors {
            let (value, reason) = ("false".into(), "must be true for a network that standardises its errors".into());
            return Err(Error::Config { field: "standardize_errors", value, reason });
        }
        let mut tensors = self.parameters.clone();
        tensors.extend([ErrorDeviation::tensor(self.config.channels(), deviation, &self.device())?]);
        let mut network = Self::from_parameters(self.config.clone(), tensors)?;
        network.variables.clone_from(&self.variables);
        Ok(network)
    }

    /// The same network with its memory read at another temperature; parameters and variables are shared.
    ///
    /// # Errors
    /// [`Error::Config`] if it is out of range.
    pub fn with_memory_temperature(&self, temperature: f64) -> Result<Self> {
        let config = DualAdConfig { memory_temperature: temperature, ..self.config.clone() };
        config.validate()?;
        let mut network = Self::from_parameters(config, self.parameters.clone())?;
        network.variables.clone_from(&self.variables);
        Ok(network)
    }

    /// The same network whose memory passes on a mix of what it was asked (0) and what it read (1): for the start of a
    /// training, when it knows nothing yet. Parameters and variables are shared.
    pub(crate) fn with_memory_share(mut self, share: f64) -> Self {
        self.memory.iter_mut().for_each(|memory| memory.share = share.clamp(0.0, 1.0));
        self
    }

    /// [`Self::with_memory_share`]'s share.
    pub(crate) fn memory_share(&self) -> f64 {
        self.memory.first().map_or(1.0, |memory| memory.share)
    }

    /// How far the reconstruction of clean tokens `[batch, tokens, channels]` is from them, in deviations where the network
    /// standardises: the same shape.
    pub(crate) fn errors(&self, tokens: &Tensor) -> Result<Tensor> {
        let reconstruction = self.reconstruct(tokens)?;
        Ok((self.standardised(&reconstruction)? - self.standardised(tokens)?)?)
    }

    /// Means and deviations of the channels, where the network standardises.
    pub(crate) fn standard_deviations(&self) -> Result<Option<[Vec<f32>; 2]>> {
        Ok(self.standardisation.as_ref().map(Standardisation::numbers).transpose()?)
    }

    /// What errors are measured in, where it is.
    pub(crate) fn error_deviations(&self) -> Result<Option<Vec<f32>>> {
        Ok(self.error_deviation.as_ref().map(ErrorDeviation::numbers).transpose()?)
    }

    /// In deviations from the mean, where the network standardises.
    fn standardised(&self, tokens: &Tensor) -> CandleResult<Tensor> {
        self.standardisation
            .as_ref()
            .map_or_else(|| Ok(tokens.clone()), |standardisation| standardisation.apply(tokens))
    }

    /// Back from [`Self::standardised`].
    fn restored(&self, tokens: Tensor) -> CandleResult<Tensor> {
        match &self.standardisation {
            None => Ok(tokens),
            Some(standardisation) => standardisation.restore(&tokens),
        }
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.parameters.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone())
    }

    /// What the parameters are in.
    pub fn dtype(&self) -> DType {
        self.parameters.values().next().map_or(DType::F32, Tensor::dtype)
    }

    pub(crate) fn check(&self, tokens: &Tensor) -> Result<()> {
        let (count, channels) = (self.config.tokens(), self.config.channels());
        match *tokens.dims() {
            [batch, n, c] if batch > 0 && n == count && c == channels && check_dtype(tokens.dtype()).is_ok() => Ok(()),
            ref shape => Err(Error::tokens(count, channels, format_args!("{shape:?} {:?}", tokens.dtype()))),
        }
    }

    /// Rectifiers and the memory would turn NaN into numbers that look sound.
    fn check_finite(&self, tokens: &Tensor) -> Result<()> {
        self.check(tokens)?;
        // Zero times NaN or infinity is NaN. On an accelerator the answer would have to be waited for.
        let zeros = || tokens.detach().affine(0.0, 0.0)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>();
        if tokens.device().is_cpu() && zeros()? != 0.0 { Err(Error::tokens_not_finite()) } else { Ok(()) }
    }

    /// Clean tokens `[batch, tokens, channels]` to the L levels as the memory would read them, `[batch, tokens, d]` each.
    pub(crate) fn levels_before_memory(&self, tokens: &Tensor) -> Result<Vec<Tensor>> {
        self.check_finite(tokens)?;
        let standard = self.standardised(tokens)?.to_dtype(self.dtype())?;
        let position = self.position.as_ref().map(PositionEmbedding::tokens).transpose()?;
        Ok(self.levels(&standard, position.as_ref(), &mut Pass::evaluation())?)
    }

    /// delta_E, split into L levels.
    fn levels(&self, tokens: &Tensor, position: Option<&Tensor>, pass: &mut Pass<'_>) -> CandleResult<Vec<Tensor>> {
        let mut x = self.wide.encode(tokens, position, pass)?;
        if let Some([project, _]) = &self.head_projections {
            x = project.forward(&x)?;
        }
        x.chunk(self.config.levels, D::Minus1)
    }

    fn forward(&self, tokens: &Tensor, pass: &mut Pass<'_>) -> CandleResult<Tensor> {
        let position = self.position.as_ref().map(PositionEmbedding::tokens).transpose()?;
        let levels = self.levels(tokens, position.as_ref(), pass)?;
        let levels = if self.memory.is_empty() {
            levels
        } else {
            levels.iter().zip(&self.memory).map(|(level, memory)| memory.forward(level)).collect::<CandleResult<_>>()?
        };
        let outputs = match (&self.narrow, &position) {
            (Some(narrow), Some(position)) => narrow.forward(&levels, position, pass)?,
            _ => levels,
        };
        let mut x = Tensor::cat(&outputs, D::Minus1)?;
        if let Some([_, project]) = &self.head_projections {
            x = project.forward(&x)?;
        }
        self.wide.decode(&x, position.as_ref(), pass)
    }
}

fn check_dtype(dtype: DType) -> Result<()> {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::F64 => Ok(()),
        other => Err(Error::invalid_argument("the dtype", format_args!("{other:?}"), "must be F32, F16, BF16 or F64")),
    }
}
