//! Networks as data: their layers, their shapes and the keys of their parameters. A description holds no weights and computes nothing.

pub(crate) mod efficientnet;
mod graph;
mod op;
pub(crate) mod resnet;
pub(crate) mod vit;

pub(crate) use graph::{Layer, Network, Value, choose_stages};
pub(crate) use op::{BatchNorm, Conv, Learned, Op, Parameter, Resampling, ValueShape};
