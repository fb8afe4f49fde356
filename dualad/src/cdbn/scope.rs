//! The source of a network's parameters: the layers ask it for each tensor by name, shape and initial distribution.
//!
//! One description of the layers thus serves to initialize a network, to build one from loaded tensors, and to list the parameters.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::Random;
use crate::error::Result;

/// A parameter's name and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParameterShape {
    /// The published checkpoint's name for it; for statistics, this library's own.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// True if training changes the parameter: false for the statistics of the standardization only.
    pub trained: bool,
}

/// The distribution of a parameter's values at the start of training (docs/method.md, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Init {
    /// Uniform on [-b, b) with b = sqrt(6 / (fan in + fan out)) (Glorot and Bengio, AISTATS 2010).
    Xavier,
    Zeros,
    Ones,
    /// Standard normal.
    Normal,
    /// Uniform on [0, 1).
    Uniform,
    /// Standard normal rows, each divided by its norm.
    UnitRows,
}

impl Init {
    /// Returns the values of a parameter. They depend on the seed and the name only.
    pub(super) fn values(self, shape: &[usize], random: &Random, name: &str) -> Vec<f32> {
        let count = shape.iter().product();
        let stream = random.named(name);
        match self {
            Self::Zeros => vec![0.0; count],
            Self::Ones => vec![1.0; count],
            Self::Normal => stream.normal(count),
            Self::Uniform => stream.uniform(count),
            Self::Xavier => {
                let fans: usize = shape.iter().sum();
                let bound = (6.0 / fans as f64).sqrt() as f32;
                stream.uniform(count).into_iter().map(|u| bound * (2.0 * u - 1.0)).collect()
            }
            Self::UnitRows => {
                let mut values = stream.normal(count);
                for row in values.chunks_mut(shape.last().copied().unwrap_or(1).max(1)) {
                    let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                    // A row of zeros has no direction: ones stand in.
                    row.iter_mut().for_each(|x| *x = if norm > 0.0 { (f64::from(*x) / norm) as f32 } else { 1.0 });
                }
                values
            }
        }
    }
}

/// A source of parameters.
pub(super) trait Source {
    /// Returns a parameter to train.
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor>;

    /// Returns a parameter that training does not change.
    fn constant(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.get(name, shape, init)
    }
}

/// A prefix of parameter names in a source.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    source: &'a RefCell<dyn Source + 'a>,
    prefix: String,
}

impl<'a> Scope<'a> {
    /// Returns the scope with an empty prefix.
    pub(super) fn root(source: &'a RefCell<dyn Source + 'a>) -> Self {
        Self { source, prefix: String::new() }
    }

    /// Returns the scope with `part` appended to the prefix. The name is that of candle's `VarBuilder::pp`.
    pub(super) fn pp(&self, part: impl std::fmt::Display) -> Self {
        Self { source: self.source, prefix: format!("{}{part}.", self.prefix) }
    }

    /// Returns a parameter to train.
    pub(super) fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.source.borrow_mut().get(&format!("{}{name}", self.prefix), shape, init)
    }

    /// Returns a parameter that training does not change.
    pub(super) fn constant(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.source.borrow_mut().constant(&format!("{}{name}", self.prefix), shape, init)
    }
}

/// The source of a new network: draws initial values.
pub(super) struct Initializer<'a> {
    pub(super) random: Random,
    pub(super) device: &'a Device,
    pub(super) variables: BTreeMap<String, Var>,
    pub(super) constants: BTreeMap<String, Tensor>,
}

impl Source for Initializer<'_> {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let variable = Var::from_vec(init.values(shape, &self.random, name), shape, self.device)?;
        let tensor = variable.as_tensor().clone();
        self.variables.insert(name.into(), variable);
        Ok(tensor)
    }

    fn constant(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let tensor = Tensor::from_vec(init.values(shape, &self.random, name), shape, self.device)?;
        self.constants.insert(name.into(), tensor.clone());
        Ok(tensor)
    }
}

/// The source of a loaded network: returns tensors that were checked before.
pub(super) struct Existing<'a>(pub(super) &'a BTreeMap<String, Tensor>);

impl Source for Existing<'_> {
    fn get(&mut self, name: &str, shape: &[usize], _init: Init) -> Result<Tensor> {
        match self.0.get(name) {
            Some(tensor) if tensor.dims() == shape => Ok(tensor.clone()),
            found => {
                let found = found.map(Tensor::dims);
                Err(candle_core::Error::Msg(format!("parameter {name}: expected {shape:?}, found {found:?}")).into())
            }
        }
    }
}

/// The source that lists parameters: records each request and returns a tensor that takes no memory.
#[derive(Default)]
pub(super) struct Recorder(pub(super) Vec<ParameterShape>);

impl Source for Recorder {
    fn get(&mut self, name: &str, shape: &[usize], _init: Init) -> Result<Tensor> {
        self.0.push(ParameterShape { name: name.into(), shape: shape.into(), trained: true });
        Ok(Tensor::zeros(1, DType::F32, &Device::Cpu)?.broadcast_as(shape)?)
    }

    fn constant(&mut self, name: &str, shape: &[usize], _init: Init) -> Result<Tensor> {
        self.0.push(ParameterShape { name: name.into(), shape: shape.into(), trained: false });
        Ok(Tensor::zeros(1, DType::F32, &Device::Cpu)?.broadcast_as(shape)?)
    }
}
