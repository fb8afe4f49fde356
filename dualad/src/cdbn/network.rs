//! The coupled dual-branch network (CDBN; paper, section 3.3; docs/method.md, section 4): the wide-shallow network wraps the
//! narrow-deep network.
//!
//! WSN encoder -> L chunks -> memory modules -> NDN encoder -> NDN decoder -> concatenation -> WSN decoder

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result as CandleResult, Tensor, Var};

use crate::Random;
use crate::cdbn::dropout::Dropout;
use crate::cdbn::linear::Linear;
use crate::cdbn::memory::MemoryModule;
use crate::cdbn::narrow_deep::NarrowDeep;
use crate::cdbn::position::PositionEmbedding;
use crate::cdbn::scope::{Existing, Initializer, ParameterShape, Recorder, Scope};
use crate::cdbn::standardization::{self, ErrorStd, Standardization};
use crate::cdbn::wide_shallow::WideShallow;
use crate::config::{Branches, DualAdConfig, Variant};
use crate::error::{Error, Result};
use crate::pseudo_anomaly::pseudo_anomaly;
use crate::score::{POOL, Scores, Upsampling, reconstruction_loss, token_errors};

/// The reconstruction network: maps the tokens of an image to the tokens that a normal image would have.
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
    pub(super) config: DualAdConfig,
    pub(super) parameters: BTreeMap<String, Tensor>,
    pub(super) variables: BTreeMap<String, Var>,
    wide: WideShallow,
    projections: Option<BranchProjections>,
    /// One module per chunk, or none.
    pub(super) memory: Vec<MemoryModule>,
    narrow: Option<NarrowDeep>,
    position: Option<PositionEmbedding>,
    pub(super) standardization: Option<Standardization>,
    pub(super) error_std: Option<ErrorStd>,
}

/// The projections between the branches, for wide chunks of another width than the narrow branch.
#[derive(Debug, Clone)]
struct BranchProjections {
    to_narrow: Linear,
    to_wide: Linear,
}

impl DualAdConfig {
    /// Returns the name and the shape of every parameter of the network. Allocates no parameters.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn parameters(&self) -> Result<Vec<ParameterShape>> {
        self.validate()?;
        let source = RefCell::new(Recorder::default());
        DualAd::build(self.clone(), &Scope::root(&source))?;
        Ok(source.into_inner().0)
    }

    /// Returns the number of values that training changes.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn parameter_count(&self) -> Result<usize> {
        let parameters = self.parameters()?;
        Ok(parameters
            .iter()
            .filter(|parameter| parameter.trained)
            .map(|parameter| parameter.shape.iter().product::<usize>())
            .sum())
    }
}

impl DualAd {
    /// Creates a network to train, with initial parameters from the method's distributions. The initial value of a parameter
    /// depends only on the seed and on the parameter's name.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not valid.
    pub fn new(config: DualAdConfig, random: &Random, device: &Device) -> Result<Self> {
        config.validate()?;
        let source = RefCell::new(Initializer {
            random: random.clone(),
            device,
            variables: BTreeMap::new(),
            constants: BTreeMap::new(),
        });
        let mut network = Self::build(config, &Scope::root(&source))?;
        let Initializer { variables, constants, .. } = source.into_inner();
        network.parameters = variables.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        network.parameters.extend(constants);
        network.variables = variables;
        Ok(network)
    }

    /// Creates a network for inference from parameters of one floating-point dtype, with the names and shapes of
    /// [`DualAdConfig::parameters`]. [`Self::trainable`] returns a copy to train.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not valid, [`Error::Parameter`] for the first parameter that is missing, unknown,
    /// or of another shape or dtype.
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
                // Measured statistics stay in f32.
                Some(_) if tensor.dtype() != dtype && !standardization::is_statistic(name) => {
                    return wrong(name, format!("has dtype {:?}, others {dtype:?}", tensor.dtype()));
                }
                Some(_) => {}
            }
        }
        parameters.iter().try_for_each(|(name, tensor)| standardization::check(name, tensor))?;
        let mut network = Self::build(config, &Scope::root(&RefCell::new(Existing(&parameters))))?;
        network.parameters = parameters;
        Ok(network)
    }

    pub(super) fn build(config: DualAdConfig, root: &Scope<'_>) -> Result<Self> {
        let coupled = config.branches != Branches::WideShallow;
        let needs_position = coupled || config.variant == Variant::Homogeneous;
        // A published checkpoint repeats the embedding under every layer; this network has it under the first layer only.
        let position_scope = if coupled {
            root.pp("encoder.layers.0.abs_pos_embed")
        } else {
            root.pp("proj_encoder.layers.0.abs_pos_embed.0")
        };
        let (wide, narrow) = (config.wide_width(), config.levels * config.narrow_width);
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
            projections: (config.chunk_width != config.narrow_width)
                .then(|| {
                    let to_narrow = Linear::new(wide, narrow, &root.pp("head_proj1"))?;
                    let to_wide = Linear::new(narrow, wide, &root.pp("head_proj2"))?;
                    Ok::<_, Error>(BranchProjections { to_narrow, to_wide })
                })
                .transpose()?,
            memory: (0..levels).map(memory).collect::<Result<_>>()?,
            narrow: coupled.then(|| NarrowDeep::new(&config, root)).transpose()?,
            error_std: config.standardize_errors.then(|| ErrorStd::new(config.channels(), root)).transpose()?,
            standardization: config.standardize.then(|| Standardization::new(config.channels(), root)).transpose()?,
            position: needs_position.then(|| PositionEmbedding::new(&config, &position_scope)).transpose()?,
            config,
            parameters: BTreeMap::new(),
            variables: BTreeMap::new(),
        })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &DualAdConfig {
        &self.config
    }

    /// Returns every parameter by name: the name in the published checkpoint or, for statistics, this library's own.
    pub fn parameters(&self) -> &BTreeMap<String, Tensor> {
        &self.parameters
    }

    /// Returns the variables to train by name. Empty for a network for inference.
    pub fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// Returns the reconstruction of tokens `[batch, tokens, channels]`, of the same shape, without jitter and dropout. Its dtype
    /// is the network's; f16 and bf16 become f32 if features are standardized.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the shape or dtype does not fit, [`Error::NotFinite`] if a value is NaN or infinite (checked
    /// on the CPU only), [`Error::Candle`] if the device fails.
    pub fn reconstruct(&self, tokens: &Tensor) -> Result<Tensor> {
        self.check_finite(tokens)?;
        let standard = self.standardized(tokens)?.to_dtype(self.dtype())?;
        let reconstruction = self.forward(&standard, &mut Dropout::off())?;
        Ok(self.restored(reconstruction)?)
    }

    /// Jitters clean tokens `[batch, tokens, channels]` (docs/method.md, section 3) and returns the reconstruction of these pseudo
    /// anomalies, with dropout: the forward pass of a training step. The clean tokens are the target of [`Self::loss`] and get no
    /// gradient.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn reconstruct_jittered(&self, tokens: &Tensor, random: &mut Random) -> Result<Tensor> {
        self.check_finite(tokens)?;
        let tokens = self.standardized(tokens)?.to_dtype(self.dtype())?;
        let jittered = match self.config.jitter {
            None => tokens,
            Some(jitter) => pseudo_anomaly(&tokens, jitter, random.stream())?,
        };
        let reconstruction = self.forward(&jittered, &mut Dropout::on(self.config.dropout, random))?;
        Ok(self.restored(reconstruction)?)
    }

    /// Returns the sum over stages of the mean squared error (docs/method.md, section 5), a scalar.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn loss(&self, tokens: &Tensor, reconstruction: &Tensor) -> Result<Tensor> {
        self.check(tokens)?;
        self.check(reconstruction)?;
        let (tokens, reconstruction) = (self.standardized(tokens)?, self.standardized(reconstruction)?);
        Ok(reconstruction_loss(&tokens, &reconstruction, &self.config.stage_channels)?)
    }

    /// Returns the anomaly map and the image score of tokens and their reconstruction (docs/method.md, section 6), in f32.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn score(&self, tokens: &Tensor, reconstruction: &Tensor) -> Result<Scores> {
        let errors = self.token_errors(tokens, reconstruction)?;
        let upsampling = Upsampling::new(self.config.grid, self.config.token_stride, [POOL; 2], errors.device())?;
        Ok(upsampling.scores(&errors)?)
    }

    /// Returns the errors of tokens and their reconstruction, all stages combined, `[batch, rows, columns]` in f32.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub(crate) fn token_errors(&self, tokens: &Tensor, reconstruction: &Tensor) -> Result<Tensor> {
        self.check(tokens)?;
        self.check(reconstruction)?;
        let standard = |x: &Tensor| {
            let x = self.standardized(x)?;
            self.error_std.as_ref().map_or(Ok(x.clone()), |error_std| error_std.apply(&x))
        };
        let (tokens, reconstruction) = (standard(tokens)?, standard(reconstruction)?);
        let DualAdConfig { stage_channels, combination, grid, .. } = &self.config;
        Ok(token_errors(&tokens, &reconstruction, stage_channels, *combination, *grid)?)
    }

    /// Returns the reconstruction of tokens `[batch, tokens, channels]`, without jitter and dropout, minus the tokens. The
    /// difference is divided by the features' standard deviation if the network standardizes them.
    #[cfg(feature = "train")]
    pub(crate) fn errors(&self, tokens: &Tensor) -> Result<Tensor> {
        let reconstruction = self.reconstruct(tokens)?;
        Ok((self.standardized(&reconstruction)? - self.standardized(tokens)?)?)
    }

    /// Subtracts the channels' mean and divides by their standard deviation, if the network standardizes its features.
    fn standardized(&self, tokens: &Tensor) -> CandleResult<Tensor> {
        match &self.standardization {
            None => Ok(tokens.clone()),
            Some(standardization) => standardization.apply(tokens),
        }
    }

    /// The inverse of [`Self::standardized`].
    fn restored(&self, tokens: Tensor) -> CandleResult<Tensor> {
        match &self.standardization {
            None => Ok(tokens),
            Some(standardization) => standardization.restore(&tokens),
        }
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> Device {
        self.parameters.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone())
    }

    /// Returns the dtype of the parameters.
    pub fn dtype(&self) -> DType {
        self.parameters.values().next().map_or(DType::F32, Tensor::dtype)
    }

    /// Checks the shape and the dtype of tokens.
    pub(crate) fn check(&self, tokens: &Tensor) -> Result<()> {
        let (count, channels) = (self.config.tokens(), self.config.channels());
        match *tokens.dims() {
            [batch, n, c] if batch > 0 && n == count && c == channels && check_dtype(tokens.dtype()).is_ok() => Ok(()),
            ref shape => Err(Error::tokens(count, channels, format_args!("{shape:?} {:?}", tokens.dtype()))),
        }
    }

    /// Checks the shape, and that all values are finite: ReLU and the memory would turn NaN into finite values.
    fn check_finite(&self, tokens: &Tensor) -> Result<()> {
        self.check(tokens)?;
        // Zero times NaN or infinity is NaN. On a GPU, the check would make the host wait for the device.
        let zeros = || tokens.detach().affine(0.0, 0.0)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>();
        if tokens.device().is_cpu() && zeros()? != 0.0 { Err(Error::tokens_not_finite()) } else { Ok(()) }
    }

    /// Returns the inputs of the L memory modules, `[batch, tokens, d]` each, for tokens `[batch, tokens, channels]`. There is no
    /// jitter and no dropout.
    #[cfg(feature = "train")]
    pub(crate) fn levels_before_memory(&self, tokens: &Tensor) -> Result<Vec<Tensor>> {
        self.check_finite(tokens)?;
        let standard = self.standardized(tokens)?.to_dtype(self.dtype())?;
        let position = self.position.as_ref().map(PositionEmbedding::tokens).transpose()?;
        Ok(self.levels(&standard, position.as_ref(), &mut Dropout::off())?)
    }

    /// Applies the WSN encoder and splits the result into L chunks.
    fn levels(
        &self,
        tokens: &Tensor,
        position: Option<&Tensor>,
        dropout: &mut Dropout<'_>,
    ) -> CandleResult<Vec<Tensor>> {
        let mut x = self.wide.encode(tokens, position, dropout)?;
        if let Some(projections) = &self.projections {
            x = projections.to_narrow.forward(&x)?;
        }
        x.chunk(self.config.levels, D::Minus1)
    }

    fn forward(&self, tokens: &Tensor, dropout: &mut Dropout<'_>) -> CandleResult<Tensor> {
        let position = self.position.as_ref().map(PositionEmbedding::tokens).transpose()?;
        let levels = self.levels(tokens, position.as_ref(), dropout)?;
        let levels = if self.memory.is_empty() {
            levels
        } else {
            levels.iter().zip(&self.memory).map(|(level, memory)| memory.forward(level)).collect::<CandleResult<_>>()?
        };
        let outputs = match (&self.narrow, &position) {
            (Some(narrow), Some(position)) => narrow.forward(&levels, position, dropout)?,
            _ => levels,
        };
        let mut x = Tensor::cat(&outputs, D::Minus1)?;
        if let Some(projections) = &self.projections {
            x = projections.to_wide.forward(&x)?;
        }
        self.wide.decode(&x, position.as_ref(), dropout)
    }
}

pub(super) fn check_dtype(dtype: DType) -> Result<()> {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::F64 => Ok(()),
        other => Err(Error::invalid_argument("the dtype", format_args!("{other:?}"), "must be F32, F16, BF16 or F64")),
    }
}
