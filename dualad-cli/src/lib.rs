//! The parts of the program `dualad`, for programs that share them: the examples `mvtec`, `visa`, `bench` and `parity`.
//!
//! Applications use the library [`dualad`]; this crate promises a stable command line and no stable interface.

pub mod bench;
mod calibrate;
mod check;
mod cli;
mod common;
mod data;
mod device;
mod evaluate;
#[cfg(feature = "onnx")]
mod export;
mod features;
mod guard;
mod heat_maps;
mod hint;
mod import;
mod info;
mod inspect;
mod limits;
mod lines;
mod measure;
mod model;
mod names;
mod progress;
mod serve;
mod shell;
mod signals;
mod submit;
pub mod train;
mod usage;
mod watch;

pub use cli::{command, main};
pub use common::{CommonArgs, Result, exit, note, print};
pub use device::Devices;
