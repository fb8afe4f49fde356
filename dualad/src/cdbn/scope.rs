//! How a network gets its parameters: by name, shape and initial distribution, from whatever has them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::Random;
use crate::error::Result;

/// A parameter's name and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParameterShape {
    /// The published checkpoint's name for it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether training changes it: all but a standardisation's mean and deviation.
    pub trained: bool,
}

/// A parameter's distribution at the start of training (method, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Init {
    /// Uniform within sqrt(6 / (fan in + fan out)) of zero (Glorot and Bengio, AISTATS 2010).
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
    pub(crate) fn values(self, shape: &[usize], random: &Random, name: &str) -> Vec<f32> {
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
                    // A row of zeros has no direction.
                    row.iter_mut().for_each(|x| *x = if norm > 0.0 { (f64::from(*x) / norm) as f32 } else { 1.0 });
                }
                values
            }
        }
    }
}

/// What has parameters.
pub(crate) trait Source {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor>;

    /// What is kept with the parameters and not trained.
    fn constant(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.get(name, shape, init)
    }
}

/// A place among the parameters' names.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    source: &'a RefCell<dyn Source + 'a>,
    prefix: String,
}

impl<'a> Scope<'a> {
    pub(crate) fn root(source: &'a RefCell<dyn Source + 'a>) -> Self {
        Self { source, prefix: String::new() }
    }

    /// The scope named `part` in this one.
    pub(crate) fn pp(&self, part: impl std::fmt::Display) -> Self {
        Self { source: self.source, prefix: format!("{}{part}.", self.prefix) }
    }

    pub(crate) fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.source.borrow_mut().get(&format!("{}{name}", self.prefix), shape, init)
    }

    /// What is kept with the parameters and not trained.
    pub(crate) fn constant(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.source.borrow_mut().constant(&format!("{}{name}", self.prefix), shape, init)
    }
}

/// Makes new variables.
pub(crate) struct Initializer<'a> {
    pub(crate) random: Random,
    pub(crate) device: &'a Device,
    pub(crate) variables: BTreeMap<String, Var>,
    pub(crate) constants: BTreeMap<String, Tensor>,
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

/// Hands out tensors that are already there and have been checked.
pub(crate) struct Existing<'a>(pub(crate) &'a BTreeMap<String, Tensor>);

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

/// Writes down what is asked for, and hands out tensors that take no memory.
#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Vec<ParameterShape>);

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
